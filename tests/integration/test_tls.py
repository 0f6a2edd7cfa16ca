"""plex.tv over TLS: whoever cannot prove to be the named host is told nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from certificates import a_certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{"id":7,"title":"alice"}'


@asynccontextmanager
async def an_impostor(certificate: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen with TLS and answer everything; give the address and what was heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


ASKS = """
import asyncio, sys, time
from plexlink.secret import Secret
from plexlink.plex import Pace, PlexClient

async def main():
    client = PlexClient(
        base_url=sys.argv[1], product=lambda: "PlexLink", version="1", pace=Pace(1.0), monotonic=time.monotonic
    )
    async with client:
        account = await client.account(Secret("planted-token-0123456789"), Secret("planted-client"))
        print(account.name.reveal())

asyncio.run(main())
"""


async def outcome(url: str, *, trusts: Path | None) -> str:
    """Return the last line of a process that asks for an account and trusts a certificate as those of its system."""
    environment = os.environ if trusts is None else {**os.environ, "SSL_CERT_FILE": str(trusts)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASKS, url, env=environment, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await process.communicate()
    return said.decode().splitlines()[-1]


@pytest.mark.parametrize(
    ("address", "is_vouched_for"),
    [
        ("127.0.0.1", False),
        ("127.0.0.2", True),  # but as another host
    ],
)
async def test_a_host_that_is_not_who_it_says_is_told_nothing(
    tmp_path: Path, address: str, *, is_vouched_for: bool
) -> None:
    certificate = a_certificate(tmp_path, address)
    async with an_impostor(certificate) as (url, heard):
        said = await outcome(url, trusts=certificate if is_vouched_for else None)
    assert said.endswith("PlexUnavailableError: plex.tv cannot be reached: ClientConnectorCertificateError")
    assert heard == []


async def test_a_host_that_is_vouched_for_is_talked_to(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "127.0.0.1")
    async with an_impostor(certificate) as (url, heard):
        assert await outcome(url, trusts=certificate) == "alice"
    assert b"planted-token" in heard[0]
