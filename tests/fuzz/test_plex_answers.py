"""Whatever plex.tv says, through every reader and over a real socket: an outcome that keeps its word, or a documented
error that repeats nothing of it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
import traceback
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plexlink import errors
from plexlink.models import Account, Approved, Expired, Pending, Pin
from plexlink.plex import Pace, PinStyle, PlexClient
from plexlink.plex.answers import (
    MAX_BODY_BYTES,
    Answer,
    decompress,
    read_account,
    read_device,
    read_device_removal,
    read_pin,
    read_pin_state,
    read_ping,
    read_servers,
    read_sign_out,
)
from plexlink.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    Read = Callable[[Answer], object]

RECORDINGS = sorted((Path(__file__).parent.parent / "data" / "plex").glob("*.json"))
LONGEST_ERROR = 200

PIN_ID = Secret("4815162342")
TOKEN = "planted-token_aB3.x"
CLIENT = Secret("planted-client")


def documented(function: object) -> tuple[type[Exception], ...]:
    """Return the errors that a docstring names."""
    return tuple(getattr(errors, name) for name in re.findall(r"\b\w+Error\b", function.__doc__ or ""))


READERS: dict[str, tuple[Read, tuple[type[Exception], ...]]] = {
    "create": (read_pin, documented(read_pin)),
    "ask": (lambda answer: read_pin_state(answer, PIN_ID), documented(read_pin_state)),
    "account": (read_account, documented(read_account)),
    "ping": (read_ping, documented(read_ping)),
    "device": (lambda answer: read_device(answer, CLIENT), documented(read_device)),
    "device_removal": (read_device_removal, documented(read_device_removal)),
    "servers": (read_servers, documented(read_servers)),
    "sign_out": (read_sign_out, documented(read_sign_out)),
}
readers = pytest.mark.parametrize("name", READERS)


def keeps_its_word(result: object) -> bool:  # noqa: PLR0911 - one a kind
    """Tell whether a result is what the rest of the plugin relies on."""
    match result:
        case None | Expired() | Pending(None):
            return True
        case list():
            return all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", server.id.reveal()) for server in result)
        case str():
            return re.fullmatch(r"[0-9]{1,19}", result) is not None
        case errors.PlexSlowDownError(retry_after_seconds=float(seconds)):
            return 0 <= seconds <= 3600
        case errors.PlexError():
            return len(str(result)) <= LONGEST_ERROR
        case Pin():
            return (
                re.fullmatch(r"\d{1,19}", result.id.reveal()) is not None
                and re.fullmatch(r"[A-Za-z0-9]{1,64}", result.code.reveal()) is not None
                and timedelta(0) < result.expires_in <= timedelta(days=1)
            )
        case Pending(expires_in):
            return timedelta(0) <= expires_in <= timedelta(days=1)
        case Approved(token):
            return re.fullmatch(r"[A-Za-z0-9._-]{10,4096}", token.reveal()) is not None
        case Account():
            name = result.name.reveal()
            return (
                re.fullmatch(r"\d{1,19}", result.id.reveal()) is not None
                and bool(name.strip())
                and name.encode().decode() == name
                and len(name) <= MAX_BODY_BYTES
                and isinstance(result.is_managed, bool)
            )
    return False


def check(name: str, answer: Answer) -> None:
    read, may_raise = READERS[name]
    try:
        result = read(answer)
    except may_raise as error:
        result = error
        said = "".join(traceback.format_exception(error)) + repr(error)
    else:
        said = f"{result!r} {result}"
    assert keeps_its_word(result)
    assert "planted" not in said
    assert PIN_ID.reveal() not in said


# --- what plex.tv may say ---

# Pieces of JSON text, not values: so that a key can come twice and a number can be what Python would never write.
NAMES = ["id", "code", "expiresIn", "authToken", "username", "title", "friendlyName", "restricted", "error", "errors"]
NUMBERS = ["0", "-0", "-1", "0.5", "1e-400", "1e400", "900", "86400", "86401", str(2**63 - 1), str(2**63), "9" * 5000]
CODES = ["1020", "1020.0", '"1020"', "1001", PIN_ID.reveal()]
IDS = [PIN_ID.reveal(), f'"{PIN_ID.reveal()}"', f"{PIN_ID.reveal()}.0"]
WORDS = ['"KYLX"', '"KYLX\\n"', '"K LX"', f'"{"x" * 65}"', '""', '" "', '"null"', '"planted words"']
TOKENS = [f'"{TOKEN}"', f'"{TOKEN} "', f'"{TOKEN}\\n"', '"planted"', f'"{"x" * 4097}"', '"planted-\\u00f6-planted"']
ODD_WORDS = ['"\\ud83d"', '"\\u0000"', '"\\u202e"', '"\x00"', "'id'", "\\", ""]
CONSTANTS = ["null", "true", "false", "NaN", "Infinity", "-Infinity", "[]", "{}", "[{}]", '[{"code":1020}]']
LEAVES = NUMBERS + CODES + IDS + WORDS + TOKENS + ODD_WORDS + CONSTANTS

keys = st.sampled_from([json.dumps(name) for name in NAMES]) | st.text(max_size=5).map(json.dumps)


def an_object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{key}:{value}" for key, value in members) + "}"


def nest(depth: int, opening: str) -> str:
    return opening * depth + "1" + ("]" if opening == "[" else "}") * depth


leaves = (
    st.sampled_from(LEAVES)
    | st.integers(1, 5000).map(lambda digits: "9" * digits)
    | st.integers().map(str)
    | st.floats().map(json.dumps)
    | st.text(max_size=30).map(json.dumps)
)
nests = st.builds(nest, st.integers(900, 1000) | st.just(10_000), st.sampled_from(["[", '{"errors":', '{"a":']))
pieces = st.recursive(
    leaves | nests,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(keys, inner), max_size=3).map(an_object)
    ),
    max_leaves=6,
)
error_lists = st.lists(
    st.sampled_from(CODES).map(lambda code: f'{{"code":{code},"message":"planted"}}') | pieces, max_size=4
).map(lambda items: f"[{','.join(items)}]")


def members_of(text: bytes) -> list[tuple[str, str]]:
    answer = json.loads(text)
    members = answer[0] if isinstance(answer, list) else answer
    return [(json.dumps(key), json.dumps(value)) for key, value in members.items()]


GOOD = [
    ('"id"', PIN_ID.reveal()),
    ('"code"', '"KYLX"'),
    ('"expiresIn"', "900"),
    ('"authToken"', f'"{TOKEN}"'),
    ('"username"', '"planted-name"'),
]
recorded = st.sampled_from([GOOD, *(members_of(path.read_bytes()) for path in RECORDINGS)])


@st.composite
def spoilt_recordings(draw: st.DrawFn) -> str:
    """Take an answer that was recorded, drop some members and add others, also under the same names."""
    kept = [member for member in draw(recorded) if draw(st.integers(0, 4))]
    added = draw(st.lists(st.tuples(keys, pieces) | st.tuples(st.just('"errors"'), error_lists), max_size=3))
    return an_object(draw(st.permutations(kept + added)))


ENCODINGS = ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "latin-1"]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    text = draw(spoilt_recordings() | pieces)
    body = text.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
    return body


# --- lists of devices ---

DEVICES = (Path(__file__).parent.parent / "data" / "plex" / "devices_xml_200.xml").read_text(encoding="utf-8")
OPENING, *ROWS = re.split(r"(?=<Device )", DEVICES.removesuffix("</MediaContainer>\n"))
OURS = f'<Device clientIdentifier="{CLIENT.reveal()}" id="4711" token="planted"/>'
TAGS = ["<MediaContainer>", "</MediaContainer>", "<Device ", "<a>", "</a>", "/>", "<a" * 100, "<a>" * 20, "]]>"]
MARKUP = ["<!DOCTYPE a>", '<!DOCTYPE a [<!ENTITY b "&b;&b;">]>', "<!--", "-->", "<![CDATA[", "<?xml version='1.0'?>"]
ENTITIES = ["&b;", "&lt;", "&#0;", "&#x10FFFF;", "&#xD800;", "&", "%b;"]
ATTRIBUTES = [f'clientIdentifier="{CLIENT.reveal()}"', 'id="x"', 'id=""', "id='\u0661'", f'id="{"9" * 20}"', ' id="1']

scraps = st.sampled_from(TAGS + MARKUP + ENTITIES + ATTRIBUTES) | st.text(max_size=5)


@st.composite
def device_lists(draw: st.DrawFn) -> bytes:
    """Take the list that was recorded, with our device or without, and write into it."""
    others = draw(st.lists(st.sampled_from(ROWS), max_size=3))
    rows = draw(st.permutations([*others, draw(st.sampled_from([OURS, ""]))]))
    text = "".join([OPENING, *rows, "</MediaContainer>"])
    for scrap in draw(st.lists(scraps, max_size=3)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + scrap + text[at + draw(st.just(0) | st.integers(0, 40)) :]
    return text.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")


DAY = "Mon, 16 Nov 2026 13:30:00"
DATES = [f"{DAY} GMT", f"{DAY} -0000", f"{DAY} +99999", f"{DAY} +{'9' * 20}", DAY]
DATES.append(f"Mon, 16 Nov {'9' * 20} 13:30:00 GMT")
SCRAPS = ["Mon,", "16", "29", "Nov", "Feb", "November", "2026", "13:30", "1.2.3", "-", "-1", "+0100", "EST", ",", ""]
ODD_SCRAPS = ["\u0662", "\u00b2", ";", "\x00", "9" * 20, "00:00:00"]
SECONDS = ["0", "7", "1_0", "\u0667", " 7 ", "0x7", "-1", "nan", "inf", "1e400", "3601", "9" * 5000]

dates = (
    st.sampled_from(DATES)
    | (st.datetimes() | st.datetimes(timezones=st.just(UTC))).map(format_datetime)
    | st.lists(st.sampled_from(SCRAPS + ODD_SCRAPS), max_size=8).map(" ".join)
)
seconds = st.sampled_from(SECONDS) | st.floats().map(str) | st.integers().map(str)
headers = st.fixed_dictionaries({}, optional={"Retry-After": seconds | dates | st.text(max_size=20), "Date": dates})
statuses = st.sampled_from([200, 201, 204, 400, 401, 403, 404, 410, 422, 429, 498, 500, 503]) | st.integers(0, 999)


@readers
@given(status=statuses, headers=headers, body=bodies())
def test_any_answer_is_a_sound_outcome_or_a_documented_error(
    name: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    check(name, Answer(status, headers, body))


@given(status=st.just(200) | statuses, body=device_lists())
def test_any_list_of_devices_is_the_id_of_ours_or_a_documented_error(status: int, body: bytes) -> None:
    check("device", Answer(status, {}, body))


@given(headers)
@example({"Retry-After": DATES[0], "Date": DATES[1]})
@example({"Retry-After": DATES[-1], "Date": DATES[0]})
def test_any_wish_for_fewer_requests_is_heard(headers: dict[str, str]) -> None:
    said = Answer(429, headers, b"")
    check("ask", said)
    with pytest.raises(errors.PlexSlowDownError):
        read_pin_state(said, PIN_ID)


@readers
@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_one_wrong_member_is_taken_for_nothing_else(name: str, status: int) -> None:
    for member in NAMES:
        for leaf in LEAVES:
            body = an_object([*GOOD, (json.dumps(member), leaf)])
            check(name, Answer(status, {}, body.encode()))


@readers
@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["arrays", "objects"])
def test_no_depth_of_nesting_is_too_much(name: str, status: int, opening: str) -> None:
    # Close to the interpreter's limit, what could just be read may be too deep for what is done with it.
    for member in ("id", "authToken", "expiresIn", "username", "errors"):
        for depth in range(900, 1000):
            body = an_object([*GOOD, (json.dumps(member), nest(depth, opening))])
            check(name, Answer(status, {}, body.encode()))


@pytest.mark.parametrize("codes", [[int(PIN_ID.reveal())], list(range(1000, 9999))], ids=["a secret", "many"])
def test_refusal_repeats_only_what_can_be_a_code(codes: list[int]) -> None:
    body = json.dumps({"errors": [{"code": code} for code in codes]}).encode()
    check("create", Answer(400, {}, body))


# --- compression ---


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


PACKERS = {"gzip": gzipped, "deflate": zlib.compress, "identity": bytes}
encodings = st.sampled_from(["", "x-gzip", "GZIP", "br", "gzip, gzip"]) | st.text(max_size=8)


@st.composite
def packed_bodies(draw: st.DrawFn) -> tuple[bytes, bytes, str]:
    """Return a body, what is left of it after it was packed, cut off and written into, and what it says it is."""
    body = draw(st.binary(max_size=200) | st.integers(60_000, 200_000).map(bytes))
    encoding = draw(st.sampled_from(sorted(PACKERS)))
    packed = PACKERS[encoding](body)
    packed = packed[: len(packed) - draw(st.just(0) | st.integers(0, 20))]
    at = draw(st.integers(0, len(packed)))
    packed = packed[:at] + draw(st.just(b"") | st.binary(max_size=3)) + packed[at:]
    return body, packed, draw(st.just(encoding) | encodings)


@given(packed_bodies())
@example((b"", gzipped(bytes(5 * 2**20)), "gzip"))
@example((bytes(range(200)), gzipped(bytes(range(200)))[:100], "gzip"))
@example((b"", b'{"pong":true}', "gzip"))
@example((b"", b'{"pong":true}', "deflate"))
def test_any_compression_is_a_whole_and_bounded_body_or_a_documented_error(packing: tuple[bytes, bytes, str]) -> None:
    body, packed, encoding = packing
    try:
        plain = decompress(packed, encoding)
    except documented(decompress):
        return
    assert len(plain) <= MAX_BODY_BYTES
    if encoding == "gzip" and packed == gzipped(body)[: len(packed)]:
        assert plain == (body if packed else b""), "not a part of it"


# --- over a socket ---


class Mouth:
    """A server that says what it is told to, whatever it is asked."""

    def __init__(self) -> None:
        self.raw = b""
        self.url = ""
        self.asked: set[bytes] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.add(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.raw)
        writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PlexClient]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = PlexClient(
            base_url=self.url, product=lambda: "PlexLink", version="1", pace=Pace(1.0), monotonic=time.monotonic
        )
        async with server, client:
            yield client


@pytest.fixture(scope="module")
def mouth() -> Mouth:
    return Mouth()


@pytest.fixture(scope="module")
def client(mouth: Mouth) -> Iterator[tuple[asyncio.Runner, PlexClient]]:
    with asyncio.Runner() as runner:
        opened = mouth.open()
        yield runner, runner.run(opened.__aenter__())
        runner.run(opened.__aexit__(None, None, None))


CALLS = {
    "create": lambda client: client.create_pin(CLIENT, device_name="Discord: alice", style=PinStyle.SHORT),
    "ask": lambda client: client.ask(PIN_ID, CLIENT),
    "account": lambda client: client.account(Secret(TOKEN), CLIENT),
    "ping": lambda client: client.ping(Secret(TOKEN), CLIENT),
    "device": lambda client: client.device_of(Secret(TOKEN), CLIENT),
    "device_removal": lambda client: client.remove_device(Secret(TOKEN), CLIENT, "4711"),
    "servers": lambda client: client.servers(Secret(TOKEN), CLIENT),
    "sign_out": lambda client: client.sign_out(Secret(TOKEN), CLIENT),
}

STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.0 404", b"HTTP/1.1 429 Slow"]
ODD_LINES = [b"HTTP/9.9 200 OK", b"HTTP/1.1 -1 No", b"HTTP/1.1 \xff", b"<html>", b"", b"HTTP/1.1 302 Go"]
HEADERS = [b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: \xff", b"Transfer-Encoding: chunked"]
ODD_HEADERS = [b"Content-Length: 5", b"Content-Length: -1", b"X: " + b"x" * 9000, b"no colon", b": empty"]
LEADING_AWAY = [b"Location: /planted", b"Location: http://[", b"Set-Cookie: \x00", b"Retry-After: 1"]

status_lines = st.sampled_from(STATUS_LINES + STATUS_LINES + ODD_LINES)
header_lines = st.sampled_from(HEADERS + ODD_HEADERS + LEADING_AWAY) | st.binary(max_size=20)


@st.composite
def raw_answers(draw: st.DrawFn) -> bytes:
    body = draw(bodies() | device_lists())
    body = draw(st.sampled_from([body, gzip.compress(body), b"5\r\nhello\r\n0\r\n\r\n", bytes(100_000)]))
    lines = [draw(status_lines), *draw(st.lists(header_lines, max_size=4))]
    if draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@readers
@settings(max_examples=max(25, settings().max_examples // 10))
@given(raw=raw_answers() | st.binary(max_size=100))
@example(raw=b"HTTP/1.1 302 Found\r\nLocation: /planted\r\nContent-Length: 0\r\n\r\n")
@example(raw=b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1_000_000))
@example(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
def test_any_bytes_from_the_socket_are_a_sound_outcome_or_a_documented_error(
    mouth: Mouth, client: tuple[asyncio.Runner, PlexClient], name: str, raw: bytes
) -> None:
    mouth.raw, mouth.asked = raw, set()
    runner, plex = client

    async def call() -> object:
        return await CALLS[name](plex)

    try:
        result = runner.run(call())
    except READERS[name][1] as error:
        said = "".join(traceback.format_exception(error)) + repr(error)
    else:
        said = f"{result!r} {result}"
        assert keeps_its_word(result)
    assert "planted" not in said
    assert PIN_ID.reveal() not in said
    assert mouth.url not in said
    assert len(mouth.asked) == 1, "no answer makes us ask elsewhere"
