"""The stand-in of plex.tv against the contract: a real client on a real socket, a virtual clock."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Literal
from xml.etree import ElementTree as ET

import aiohttp
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
from plexlink_bot.sandbox.plex_tv import (
    ALICE,
    BOB,
    KID,
    Account,
    CodeError,
    Connection,
    Operation,
    PlexTV,
    Server,
)

TOKEN = re.compile(r"[A-Za-z0-9_-]{20}")


@pytest.fixture
async def token(plex: PlexTV, client: Client) -> str:
    return await sign_in(plex, client)


# --- making a PIN ---


@pytest.mark.parametrize(
    ("strong", "recording"),
    [("false", "pin_create_201_short_2025_toronto.json"), ("true", "pin_create_201_strong_2026.json")],
)
async def test_new_pin_has_the_keys_and_types_of_the_recording(client: Client, strong: str, recording: str) -> None:
    reply = await client.create_pin(params={"strong": strong})
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert shape(reply.members) == shape(recorded(recording))


async def test_short_code_lives_900_seconds_and_has_4_upper_case_characters(client: Client) -> None:
    pin = (await client.create_pin()).members
    assert re.fullmatch(r"[A-Z0-9]{4}", str(pin["code"]))
    assert pin["expiresIn"] == 900
    assert (pin["createdAt"], pin["expiresAt"]) == ("2026-01-31T12:00:00Z", "2026-01-31T12:15:00Z")


@pytest.mark.parametrize(
    "said",
    [{"params": {"strong": "true"}}, {"data": {"strong": "true"}}, {"json": {"strong": True}}],
    ids=["query", "form", "json"],
)
async def test_strong_code_lives_1800_seconds_and_has_25_lower_case_characters(client: Client, said: Said) -> None:
    pin = (await client.create_pin(**said)).members
    assert re.fullmatch(r"[a-z0-9]{25}", str(pin["code"]))
    assert pin["expiresIn"] == 1800
    assert pin["expiresAt"] == "2026-01-31T12:30:00Z"


@pytest.mark.parametrize(
    "said",
    [{"params": {"strong": "false"}}, {"json": {"strong": False}}, {"data": b"{", "headers": BOT}],
    ids=["query", "json", "broken json"],
)
async def test_code_is_short_unless_strong_is_asked_for(client: Client, said: Said) -> None:
    assert len(str((await client.create_pin(**said)).members["code"])) == 4


async def test_pin_echoes_client_identifier_and_product(client: Client) -> None:
    pin = (await client.create_pin()).members
    assert (pin["clientIdentifier"], pin["product"]) == ("the-bot", "PlexLink")


async def test_product_is_the_string_0_if_none_is_sent(client: Client) -> None:
    headers = {key: value for key, value in BOT.items() if key != "X-Plex-Product"}
    assert (await client.create_pin(headers=headers)).members["product"] == "0"


async def test_qr_address_holds_the_code(plex: PlexTV, client: Client) -> None:
    pin = (await client.create_pin()).members
    assert pin["qr"] == f"{plex.url}/api/v2/pins/qr/{pin['code']}"


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


async def test_missing_client_identifier_answers_400_with_code_1000(client: Client) -> None:
    reply = await client.create_pin(headers={"Accept": "application/json"})
    assert_error(reply, 400, "error_400_client_identifier_missing.json")


async def test_pin_ids_are_31_bit_and_not_monotonic(client: Client) -> None:
    ids = [int(str((await client.create_pin()).members["id"])) for _ in range(20)]
    assert all(0 < number < 2**31 for number in ids)
    assert len(set(ids)) == 20
    assert ids != sorted(ids)


async def test_pin_is_kept_as_it_was_asked_for(plex: PlexTV, client: Client) -> None:
    code = await client.new_code()
    pin = plex.pin(code)
    assert plex.pins == {pin.id: pin}
    assert (pin.client_identifier, pin.product, pin.device_name, pin.strong) == (
        "the-bot",
        "PlexLink",
        "",
        False,
    )
    assert (pin.created_at, pin.expires_at) == (START, START + timedelta(seconds=900))
    assert (pin.token, pin.account) == (None, None)


# --- polling it ---


async def test_pending_pin_answers_null_and_the_seconds_left(clock: Clock, client: Client) -> None:
    made = (await client.create_pin()).members
    clock.advance(24)
    reply = await client.get_pin(made["id"])
    assert reply.status == 200
    assert reply.members == {**made, "expiresIn": 876}


async def test_seconds_left_are_rounded_down(clock: Clock, client: Client) -> None:
    made = (await client.create_pin()).members
    clock.advance(0.5)
    assert (await client.get_pin(made["id"])).members["expiresIn"] == 899


async def test_approved_pin_answers_the_token(plex: PlexTV, client: Client) -> None:
    made = (await client.create_pin()).members
    token = plex.approve(str(made["code"]))
    pin = (await client.get_pin(made["id"])).members
    assert pin == {**made, "authToken": token, "newRegistration": False}
    assert TOKEN.fullmatch(token)
    # The recording is of 2022, before `qr` and one key of the location.
    assert recorded("pin_get_200_linked_2022.json").keys() == pin.keys() - {"qr"}
    assert shape(pin["authToken"]) == shape(recorded("pin_get_200_linked_2022.json")["authToken"])


async def test_token_can_be_read_until_the_pin_expires(plex: PlexTV, client: Client, clock: Clock) -> None:
    made = (await client.create_pin()).members
    token = plex.approve(str(made["code"]))
    for _ in range(3):
        assert (await client.get_pin(made["id"])).members["authToken"] == token
    clock.advance(900)
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_token_can_be_read_once_if_so_set(plex: PlexTV, client: Client) -> None:
    plex.token_reads = 1
    made = (await client.create_pin()).members
    assert (await client.get_pin(made["id"])).members["authToken"] is None
    token = plex.approve(str(made["code"]))
    assert (await client.get_pin(made["id"])).members["authToken"] == token
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_number_of_token_reads_can_be_given_at_the_start(clock: Clock) -> None:
    async with PlexTV(now=clock, token_reads=0) as plex, connected(plex) as client:
        made = (await client.create_pin()).members
        plex.approve(str(made["code"]))
        assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_pin_lives_to_its_last_second(client: Client, clock: Clock) -> None:
    made = (await client.create_pin()).members
    clock.advance(899)
    assert (await client.get_pin(made["id"])).members["expiresIn"] == 1


async def test_expired_pin_answers_404_with_code_1020(client: Client, clock: Clock) -> None:
    made = (await client.create_pin()).members
    clock.advance(900)
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_code_can_be_made_to_expire_now(plex: PlexTV, client: Client) -> None:
    made = (await client.create_pin()).members
    plex.expire(str(made["code"]))
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_unknown_pin_answers_404_with_code_1020(client: Client) -> None:
    assert_error(await client.get_pin(1), 404, PIN_IS_GONE)


async def test_pin_of_another_client_identifier_answers_404_with_code_1020(client: Client) -> None:
    made = (await client.create_pin()).members
    reply = await client.get_pin(made["id"], headers={**BOT, "X-Plex-Client-Identifier": "another"})
    assert_error(reply, 404, PIN_IS_GONE)


async def test_json_suffix_is_the_same_and_means_json(plex: PlexTV, client: Client, token: str) -> None:
    anyone = {"X-Plex-Client-Identifier": "the-bot", "X-Plex-Token": token}
    made = (await client.ask("POST", "/api/v2/pins.json", headers=anyone)).members
    link = await client.ask("PUT", "/api/v2/pins/link.json", headers=anyone, data={"code": str(made["code"])})
    read = await client.ask("GET", f"/api/v2/pins/{made['id']}.json", headers=anyone)
    assert link.status == 204
    assert read.members["authToken"] == plex.pin(str(made["code"])).token


async def test_without_an_accept_header_a_pin_is_xml(client: Client) -> None:
    reply = await client.create_pin(headers={"X-Plex-Client-Identifier": "old"})
    assert reply.headers["Content-Type"] == "application/xml; charset=utf-8"
    pin = reply.xml
    assert (pin.tag, pin.get("clientIdentifier"), pin.get("expiresIn")) == ("pin", "old", "900")
    assert re.fullmatch(r"[A-Z0-9]{4}", pin.get("code", ""))
    assert (pin.get("authToken"), pin.get("trusted")) == ("", "0")


async def test_without_an_accept_header_an_error_is_xml(client: Client) -> None:
    reply = await client.get_pin(1, headers={"X-Plex-Client-Identifier": "old"})
    error = reply.xml[0]
    assert (reply.status, reply.xml.tag, error.get("code"), error.get("status")) == (
        404,
        "errors",
        "1020",
        None,
    )


# --- approving it ---


async def test_approval_makes_the_token_of_the_account(plex: PlexTV, client: Client) -> None:
    code = await client.new_code()
    token = plex.approve(code, BOB)
    assert (plex.pin(code).token, plex.pin(code).account) == (token, BOB)
    assert plex.is_alive(token)
    device = plex.tokens[token]
    assert (device.account, device.client_identifier, device.product) == (BOB, "the-bot", "PlexLink")
    assert device.created_at == START


async def test_unknown_code_cannot_be_approved(plex: PlexTV) -> None:
    with pytest.raises(CodeError, match=r"^no PIN has the code 'NONE'$"):
        plex.approve("NONE")


async def test_expired_code_cannot_be_approved(plex: PlexTV, client: Client, clock: Clock) -> None:
    code = await client.new_code()
    clock.advance(900)
    with pytest.raises(CodeError, match="has expired"):
        plex.approve(code)


async def test_code_cannot_be_approved_twice(plex: PlexTV, client: Client) -> None:
    code = await client.new_code()
    plex.approve(code)
    with pytest.raises(CodeError, match="already approved"):
        plex.approve(code, BOB)


@pytest.mark.parametrize("strong", ["true", "false"])
async def test_link_call_approves_with_the_account_of_its_token(plex: PlexTV, client: Client, strong: str) -> None:
    token = await sign_in(plex, client, BOB)
    code = str((await client.create_pin(params={"strong": strong})).members["code"])
    reply = await client.with_token(token, "PUT", "/api/v2/pins/link", data={"code": code})
    assert (reply.status, reply.raw) == (204, b"")
    assert plex.pin(code).account == BOB


async def test_link_call_with_an_unknown_code_answers_404_with_code_1020(client: Client, token: str) -> None:
    reply = await client.with_token(token, "PUT", "/api/v2/pins/link", data={"code": "NONE"})
    assert_error(reply, 404, PIN_IS_GONE)


async def test_link_call_without_a_token_answers_401_with_code_1001(plex: PlexTV, client: Client) -> None:
    code = await client.new_code()
    reply = await client.ask("PUT", "/api/v2/pins/link", data={"code": code})
    assert_error(reply, 401, "error_401_invalid_token.json")
    assert plex.pin(code).token is None


# --- the account ---


@pytest.mark.parametrize(("account", "recording"), [(ALICE, "user_200_free.json"), (BOB, "user_200_plexpass.json")])
async def test_user_has_the_keys_of_the_recording(
    plex: PlexTV, client: Client, account: Account, recording: str
) -> None:
    reply = await client.user(await sign_in(plex, client, account))
    assert reply.status == 200
    assert reply.members.keys() == recorded(recording).keys()


async def test_user_has_the_types_of_the_recording(client: Client, token: str) -> None:
    user, recording = shape((await client.user(token)).members), shape(recorded("user_200_free.json"))
    assert user == recording


async def test_user_is_the_account_that_approved(plex: PlexTV, client: Client) -> None:
    user = (await client.user(await sign_in(plex, client, BOB))).members
    assert (user["id"], user["uuid"], user["username"]) == (BOB.id, BOB.uuid, "bob")
    assert (user["title"], user["email"], user["restricted"]) == ("bob", "bob@example.com", False)


async def test_user_holds_the_secrets_that_plex_echoes(plex: PlexTV, client: Client) -> None:
    token = await sign_in(plex, client, BOB)
    user = (await client.user(token)).members
    assert (user["authToken"], user["pin"]) == (token, BOB.home_pin)
    assert "service-secret-of-lyricfind" in json.dumps(user["services"])


async def test_managed_profile_has_a_title_but_no_name(plex: PlexTV, client: Client) -> None:
    user = (await client.user(await sign_in(plex, client, KID))).members
    assert (user["username"], user["email"], user["title"], user["restricted"]) == (None, None, "Kid", True)


async def test_ping_answers_as_recorded(client: Client, token: str) -> None:
    reply = await client.with_token(token, "GET", "/api/v2/ping")
    assert (reply.status, reply.members) == (200, recorded("ping_200.json"))


async def test_ping_is_text_in_xml(client: Client, token: str) -> None:
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


async def test_token_is_accepted_in_the_query(client: Client, token: str) -> None:
    reply = await client.ask("GET", "/api/v2/user", params={"X-Plex-Token": token})
    assert reply.status == 200


async def test_account_calls_need_a_client_identifier(client: Client, token: str) -> None:
    headers = {"Accept": "application/json", "X-Plex-Token": token}
    reply = await client.ask("GET", "/api/v2/user", headers=headers)
    assert_error(reply, 400, "error_400_client_identifier_missing.json")


async def test_sign_out_kills_exactly_its_token(plex: PlexTV, client: Client, token: str) -> None:
    other = await sign_in(plex, client)
    reply = await client.sign_out(token)
    assert (reply.status, reply.raw) == (204, b"")
    assert (plex.is_alive(token), plex.is_alive(other)) == (False, True)
    assert ((await client.user(token)).status, (await client.user(other)).status) == (401, 200)
    assert list(plex.tokens) == [other]


async def test_revoked_token_answers_401(plex: PlexTV, client: Client, token: str) -> None:
    plex.revoke(token)
    assert not plex.is_alive(token)
    assert_error(await client.user(token), 401, "error_401_invalid_token.json")


async def test_dead_token_cannot_be_revoked(plex: PlexTV, token: str) -> None:
    plex.revoke(token)
    with pytest.raises(KeyError, match="no device has this token"):
        plex.revoke(token)


# --- servers ---


def a_server(name: str = "Box", **others: object) -> Server:
    connections = (Connection(uri="https://box.example:32400", local=True), Connection(uri="http://[2001:db8::1]:1"))
    given = {"name": name, "client_identifier": "box", "access_token": f"of-{name}", "connections": connections}
    return Server(**given | others)  # type: ignore[arg-type]


async def test_resources_have_the_keys_and_types_of_the_recording(plex: PlexTV, client: Client, token: str) -> None:
    plex.share(a_server())
    reply = await client.with_token(token, "GET", "/api/v2/resources")
    _, server = json.loads(reply.raw)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert [shape(server)] == shape(recorded("resources_200_min.json"))


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


async def test_resources_are_xml_without_an_accept_header(plex: PlexTV, client: Client, token: str) -> None:
    plex.share(a_server())
    headers = {"X-Plex-Client-Identifier": "old", "X-Plex-Token": token}
    reply = await client.ask("GET", "/api/v2/resources", headers=headers)
    assert [row.get("provides") for row in reply.xml] == ["client,player,pubsub-player", "server"]


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


async def test_deleted_device_loses_its_token(plex: PlexTV, client: Client, token: str) -> None:
    other = await sign_in(plex, client)
    reply = await client.with_token(other, "DELETE", f"/devices/{plex.tokens[token].id}.xml")
    assert reply.status == 200
    assert list(plex.tokens) == [other]


async def test_device_of_another_account_cannot_be_deleted(plex: PlexTV, client: Client, token: str) -> None:
    stranger = await sign_in(plex, client, BOB)
    reply = await client.with_token(stranger, "DELETE", f"/devices/{plex.tokens[token].id}.xml")
    assert reply.status == 404
    assert plex.is_alive(token)


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


async def test_request_can_be_waited_for(plex: PlexTV, client: Client) -> None:
    waiting = asyncio.create_task(plex.received("create_pin", count=2))
    await client.ask("GET", "/nowhere")
    await client.create_pin()
    assert not waiting.done()
    await client.create_pin(params={"strong": "true"})
    assert (await waiting).query == {"strong": "true"}


async def test_request_that_came_in_already_is_not_waited_for(plex: PlexTV, client: Client) -> None:
    await client.ask("GET", "/nowhere")
    assert (await plex.received()).path == "/nowhere"


async def test_request_of_an_unknown_name_cannot_be_waited_for(plex: PlexTV) -> None:
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


async def test_rate_limit_answers_429_with_code_1003_above_it(plex: PlexTV, client: Client) -> None:
    plex.rate_limit = 2
    assert [(await client.create_pin()).status for _ in range(2)] == [201, 201]
    assert_error(await client.create_pin(), 429, "error_429_rate_limit.json")
    assert len(plex.pins) == 2


async def test_rate_limit_counts_the_last_second_only(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.rate_limit = 2
    statuses = []
    for _ in range(4):
        statuses.append((await client.create_pin()).status)
        clock.advance(0.5)
    assert statuses == [201, 201, 201, 201]


async def test_polling_too_fast_is_refused_as_long_as_it_lasts(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.rate_limit = 1
    statuses = []
    for _ in range(5):
        statuses.append((await client.create_pin()).status)
        clock.advance(0.5)
    assert statuses == [201, 429, 429, 429, 429]


async def test_rate_limit_below_one_is_a_longer_window(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.rate_limit = 0.2
    statuses = []
    for pause in (4.5, 5, 0):
        statuses.append((await client.create_pin()).status)
        clock.advance(pause)
    assert statuses == [201, 429, 201]


async def test_there_is_no_address_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="no port before its first start"):
        _ = PlexTV().url


async def test_system_clock_is_the_default() -> None:
    async with PlexTV() as plex, connected(plex) as client:
        before = datetime.now(UTC)
        pin = plex.pin(await client.new_code())
        assert before <= pin.created_at <= datetime.now(UTC)
        assert pin.created_at.tzinfo is UTC


async def test_address_and_state_outlive_a_restart(plex: PlexTV, client: Client, token: str) -> None:
    url = plex.url
    await plex.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.user(token)
    await plex.start()
    assert plex.url == url
    assert (await client.user(token)).status == 200


async def test_stopping_twice_is_stopping_once(plex: PlexTV) -> None:
    await plex.stop()
    await plex.stop()


async def test_stop_does_not_wait_for_an_idle_connection(plex: PlexTV, client: Client) -> None:
    await client.create_pin()
    await plex.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.create_pin()
