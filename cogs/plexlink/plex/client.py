"""The plex.tv client: a call a method, each bounded in time and size.

Each answer teaches the pace at which all are made, whoever makes them; to keep to it is the callers' part.
The client identifier of an attempt goes with every call; without it, or with another one, plex.tv answers as if
the PIN had expired. The token travels in the `X-Plex-Token` header only. No body, URL or header is ever logged:
they hold PIN ids, tokens and the position of the host.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import aiohttp

from ..errors import (
    PlexError,
    PlexRefusedError,
    PlexSilentError,
    PlexSlowDownError,
    PlexUnavailableError,
    TokenRejectedError,
)
from ..observations import Asked, Call, Outcome, unobserved
from .answers import (
    MAX_BODY_BYTES,
    MAX_DEVICES_BYTES,
    MAX_SERVERS_BYTES,
    Answer,
    decompress,
    is_device_id,
    read_account,
    read_device,
    read_device_removal,
    read_pin,
    read_pin_state,
    read_ping,
    read_servers,
    read_sign_out,
)
from .pages import PinStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from ..models import Account, Pin, PinAnswer, PlexServer
    from ..observations import Observe
    from ..secret import Secret
    from .pace import Pace

T = TypeVar("T")

_API = "/api/v2"
_XML = {"Accept": "application/xml"}
_MOST_CONNECTIONS = 32
"""More than calls that are made at once: one that hangs keeps its connection until its time is over."""


_OUTCOMES = {
    PlexRefusedError: Outcome.REFUSED,
    TokenRejectedError: Outcome.REJECTED,
    PlexSlowDownError: Outcome.SLOWED,
}


class PlexClient:
    """Talk to plex.tv.

    `product` is asked at each call, because a bot learns its own name only when it has logged in. A call takes at
    most `timeout_seconds` from the wait for a connection to the last byte, a third of it for connecting.
    `monotonic` tells the seconds in which `pace` counts.
    """

    def __init__(
        self,
        *,
        base_url: str,
        product: Callable[[], str],
        version: str,
        pace: Pace,
        monotonic: Callable[[], float],
        proxy: str | None = None,
        timeout_seconds: float = 15.0,
        observe: Observe = unobserved,
    ) -> None:
        self._base_url = base_url
        self._product = product
        self._pace = pace
        self._monotonic = monotonic
        self._proxy = proxy
        self._observe = observe
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=timeout_seconds / 3)
        self._constant_headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "X-Plex-Version": version,
            "X-Plex-Platform": "Discord",
            "X-Plex-Device": "Discord Bot",
        }

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def create_pin(self, client_identifier: Secret, *, device_name: str, style: PinStyle) -> Pin:
        """Create a PIN. Raise as `read_pin` does."""
        query = {"strong": "true"} if style is PinStyle.STRONG else {}
        headers = {"X-Plex-Device-Name": device_name}
        return await self._request(
            Call.CREATE_PIN, "POST", f"{_API}/pins", client_identifier, read=read_pin, headers=headers, query=query
        )

    async def ask(self, pin_id: Secret, client_identifier: Secret) -> PinAnswer:
        """Ask whether a PIN has been approved. Raise as `read_pin_state` does."""
        read = partial(read_pin_state, pin_id=pin_id)
        return await self._request(Call.ASK, "GET", f"{_API}/pins/{pin_id.reveal()}", client_identifier, read=read)

    async def account(self, token: Secret, client_identifier: Secret) -> Account:
        """Read the account of a token. Raise as `read_account` does."""
        return await self._request(
            Call.ACCOUNT, "GET", f"{_API}/user", client_identifier, read=read_account, token=token
        )

    async def ping(self, token: Secret, client_identifier: Secret) -> None:
        """Keep a token from dying of idleness. Raise as `read_ping` does."""
        await self._request(Call.PING, "GET", f"{_API}/ping", client_identifier, read=read_ping, token=token)

    async def servers(self, token: Secret, client_identifier: Secret) -> list[PlexServer]:
        """Return the media servers that the account reaches. Raise as `read_servers` does."""
        return await self._request(
            Call.SERVERS,
            "GET",
            f"{_API}/resources",
            client_identifier,
            read=read_servers,
            token=token,
            limit=MAX_SERVERS_BYTES,
        )

    async def device_of(self, token: Secret, client_identifier: Secret) -> str | None:
        """Return the id of the account's device that signed in with the identifier. Raise as `read_device` does."""
        read = partial(read_device, client_identifier=client_identifier)
        return await self._request(
            Call.DEVICE_OF,
            "GET",
            "/devices.xml",
            client_identifier,
            read=read,
            token=token,
            headers=_XML,
            limit=MAX_DEVICES_BYTES,
        )

    async def remove_device(self, token: Secret, client_identifier: Secret, device_id: str) -> None:
        """Remove a device, and with it its token. Raise as `read_device_removal` does.

        Raises:
            ValueError: the id is not a device's.

        """
        if not is_device_id(device_id):
            raise ValueError("a device's id is a number")
        path = f"/devices/{device_id}.xml"
        await self._request(
            Call.REMOVE_DEVICE, "DELETE", path, client_identifier, read=read_device_removal, token=token, headers=_XML
        )

    async def sign_out(self, token: Secret, client_identifier: Secret) -> None:
        """Make plex.tv forget exactly this token. Raise as `read_sign_out` does."""
        path = f"{_API}/users/signout"
        await self._request(Call.SIGN_OUT, "DELETE", path, client_identifier, read=read_sign_out, token=token)

    async def _request(
        self,
        call: Call,
        method: str,
        path: str,
        client_identifier: Secret,
        *,
        read: Callable[[Answer], T],
        token: Secret | None = None,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        limit: int = MAX_BODY_BYTES,
    ) -> T:
        """Make a call, let `read` tell what its answer means, teach the pace, and tell what came of it.

        Raise as `read` does.

        Only what `read` takes for an answer wins a little of the pace back: a refusal, of a token too, says nothing
        about it.
        """
        all_headers = {
            **self._constant_headers,
            "X-Plex-Product": self._product(),
            "X-Plex-Client-Identifier": client_identifier.reveal(),
            **(headers or {}),
        }
        if token is not None:
            all_headers["X-Plex-Token"] = token.reveal()
        asked_at = self._monotonic()
        with self._observed(call, asked_at):
            answer = await self._send(method, path, all_headers, query, limit)
            try:
                result = read(answer)
            except PlexSlowDownError as error:
                self._pace.slow_down(self._monotonic(), error.retry_after_seconds, asked_at=asked_at)
                raise
        self._pace.recover()
        return result

    @contextmanager
    def _observed(self, call: Call, asked_at: float) -> Iterator[None]:
        outcome = Outcome.SILENT
        try:
            yield
            outcome = Outcome.ANSWERED
        except PlexError as error:
            outcome = _OUTCOMES.get(type(error), Outcome.SILENT)
            raise
        finally:
            self._observe(Asked(call, outcome, self._monotonic() - asked_at))

    async def _send(
        self, method: str, path: str, headers: dict[str, str], query: dict[str, str] | None, limit: int
    ) -> Answer:
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                headers=headers,
                params=query,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                return await _receive(response, limit)
        except TimeoutError:
            raise PlexSilentError("plex.tv does not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The library's own text may hold the URL, and with it the PIN id.
            raise PlexUnavailableError(f"plex.tv cannot be reached: {type(error).__name__}") from None


async def _receive(response: aiohttp.ClientResponse, limit: int) -> Answer:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise PlexUnavailableError("plex.tv's answer is too long")
    encoding = response.headers.get("Content-Encoding", "")
    return Answer(response.status, response.headers, decompress(bytes(body), encoding, limit=limit))
