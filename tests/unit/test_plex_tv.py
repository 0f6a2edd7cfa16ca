"""The stand-in of plex.tv against the contract: a real client on a real socket, a virtual clock."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Literal
from xml.etree import ElementTree as ET

import pytest

from plex_tv_client import (
    BOT,
    PIN_IS_GONE,
    RECORDINGS,
    START,
    Client,
    Clock,
    Said,
    assert_error,
    connected,
    recorded,
    shape,
    sign_in,
)
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, KID, Account, CodeError, Connection, Operation, PlexTV, Server

TOKEN = re.compile(r"[A-Za-z0-9_-]{20}")


@pytest.fixture
async def token(plex: PlexTV, client: Client) -> str:
    return await sign_in(plex, client)


# --- making a PIN ---

SHORT = ("pin_create_201_short_2025_toronto.json", r"[A-Z0-9]{4}", 900, "2026-01-31T12:15:00Z")
STRONG = ("pin_create_201_strong_2026.json", r"[a-z0-9]{25}", 1800, "2026-01-31T12:30:00Z")


@pytest.mark.parametrize(
    ("said", "style"),
    [
        pytest.param({}, SHORT, id="nothing"),
        pytest.param({"params": {"strong": "false"}}, SHORT, id="false in the query"),
        pytest.param({"json": {"strong": False}}, SHORT, id="false in JSON"),
        pytest.param({"data": b"{", "headers": BOT}, SHORT, id="broken JSON"),
        pytest.param({"params": {"strong": "true"}}, STRONG, id="true in the query"),
        pytest.param({"data": {"strong": "true"}}, STRONG, id="true in a form"),
        pytest.param({"json": {"strong": True}}, STRONG, id="true in JSON"),
    ],
)
async def test_new_pin_is_as_recorded_and_short_unless_strong_is_asked_for(
    plex: PlexTV, client: Client, said: Said, style: tuple[str, str, int, str]
) -> None:
    recording, code, seconds, expires_at = style
    reply = await client.create_pin(**said)
    pin = reply.members
    assert (reply.status, reply.headers["Content-Type"]) == (201, "application/json; charset=utf-8")
    assert shape(pin) == shape(recorded(recording))
    assert re.fullmatch(code, str(pin["code"]))
    assert (pin["expiresIn"], pin["createdAt"], pin["expiresAt"]) == (seconds, "2026-01-31T12:00:00Z", expires_at)
    assert (pin["clientIdentifier"], pin["product"]) == ("the-bot", "PlexLink")
    assert pin["qr"] == f"{plex.url}/api/v2/pins/qr/{pin['code']}"


async def test_pin_needs_a_client_identifier_and_its_product_is_the_string_0_if_none_is_sent(client: Client) -> None:
    headers = {key: value for key, value in BOT.items() if key != "X-Plex-Product"}
    assert (await client.create_pin(headers=headers)).members["product"] == "0"
    reply = await client.create_pin(headers={"Accept": "application/json"})
    assert_error(reply, 400, "error_400_client_identifier_missing.json")


@pytest.mark.parametrize("place", ["params", "data", "json"])
async def test_plex_values_are_taken_from_query_form_and_json_too(
    plex: PlexTV, client: Client, place: Literal["params", "data", "json"]
) -> None:
    values = {"X-Plex-Client-Identifier": "elsewhere", "X-Plex-Device-Name": "Bob's phone"}
    said: Said = {"headers": {"Accept": "application/json"}}
    said[place] = values
    reply = await client.create_pin(**said)
    assert reply.members["clientIdentifier"] == "elsewhere"
    assert plex.pin(str(reply.members["code"])).device_name == "Bob's phone"


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
async def test_device_name_is_read_as_utf_8_and_else_as_iso_8859_1(plex: PlexTV, charset: str) -> None:
    head = b"POST /api/v2/pins HTTP/1.1\r\nHost: plex\r\nConnection: close\r\nContent-Length: 0\r\n"
    said = "X-Plex-Client-Identifier: x\r\nX-Plex-Device-Name: Zoë\r\n\r\n".encode(charset)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(plex.url.rpartition(":")[2]))
    writer.write(head + said)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    assert [pin.device_name for pin in plex.pins.values()] == ["Zoë"]


async def test_pin_ids_are_31_bit_and_not_monotonic(client: Client) -> None:
    ids = [int(str((await client.create_pin()).members["id"])) for _ in range(20)]
    assert all(0 < number < 2**31 for number in ids)
    assert len(set(ids)) == 20
    assert ids != sorted(ids)


# --- polling it ---


async def test_pending_pin_answers_null_and_the_whole_seconds_left_until_it_is_gone(
    clock: Clock, client: Client
) -> None:
    made = (await client.create_pin()).members
    for pause, left in ((0.5, 899), (23.5, 876), (875, 1)):
        clock.advance(pause)
        reply = await client.get_pin(made["id"])
        assert (reply.status, reply.members) == (200, {**made, "expiresIn": left})
    clock.advance(1)
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_approved_pin_answers_the_token_until_it_expires(plex: PlexTV, client: Client, clock: Clock) -> None:
    made = (await client.create_pin()).members
    token = plex.approve(str(made["code"]))
    for _ in range(3):
        pin = (await client.get_pin(made["id"])).members
        assert pin == {**made, "authToken": token, "newRegistration": False}
    assert TOKEN.fullmatch(token)
    # The recording is of 2022, before `qr` and one key of the location.
    assert recorded("pin_get_200_linked_2022.json").keys() == pin.keys() - {"qr"}
    assert shape(pin["authToken"]) == shape(recorded("pin_get_200_linked_2022.json")["authToken"])
    clock.advance(900)
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_token_can_be_read_once_if_so_set(clock: Clock) -> None:
    async with PlexTV(now=clock, token_reads=1) as plex, connected(plex) as client:
        made = (await client.create_pin()).members
        assert (await client.get_pin(made["id"])).members["authToken"] is None
        token = plex.approve(str(made["code"]))
        assert (await client.get_pin(made["id"])).members["authToken"] == token
        assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_pin_that_was_made_to_expire_is_unknown_or_anothers_is_gone(plex: PlexTV, client: Client) -> None:
    made, expired = (await client.create_pin()).members, (await client.create_pin()).members
    plex.expire(str(expired["code"]))
    assert_error(await client.get_pin(expired["id"]), 404, PIN_IS_GONE)
    assert_error(await client.get_pin(1), 404, PIN_IS_GONE)
    reply = await client.get_pin(made["id"], headers={**BOT, "X-Plex-Client-Identifier": "another"})
    assert_error(reply, 404, PIN_IS_GONE)


async def test_json_suffix_is_the_same_and_means_json(plex: PlexTV, client: Client, token: str) -> None:
    anyone = {"X-Plex-Client-Identifier": "the-bot", "X-Plex-Token": token}
    made = (await client.ask("POST", "/api/v2/pins.json", headers=anyone)).members
    link = await client.ask("PUT", "/api/v2/pins/link.json", headers=anyone, data={"code": str(made["code"])})
    read = await client.ask("GET", f"/api/v2/pins/{made['id']}.json", headers=anyone)
    assert link.status == 204
    assert read.members["authToken"] == plex.pin(str(made["code"])).token


async def test_without_an_accept_header_pins_and_errors_are_xml(client: Client) -> None:
    headers = {"X-Plex-Client-Identifier": "old"}
    reply = await client.create_pin(headers=headers)
    assert reply.headers["Content-Type"] == "application/xml; charset=utf-8"
    pin = reply.xml
    assert (pin.tag, pin.get("clientIdentifier"), pin.get("expiresIn")) == ("pin", "old", "900")
    assert re.fullmatch(r"[A-Z0-9]{4}", pin.get("code", ""))
    assert (pin.get("authToken"), pin.get("trusted")) == ("", "0")
    reply = await client.get_pin(1, headers=headers)
    error = reply.xml[0]
    assert (reply.status, reply.xml.tag) == (404, "errors")
    assert (error.get("code"), error.get("status")) == ("1020", None)


# --- approving it ---


async def test_code_is_approved_once_and_only_while_it_lives(plex: PlexTV, client: Client, clock: Clock) -> None:
    with pytest.raises(CodeError, match=r"^no PIN has the code 'NONE'$"):
        plex.approve("NONE")
    approved, expired = await client.new_code(), await client.new_code()
    plex.approve(approved)
    with pytest.raises(CodeError, match="already approved"):
        plex.approve(approved, BOB)
    clock.advance(900)
    with pytest.raises(CodeError, match="has expired"):
        plex.approve(expired)


@pytest.mark.parametrize("strong", ["true", "false"])
async def test_link_call_approves_with_the_account_of_its_token(plex: PlexTV, client: Client, strong: str) -> None:
    token = await sign_in(plex, client, BOB)
    code = str((await client.create_pin(params={"strong": strong})).members["code"])
    reply = await client.with_token(token, "PUT", "/api/v2/pins/link", data={"code": code})
    assert (reply.status, reply.raw) == (204, b"")
    assert plex.pin(code).account == BOB


async def test_link_call_needs_a_known_code_and_a_token(plex: PlexTV, client: Client, token: str) -> None:
    reply = await client.with_token(token, "PUT", "/api/v2/pins/link", data={"code": "NONE"})
    assert_error(reply, 404, PIN_IS_GONE)
    code = await client.new_code()
    reply = await client.ask("PUT", "/api/v2/pins/link", data={"code": code})
    assert_error(reply, 401, "error_401_invalid_token.json")
    assert plex.pin(code).token is None


# --- the account ---


@pytest.mark.parametrize(("account", "recording"), [(ALICE, "user_200_free.json"), (BOB, "user_200_plexpass.json")])
async def test_user_has_the_keys_of_the_recording_and_one_of_its_kind_the_types(
    plex: PlexTV, client: Client, account: Account, recording: str
) -> None:
    reply = await client.user(await sign_in(plex, client, account))
    assert reply.status == 200
    assert reply.members.keys() == recorded(recording).keys()
    assert account is BOB or shape(reply.members) == shape(recorded(recording))


async def test_user_is_the_account_that_approved_with_the_secrets_that_plex_echoes(
    plex: PlexTV, client: Client
) -> None:
    token = await sign_in(plex, client, BOB)
    user = (await client.user(token)).members
    assert (user["id"], user["uuid"], user["username"]) == (BOB.id, BOB.uuid, "bob")
    assert (user["title"], user["email"], user["restricted"]) == ("bob", "bob@example.com", False)
    assert (user["authToken"], user["pin"]) == (token, BOB.home_pin)
    assert "service-secret-of-lyricfind" in json.dumps(user["services"])


async def test_managed_profile_has_a_title_but_no_name(plex: PlexTV, client: Client) -> None:
    user = (await client.user(await sign_in(plex, client, KID))).members
    assert (user["username"], user["email"], user["title"], user["restricted"]) == (None, None, "Kid", True)


async def test_ping_answers_as_recorded_and_as_a_text_in_xml(client: Client, token: str) -> None:
    reply = await client.with_token(token, "GET", "/api/v2/ping")
    assert (reply.status, reply.members) == (200, recorded("ping_200.json"))
    headers = {"X-Plex-Client-Identifier": "old", "X-Plex-Token": token}
    assert (await client.ask("GET", "/api/v2/ping", headers=headers)).xml.text == "1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v2/user"),
        ("GET", "/api/v2/ping"),
        ("GET", "/api/v2/resources"),
        ("DELETE", "/api/v2/users/signout"),
        ("GET", "/devices.xml"),
        ("DELETE", "/devices/1.xml"),
    ],
)
async def test_account_calls_refuse_a_missing_and_a_dead_token(
    plex: PlexTV, client: Client, token: str, method: str, path: str
) -> None:
    assert_error(await client.ask(method, path), 401, "error_401_invalid_token.json")
    plex.revoke(token)
    assert_error(await client.with_token(token, method, path), 401, "error_401_invalid_token.json")


async def test_token_is_accepted_in_the_query_but_a_client_identifier_is_needed(client: Client, token: str) -> None:
    assert (await client.ask("GET", "/api/v2/user", params={"X-Plex-Token": token})).status == 200
    headers = {"Accept": "application/json", "X-Plex-Token": token}
    reply = await client.ask("GET", "/api/v2/user", headers=headers)
    assert_error(reply, 400, "error_400_client_identifier_missing.json")


# --- servers ---


def a_server(name: str = "Box", **others: object) -> Server:
    connections = (Connection(uri="https://box.example:32400", local=True), Connection(uri="http://[2001:db8::1]:1"))
    given = {"name": name, "client_identifier": "box", "access_token": f"of-{name}", "connections": connections}
    return Server(**given | others)  # type: ignore[arg-type]


async def test_a_server_that_is_shared_is_told_as_somebody_elses(plex: PlexTV, client: Client, token: str) -> None:
    plex.share(a_server())
    plex.share(a_server("Theirs", owner_id=4711))
    reply = await client.with_token(token, "GET", "/api/v2/resources")
    _, own, shared = json.loads(reply.raw)
    assert (own["owned"], own["ownerId"], own["sourceTitle"]) == (True, None, None)
    assert (shared["owned"], shared["ownerId"], shared["sourceTitle"]) == (False, 4711, "somebody-else")


async def test_resources_have_the_keys_and_types_of_the_recording_and_are_xml_for_others(
    plex: PlexTV, client: Client, token: str
) -> None:
    plex.share(a_server())
    reply = await client.with_token(token, "GET", "/api/v2/resources")
    _, server = json.loads(reply.raw)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert [shape(server)] == shape(recorded("resources_200_min.json"))
    headers = {"X-Plex-Client-Identifier": "old", "X-Plex-Token": token}
    reply = await client.ask("GET", "/api/v2/resources", headers=headers)
    assert [row.get("provides") for row in reply.xml] == ["client,player,pubsub-player", "server"]


async def test_resources_are_the_servers_of_the_account_and_what_is_none(plex: PlexTV, client: Client) -> None:
    plex.share(a_server("hers"), ALICE)
    plex.share(a_server("his", is_near=False), BOB)
    plex.share(a_server("theirs"), BOB)
    reply = await client.with_token(await sign_in(plex, client, BOB), "GET", "/api/v2/resources")
    television, *servers = json.loads(reply.raw)
    assert ("server" in television["provides"], television["accessToken"], television["connections"]) == (
        False,
        None,
        [],
    )
    assert [(server["name"], server["accessToken"], server["publicAddressMatches"]) for server in servers] == [
        ("his", "of-his", False),
        ("theirs", "of-theirs", True),
    ]


async def test_connections_are_told_apart(plex: PlexTV, client: Client, token: str) -> None:
    plex.share(a_server())
    reply = await client.with_token(token, "GET", "/api/v2/resources")
    near, far = json.loads(reply.raw)[1]["connections"]
    assert near == {
        "protocol": "https",
        "address": "box.example",
        "port": 32400,
        "uri": "https://box.example:32400",
        "local": True,
        "relay": False,
        "IPv6": False,
    }
    assert (far["address"], far["local"], far["IPv6"]) == ("2001:db8::1", False, True)


# --- devices ---


async def test_device_list_has_the_attributes_of_the_recording(client: Client, token: str) -> None:
    reply = await client.with_token(token, "GET", "/devices.xml")
    recording = ET.fromstring((RECORDINGS / "devices_xml_200.xml").read_text(encoding="utf-8"))  # noqa: S314  our own file
    assert reply.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert (reply.xml.tag, reply.xml.keys()) == (recording.tag, recording.keys())
    assert [row.keys() for row in reply.xml] == [recording[0].keys()]


async def test_device_list_shows_the_rows_of_the_account_and_their_tokens(
    plex: PlexTV, client: Client, clock: Clock
) -> None:
    named = {**BOT, "X-Plex-Device-Name": "PlexLink (zoe)"}
    token = plex.approve(str((await client.create_pin(headers=named)).members["code"]))
    await sign_in(plex, client, BOB)
    clock.advance(60)
    reply = await client.with_token(token, "GET", "/devices.xml")
    (row,) = reply.xml
    assert (row.get("name"), row.get("product"), row.get("clientIdentifier")) == (
        "PlexLink (zoe)",
        "PlexLink",
        "the-bot",
    )
    assert (row.get("token"), row.get("id")) == (token, str(plex.tokens[token].id))
    assert row.get("createdAt") == str(int(START.timestamp()))
    assert row.get("lastSeenAt") == str(int(START.timestamp()) + 60)


async def test_deleted_device_loses_its_token_unless_it_is_another_accounts(
    plex: PlexTV, client: Client, token: str
) -> None:
    other, stranger = await sign_in(plex, client), await sign_in(plex, client, BOB)
    path = f"/devices/{plex.tokens[token].id}.xml"
    assert (await client.with_token(stranger, "DELETE", path)).status == 404
    assert plex.is_alive(token)
    assert (await client.with_token(other, "DELETE", path)).status == 200
    assert list(plex.tokens) == [other, stranger]


# --- the server itself ---


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("GET", "/api/v2/pins"), ("POST", "/api/v2/pin")])
async def test_unknown_path_or_method_answers_404_html(client: Client, method: str, path: str) -> None:
    reply = await client.ask(method, path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "<html>" in reply.text


async def test_every_request_is_kept_in_order(plex: PlexTV, client: Client, clock: Clock) -> None:
    await client.create_pin(params={"strong": "true"})
    clock.advance(5)
    await client.ask("GET", "/nowhere")
    first, second = plex.requests
    assert (first.operation, first.method, first.path) == (Operation.CREATE_PIN, "POST", "/api/v2/pins")
    assert (first.query, first.at, first.status) == ({"strong": "true"}, START, 201)
    assert first.headers["x-plex-client-identifier"] == "the-bot"
    assert (second.operation, second.path, second.status) == (None, "/nowhere", 404)
    assert second.at == START + timedelta(seconds=5)


async def test_request_can_be_waited_for_whether_it_came_or_comes(plex: PlexTV, client: Client) -> None:
    waiting = asyncio.create_task(plex.received("create_pin", count=2))
    await client.ask("GET", "/nowhere")
    assert (await plex.received()).path == "/nowhere"
    await client.create_pin()
    assert not waiting.done()
    await client.create_pin(params={"strong": "true"})
    assert (await waiting).query == {"strong": "true"}
    with pytest.raises(ValueError, match="poll_pin"):
        await plex.received("poll_pin")


async def test_secrets_stay_out_of_every_repr(plex: PlexTV, client: Client) -> None:
    made = (await client.create_pin()).members
    token = plex.approve(str(made["code"]), BOB)
    await client.ask("GET", "/api/v2/user", params={"X-Plex-Token": token})
    pin = plex.pin(str(made["code"]))
    shown = repr((pin, plex.tokens[token], plex.requests))
    for secret in (token, str(made["id"]), "the-bot", "4711"):
        assert secret not in shown


async def test_latency_delays_every_answer(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.latency = 2.5
    assert (await client.create_pin()).members["createdAt"] == "2026-01-31T12:00:02Z"
    assert (await client.ask("GET", "/nowhere")).status == 404
    assert clock.slept == [2.5, 2.5]


@pytest.mark.parametrize(
    ("limit", "pauses", "expected"),
    [
        pytest.param(2, [0.5] * 4, [201, 201, 201, 201], id="counts the last second only"),
        pytest.param(1, [0.5] * 5, [201, 429, 429, 429, 429], id="counts what it refuses"),
        pytest.param(0.2, [4.5, 5, 0], [201, 429, 201], id="below one is a longer window"),
    ],
)
async def test_rate_limit_looks_back_as_far_as_one_request_takes(
    plex: PlexTV, client: Client, clock: Clock, *, limit: float, pauses: list[float], expected: list[int]
) -> None:
    plex.rate_limit = limit
    statuses = []
    for pause in pauses:
        statuses.append((await client.create_pin()).status)
        clock.advance(pause)
    assert statuses == expected
