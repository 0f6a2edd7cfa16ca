"""The sandbox as a newcomer meets it: one command, a browser, and Ctrl-C."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest
from playwright.async_api import expect
from yarl import URL

from browser import PATIENCE_MS, Conversation, a_browser, approve, needs_chromium
from plexlink.errors import SettingError
from plexlink_bot.sandbox.app import Sandbox
from processes import PATIENCE_SECONDS, BotProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import BrowserContext

SANDBOX = ("-m", "plexlink_bot", "sandbox", "--no-browser")
NOBODYS_KEY = "x" * 22


@asynccontextmanager
async def a_sandbox(folder: Path, *options: str) -> AsyncIterator[BotProcess]:
    """Run `plexlink sandbox`, with its temporary files below `folder`."""
    process = BotProcess({"TMPDIR": str(folder)}, folder, arguments=(*SANDBOX, *options))
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


async def addresses(sandbox: BotProcess) -> dict[str, str]:
    await sandbox.logged("Ctrl-C ends the sandbox")
    return dict(
        re.findall(r"^  (Discord|owner|log|plex\.tv|control) +(http://127\.0\.0\.1:\S+)$", sandbox.log, re.MULTILINE)
    )


async def status(sandbox: BotProcess) -> int:
    """Wait until a sandbox that cannot start has ended."""
    return await sandbox.wait(2 * PATIENCE_SECONDS)


def temporary_folders(folder: Path) -> list[Path]:
    return list(folder.glob("plexlink-sandbox-*"))


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[BotProcess]:
    async with a_sandbox(tmp_path) as sandbox:
        yield sandbox


@pytest.fixture
async def context() -> AsyncIterator[BrowserContext]:
    async with a_browser() as browser:
        context = await browser.new_context(viewport={"width": 900, "height": 1000})
        context.set_default_timeout(PATIENCE_MS)
        yield context


@needs_chromium
async def test_a_newcomer_links_an_account_in_the_browser(sandbox: BotProcess, context: BrowserContext) -> None:
    discord = await Conversation.open(await context.new_page(), (await addresses(sandbox))["Discord"])
    await discord.say("/plexlink")
    card = await discord.see("Your code:")
    code = await discord.code()
    button = card.get_by_role("link", name="Open Plex")
    assert await discord.scan() == await button.get_attribute("href")
    async with context.expect_page() as opened:
        await button.click()
    plex = await opened.value
    await expect(plex.locator("#code")).to_have_text(code)
    await expect(plex.get_by_text("Discord: robin via PlexLink")).to_be_visible()
    await approve(plex, "alice")
    linked = await discord.see("Linked as alice")
    assert code not in await linked.inner_text()
    await expect(discord.page.get_by_role("img", name="QR code")).to_have_count(0)


async def test_the_welcome_says_what_to_type_on_each_page_of_discord(sandbox: BotProcess) -> None:
    pages = await addresses(sandbox)
    for page, hint in {"Discord": "type /plexlink", "owner": "type /plexadmin setup", "log": "#plex-log"}.items():
        _, _, after = sandbox.log.partition(pages[page])
        assert hint in after.splitlines()[1]


async def test_a_page_without_its_key_shows_nothing(sandbox: BotProcess) -> None:
    pages = await addresses(sandbox)
    async with aiohttp.ClientSession() as client:
        for page in (pages["plex.tv"], pages["control"]):
            key = page.rstrip("/").rsplit("/", 1)[1]
            for path in (page.replace(key, NOBODYS_KEY), page.replace(f"{key}/", ""), page.replace(key, key[:-1])):
                assert (await client.get(path)).status == 404
            assert (await client.get(page, headers={"Host": "evil.example"})).status == 404
            assert (await client.get(page)).status == 200
        for page in (pages["Discord"], pages["owner"], pages["log"]):
            root, _, key = page.partition("#")
            for given, status in ((NOBODYS_KEY, 401), (key, 200)):
                answer = await client.post(f"{root}api/pages", json={}, headers={"X-Simcord-Capability": given})
                assert answer.status == status
            assert key not in await (await client.get(root)).text()
            assert (await client.get(root, headers={"Host": "evil.example"})).status == 403


async def test_rubbish_from_whoever_is_on_the_machine_is_not_in_the_log(sandbox: BotProcess) -> None:
    for page in (await addresses(sandbox)).values():
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(page).port)
        writer.write(b"GET /planted HTTP/9.9\r\n\r\n")
        assert b" 400 " in await reader.read()
        writer.close()
    assert await sandbox.terminate() == 0
    assert "planted" not in sandbox.log
    assert "Traceback" not in sandbox.log


async def test_the_address_for_the_browser_works_once(tmp_path: Path) -> None:
    """It stands in the browser's command line, which every user of the machine can read."""
    asked = tmp_path / "asked"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}.new && mv {asked}.new {asked}\n')
    browser.chmod(0o700)
    environment = {"TMPDIR": str(tmp_path), "DISPLAY": ":9", "BROWSER": str(browser)}
    process = BotProcess(environment, tmp_path, arguments=SANDBOX[:-1])
    await process.start()
    try:
        discord = (await addresses(process))["Discord"]
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as client:
            while not asked.exists():  # noqa: ASYNC110 - a browser announces nothing
                await asyncio.sleep(0.05)
            once = asked.read_text().strip()
            assert discord.partition("#")[2] not in once
            first = await client.get(once, allow_redirects=False)
            assert (first.status, first.headers["Location"]) == (302, discord)
            assert (await client.get(once, allow_redirects=False)).status == 410
    finally:
        await process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_every_way_of_stopping_leaves_nothing_behind(
    sandbox: BotProcess, tmp_path: Path, number: signal.Signals
) -> None:
    pages = await addresses(sandbox)
    assert temporary_folders(tmp_path)
    assert await sandbox.stop(number) == 0
    assert not temporary_folders(tmp_path)
    assert "The sandbox has ended." in sandbox.log
    assert "Traceback" not in sandbox.log
    async with aiohttp.ClientSession() as client:
        for page in pages.values():
            with suppress(aiohttp.ClientError):  # another program may have the port by now
                assert (await client.get(page)).status != 200


async def test_the_folder_of_a_real_bot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "plexlink.sqlite3").write_bytes(b"")
    async with a_sandbox(tmp_path, "--data-dir", str(tmp_path / "real")) as sandbox:
        assert await status(sandbox) == 78
    assert "the sandbox wants a folder of its own" in sandbox.log
    assert "Traceback" not in sandbox.log


async def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    without_simcord = "import sys; sys.modules['simcord'] = None; from plexlink_bot.cli import main; main()"
    process = BotProcess({}, tmp_path, arguments=("-c", without_simcord, "sandbox"))
    await process.start()
    assert await status(process) == 78
    assert "pip install 'plexlink[bot,sandbox]'" in process.log
    assert "Traceback" not in process.log


async def test_a_taken_port_ends_with_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        async with a_sandbox(tmp_path, "--port", str(somebody.getsockname()[1])) as sandbox:
            assert await status(sandbox) == 78
    assert "Choose other ports with --port" in sandbox.log
    assert "Traceback" not in sandbox.log
    assert not temporary_folders(tmp_path)


@pytest.mark.parametrize("offset", [1, 2, 3, 4])
async def test_the_ports_after_the_first_are_wanted_too(tmp_path: Path, offset: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        sandbox = Sandbox(tmp_path / "sandbox", port=somebody.getsockname()[1] - offset)
        with pytest.raises(SettingError, match="Choose other ports with --port"):
            await sandbox.__aenter__()


async def test_a_folder_in_use_ends_with_one_sentence(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path / "kept"))
    async with a_sandbox(tmp_path, *options) as first:
        await addresses(first)
        async with a_sandbox(tmp_path, *options) as second:
            assert await status(second) == 78
    assert "another sandbox runs on it" in second.log
    assert "Traceback" not in second.log
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
