"""A small HTTP proxy: requests in absolute form, upgrades, and tunnels for TLS.

async with SmallProxy(user_info="me:secret") as proxy:
    ...  # send through proxy.url
    assert proxy.asked == ["CONNECT discord.com:443"]
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType


class SmallProxy:
    """A proxy to be used as an asynchronous context manager; `user_info` is what it wants to be sent.

    The port is a free one, which stays the same when it is stopped and started again.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        user_info: str | None = None,
        refuses_with: HTTPStatus | None = None,
    ) -> None:
        self.host = host
        self.user_info = user_info
        self.refuses_with = refuses_with
        self.port = 0
        self.asked: list[str] = []
        """Method and address of each request, tunnels included, that it let through or not."""
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its address, with what it wants to be sent."""
        return f"http://{'' if self.user_info is None else f'{self.user_info}@'}{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer), name="small-proxy")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request or tunnel on; each has a connection of its own."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            await _close(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, target, version = line.split(" ")
        self.asked.append(f"{method} {target}")
        refusal = self._refusal(headers)
        if refusal is not None:
            await _refuse(writer, refusal)
        elif method == "CONNECT":
            host, _, port = target.rpartition(":")
            await _join(reader, writer, host, int(port), answer=b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            address = urlsplit(target)
            path = address._replace(scheme="", netloc="").geturl()
            kept = [header for header in headers if not header.lower().startswith("proxy-")]
            if not any(header.lower().startswith("upgrade:") for header in headers):
                kept = [header for header in kept if not header.lower().startswith("connection:")]
                kept.append("Connection: close")
            head = "\r\n".join([f"{method} {path} {version}", *kept, "", ""])
            await _join(reader, writer, address.hostname or "", address.port or 80, request=head.encode("latin-1"))

    def _refusal(self, headers: list[str]) -> HTTPStatus | None:
        if self.refuses_with is not None:
            return self.refuses_with
        if self.user_info is None:
            return None
        wanted = f"Proxy-Authorization: Basic {base64.b64encode(self.user_info.encode('latin-1')).decode()}"
        return None if wanted in headers else HTTPStatus.PROXY_AUTHENTICATION_REQUIRED


async def _refuse(writer: asyncio.StreamWriter, status: HTTPStatus) -> None:
    head = f"HTTP/1.1 {status} {status.phrase}\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    *,
    request: bytes = b"",
    answer: bytes = b"",
) -> None:
    """Connect a client with a server until one of them closes."""
    try:
        far_reader, far_writer = await asyncio.open_connection(host, port)
    except OSError:
        await _refuse(writer, HTTPStatus.BAD_GATEWAY)
        return
    writer.write(answer)
    far_writer.write(request)
    ways = {asyncio.create_task(_flow(reader, far_writer)), asyncio.create_task(_flow(far_reader, writer))}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await _close(far_writer)


async def _flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(2**16):
        writer.write(content)
        await writer.drain()
