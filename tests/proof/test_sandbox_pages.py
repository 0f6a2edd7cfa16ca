"""The sandbox's pages in a browser, whatever a person does there and whenever."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from browser import PATIENCE_MS, Conversation, a_browser, approve, needs_chromium
from plexlink_bot.sandbox.app import Sandbox
from plexlink_bot.sandbox.plex_tv import PlexTV

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext, Page, Route

SHOWS = {
    "discord": "your conversation",
    "owner": "who you are",
    "log": "Only the owner sees this channel",
    "plex": "Enter a code",
    "control": "canary",
}

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(viewport={"width": 900, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    await context.close()
    assert not errors


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tmp_path / "sandbox", plex_rate=50) as sandbox:
        yield sandbox


async def test_an_expired_code_is_replaced_by_a_new_one(sandbox: Sandbox, context: BrowserContext) -> None:
    pages = sandbox.addresses
    discord = await Conversation.open(await context.new_page(), pages["discord"])
    await discord.say("/plexlink")
    first = await discord.code()
    control = await context.new_page()
    await control.goto(pages["control"])
    await control.get_by_role("button", name=f"Expire now: {first}").click()
    await discord.see("The code ran out")
    await discord.press("New code")
    await discord.see("Your code:")
    assert await discord.code() != first
    plex = await context.new_page()
    await plex.goto(f"{pages['plex']}link/?pin={first}")
    await expect(plex.get_by_text("not found or expired")).to_be_visible()


async def test_the_owner_is_answered_in_the_channel_and_its_member_in_the_conversation(
    sandbox: Sandbox, context: BrowserContext
) -> None:
    channel = await Conversation.open(await context.new_page(), sandbox.addresses["owner"])
    await channel.say("/plexstatus")
    await channel.see("Only you can see this", "Not linked")
    await channel.page.get_by_label("Viewing as").select_option("robin")
    await expect(channel.card("Not linked")).to_have_count(0)
    await channel.say("/plexlink")
    await channel.see("I sent you a direct message")
    async with context.expect_page() as opened:
        await channel.page.get_by_role("link", name="Go to the message").click()
    await Conversation(await opened.value).see("Your code:")


async def test_the_owners_channels_lead_to_each_other(sandbox: Sandbox, context: BrowserContext) -> None:
    page = await context.new_page()
    await Conversation.open(page, sandbox.addresses["owner"])
    for channel in ("#plex-log", "#lounge"):
        await page.get_by_role("link", name=channel).click()
        await expect(page).to_have_title(re.compile(channel))
        await page.locator("#preview-app[aria-busy=false]").wait_for()


async def test_closed_direct_messages_bring_the_card_as_an_answer(sandbox: Sandbox, context: BrowserContext) -> None:
    pages = sandbox.addresses
    control = await context.new_page()
    await control.goto(pages["control"])
    switch = control.get_by_role("switch", name="open")
    await expect(switch).to_be_checked()
    await switch.uncheck()
    await expect(control.get_by_text("Direct messages are closed.")).to_be_attached()
    discord = await Conversation.open(await context.new_page(), pages["discord"])
    await discord.say("/plexlink")
    await discord.see("Only you can see this", "Your code:", "did not let me send you a direct message")
    await discord.press("I've approved it")
    await discord.see("Plex has not seen your approval yet")
    since = discord.card("Plex has not seen your approval yet").get_by_text("ago")
    await expect(since).not_to_have_text(await since.inner_text())  # it ticks, though nobody touches the card
    await discord.press("Cancel")
    await discord.see("Cancelled")


async def test_a_sign_in_dies_a_day_passes_and_the_member_has_been_told(
    sandbox: Sandbox, context: BrowserContext
) -> None:
    pages = sandbox.addresses
    discord = await Conversation.open(await context.new_page(), pages["discord"])
    await discord.say("/plexlink")
    sandbox.plex.approve(await discord.code())
    await discord.hurry()
    await discord.see("Linked as alice")
    control = await context.new_page()
    await control.goto(pages["control"])
    await control.get_by_role("button", name="End: alice").click()
    await expect(control.get_by_text("The sign-in of alice has ended.")).to_be_attached()
    await discord.say("/plexstatus")
    await discord.press("Check now")
    await discord.see("Plex did not accept our sign-in")
    day = control.get_by_role("button", name="A day")
    await day.click()
    await expect(control.locator("#time")).to_contain_text("A day passes")
    await expect(day).to_be_disabled()
    # While it passed, the clock of a busy machine went on.
    await expect(control.locator("#time")).to_contain_text(re.compile(r"(1 d|23 h \d+ min) ahead of your clock"))
    await expect(day).to_be_enabled()
    await discord.see("Your link to Plex stopped working")
    await expect(control.locator("#audit tr").first).to_contain_text("found the sign-in dead")
    await discord.say("/plexlink")
    await expect(await discord.see("Your code:")).to_contain_text(re.compile(r"ends in 1[45] minutes"))
    since = discord.card("Plex did not accept our sign-in").get_by_text("yesterday")
    await expect(since).to_be_visible()


async def test_the_control_page_takes_no_wish_before_it_knows_how_things_stand(
    sandbox: Sandbox, context: BrowserContext
) -> None:
    control, known = await context.new_page(), asyncio.Event()

    async def hold(route: Route) -> None:
        await known.wait()
        await route.continue_()

    await control.route("**/state", hold)
    await control.goto(sandbox.addresses["control"])
    await expect(control.get_by_role("button", name="A day")).to_be_disabled()
    for role in ("switch", "radio"):
        await expect(control.get_by_role(role).first).to_be_disabled()
    known.set()
    for role in ("switch", "radio"):
        await expect(control.get_by_role(role).first).to_be_enabled()
        await expect(control.get_by_role(role).first).to_be_checked()


@pytest.mark.parametrize(
    ("mood", "note"), [("down", "Plex did not answer"), ("rate-limited", "Plex wants fewer questions")]
)
async def test_what_plex_suffers_is_seen_on_the_card(
    sandbox: Sandbox, context: BrowserContext, mood: str, note: str
) -> None:
    pages = sandbox.addresses
    discord = await Conversation.open(await context.new_page(), pages["discord"])
    await discord.say("/plexlink")
    await discord.see("Your code:")
    control = await context.new_page()
    await control.goto(pages["control"])
    await control.get_by_role("radio", name=mood).check()
    await expect(control.get_by_text(f"plex.tv is {mood}.")).to_be_attached()
    await discord.press("I've approved it")
    await discord.see(note)
    plex = await context.new_page()
    await plex.goto(f"{pages['plex']}link/?pin={await discord.code()}")
    await approve(plex, "alice")
    await control.get_by_role("radio", name="working").check()
    await expect(control.get_by_text("plex.tv is working.")).to_be_attached()
    await discord.hurry()
    await discord.see("Linked as alice")


async def test_a_kept_folder_knows_its_members_again(tmp_path: Path, context: BrowserContext) -> None:
    async with Sandbox(tmp_path / "kept", plex_rate=50) as sandbox:
        discord = await Conversation.open(await context.new_page(), sandbox.addresses["discord"])
        await discord.say("/plexlink")
        sandbox.plex.approve(await discord.code())
        await discord.hurry()
        await discord.see("Linked as alice")
    async with Sandbox(tmp_path / "kept", plex_rate=50) as sandbox:
        discord = await Conversation.open(await context.new_page(), sandbox.addresses["discord"])
        await discord.say("/plexlink")
        await discord.see("Linked as alice", "Since")


async def test_a_strong_code_is_approved_on_a_page_of_its_own(context: BrowserContext) -> None:
    async with PlexTV(key="key") as plex, aiohttp.ClientSession(headers={"X-Plex-Client-Identifier": "me"}) as bot:
        query = {"strong": "true", "X-Plex-Product": "A bot"}
        async with bot.post(f"{plex.url}/api/v2/pins", params=query) as answer:
            assert answer.status == 201
        (pin,) = plex.pins.values()
        page = await context.new_page()
        product = "context%5Bdevice%5D%5Bproduct%5D=A%20bot"
        await page.goto(f"{plex.url}/auth#?clientID=somebody-else&code={pin.code}&{product}")
        await expect(page.get_by_text("We were unable to complete this request")).to_be_visible()
        await page.goto(f"{plex.url}/auth#?clientID=me&code={pin.code}&{product}")
        await page.get_by_role("button", name="Leave").click()
        await expect(page.get_by_role("heading", name="Nothing was approved")).to_be_visible()
        await page.get_by_role("button", name="Back to the code").click()
        await approve(page, "alice")
        assert pin.token is not None


async def test_the_link_page_asks_for_a_code_and_says_that_one_is_wrong(
    sandbox: Sandbox, context: BrowserContext
) -> None:
    page = await context.new_page()
    await page.goto(f"{sandbox.addresses['plex']}link/")
    await page.keyboard.type("no such")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Code not found or expired")).to_be_visible()


@pytest.mark.parametrize("address", SHOWS)
async def test_every_page_fits_a_phone(sandbox: Sandbox, context: BrowserContext, address: str) -> None:
    page = await context.new_page()
    await page.set_viewport_size({"width": 320, "height": 640})
    await page.goto(sandbox.addresses[address])
    await page.get_by_text(SHOWS[address]).wait_for()
    assert await fits(page)


async def test_a_managed_profile_and_the_account_of_a_neighbour_are_refused(
    sandbox: Sandbox, context: BrowserContext
) -> None:
    pages = sandbox.addresses
    discord = await Conversation.open(await context.new_page(), pages["discord"])
    control, plex = await context.new_page(), await context.new_page()
    await control.goto(pages["control"])
    await discord.say("/plexlink")
    for account, refusal in (("Kid", "This profile cannot be linked"), ("bob", "Left where it is")):
        await plex.goto(f"{pages['plex']}link/?pin={await discord.code()}")
        await approve(plex, account)
        await discord.hurry()
        if account == "bob":
            await discord.see("Another member here has linked this Plex account")
            await discord.press("Leave it there")
        await discord.see(refusal)
        await expect(control.locator("[data-key=plexlink_links]")).to_contain_text("1 row")  # the neighbour's
        await discord.press("Try again")


@pytest_asyncio.fixture(loop_scope="module")
async def two_windows(sandbox: Sandbox, context: BrowserContext) -> tuple[Conversation, Conversation]:
    """Give a window with a waiting card, which learns nothing more until it acts, and another one."""
    url = sandbox.addresses["discord"]
    stale = await Conversation.open(await context.new_page(), url)
    await stale.say("/plexlink")
    await stale.see("Your code:")
    other = await Conversation.open(await context.new_page(), url)
    await stale.settle()  # a busy page would keep the next press until it has learned what is new
    await stale.page.route("**/api/state", lambda route: route.abort())
    return stale, other


async def test_a_press_on_a_button_that_has_gone_presses_no_other(
    two_windows: tuple[Conversation, Conversation],
) -> None:
    stale, other = two_windows
    first = await other.code()
    await other.press("New code")
    await other.messages.filter(has_text="Your code:", has_not_text=first).wait_for()
    second = await other.code()
    await stale.press("Cancel")  # it is where the new code's own is now
    await stale.page.unroute("**/api/state")
    await stale.see("Your code:", second)
    await other.press("I've approved it")
    await other.see("Plex has not seen your approval yet", second)


async def test_a_press_on_a_button_that_has_moved_presses_it(two_windows: tuple[Conversation, Conversation]) -> None:
    stale, other = two_windows
    await other.press("I've approved it")
    await other.see("Plex has not seen your approval yet")  # a line above the buttons
    await stale.press("Cancel")
    await other.see("Cancelled")


async def test_a_lost_answer_does_not_paralyse_the_page(
    two_windows: tuple[Conversation, Conversation],
) -> None:
    stale, _ = two_windows
    await stale.page.route("**/api/action", lambda route: route.abort())
    async with stale.page.expect_event("load"):
        await stale.press("I've approved it")
        await stale.page.unroute_all()
    await stale.press("Cancel")
    await stale.see("Cancelled")


async def test_the_page_says_that_the_sandbox_has_ended(
    sandbox: Sandbox, two_windows: tuple[Conversation, Conversation]
) -> None:
    _, other = two_windows
    await sandbox.__aexit__()
    await expect(other.page.get_by_text("The sandbox does not answer")).to_be_visible()


async def test_what_is_done_while_the_page_is_busy_is_done_next(sandbox: Sandbox, context: BrowserContext) -> None:
    discord = await Conversation.open(await context.new_page(), sandbox.addresses["discord"])
    await discord.say("/plexlink")
    await discord.see("Your code:")
    await discord.settle()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await discord.page.route("**/api/action", hold)
    await discord.press("I've approved it")
    await discord.page.get_by_role("button", name="Cancel").click(force=True)
    await discord.pick("/plexstatus")
    await discord.page.locator(".command-chip").press("Enter")
    held.set()
    await discord.see("Cancelled")
    await discord.see("Not linked")  # that nothing is linked does not hang on when the bot has cancelled


async def test_the_link_to_the_message_leads_to_the_card(sandbox: Sandbox, context: BrowserContext) -> None:
    page = await context.new_page()
    await page.set_viewport_size({"width": 900, "height": 320})
    discord = await Conversation.open(page, sandbox.addresses["discord"])
    await discord.say("/plexlink")
    code = (await discord.see("Your code:")).get_by_text("Your code:")
    await discord.say("/plexlink")
    link = page.get_by_role("link", name="Go to the message")
    await discord.settle()
    await link.scroll_into_view_if_needed()
    await expect(code).not_to_be_in_viewport()
    await link.click()
    await expect(code).to_be_in_viewport()
    assert len(context.pages) == 1, "it leads to the card, not to Discord itself"


async def test_whoever_is_at_the_end_of_the_conversation_stays_there(sandbox: Sandbox, context: BrowserContext) -> None:
    discord = await a_long_conversation(sandbox, context, messages=20)
    await discord.page.set_viewport_size({"width": 900, "height": 800})  # the buttons are in view at the end, too
    await discord.say("/plexlink")
    for label, end in (("Cancel", "Nothing was stored"), ("Start again", "You asked for this")):
        await discord.press(label)
        await expect((await discord.see(end)).get_by_text(end)).to_be_in_viewport(ratio=1)


async def test_a_card_keeps_its_size_while_its_picture_is_loaded_again(
    sandbox: Sandbox, context: BrowserContext
) -> None:
    discord = await Conversation.open(await context.new_page(), sandbox.addresses["discord"])
    await discord.say("/plexlink")
    picture = (await discord.see("Your code:")).get_by_role("img", name="QR code")
    await discord.settle()
    size = "(picture) => [picture.offsetWidth, picture.offsetHeight]"
    before = await picture.evaluate(size)
    await discord.page.route("**/api/assets/**", lambda _: None)
    await discord.press("I've approved it")
    await discord.see("Plex has not seen your approval yet")
    assert await picture.evaluate("(picture) => picture.naturalHeight") == 0
    assert await picture.evaluate(size) == before


async def test_whoever_reads_earlier_messages_is_not_carried_away(sandbox: Sandbox, context: BrowserContext) -> None:
    discord = await a_long_conversation(sandbox, context, messages=40)
    await expect(discord.card("message 40")).to_be_in_viewport()
    await discord.card("message 15").scroll_into_view_if_needed()
    await tell(sandbox, "news")
    await discord.page.get_by_role("button", name="New messages").wait_for()
    await expect(discord.card("message 15")).to_be_in_viewport()
    await discord.page.get_by_role("button", name="New messages").click()
    await expect(discord.card("news")).to_be_in_viewport()
    await discord.card("message 15").scroll_into_view_if_needed()
    await discord.say("/plexlink")
    await expect((await discord.see("Your code:")).get_by_text("You asked for this")).to_be_in_viewport()


async def test_a_long_conversation_shows_its_newest_messages_first(sandbox: Sandbox, context: BrowserContext) -> None:
    discord = await a_long_conversation(sandbox, context, messages=40)
    await expect(discord.messages).to_have_count(30)
    await discord.page.get_by_role("button", name="Load earlier messages").click()
    await expect(discord.page.get_by_text("message 1", exact=True)).to_be_attached()


async def test_a_phone_is_enough_to_link_an_account(sandbox: Sandbox, context: BrowserContext) -> None:
    page = await context.new_page()
    await page.set_viewport_size({"width": 320, "height": 640})
    discord = await Conversation.open(page, sandbox.addresses["discord"])
    await discord.pick("/plexlink")
    await expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    await page.get_by_role("button", name="Send").click()
    await expect(await discord.see("Your code:")).to_contain_text(re.compile(r"ends in 1[45] minutes"))
    assert await fits(page)
    async with context.expect_page() as opened:
        await page.get_by_role("link", name="Open Plex").click()
    plex = await opened.value
    await plex.set_viewport_size({"width": 320, "height": 640})
    await expect(plex.get_by_text("alice")).to_be_visible()
    assert await fits(plex)
    await plex.get_by_role("button", name="Approve").click()
    await discord.see("Linked as alice")


async def fits(page: Page) -> bool:
    """Tell whether one need not scroll sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


async def a_long_conversation(sandbox: Sandbox, context: BrowserContext, *, messages: int) -> Conversation:
    page = await context.new_page()
    await page.set_viewport_size({"width": 900, "height": 320})
    discord = await Conversation.open(page, sandbox.addresses["discord"])
    await tell(sandbox, *(f"message {number}" for number in range(1, messages + 1)))
    await discord.see(f"message {messages}")
    return discord


async def tell(sandbox: Sandbox, *texts: str) -> None:
    """Let the bot write to the member."""
    member = await sandbox.bot.fetch_user(sandbox.room.member.id)
    for text in texts:
        await member.send(text)
