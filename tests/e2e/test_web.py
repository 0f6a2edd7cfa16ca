"""Whoever watches the bot over HTTP is told the truth by the process, at every moment of its life."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import aiohttp
import pytest

from ports import free_port
from processes import PATIENCE_SECONDS, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from processes import Deployment


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        place.environment["PLEXLINK_WEB_PORT"] = str(free_port())
        yield place


def address(place: Deployment, page: str) -> str:
    return f"http://127.0.0.1:{place.environment['PLEXLINK_WEB_PORT']}{page}"


async def ask(place: Deployment, page: str, *, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, address(place, page)) as answer:
        return answer.status, (await answer.text()).strip()


async def says(place: Deployment, page: str, expected: tuple[int, str]) -> None:
    """Wait until a page says something."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                if await ask(place, page) == expected:
                    return
            except aiohttp.ClientConnectionError:
                pass  # not yet
            await asyncio.sleep(0.05)


async def test_the_pages_tell_how_the_bot_is_from_its_start_to_its_end(place: Deployment) -> None:
    bot = await place.spawn(PLEXLINK_DISCORD_API_URL="http://127.0.0.1:9/api/v10")
    await says(place, "/readyz", (503, "gateway commands plugin"))
    assert await ask(place, "/livez") == (200, "ok")
    await bot.terminate()

    bot = await place.start()
    await says(place, "/readyz", (200, "ok"))
    place.discord.refuse_gateway = True
    await place.discord.drop_gateway()
    await says(place, "/readyz", (503, "gateway"))
    place.discord.refuse_gateway = False
    await says(place, "/readyz", (200, "ok"))
    await bot.terminate()
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(place, "/livez")


async def test_a_database_that_is_locked_and_a_key_file_that_is_another_one_are_named(place: Deployment) -> None:
    await place.start()
    await says(place, "/readyz", (200, "ok"))
    database, key = place.data_dir / "plexlink.sqlite3", place.data_dir / "plexlink.key"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await says(place, "/readyz", (503, "database"))
        assert await ask(place, "/livez") == (200, "ok")
        other.execute("ROLLBACK")
    await says(place, "/readyz", (200, "ok"))
    written = key.read_text(encoding="utf-8")
    for damaged in (written.replace(written.strip()[-6:], "AAAAA="), "nonsense", ""):
        key.write_text(damaged, encoding="utf-8")
        await says(place, "/readyz", (503, "keys"))
        assert (await ask(place, "/metrics"))[0] == 200
    key.write_text(written, encoding="utf-8")
    await says(place, "/readyz", (200, "ok"))


async def test_a_server_that_lacks_the_commands_is_counted_and_no_outage(place: Deployment) -> None:
    await place.start(PLEXLINK_GUILDS=f"{place.guild.id},1")
    await says(place, "/readyz", (200, "ok"))
    assert "plexlink_commands_missing 1.0" in (await ask(place, "/metrics"))[1]


async def test_the_figures_tell_what_happened_and_of_nobody(place: Deployment) -> None:
    await place.start()
    await says(place, "/readyz", (200, "ok"))
    await place.plexlink()
    card = await place.card_saying("Your code:")
    pin = place.pin()
    place.discord.fail("PATCH", "/channels/*", 403, 50007)
    token = place.plex.approve(pin.code)
    await place.card_saying("Linked as alice")
    status, text = await ask(place, "/metrics")
    assert status == 200
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for name, value in {
        'plexlink_attempts_total{end="linked"}': "1.0",
        'plexlink_attempts_total{end="failed"}': "0.0",
        "plexlink_approval_to_card_seconds_count": "1.0",
        'plexlink_plex_requests_total{call="create_pin",outcome="answered"}': "1.0",
        'plexlink_plex_requests_total{call="account",outcome="answered"}': "1.0",
        'plexlink_links{health="alive"}': "1.0",
        'plexlink_cards_total{lane="dm",result="refused"}': "1.0",
        "plexlink_attempts_open": "0.0",
        "plexlink_sign_outs_waiting": "0.0",
        "plexlink_ready": "1.0",
        "plexlink_gateway_up": "1.0",
        "plexlink_plex_requests_per_second": "20.0",
    }.items():
        assert (name, figures.get(name)) == (name, value)
    assert float(figures["plexlink_commit_seconds_count"]) >= 5
    assert float(figures["plexlink_disk_free_bytes"]) > 0
    for nobodys in (token, pin.code, str(pin.id), pin.client_identifier, str(place.alice.id), "alice", str(card.id)):
        assert nobodys not in text


async def test_other_methods_and_paths_are_refused(place: Deployment) -> None:
    await place.start()
    await says(place, "/readyz", (200, "ok"))
    for method, page, status in (
        ("POST", "/metrics", 405),
        ("DELETE", "/livez", 405),
        ("GET", "/", 404),
        ("GET", "/metrics/x", 404),
        ("GET", f"/livez?{'x' * 5000}", 400),
    ):
        assert (await ask(place, page, method=method))[0] == status
    assert await ask(place, "/livez") == (200, "ok")


async def test_a_stranger_who_sends_rubbish_or_a_body_is_refused_and_not_in_the_log(place: Deployment) -> None:
    bot = await place.start(PLEXLINK_LOG_LEVEL="DEBUG")
    await says(place, "/readyz", (200, "ok"))
    for request, status in {
        b"GET /planted HTTP/9.9\r\n\r\n": b"400",
        b"GET /livez HTTP/1.1\r\nplanted\r\n\r\n": b"400",
        b"GET http://[planted HTTP/1.1\r\nHost: x\r\n\r\n": b"400",  # aiohttp 3.9 takes that for a fault of its own
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\nplanted": b"413",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nplanted": b"413",
    }.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(place.environment["PLEXLINK_WEB_PORT"]))
        writer.write(request)
        assert (await reader.read()).split()[1] == status
        writer.close()
    assert await ask(place, "/livez") == (200, "ok")
    assert await bot.terminate() == 0
    assert "planted" not in bot.log
    assert "Traceback" not in bot.log
    assert "aiohttp.server" not in bot.log


async def test_a_port_that_is_taken_is_said_and_the_bot_runs(place: Deployment) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        bot = await place.start(PLEXLINK_WEB_PORT=str(listener.getsockname()[1]))
        await bot.logged("web.not_served")
        await bot.logged("bot.ready")
        await place.plexlink()
        await place.card_saying("Your code:")
