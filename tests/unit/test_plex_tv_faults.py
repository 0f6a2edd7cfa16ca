"""Everything that can go wrong at the stand-in of plex.tv, as a real client sees it."""

import asyncio
import json
import zlib
from typing import Any, Literal

import aiohttp
import pytest

from plex_tv_client import BOT, PIN_IS_GONE, Client, Clock, Reply, assert_error, connected, sign_in
from plexlink_bot.sandbox import plex_faults as faults
from plexlink_bot.sandbox.plex_tv import Operation, PlexTV


@pytest.fixture
async def token(plex: PlexTV, client: Client) -> str:
    return await sign_in(plex, client)


# --- which request they meet ---


async def test_faults_come_in_the_order_they_were_armed_each_as_often_as_it_is_told(
    plex: PlexTV, client: Client
) -> None:
    plex.fail(faults.NoFault(), times=2)
    plex.fail(faults.ServerError(502), times=2)
    plex.fail(faults.ServerError(503))
    assert [(await client.create_pin()).status for _ in range(6)] == [201, 201, 502, 502, 503, 201]
    plex.fail(faults.ServerError(), times=None)
    assert [(await client.create_pin()).status for _ in range(3)] == [500, 500, 500]
    assert (await client.ask("GET", "/nowhere")).status == 500
    plex.heal()
    assert (await client.create_pin()).status == 201


async def test_fault_meets_only_the_calls_it_names(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.ServerError(), calls=Operation.GET_PIN)
    made = await client.create_pin()
    assert (made.status, (await client.get_pin(made.members["id"])).status) == (201, 500)
    with pytest.raises(ValueError, match="poll_pin"):
        plex.fail(faults.ServerError(), calls="poll_pin")


# --- instead of an answer ---


SAYINGS = [
    faults.ServerError(),
    faults.Html(),
    faults.Empty(),
    faults.JsonError(400, 1),
    faults.ForeignJson(),
    faults.RateLimited(),
    faults.Body(b""),
    faults.Redirect(),
]


@pytest.mark.parametrize(
    "fault", [*SAYINGS, faults.Reset(), faults.Huge(1), faults.GzipBomb(1), faults.DeepJson(1)], ids=repr
)
async def test_nothing_is_performed_under_a_fault_unless_after_storing(
    plex: PlexTV, client: Client, fault: faults.Fault
) -> None:
    plex.fail(fault)
    plex.fail(faults.AfterStoring(fault))
    await outcome(client)
    assert not plex.pins
    await outcome(client)
    assert len(plex.pins) == 1


async def outcome(client: Client) -> Reply | None:
    try:
        return await client.create_pin()
    except aiohttp.ClientError:
        return None


HTML = "text/html; charset=utf-8"
PLEX_JSON = "application/json; charset=utf-8"
AN_ERROR: dict[str, Any] = {"code": 1041, "message": "A valid PIN is required"}


@pytest.mark.parametrize(
    ("fault", "status", "headers", "said"),
    [
        (faults.ServerError(503), 503, {"Content-Type": HTML}, "503 Server Error"),
        *((faults.Html(status), status, {"Content-Type": HTML}, "<!DOCTYPE html>") for status in (200, 401, 403, 404)),
        (faults.Empty(), 404, {"Content-Type": None, "Content-Length": "0"}, b""),
        (faults.JsonError(403, **AN_ERROR), 403, {"Content-Type": PLEX_JSON}, {"errors": [AN_ERROR | {"status": 403}]}),
        (
            faults.JsonError(422, **AN_ERROR, tells_status=False),
            422,
            {"Content-Type": PLEX_JSON},
            {"errors": [AN_ERROR]},
        ),
        (faults.ForeignJson(403), 403, {}, {"message": "Forbidden"}),
        (
            faults.Body(b"\xff\x00{", 203, "text/x-odd; charset=klingon", encoding="br"),
            203,
            {"Content-Type": "text/x-odd; charset=klingon", "Content-Encoding": "br"},
            b"\xff\x00{",
        ),
        (faults.Body(b"[]"), 200, {"Content-Type": "application/json", "Content-Encoding": None}, b"[]"),
        (faults.Redirect("https://example.com/", 307), 307, {"Location": "https://example.com/"}, b""),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_fault_says_what_it_is_made_to_say(
    plex: PlexTV, client: Client, *, fault: faults.Fault, status: int, headers: dict[str, str | None], said: object
) -> None:
    plex.fail(fault)
    reply = await client.create_pin()
    assert (reply.status, {name: reply.headers.get(name) for name in headers}) == (status, headers)
    if isinstance(said, str):
        assert said in reply.text
    else:
        assert said == (reply.raw if isinstance(said, bytes) else reply.members)


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(None, None), (30, "30"), (1.5, "1.5"), ("Sat, 31 Jan 2026 12:00:30 GMT",) * 2, ("soon", "soon")],
)
async def test_rate_limited_answers_429_with_the_header_it_is_given(
    plex: PlexTV, client: Client, retry_after: float | str | None, header: str | None
) -> None:
    plex.fail(faults.RateLimited(retry_after))
    reply = await client.create_pin()
    assert_error(reply, 429, "error_429_rate_limit.json")
    assert reply.headers.get("Retry-After") == header


async def test_redirect_without_a_place_is_a_loop(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.Redirect(), times=None)
    with pytest.raises(aiohttp.TooManyRedirects):
        await client.session.get("/api/v2/user", params={"a": "b"}, max_redirects=5)
    assert {(call.path, call.query["a"]) for call in plex.requests} == {("/api/v2/user", "b")}


# --- too much ---


async def test_huge_answer_is_sound_json_of_that_size_without_a_length(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.Huge(200_000))
    reply = await client.create_pin()
    assert "Content-Length" not in reply.headers
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert reply.members["padding"] == "0" * 200_000
    assert reply.members["code"] == "ZZZZ"


async def test_gzip_bomb_is_small_on_the_wire_and_huge_in_memory(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.GzipBomb(10 * 2**20))
    reply = await client.create_pin()
    assert reply.headers["Content-Encoding"] == "gzip"
    assert len(reply.raw) < 20_000
    members = json.loads(zlib.decompress(reply.raw, wbits=31))
    assert members["padding"] == "0" * (10 * 2**20)
    assert faults.Huge().size == faults.GzipBomb().size == 52_428_800


async def test_deep_json_cannot_be_parsed_by_recursion_but_is_sound_json(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.DeepJson())
    raw = (await client.create_pin()).raw
    assert raw.count(b"[") == raw.count(b"]") == 100_000
    with pytest.raises(RecursionError):
        json.loads(raw)
    plex.fail(faults.DeepJson(3))
    members = (await client.create_pin()).members
    assert members["padding"] == [[[]]]
    assert members.keys() >= {"id", "code", "expiresIn", "authToken", "uuid", "pong"}


# --- around the right answer ---


async def read_to_the_end(answer: aiohttp.ClientResponse) -> tuple[bytes, aiohttp.ClientError | None]:
    received = b""
    try:
        async for piece in answer.content.iter_any():
            received += piece
    except aiohttp.ClientError as error:
        return received, error
    return received, None


async def test_wrong_types_replace_and_remove_members(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.WrongTypes(id="x", authToken=12, code=faults.ABSENT))
    reply = await client.create_pin()
    assert reply.status == 201
    (pin,) = plex.pins.values()
    assert (reply.members["id"], reply.members["authToken"]) == ("x", 12)
    assert "code" not in reply.members
    assert reply.members["expiresIn"] == 900
    assert pin.code in str(reply.members["qr"])


async def test_right_answer_comes_behind_a_bom_or_in_another_charset_under_another_type(
    plex: PlexTV, client: Client
) -> None:
    plex.fail(faults.Bom())
    reply = await client.create_pin()
    assert (reply.status, reply.raw[:3]) == (201, b"\xef\xbb\xbf")
    assert json.loads(reply.raw.decode("utf-8-sig"))["expiresIn"] == 900
    plex.fail(faults.Relabelled("text/plain", "utf-16"))
    reply = await client.create_pin()
    assert (reply.status, reply.headers["Content-Type"]) == (201, "text/plain")
    assert json.loads(reply.raw.decode("utf-16"))["code"] == list(plex.pins.values())[-1].code


async def test_drip_sends_the_right_answer_byte_by_byte(plex: PlexTV, client: Client, clock: Clock) -> None:
    plex.fail(faults.Drip(interval=3))
    reply = await client.create_pin()
    assert reply.status == 201
    assert reply.members["code"] in [pin.code for pin in plex.pins.values()]
    assert clock.slept[:-1] == [3.0] * (len(reply.raw) - 1)


async def test_truncated_answer_promises_more_than_it_sends(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.Truncated())
    async with client.session.post("/api/v2/pins", headers=BOT) as answer:
        promised = int(answer.headers["Content-Length"])
        received, error = await read_to_the_end(answer)
    assert isinstance(error, aiohttp.ClientPayloadError)
    assert json.loads(received)["expiresIn"] == 900
    assert promised == len(received) + 64


# --- the connection ---


async def test_reset_before_an_answer_leaves_no_status(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.Reset())
    with pytest.raises(aiohttp.ClientOSError, match="reset"):
        await client.create_pin()
    assert [call.status for call in plex.requests] == [None]
    assert not plex.pins


@pytest.mark.parametrize(("after", "part"), [("headers", 0), ("body", 0.5)])
async def test_reset_after_the_headers_sends_no_body_and_in_the_body_half_of_it(
    plex: PlexTV, client: Client, after: Literal["headers", "body"], part: float
) -> None:
    plex.fail(faults.Reset(after=after))
    async with client.session.post("/api/v2/pins", headers=BOT) as answer:
        promised = int(answer.headers["Content-Length"])
        received, error = await read_to_the_end(answer)
    assert len(received) == int(promised * part)
    assert "reset" in str(error)
    assert [call.status for call in plex.requests] == [201]
    assert len(plex.pins) == 1


async def test_hanging_request_is_answered_when_healed(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.Hang())
    hanging = asyncio.create_task(client.create_pin())
    await plex.received()
    assert (await client.ask("GET", "/nowhere")).status == 404
    assert not plex.pins
    assert [call.status for call in plex.requests] == [None, 404]
    plex.heal()
    assert (await hanging).status == 201


async def test_request_that_hangs_after_storing_is_stored_at_once(plex: PlexTV, client: Client, token: str) -> None:
    plex.fail(faults.AfterStoring(faults.Hang()))
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
    plex.fail(faults.Hang())
    await give_up_waiting(plex, client)
    plex.heal()
    await client.ask("GET", "/nowhere")
    assert not plex.pins
    assert plex.requests[0].status is None


@pytest.mark.parametrize("fault", [faults.Hang(), faults.Latency(3600)], ids=["hang", "latency"])
async def test_stop_ends_a_request_that_is_not_answered(clock: Clock, fault: faults.Fault) -> None:
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
        plex.fail(faults.Hang())
        await give_up_waiting(plex, client)
    assert asyncio.all_tasks() == before


# --- after the deed ---


async def test_one_token_read_is_spent_although_the_answer_is_lost(plex: PlexTV, client: Client) -> None:
    plex.token_reads = 1
    made = (await client.create_pin()).members
    plex.approve(str(made["code"]))
    plex.fail(faults.AfterStoring(faults.JsonError(500, 1)), calls=Operation.GET_PIN)
    assert (await client.get_pin(made["id"])).status == 500
    assert_error(await client.get_pin(made["id"]), 404, PIN_IS_GONE)


async def test_deed_is_done_once_although_two_parts_ask_for_it(plex: PlexTV, client: Client) -> None:
    plex.fail(faults.AfterStoring(faults.Bom()))
    await client.create_pin()
    assert len(plex.pins) == 1
