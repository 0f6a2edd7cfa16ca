"""Everything that can go wrong at the stand-in of plex.tv, as a real client sees it."""

import asyncio
import json
import zlib

import aiohttp
import pytest

from plex_tv_client import BOT, PIN_IS_GONE, Client, Clock, Reply, assert_error, connected, sign_in
from plexlink_bot.sandbox.plex_tv import (
    ABSENT,
    AfterStoring,
    Body,
    Bom,
    DeepJson,
    Drip,
    Empty,
    Fault,
    ForeignJson,
    GzipBomb,
    Hang,
    Html,
    Huge,
    JsonError,
    Latency,
    NoFault,
    Operation,
    PlexTV,
    RateLimited,
    Redirect,
    Relabelled,
    Reset,
    ServerError,
    Truncated,
    WrongTypes,
)


@pytest.fixture
async def token(plex: PlexTV, client: Client) -> str:
    return await sign_in(plex, client)


# --- which request they meet ---


async def test_fault_meets_one_request_unless_told_otherwise(plex: PlexTV, client: Client) -> None:
    plex.fail(ServerError())
    assert [(await client.create_pin()).status for _ in range(2)] == [500, 201]


async def test_fault_lasts_until_healed_if_times_is_none(plex: PlexTV, client: Client) -> None:
    plex.fail(ServerError(), times=None)
    assert [(await client.create_pin()).status for _ in range(3)] == [500, 500, 500]
    plex.heal()
    assert (await client.create_pin()).status == 201


async def test_fault_meets_only_the_calls_it_names(plex: PlexTV, client: Client) -> None:
    plex.fail(ServerError(), calls=Operation.GET_PIN)
    made = await client.create_pin()
    assert (made.status, (await client.get_pin(made.members["id"])).status) == (201, 500)


async def test_name_of_a_call_may_be_plain_text(plex: PlexTV, client: Client) -> None:
    plex.fail(ServerError(), calls="create_pin")
    assert (await client.create_pin()).status == 500


async def test_fault_for_an_unknown_call_is_refused(plex: PlexTV) -> None:
    with pytest.raises(ValueError, match="poll_pin"):
        plex.fail(ServerError(), calls="poll_pin")


async def test_faults_come_in_the_order_they_were_armed(plex: PlexTV, client: Client) -> None:
    plex.fail(NoFault(), times=2)
    plex.fail(ServerError(502), times=2)
    plex.fail(ServerError(503))
    assert [(await client.create_pin()).status for _ in range(6)] == [201, 201, 502, 502, 503, 201]


async def test_fault_meets_an_unknown_path_too(plex: PlexTV, client: Client) -> None:
    plex.fail(ServerError())
    assert (await client.ask("GET", "/nowhere")).status == 500


# --- instead of an answer ---


@pytest.mark.parametrize(
    "fault",
    [
        ServerError(),
        Html(),
        Empty(),
        JsonError(400, 1),
        ForeignJson(),
        RateLimited(),
        Reset(),
        Body(b""),
        Huge(1),
        GzipBomb(1),
        DeepJson(1),
        Redirect(),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_nothing_is_performed_under_a_fault_unless_after_storing(
    plex: PlexTV, client: Client, fault: Fault
) -> None:
    plex.fail(fault)
    plex.fail(AfterStoring(fault))
    await outcome(client)
    assert not plex.pins
    await outcome(client)
    assert len(plex.pins) == 1


async def outcome(client: Client) -> Reply | None:
    try:
        return await client.create_pin()
    except aiohttp.ClientError:
        return None


async def test_server_error_is_a_page_with_its_status(plex: PlexTV, client: Client) -> None:
    plex.fail(ServerError(503))
    reply = await client.create_pin()
    assert (reply.status, reply.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "503" in reply.text


@pytest.mark.parametrize("status", [200, 401, 403, 404])
async def test_html_comes_where_json_is_due(plex: PlexTV, client: Client, status: int) -> None:
    plex.fail(Html(status))
    reply = await client.create_pin()
    assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert reply.text.startswith("<!DOCTYPE html>")


async def test_empty_answer_has_neither_body_nor_type(plex: PlexTV, client: Client) -> None:
    plex.fail(Empty())
    reply = await client.create_pin()
    assert (reply.status, reply.raw, reply.headers["Content-Length"]) == (404, b"", "0")
    assert "Content-Type" not in reply.headers


async def test_json_error_has_plex_shape(plex: PlexTV, client: Client) -> None:
    plex.fail(JsonError(403, 1041, "A valid PIN is required"))
    plex.fail(JsonError(422, 7, tells_status=False))
    first, second = await client.create_pin(), await client.create_pin()
    error = {"code": 1041, "message": "A valid PIN is required", "status": 403}
    assert (first.status, first.members) == (403, {"errors": [error]})
    assert second.members == {"errors": [{"code": 7, "message": "Something went wrong"}]}


async def test_foreign_json_has_not_plex_shape(plex: PlexTV, client: Client) -> None:
    plex.fail(ForeignJson(403))
    reply = await client.create_pin()
    assert (reply.status, reply.members) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(None, None), (30, "30"), (1.5, "1.5"), ("Sat, 31 Jan 2026 12:00:30 GMT",) * 2, ("soon", "soon")],
)
async def test_rate_limited_answers_429_with_the_header_it_is_given(
    plex: PlexTV, client: Client, retry_after: float | str | None, header: str | None
) -> None:
    plex.fail(RateLimited(retry_after))
    reply = await client.create_pin()
    assert_error(reply, 429, "error_429_rate_limit.json")
    assert reply.headers.get("Retry-After") == header


async def test_body_is_sent_byte_for_byte(plex: PlexTV, client: Client) -> None:
    plex.fail(Body(b"\xff\x00{", 203, "text/x-odd; charset=klingon", encoding="br"))
    reply = await client.create_pin()
    assert (reply.status, reply.raw) == (203, b"\xff\x00{")
    assert reply.headers["Content-Type"] == "text/x-odd; charset=klingon"
    assert reply.headers["Content-Encoding"] == "br"


async def test_body_is_json_without_a_coding_by_default(plex: PlexTV, client: Client) -> None:
    plex.fail(Body(b"[]"))
    reply = await client.create_pin()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert "Content-Encoding" not in reply.headers


async def test_redirect_goes_where_it_is_told(plex: PlexTV, client: Client) -> None:
    plex.fail(Redirect("https://example.com/", 307))
    reply = await client.create_pin()
    assert (reply.status, reply.headers["Location"]) == (307, "https://example.com/")


async def test_redirect_without_a_place_is_a_loop(plex: PlexTV, client: Client) -> None:
    plex.fail(Redirect(), times=None)
    with pytest.raises(aiohttp.TooManyRedirects):
        await client.session.get("/api/v2/user", params={"a": "b"}, max_redirects=5)
    assert {(call.path, call.query["a"]) for call in plex.requests} == {("/api/v2/user", "b")}


# --- too much ---


async def test_huge_answer_is_sound_json_of_that_size_without_a_length(plex: PlexTV, client: Client) -> None:
    plex.fail(Huge(200_000))
    reply = await client.create_pin()
    assert "Content-Length" not in reply.headers
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert reply.members["padding"] == "0" * 200_000
    assert reply.members["code"] == "ZZZZ"


async def test_client_may_hang_up_on_a_huge_answer(plex: PlexTV, client: Client) -> None:
    plex.fail(Huge())
    async with client.session.get("/api/v2/user") as answer:
        assert len(await answer.content.readexactly(1000)) == 1000
    assert (await client.create_pin()).status == 201


async def test_gzip_bomb_is_small_on_the_wire_and_huge_in_memory(plex: PlexTV, client: Client) -> None:
    plex.fail(GzipBomb(10 * 2**20))
    reply = await client.create_pin()
    assert reply.headers["Content-Encoding"] == "gzip"
    assert len(reply.raw) < 20_000
    members = json.loads(zlib.decompress(reply.raw, wbits=31))
    assert members["padding"] == "0" * (10 * 2**20)


async def test_bombs_hold_50_mebibytes_by_default() -> None:
    assert Huge().size == GzipBomb().size == 52_428_800


async def test_deep_json_cannot_be_parsed_by_recursion(plex: PlexTV, client: Client) -> None:
    plex.fail(DeepJson())
    raw = (await client.create_pin()).raw
    assert raw.count(b"[") == raw.count(b"]") == 100_000
    with pytest.raises(RecursionError):
        json.loads(raw)


async def test_shallow_deep_json_is_sound(plex: PlexTV, client: Client) -> None:
    plex.fail(DeepJson(3))
    members = (await client.create_pin()).members
    assert members["padding"] == [[[]]]
    assert members.keys() >= {"id", "code", "expiresIn", "authToken"}
    assert members.keys() >= {"id", "uuid", "pong"}


# --- around the right answer ---


async def read_to_the_end(answer: aiohttp.ClientResponse) -> tuple[bytes, aiohttp.ClientError | None]:
    received = b""
    try:
        async for piece in answer.content.iter_any():
            received += piece
    except aiohttp.ClientError as error:
        return received, error
    return received, None


async def test_latency_fault_delays_the_right_answer(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.fail(Latency(7))
    assert (await client.create_pin()).members["createdAt"] == "2026-01-31T12:00:07Z"
    assert clock.slept == [7]


async def test_wrong_types_replace_and_remove_members(plex: PlexTV, client: Client) -> None:
    plex.fail(WrongTypes(id="x", authToken=12, code=ABSENT))
    reply = await client.create_pin()
    assert reply.status == 201
    (pin,) = plex.pins.values()
    assert (reply.members["id"], reply.members["authToken"]) == ("x", 12)
    assert "code" not in reply.members
    assert reply.members["expiresIn"] == 900
    assert pin.code in str(reply.members["qr"])


async def test_wrong_types_give_an_empty_answer_members(plex: PlexTV, client: Client, token: str) -> None:
    plex.fail(WrongTypes(errors=None), calls=Operation.DELETE_DEVICE)
    path = f"/devices/{plex.tokens[token].id}.xml"
    assert (await client.with_token(token, "DELETE", path)).members == {"errors": None}


async def test_bom_comes_before_the_right_answer(plex: PlexTV, client: Client) -> None:
    plex.fail(Bom())
    reply = await client.create_pin()
    assert (reply.status, reply.raw[:3]) == (201, b"\xef\xbb\xbf")
    assert json.loads(reply.raw.decode("utf-8-sig"))["expiresIn"] == 900


async def test_right_answer_comes_in_another_charset_under_another_type(plex: PlexTV, client: Client) -> None:
    plex.fail(Relabelled("text/plain", "utf-16"))
    reply = await client.create_pin()
    assert (reply.status, reply.headers["Content-Type"]) == (201, "text/plain")
    assert json.loads(reply.raw.decode("utf-16"))["code"] == next(iter(plex.pins.values())).code


async def test_drip_sends_the_right_answer_byte_by_byte(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.fail(Drip(interval=3))
    reply = await client.create_pin()
    assert reply.status == 201
    assert reply.members["code"] in [pin.code for pin in plex.pins.values()]
    assert clock.slept[:-1] == [3.0] * (len(reply.raw) - 1)


async def test_truncated_answer_promises_more_than_it_sends(plex: PlexTV, client: Client) -> None:
    plex.fail(Truncated())
    async with client.session.post("/api/v2/pins", headers=BOT) as answer:
        promised = int(answer.headers["Content-Length"])
        received, error = await read_to_the_end(answer)
    assert isinstance(error, aiohttp.ClientPayloadError)
    assert json.loads(received)["expiresIn"] == 900
    assert promised == len(received) + 64


# --- the connection ---


async def test_reset_before_an_answer_leaves_no_status(plex: PlexTV, client: Client) -> None:
    plex.fail(Reset())
    with pytest.raises(aiohttp.ClientOSError, match="reset"):
        await client.create_pin()
    assert [call.status for call in plex.requests] == [None]
    assert not plex.pins


async def test_reset_after_the_headers_sends_no_body(plex: PlexTV, client: Client) -> None:
    plex.fail(Reset(after="headers"))
    async with client.session.post("/api/v2/pins", headers=BOT) as answer:
        assert answer.status == 201
        received, error = await read_to_the_end(answer)
    assert received == b""
    assert "reset" in str(error)
    assert [call.status for call in plex.requests] == [201]
    assert len(plex.pins) == 1


async def test_reset_in_the_body_sends_half_of_it(plex: PlexTV, client: Client) -> None:
    plex.fail(Reset(after="body"))
    async with client.session.post("/api/v2/pins", headers=BOT) as answer:
        promised = int(answer.headers["Content-Length"])
        received, error = await read_to_the_end(answer)
    assert len(received) == promised // 2
    assert "reset" in str(error)
    assert len(plex.pins) == 1


async def test_reset_connection_does_not_spoil_the_next_request(plex: PlexTV, client: Client) -> None:
    plex.fail(Reset())
    with pytest.raises(aiohttp.ClientOSError):
        await client.create_pin()
    assert (await client.create_pin()).status == 201


async def test_hanging_request_is_answered_when_healed(plex: PlexTV, client: Client) -> None:
    plex.fail(Hang())
    hanging = asyncio.create_task(client.create_pin())
    await plex.received()
    assert (await client.ask("GET", "/nowhere")).status == 404
    assert not plex.pins
    assert [call.status for call in plex.requests] == [None, 404]
    plex.heal()
    assert (await hanging).status == 201


async def test_request_that_hangs_after_storing_is_stored_at_once(plex: PlexTV, client: Client, token: str) -> None:
    plex.fail(AfterStoring(Hang()))
    hanging = asyncio.create_task(client.sign_out(token))
    await plex.received(Operation.SIGN_OUT)
    await client.ask("GET", "/nowhere")
    assert not plex.is_alive(token)
    plex.heal()
    assert (await hanging).status == 204


async def give_up_waiting(plex: PlexTV, client: Client) -> None:
    """Send a request, hang up before it is answered, and let the server notice."""
    async with connected(plex) as impatient:
        hanging = asyncio.create_task(impatient.create_pin())
        await plex.received(Operation.CREATE_PIN)
        hanging.cancel()
        await asyncio.wait([hanging])
    await client.ask("GET", "/nowhere")


async def test_nothing_is_performed_for_a_client_that_stopped_waiting(plex: PlexTV, client: Client) -> None:
    plex.fail(Hang())
    await give_up_waiting(plex, client)
    plex.heal()
    await client.ask("GET", "/nowhere")
    assert not plex.pins
    assert plex.requests[0].status is None


@pytest.mark.parametrize("fault", [Hang(), Latency(3600)], ids=["hang", "latency"])
async def test_stop_ends_a_request_that_is_not_answered(clock: Clock, fault: Fault) -> None:
    async with PlexTV(now=clock) as plex, connected(plex) as client:
        plex.fail(fault)
        hanging = asyncio.create_task(client.create_pin())
        await plex.received()
        await plex.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await hanging


async def test_stop_ends_the_handler_of_a_client_that_left(clock: Clock) -> None:
    before = asyncio.all_tasks()
    async with PlexTV(now=clock) as plex, connected(plex) as client:
        plex.fail(Hang())
        await give_up_waiting(plex, client)
    assert asyncio.all_tasks() == before


# --- after the deed ---


async def test_sign_out_is_done_although_the_answer_fails(plex: PlexTV, client: Client, token: str) -> None:
    plex.fail(AfterStoring(ServerError(502)), calls=Operation.SIGN_OUT)
    assert (await client.sign_out(token)).status == 502
    assert not plex.is_alive(token)


async def test_one_token_read_is_spent_although_the_answer_is_lost(plex: PlexTV, client: Client) -> None:
    plex.token_reads = 1
    made = (await client.create_pin()).members
    plex.approve(str(made["code"]))
    plex.fail(AfterStoring(JsonError(500, 1)), calls=Operation.GET_PIN)
    assert (await client.get_pin(made["id"])).status == 500
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_deed_is_done_once_although_two_parts_ask_for_it(plex: PlexTV, client: Client) -> None:
    plex.fail(AfterStoring(Bom()))
    await client.create_pin()
    assert len(plex.pins) == 1
