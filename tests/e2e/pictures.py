"""Take the pictures of `make pictures`: the README's, and every card for reviewing.

    python tests/e2e/pictures.py            # build/pictures/, and the README's picture where it belongs

The README's picture is the real thing: /plexlink typed, and approved on the link page. The others are the cards'
layouts, posted by the bot into the same conversation, because some of them take an outage or a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import discord
from PIL import Image

from browser import CHROMIUM, Conversation, a_browser
from plexlink import messages, views
from plexlink.models import Attempt, Card, Lane, Note, Place, Reason, Secret, Showing, State
from plexlink.plex import PinStyle, verification_url
from plexlink.qr import draw
from plexlink_bot.sandbox.app import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from playwright.async_api import Browser, ColorScheme

ROOT = Path(__file__).parents[2]
README_PICTURE = ROOT / "bot" / "sandbox" / "pictures" / "waiting-and-linked.png"
REVIEW = ROOT / "build" / "pictures"

SCHEMES: tuple[ColorScheme, ...] = ("dark", "light")
WIDTHS = {"desktop": 900, "phone": 390}
GAP = 16
BACKGROUND = {"dark": "#323339", "light": "#ffffff"}

LONG_NAME = "The *Extraordinarily* Long-Named Cinema of Llanfairpwllgwyngyll and Its Surrounding Hills"
SHORT, STRONG = Secret("7RQZ"), Secret("l91xft5ypr1n7588alsymxoy8")
REASONS = {
    Card.REFUSED: (Reason.MANAGED, Reason.TAKEN, Reason.REVOKED),
    Card.FAILED: (Reason.PLEX_REFUSED, Reason.PLEX_SILENT, Reason.UNREADABLE),
}


def all_cards(now: datetime, plex_url: str) -> Iterator[tuple[str, views.CardView, Secret | None]]:
    """Give every card by name, with the address that its picture holds."""
    for note in (None, *Note):
        yield _waiting(now, plex_url, f"waiting-{note or 'new'}", note=note)
    yield _waiting(now, plex_url, "waiting-ephemeral", is_ephemeral=True, origin=None)
    yield _waiting(now, plex_url, "waiting-strong", style=PinStyle.STRONG)
    yield _waiting(now, plex_url, "waiting-long-names", origin=LONG_NAME, product=LONG_NAME)
    for card in Card:
        if card is Card.WAITING:
            continue
        for reason in REASONS.get(card, (None,)):
            for note in (None, Note.PLEX_SILENT) if card is Card.QUEUED else (None,):
                name = "-".join(filter(None, (card, reason, note)))
                yield name, _card(now, card, reason=reason, note=note), None
    in_dm, in_answer = (Place(lane=lane, channel_id=1, message_id=2) for lane in Lane)
    user_id = 1
    answers = {
        "sent": views.pointer(in_dm),
        "still-open": views.pointer(in_dm, messages.STILL_OPEN),
        "still-open-ephemeral": views.pointer(in_answer, messages.STILL_OPEN),
        "already-linked": views.already_linked(account_name=Secret("alice"), linked_at=now, user_id=user_id),
        "not-yours": views.notice(messages.NOT_YOURS),
        "gone": views.notice(messages.GONE),
        "retired": views.notice(messages.RETIRED),
        "too-many-starts": views.notice(messages.too_many_starts(now + timedelta(minutes=12))),
        "too-busy": views.notice(messages.too_busy(now + timedelta(minutes=3))),
        "something-broke": views.notice(messages.something_broke("b1f3c9"), views.RED),
    }
    for name, view in answers.items():
        yield f"answer-{name}", view, None


def _waiting(
    now: datetime,
    plex_url: str,
    name: str,
    *,
    note: Note | None = None,
    style: PinStyle = PinStyle.SHORT,
    is_ephemeral: bool = False,
    origin: str | None = "Home Cinema",
    product: str = "PlexLink",
) -> tuple[str, views.CardView, Secret]:
    code = SHORT if style is PinStyle.SHORT else STRONG
    identifier = Secret("3f0c2d1e-6c0b-4d39-9b55-0d7f0a4a6f11")
    url = Secret(
        verification_url(base_url=plex_url, style=style, user_code=code, client_identifier=identifier, product=product)
    )
    surroundings = views.Surroundings(
        url=url,
        product=product,
        origin=origin,
        is_short=style is PinStyle.SHORT,
        is_ephemeral=is_ephemeral,
        now=now,
    )
    return name, _card(now, Card.WAITING, surroundings=surroundings, note=note, code=code), url


def _card(
    now: datetime,
    card: Card,
    *,
    surroundings: views.Surroundings | None = None,
    reason: Reason | None = None,
    note: Note | None = None,
    code: Secret = SHORT,
) -> views.CardView:
    attempt = Attempt(
        id="a" * 22,
        user_id=1,
        guild_id=1,
        device_name="Discord: robin via PlexLink",
        state=State.PENDING,
        requested_at=now,
        deadline_at=now + timedelta(minutes=14, seconds=40),
        user_code=code,
        reason=reason,
    )
    showing = Showing(
        attempt=attempt,
        card=card,
        account_name=Secret("alice"),
        note=note,
        ready_at=now + timedelta(seconds=40),
    )
    nothing = views.Surroundings(url=None, product="", origin=None, is_short=True, is_ephemeral=False, now=now)
    return views.card(showing, surroundings or nothing)


async def take_readme_picture(sandbox: Sandbox, browser: Browser) -> None:
    """Link an account in the browser, and put the waiting and the linked card side by side."""
    page = await browser.new_page(viewport={"width": 720, "height": 1000}, device_scale_factor=2, color_scheme="dark")
    conversation = await Conversation.open(page, sandbox.addresses["discord"])
    await conversation.say("/plexlink")
    waiting = await _cut_out(conversation, "Your code:")
    sandbox.plex.approve(await conversation.code())
    linked = await _cut_out(conversation, "Linked as alice")
    _side_by_side([waiting, linked], "dark").save(README_PICTURE, optimize=True)


async def _cut_out(conversation: Conversation, text: str) -> Image.Image:
    card = await conversation.see(text)
    await conversation.page.mouse.move(0, 0)
    await asyncio.sleep(0.5)  # for the picture in it, and for hover effects to go
    return Image.open(io.BytesIO(await card.screenshot(animations="disabled")))


async def take_review_pictures(sandbox: Sandbox, browser: Browser) -> None:
    """Post every card, and take its picture in light and dark, wide and narrow."""
    member = await sandbox.bot.fetch_user(sandbox.room.member.id)
    names = []
    for name, view, url in all_cards(discord.utils.utcnow(), sandbox.plex.url):
        files = [discord.File(io.BytesIO(draw(url.reveal())), views.PICTURE_FILE)] if url else []
        await member.send(view=view, files=files)
        names.append(name)
    for scheme in SCHEMES:
        for width_name, width in WIDTHS.items():
            page = await browser.new_page(viewport={"width": width, "height": 1200}, color_scheme=scheme)
            conversation = await Conversation.open(page, sandbox.addresses["discord"])
            cards = await conversation.messages.all()
            folder = REVIEW / f"{scheme}-{width_name}"
            folder.mkdir(parents=True, exist_ok=True)
            pictures = []
            for number, (name, card) in enumerate(zip(names, cards[-len(names) :], strict=True)):
                await card.screenshot(path=(path := folder / f"{number:02}-{name}.png"), animations="disabled")
                pictures.append(Image.open(path))
            for number in range(0, len(pictures), 12):
                _in_columns(pictures[number : number + 12], scheme).save(folder / f"sheet-{number // 12}.png")
            await page.close()


def _side_by_side(pictures: Sequence[Image.Image], scheme: str) -> Image.Image:
    size = sum(each.width for each in pictures), max(each.height for each in pictures)
    sheet = Image.new("RGB", size, BACKGROUND[scheme])
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width
    return sheet


def _in_columns(pictures: Sequence[Image.Image], scheme: str) -> Image.Image:
    size = max(each.width for each in pictures), sum(each.height + GAP for each in pictures)
    sheet = Image.new("RGB", size, BACKGROUND[scheme])
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height + GAP
    return sheet


async def main() -> None:
    """Take all pictures."""
    if CHROMIUM is None:
        sys.exit("There is no Chromium here; on Debian and Ubuntu: sudo apt install chromium")
    async with a_browser() as browser:
        for take in (take_readme_picture, take_review_pictures):
            with tempfile.TemporaryDirectory() as folder:
                async with Sandbox(Path(folder)) as sandbox:
                    await take(sandbox, browser)
    print(f"{README_PICTURE.relative_to(ROOT)}\n{REVIEW.relative_to(ROOT)}/")  # noqa: T201 - a script's report


if __name__ == "__main__":
    asyncio.run(main())
