"""A browser that uses the sandbox as a person would: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Locator, Page, async_playwright, expect

from processes import QR_CODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the browser test was left out, because there is no Chromium here (Debian: apt install chromium)",
)

PATIENCE_MS = 180_000
"""For what takes a second or two; a busy machine must not fail a test."""

expect.set_options(timeout=PATIENCE_MS)


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    """Give a browser without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],  # CI runs as root
        )
        try:
            yield browser
        finally:
            await browser.close()


async def approve(page: Page, account: str) -> None:
    """Approve the code that the link page shows, with the keyboard alone."""
    await page.get_by_role("radio", name=account).focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="All done").wait_for()


class Conversation:
    """The member's conversation with the bot."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages = page.locator("#channel-message-list article")
        page.set_default_timeout(PATIENCE_MS)

    @classmethod
    async def open(cls, page: Page, url: str) -> Conversation:
        """Go to the conversation and wait until one can type."""
        conversation = cls(page)
        await page.goto(url)
        await page.locator("#preview-app[aria-busy=false]").wait_for()
        return conversation

    async def say(self, command: str) -> None:
        """Type a command, pick it, and send it."""
        await self.pick(command)
        await self.page.get_by_role("button", name="Send").click()  # a key is lost while nothing has the focus

    async def pick(self, command: str) -> None:
        """Type a command, and pick it from the list."""
        await self.page.locator("#channel-composer-input").click()
        await self.page.keyboard.type(command)
        option, row = self.page.get_by_role("option", name=command), self.page.locator(".command-row")
        await option.click()
        while not await row.is_visible():  # the list may have been drawn anew under the pointer
            await option.evaluate_all("(options) => options.at(-1)?.click()")
            await asyncio.sleep(0.5)

    def card(self, *texts: str) -> Locator:
        """Return the newest message that says all this."""
        found = self.messages
        for text in texts:
            found = found.filter(has_text=text)
        return found.last

    async def see(self, *texts: str) -> Locator:
        """Wait for a message that says all this, and return it."""
        card = self.card(*texts)
        await card.wait_for()
        return card

    async def press(self, label: str) -> None:
        """Press the newest button of this name."""
        await self.page.get_by_role("button", name=label, exact=True).last.click()

    async def hurry(self) -> None:
        """Press "I've approved it", unless the card has changed by itself already."""
        buttons = self.page.get_by_role("button", name="I've approved it")
        await buttons.evaluate_all("(buttons) => buttons.at(-1)?.click()")

    async def code(self) -> str:
        """Return the code that the newest waiting card shows."""
        text = await (await self.see("Your code:")).inner_text()
        found = re.search(r"Your code: ([A-Z0-9]{4})", text)
        assert found is not None, text
        return found[1]

    async def settle(self) -> None:
        """Wait until the page has drawn all that it knows of, no picture will move a button, and it is not busy."""
        await self.page.wait_for_function(
            "() => !simcordPreview.pendingAction"
            " && (simcordPreview.awaitingRevision ?? 0) <= simcordPreview.publishedRevision"
            " && [...document.querySelectorAll('#channel-message-list img')].every((picture) => picture.naturalHeight)"
        )

    async def scan(self) -> str:
        """Return what a phone reads from the screen."""
        await self.page.get_by_role("img", name="QR code").last.scroll_into_view_if_needed()
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not (codes := zxingcpp.read_barcodes(await self._screen(), formats=QR_CODE)):
                pass
        (code,) = codes
        return code.text

    async def _screen(self) -> Image.Image:
        return Image.open(io.BytesIO(await self.page.screenshot()))
