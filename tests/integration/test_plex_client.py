"""The plex.tv client against the stand-in, on a real socket."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import time
import zlib
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from plexlink.errors import (
    PlexError,
    PlexRefusedError,
    PlexSilentError,
    PlexSlowDownError,
    PlexUnavailableError,
    TokenRejectedError,
)
from plexlink.models import Approved, Expired, Pending, Pin
from plexlink.plex import Pace, PinStyle, PlexClient, device_name
from plexlink.secret import Secret
from plexlink_bot.sandbox import plex_faults as faults
from plexlink_bot.sandbox.plex_tv import BOB, Operation, PlexTV

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CLIENT = Secret("0a1b2c3d-planted-client-identifier")
PIN_ID = Secret("1876543219")
CODE = Secret("PLANTEDCODE")
TOKEN = Secret("planted-token-0123456789")
DEVICE = "Discord: alice via PlexLink"


def a_client(
    url: str,
    *,
    product: Callable[[], str] = lambda: "PlexLink",
    proxy: str | None = None,
    timeout_seconds: float = 15.0,
    pace: Pace | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> PlexClient:
    return PlexClient(
        base_url=url,
        product=product,
        version="1.2.3",
        pace=pace or Pace(1.0),
        monotonic=monotonic,
        proxy=proxy,
        timeout_seconds=timeout_seconds,
    )


@pytest.fixture
async def plex() -> AsyncIterator[PlexTV]:
    async with PlexTV() as plex:
        yield plex


@pytest.fixture
def pace() -> Pace:
    return Pace(1.0)


@pytest.fixture
async def client(plex: PlexTV, pace: Pace) -> AsyncIterator[PlexClient]:
    async with a_client(plex.url, pace=pace) as client:
        yield client


async def new_pin(client: PlexClient, style: PinStyle = PinStyle.SHORT) -> Pin:
    return await client.create_pin(CLIENT, device_name=DEVICE, style=style)


async def new_token(plex: PlexTV, client: PlexClient) -> Secret:
    return Secret(plex.approve((await new_pin(client)).code.reveal(), BOB))


@dataclass(frozen=True)
class Known:
    """What the calls are made with."""

    client: PlexClient
    pin_id: Secret
    token: Secret
    device_id: str = "4711"


CALLS: dict[Operation, Callable[[Known], Awaitable[object]]] = {
    Operation.CREATE_PIN: lambda known: new_pin(known.client),
    Operation.GET_PIN: lambda known: known.client.ask(known.pin_id, CLIENT),
    Operation.USER: lambda known: known.client.account(known.token, CLIENT),
    Operation.PING: lambda known: known.client.ping(known.token, CLIENT),
    Operation.DEVICES: lambda known: known.client.device_of(known.token, CLIENT),
    Operation.SIGN_OUT: lambda known: known.client.sign_out(known.token, CLIENT),
    Operation.DELETE_DEVICE: lambda known: known.client.remove_device(known.token, CLIENT, known.device_id),
}
calls = pytest.mark.parametrize("operation", CALLS)
WITH_TOKEN = list(CALLS)[2:]
OF_XML = {Operation.DEVICES, Operation.DELETE_DEVICE}


@pytest.fixture
async def known(plex: PlexTV, client: PlexClient) -> Known:
    pin = await new_pin(client)
    token = await new_token(plex, client)
    known = Known(client, pin.id, token, str(plex.tokens[token.reveal()].id))
    plex.requests.clear()
    return known


async def outcome(call: Awaitable[object]) -> object:
    """Return what the call returns, or the class of what it raises."""
    try:
        return await call
    except PlexError as error:
        return type(error)


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Listen on loopback with a server that says what it likes; give its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


# --- the happy path ---


async def test_pin_is_created_asked_about_and_approved(plex: PlexTV, client: PlexClient) -> None:
    pin = await new_pin(client)
    assert pin.expires_in == timedelta(seconds=900)
    pending = await client.ask(pin.id, CLIENT)
    assert isinstance(pending, Pending)
    assert pending.expires_in is not None
    assert pending.expires_in <= pin.expires_in
    token = plex.approve(pin.code.reveal())
    assert await client.ask(pin.id, CLIENT) == Approved(Secret(token))


@pytest.mark.parametrize(
    ("style", "length", "seconds", "query"),
    [(PinStyle.SHORT, 4, 900, {}), (PinStyle.STRONG, 25, 1800, {"strong": "true"})],
)
async def test_style_decides_the_code(
    plex: PlexTV, client: PlexClient, style: PinStyle, *, length: int, seconds: int, query: dict[str, str]
) -> None:
    pin = await new_pin(client, style)
    assert len(pin.code.reveal()) == length
    assert pin.expires_in == timedelta(seconds=seconds)
    assert plex.requests[-1].query == query


async def test_account_is_read_and_signed_out_and_no_other_token_with_it(plex: PlexTV, client: PlexClient) -> None:
    token, other = await new_token(plex, client), await new_token(plex, client)
    account = await client.account(token, CLIENT)
    assert (account.id, account.name, account.is_managed) == (Secret(str(BOB.id)), Secret("bob"), False)
    await client.sign_out(token, CLIENT)
    assert (plex.is_alive(token.reveal()), plex.is_alive(other.reveal())) == (False, True)
    assert await outcome(client.account(token, CLIENT)) is TokenRejectedError
    assert await outcome(client.sign_out(token, CLIENT)) is TokenRejectedError


async def test_ping_says_that_a_token_is_alive_and_that_it_is_not(plex: PlexTV, client: PlexClient) -> None:
    token = await new_token(plex, client)
    await client.ping(token, CLIENT)
    plex.revoke(token.reveal())
    assert await outcome(client.ping(token, CLIENT)) is TokenRejectedError


async def test_exactly_our_device_is_found_and_removed(plex: PlexTV, client: PlexClient) -> None:
    other = await client.create_pin(Secret("another-client"), device_name=DEVICE, style=PinStyle.SHORT)
    others = Secret(plex.approve(other.code.reveal(), BOB))
    token = await new_token(plex, client)
    device_id = await client.device_of(token, CLIENT)
    assert device_id == str(plex.tokens[token.reveal()].id)
    await client.remove_device(token, CLIENT, device_id)
    assert (plex.is_alive(token.reveal()), plex.is_alive(others.reveal())) == (False, True)
    assert await client.device_of(others, CLIENT) is None


async def test_list_of_a_thousand_devices_is_read(plex: PlexTV, client: PlexClient) -> None:
    for number in range(1000):
        pin = await client.create_pin(Secret(f"client-{number}"), device_name=DEVICE, style=PinStyle.SHORT)
        plex.approve(pin.code.reveal(), BOB)
    token = await new_token(plex, client)
    assert await client.device_of(token, CLIENT) == str(plex.tokens[token.reveal()].id)


@pytest.mark.parametrize("device_id", ["", "x", "1.xml?", "../user", "-1", "\u0661", "1\n", "9" * 20])
async def test_what_is_no_device_is_never_asked_to_be_removed(plex: PlexTV, known: Known, device_id: str) -> None:
    with pytest.raises(ValueError, match="a number") as raised:
        await known.client.remove_device(known.token, CLIENT, device_id)
    assert device_id not in str(raised.value) or not device_id
    assert plex.requests == []


# --- what goes over the wire ---


@calls
async def test_every_call_says_who_asks_and_what_it_can_read(plex: PlexTV, known: Known, operation: Operation) -> None:
    await CALLS[operation](known)
    [call] = plex.requests
    said = {name: call.headers.get(name) for name in call.headers if name.startswith("X-Plex-") and "Token" not in name}
    named = {"X-Plex-Device-Name": DEVICE} if operation is Operation.CREATE_PIN else {}
    assert said == {
        "X-Plex-Client-Identifier": CLIENT.reveal(),
        "X-Plex-Product": "PlexLink",
        "X-Plex-Version": "1.2.3",
        "X-Plex-Platform": "Discord",
        "X-Plex-Device": "Discord Bot",
        **named,
    }
    assert call.headers["Accept"] == ("application/xml" if operation in OF_XML else "application/json")
    assert "br" not in call.headers["Accept-Encoding"]
    assert "Cookie" not in call.headers
    assert call.operation is operation
    assert call.path.startswith("/devices" if operation in OF_XML else "/api/v2/")


@calls
async def test_token_travels_in_its_header_only(plex: PlexTV, known: Known, operation: Operation) -> None:
    await CALLS[operation](known)
    [call] = plex.requests
    assert call.headers.get("X-Plex-Token") == (known.token.reveal() if operation in WITH_TOKEN else None)
    assert known.token.reveal() not in f"{call.path} {call.query}"
    others = [value for name, value in call.headers.items() if name != "X-Plex-Token"]
    assert known.token.reveal() not in " ".join(others)
    assert CLIENT.reveal() not in f"{call.path} {call.query}"


async def test_product_is_asked_at_each_call(plex: PlexTV) -> None:
    names = iter(["PlexLink", "Marvin"])
    async with a_client(plex.url, product=lambda: next(names)) as client:
        await new_pin(client)
        await new_pin(client)
    assert [call.headers["X-Plex-Product"] for call in plex.requests] == ["PlexLink", "Marvin"]


async def test_device_name_of_any_member_and_bot_is_ascii_on_the_wire(plex: PlexTV, client: PlexClient) -> None:
    name = device_name("j\u00fcrgen_\U0001f600", "B\u00f6t\r\nX-Evil: 1 \u202e" + "x" * 99)
    await client.create_pin(CLIENT, device_name=name, style=PinStyle.SHORT)
    said = plex.requests[-1].headers["X-Plex-Device-Name"]
    assert said.isascii()
    assert len(said) <= 64
    assert said.startswith("Discord: juergen_ via Boet X-Evil: 1 ")
    assert "X-Evil" not in plex.requests[-1].headers
    assert plex.pin(next(iter(plex.pins.values())).code).device_name == said


async def test_line_break_in_a_header_sends_nothing(plex: PlexTV) -> None:
    async with a_client(plex.url, product=lambda: "a\r\nX-Evil: 1") as client:
        assert await outcome(new_pin(client)) is PlexUnavailableError
    assert plex.requests == []


async def test_cookies_are_not_kept() -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b; Path=/\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async with listening(talk) as url, a_client(url.replace("127.0.0.1", "localhost")) as client:
        await client.sign_out(TOKEN, CLIENT)
        await client.sign_out(TOKEN, CLIENT)
    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_proxy_is_used_for_every_call(plex: PlexTV) -> None:
    async with a_client("http://plex.invalid", proxy=plex.url) as client:
        pin = await new_pin(client)
        assert isinstance(await client.ask(pin.id, CLIENT), Pending)
    assert [call.operation for call in plex.requests] == [Operation.CREATE_PIN, Operation.GET_PIN]


# --- what can go wrong at plex.tv ---

# In the order of CALLS: first those that read a body as JSON, then those that read one at all. What a body means to
# each of them is `tests/unit/test_answers.py`'s; here is that it is asked, and what happens on the way.
UNAVAILABLE = (PlexUnavailableError,) * 7
REFUSED = (PlexRefusedError,) * 7
NOT_SIGNED_IN = (PlexRefusedError,) * 2 + (TokenRejectedError,) * 5

FAULTS: list[tuple[faults.Fault, tuple[object, ...]]] = [
    (faults.ServerError(500), UNAVAILABLE),
    (faults.Html(200), (*UNAVAILABLE[:6], None)),
    (faults.Html(403), UNAVAILABLE),
    (faults.Empty(410), (PlexUnavailableError, Expired(), *UNAVAILABLE[2:])),
    (faults.ForeignJson(401), UNAVAILABLE),
    (faults.JsonError(401, 1001), NOT_SIGNED_IN),
    (faults.JsonError(403, 1041), REFUSED),
    (faults.JsonError(404, 1020), (PlexRefusedError, Expired(), *REFUSED[2:])),
    (faults.RateLimited(), (PlexSlowDownError,) * 7),
    (faults.Reset("accept"), UNAVAILABLE),
    (faults.Reset("headers"), UNAVAILABLE[:5]),
    (faults.Reset("body"), UNAVAILABLE[:5]),
    (faults.Truncated(), UNAVAILABLE[:5]),
    (faults.AfterStoring(faults.ServerError()), UNAVAILABLE),
    (faults.Huge(2**20), UNAVAILABLE),
    (faults.GzipBomb(2**20), UNAVAILABLE),
    (faults.DeepJson(20_000), UNAVAILABLE[:5]),
    (faults.Redirect(), UNAVAILABLE),
    (faults.Redirect("//[", 307), UNAVAILABLE),
    (faults.Body(b"not gzip", encoding="gzip"), UNAVAILABLE),
    (faults.Body(b"{}", encoding="br"), UNAVAILABLE),
    (faults.Body(b"\xff\xfe\xfd", content_type="application/json; charset=utf-8"), UNAVAILABLE[:5]),
    (faults.Body(b"{}", content_type="application/json; charset=nonsense"), UNAVAILABLE[:5]),
]
ROWS = [
    pytest.param(fault, operation, expected, id=f"{fault!r}-{operation.value}")
    for fault, expecteds in FAULTS
    for operation, expected in zip(CALLS, expecteds, strict=False)
]


@pytest.mark.parametrize(("fault", "operation", "expected"), ROWS)
async def test_fault_is_the_decision_that_a_caller_can_take(
    plex: PlexTV, known: Known, fault: faults.Fault, operation: Operation, expected: object
) -> None:
    # All calls: aiohttp repeats a GET by itself when a used connection breaks.
    plex.fail(fault, times=None)
    assert await outcome(CALLS[operation](known)) == expected


@calls
@pytest.mark.parametrize("fault", [faults.Latency(0.01), faults.Drip(0), faults.Bom()], ids=repr)
async def test_slow_or_marked_answer_is_an_answer(
    plex: PlexTV, known: Known, operation: Operation, fault: faults.Fault
) -> None:
    plex.fail(fault)
    assert not isinstance(await outcome(CALLS[operation](known)), type)


# --- what the pace learns ---


@calls
async def test_every_call_slows_the_pace_down_and_wins_it_back(
    plex: PlexTV, known: Known, pace: Pace, operation: Operation
) -> None:
    plex.fail(faults.RateLimited(60))
    before = time.monotonic()
    assert await outcome(CALLS[operation](known)) is PlexSlowDownError
    assert pace.rate == 0.5
    assert before + 60 <= pace.paused_until() <= time.monotonic() + 60
    await CALLS[operation](known)
    assert pace.rate == pytest.approx(0.55)


async def test_burst_that_is_answered_late_slows_the_pace_down_once(plex: PlexTV, pace: Pace) -> None:
    plex.fail(faults.RateLimited(1), times=None)
    ticks = itertools.count(step=10.0)  # the pause after the first answer is over when the second one comes
    async with a_client(plex.url, pace=pace, monotonic=lambda: next(ticks)) as client:
        await asyncio.gather(*(outcome(client.ask(PIN_ID, CLIENT)) for _ in range(2)))
        assert pace.rate == 0.5
        await outcome(client.ask(PIN_ID, CLIENT))
        assert pace.rate == 0.25


TEACHES_NOTHING = [
    faults.JsonError(401, 1001),
    faults.JsonError(403, 1041),
    faults.Html(403),
    faults.ServerError(503),
    faults.Redirect(),
    faults.Reset("accept"),
    faults.Huge(2**20),
]


@calls
@pytest.mark.parametrize("fault", TEACHES_NOTHING, ids=repr)
async def test_refusal_or_no_answer_leaves_the_pace_as_it_is(
    plex: PlexTV, known: Known, pace: Pace, operation: Operation, fault: faults.Fault
) -> None:
    pace.slow_down(0.0, 1.0, asked_at=0.0)
    plex.fail(fault, times=None)
    assert isinstance(await outcome(CALLS[operation](known)), type)
    assert (pace.rate, pace.paused_until()) == (0.5, 1.0)


async def test_word_that_a_code_has_run_out_wins_the_pace_back(plex: PlexTV, known: Known, pace: Pace) -> None:
    pace.slow_down(0.0, 1.0, asked_at=0.0)
    plex.fail(faults.JsonError(404, 1020))
    assert await outcome(known.client.ask(known.pin_id, CLIENT)) == Expired()
    assert pace.rate > 0.5


# --- what is read ---


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_answer_is_read(
    plex: PlexTV, known: Known, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    plex.fail(faults.Body(pack(b'{"id":12345,"username":"alice"}'), encoding=encoding), calls=Operation.USER)
    assert (await known.client.account(known.token, CLIENT)).name == Secret("alice")


# --- limits ---


@calls
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(plex: PlexTV, known: Known, operation: Operation, status: int) -> None:
    async with PlexTV() as elsewhere:
        plex.fail(faults.Redirect(f"{elsewhere.url}/api/v2/pins", status))
        assert await outcome(CALLS[operation](known)) is PlexUnavailableError
        assert elsewhere.requests == []
    assert len(plex.requests) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
    ],
    ids=["without length", "with length", "error"],
)
@calls
async def test_body_without_end_is_not_read_to_the_end(operation: Operation, head: bytes) -> None:
    sent, hung_up = 0, asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        try:
            while True:
                writer.write(b" " * 4096)
                await writer.drain()
                sent += 4096
        except ConnectionError:
            hung_up.set()

    async with listening(talk) as url, a_client(url) as client:
        assert await outcome(CALLS[operation](Known(client, PIN_ID, TOKEN))) is PlexUnavailableError
        await hung_up.wait()
    # What the sockets' buffers take is sent, whether it is read or not.
    assert sent < 50 * 2**20


@calls
async def test_refused_connection_is_no_answer(plex: PlexTV, known: Known, operation: Operation) -> None:
    await plex.stop()
    assert await outcome(CALLS[operation](known)) is PlexUnavailableError


@calls
@pytest.mark.parametrize("fault", [faults.Hang(), faults.Drip(interval=0.1)], ids=repr)
async def test_call_that_takes_too_long_is_no_answer(plex: PlexTV, operation: Operation, fault: faults.Fault) -> None:
    plex.fail(fault, times=None)
    async with a_client(plex.url, timeout_seconds=0.3) as hasty:
        assert await outcome(CALLS[operation](Known(hasty, PIN_ID, TOKEN))) is PlexSilentError


@calls
async def test_cancelled_call_is_cancelled_and_nothing_else(plex: PlexTV, known: Known, operation: Operation) -> None:
    plex.fail(faults.Hang())
    call = asyncio.ensure_future(CALLS[operation](known))
    await plex.received(operation)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


# --- resources ---


async def test_closed_client_leaves_no_connection_behind(plex: PlexTV) -> None:
    async with a_client(plex.url) as client:
        await new_pin(client)
        session = client._session
    assert session.closed
    assert session.connector is None or session.connector.closed
