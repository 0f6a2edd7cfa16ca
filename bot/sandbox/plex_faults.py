"""What can go wrong at plex.tv, one class per way, for `PlexTV.fail`.

A fault that sends any part of the right answer has performed the operation (the PIN is made, the token is
signed out). One that sends none of it has not, unless it is wrapped in `AfterStoring`.
"""

import asyncio
import functools
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiohttp import web

from .plex_answers import JSON, RATE_LIMIT_EXCEEDED, Answer, PlexError, html_answer, json_answer

__all__ = (
    "ABSENT",
    "AfterStoring",
    "ArmedFault",
    "Body",
    "Bom",
    "DeepJson",
    "Drip",
    "Empty",
    "Exchange",
    "Fault",
    "ForeignJson",
    "GzipBomb",
    "Hang",
    "Html",
    "Huge",
    "JsonError",
    "Latency",
    "NoFault",
    "RateLimited",
    "Redirect",
    "Relabelled",
    "Reset",
    "ServerError",
    "Truncated",
    "WrongTypes",
)

CHUNK = 2**16
MISSING_BYTES = 64


class Exchange:
    """One request that a fault answers: the right answer on demand, and the means to spoil it."""

    def __init__(
        self,
        request: web.Request,
        *,
        perform: Callable[[], Awaitable[Answer]],
        note_status: Callable[[int], None],
        sleep: Callable[[float], Awaitable[None]],
        healed: asyncio.Event,
    ) -> None:
        self.request = request
        self.note_status = note_status
        self.sleep = sleep
        self.healed = healed
        self._perform = perform
        self._right: Answer | None = None

    async def right_answer(self) -> Answer:
        """Perform the operation at the first call; return its answer at every call."""
        if self._right is None:
            self._right = await self._perform()
        return self._right

    async def begin(self, answer: Answer, *, length: int | None = None) -> web.StreamResponse:
        """Send the head of an answer that promises `length` bytes; None sends chunks."""
        response = web.StreamResponse(status=answer.status, headers=answer.wire_headers())
        response.content_length = length
        self.note_status(answer.status)
        await response.prepare(self.request)
        return response

    def is_abandoned(self) -> bool:
        """Tell whether the client has hung up."""
        return self.request.transport is None or self.request.transport.is_closing()

    def reset(self) -> None:
        """Cut the connection so that the client sees a reset, not an orderly end."""
        if self.request.transport is None:
            return
        # abort() alone sends a FIN when nothing is unread; a lingering time of zero makes it a RST.
        link: socket.socket = self.request.transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.transport.abort()


class Fault(Protocol):
    """A way to fail."""

    async def answer(self, exchange: Exchange, /) -> web.StreamResponse:
        """Answer the request of the exchange in this fault's way."""
        ...


@dataclass(slots=True)
class ArmedFault:
    """A fault that waits for its requests."""

    fault: Fault
    calls: str
    times: int | None

    def claim(self, operation: str | None) -> bool:
        """Tell whether the fault meets this request, and count it."""
        if self.times == 0 or self.calls not in {"*", operation}:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class NoFault:
    """The right answer: armed with `times=2` before another fault, it lets two requests pass."""

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Answer rightly."""
        return (await exchange.right_answer()).response()


@dataclass(frozen=True, slots=True)
class ServerError:
    """A 5xx with the edge's HTML page."""

    status: int = 500

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the page."""
        return html_answer(self.status, f"{self.status} Server Error").response()


@dataclass(frozen=True, slots=True)
class Html:
    """HTML where JSON is due; with status 401, 403 or 404 it is a firewall's verdict, not plex.tv's."""

    status: int = 200

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the page."""
        return html_answer(self.status, "Just a moment...").response()


@dataclass(frozen=True, slots=True)
class Empty:
    """No body and no content type, as the edge answered 404 in the outage of 2026-09-03."""

    status: int = 404

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the bare head."""
        return Answer(self.status).response()


@dataclass(frozen=True, slots=True)
class JsonError:
    """A refusal in plex.tv's own shape."""

    status: int
    code: int
    message: str = "Something went wrong"
    tells_status: bool = True

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the refusal."""
        error = PlexError(self.status, self.code, self.message, tells_status=self.tells_status)
        return error.answer().response()


@dataclass(frozen=True, slots=True)
class ForeignJson:
    """JSON that is not plex.tv's, as a gateway in between words its refusals."""

    status: int = 401

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the stranger's words."""
        return json_answer({"message": "Forbidden"}, status=self.status).response()


@dataclass(frozen=True, slots=True)
class RateLimited:
    """429/1003; `retry_after` in seconds, or any text for the header (a date, nonsense)."""

    retry_after: float | str | None = None

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the refusal."""
        response = RATE_LIMIT_EXCEEDED.answer().response()
        if self.retry_after is not None:
            as_text = self.retry_after if isinstance(self.retry_after, str) else f"{self.retry_after:g}"
            response.headers["Retry-After"] = as_text
        return response


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset: before an answer, after its head, or in the middle of its body."""

    after: Literal["accept", "headers", "body"] = "accept"

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send what comes before the reset, then reset."""
        if self.after == "accept":
            exchange.reset()
            return web.Response()
        right = await exchange.right_answer()
        response = await exchange.begin(right, length=len(right.body))
        if self.after == "body":
            await response.write(right.body[: len(right.body) // 2])
        exchange.reset()
        return response


@dataclass(frozen=True, slots=True)
class Truncated:
    """The head promises more bytes than come before the connection closes."""

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send the right answer with too long a Content-Length."""
        right = await exchange.right_answer()
        response = await exchange.begin(right, length=len(right.body) + MISSING_BYTES)
        response.force_close()
        await response.write(right.body)
        return response


@dataclass(frozen=True, slots=True)
class Latency:
    """The right answer, `seconds` later. The operation is performed at the end of them."""

    seconds: float

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Wait, then answer rightly."""
        await exchange.sleep(self.seconds)
        return (await exchange.right_answer()).response()


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer until `PlexTV.heal`; then the right one, to a client that is still there."""

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Wait for the healing."""
        await exchange.healed.wait()
        if exchange.is_abandoned():
            return web.Response()
        return (await exchange.right_answer()).response()


@dataclass(frozen=True, slots=True)
class Drip:
    """The right answer's body, one byte every `interval` seconds."""

    interval: float = 0.1

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send byte after byte."""
        right = await exchange.right_answer()
        response = await exchange.begin(right, length=len(right.body))
        for byte in right.body:
            await response.write(bytes([byte]))
            await exchange.sleep(self.interval)
        return response


@dataclass(frozen=True, slots=True)
class Body:
    """Any bytes; `encoding` is what Content-Encoding claims of them (a charset belongs to `content_type`)."""

    raw: bytes
    status: int = 200
    content_type: str = "application/json"
    encoding: str | None = None

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the bytes as they are."""
        headers = {} if self.encoding is None else {"Content-Encoding": self.encoding}
        return Answer(self.status, self.raw, self.content_type, headers).response()


@dataclass(frozen=True, slots=True)
class Huge:
    """A sound answer to any operation with a string of `size` bytes in it; chunked, so without a length."""

    size: int = 50 * 2**20

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send chunk after chunk."""
        response = await exchange.begin(Answer(200, content_type=JSON))
        for piece in _padded(self.size):
            await response.write(piece)
        return response


@dataclass(frozen=True, slots=True)
class GzipBomb:
    """As `Huge`, compressed to about a thousandth of `size` bytes."""

    size: int = 50 * 2**20

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the small body that grows."""
        return Answer(200, _bomb(self.size), JSON, {"Content-Encoding": "gzip"}).response()


@dataclass(frozen=True, slots=True)
class DeepJson:
    """A sound answer to any operation with lists in lists in it, `depth` of them."""

    depth: int = 100_000

    async def answer(self, _: Exchange) -> web.StreamResponse:
        """Send the nest."""
        nest = b"[" * self.depth + b"]" * self.depth
        return Answer(200, _SOUND + b',"padding":' + nest + b"}", JSON).response()


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to `location`; None is the request's own URL, an endless loop if armed with `times=None`."""

    location: str | None = None
    status: int = 302

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send the client elsewhere."""
        location = self.location or exchange.request.path_qs
        return Answer(self.status, headers={"Location": location}).response()


class _Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True, init=False)
class WrongTypes:
    """The right answer with members replaced, or taken out where the value is `ABSENT`."""

    members: Mapping[str, object] = field(hash=False)

    def __init__(self, **members: object) -> None:
        object.__setattr__(self, "members", members)

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send the right answer with the wrong members."""
        right = await exchange.right_answer()
        spoilt = json.loads(right.body or b"{}") | self.members
        kept = {key: value for key, value in spoilt.items() if value is not ABSENT}
        return json_answer(kept, status=right.status).response()


@dataclass(frozen=True, slots=True)
class Bom:
    """The right answer behind the byte order mark of UTF-8."""

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send mark and answer."""
        right = await exchange.right_answer()
        return Answer(right.status, b"\xef\xbb\xbf" + right.body, right.content_type).response()


@dataclass(frozen=True, slots=True)
class Relabelled:
    """The right answer in another charset, under any content type, which need not be true."""

    content_type: str = "text/html; charset=utf-8"
    charset: str = "utf-8"

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send the same characters as other bytes."""
        right = await exchange.right_answer()
        return Answer(right.status, right.body.decode().encode(self.charset), self.content_type).response()


@dataclass(frozen=True, slots=True)
class AfterStoring:
    """The operation is performed, then the other fault spoils the answer: what the client must not trust."""

    fault: Fault

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Perform, then fail."""
        await exchange.right_answer()
        return await self.fault.answer(exchange)


# A client without limits reads this as the answer to whatever it asked, so that only its limits can save it.
_SOUND = b'{"id":1,"uuid":"0000000000000000","code":"ZZZZ","expiresIn":900,"authToken":null,"pong":true'


def _padded(size: int) -> Iterator[bytes]:
    yield _SOUND + b',"padding":"'
    for start in range(0, size, CHUNK):
        yield b"0" * min(CHUNK, size - start)
    yield b'"}'


@functools.cache
def _bomb(size: int) -> bytes:
    gzip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join(gzip.compress(piece) for piece in _padded(size)) + gzip.flush()
