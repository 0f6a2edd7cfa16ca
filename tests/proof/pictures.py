"""Take the pictures of `make pictures`: the README's, and every card for reviewing.

    make pictures            # build/pictures/, and the README's picture where it belongs

The README's picture is the real thing: /plexlink typed, and approved on the link page. The others are the cards'
layouts, posted by the bot into the same conversation, because some of them take an outage or a quarter of an hour.
Each of SHEETS becomes one sheet per width and scheme, to be looked at as a whole. A new `Card` is on its sheet by
itself; an outcome of a use case wants an entry in `outcomes`, anything else a Shot in one of the functions here.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord
from discord.ui import TextDisplay
from PIL import Image

from browser import CHROMIUM, Conversation, a_browser
from plexlink.audit import AuditEntry, AuditLine, Deed
from plexlink.community import Access, Objection, Server, Setup, Standing
from plexlink.linking import AlreadyOpen, Gone, NotYours, TooBusy, TooManyStarts
from plexlink.links import Forgotten, NotLinked, Status
from plexlink.members import Examined, Found, NotKnown, Record, Roster, Stats, TooManyChecks
from plexlink.models import (
    Attempt,
    AttemptCard,
    Card,
    Entry,
    Finding,
    Health,
    Lane,
    Link,
    Note,
    Notice,
    Phase,
    Place,
    Reason,
    State,
    Topic,
    Trouble,
    Verdict,
)
from plexlink.ownership import EVERYBODY, Choice, Rule, RuleChange
from plexlink.plex import PinStyle, verification_url
from plexlink.secret import Secret
from plexlink.store.roster import Counts
from plexlink.surface import admin_messages, admin_views, audit_lines, cog, member_views, messages, views
from plexlink.surface.admin_views import SetupCard
from plexlink.surface.qr import draw
from plexlink_bot.sandbox.app import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from playwright.async_api import Browser, ColorScheme

ROOT = Path(__file__).parents[2]
README_PICTURE = ROOT / "bot" / "sandbox" / "pictures" / "waiting-and-linked.png"
REVIEW = ROOT / "build" / "pictures"

SCHEMES: tuple[ColorScheme, ...] = ("dark", "light")
WIDTHS = {"desktop": 720, "phone": 390}
COLUMNS = {"desktop": 3, "phone": 6}
GAP = 16
BACKGROUND = {"dark": "#323339", "light": "#ffffff"}

USER_ID = 1
LONG_NAME = "The *Extraordinarily* Long-Named Cinema of Llanfairpwllgwyngyll and Its Surrounding Hills"
SHORT, STRONG = Secret("7RQZ"), Secret("l91xft5ypr1n7588alsymxoy8")
ALICE = Secret("alice")
REASONS = {
    Card.REFUSED: tuple(messages.REFUSED),
    Card.FAILED: (*messages.FAILED, Reason.UNREADABLE),
}
NOTES = {Card.QUEUED: (None, Note.PLEX_SILENT, Note.UNSAVED)}


@dataclass(frozen=True, slots=True)
class Shot:
    """Something to take a picture of; `url` is the address that its QR code holds."""

    name: str
    view: views.CardView
    url: Secret | None = None


def waiting_cards(now: datetime, plex_url: str) -> Iterator[Shot]:
    """Give the waiting card in all its forms."""
    for note in (None, *Note):
        yield _waiting(now, plex_url, f"waiting-{note or 'new'}", note=note)
    yield _waiting(now, plex_url, "waiting-ephemeral", is_ephemeral=True, origin=None)
    yield _waiting(now, plex_url, "waiting-strong", style=PinStyle.STRONG)
    yield _waiting(now, plex_url, "waiting-long-names", origin=LONG_NAME, product=LONG_NAME)


def other_cards(now: datetime, _: str) -> Iterator[Shot]:
    """Give every other card."""
    for card in Card:
        if card is Card.WAITING:
            continue
        for reason in REASONS.get(card, (None,)):
            for note in NOTES.get(card, (None,)):
                name = "-".join(filter(None, (card, reason, note)))
                yield Shot(name, _card(now, card, reason=reason, note=note))


def a_status(now: datetime, *, use: str | None = None, finding: Finding | None = None, **others: Any) -> Status:
    """Return a member's link, three weeks old."""
    health = {name: others.pop(name) for name in ("verdict", "checked_at", "rejected_at") if name in others}
    link = Link(
        id="link",
        user_id=USER_ID,
        attempt_id="a" * 22,
        account_id=Secret("1001"),
        account_name=ALICE,
        client_identifier=Secret("client"),
        token=Secret("token"),
        linked_at=now - timedelta(days=21),
        health=Health(finding=Finding.ALIVE if health.get("checked_at") else None, **health),
        **others,
    )
    entry = AuditEntry(at=now - timedelta(hours=3), actor_id=None, deed=Deed.USED, user_id=USER_ID, detail=use)
    return Status(link=link, last_use=entry if use else None, finding=finding)


def outcomes(now: datetime) -> Mapping[str, object]:
    """Return what the use cases may answer, by the name of its picture."""
    in_dm, in_answer = (Place(lane=lane, channel_id=1, message_id=2) for lane in Lane)
    return {
        "already-open": AlreadyOpen(in_dm),
        "already-open-ephemeral": AlreadyOpen(in_answer),
        "status-new": a_status(now),
        "status-used": a_status(now, use="watchlist", checked_at=now - timedelta(hours=5)),
        "status-silent-now": a_status(now, use="watchlist", finding=Finding.SILENT),
        "status-asking": replace(a_status(now), is_asking=True),
        "status-suspect": a_status(now, verdict=Verdict.SUSPECT, rejected_at=now - timedelta(minutes=1)),
        "status-dead": a_status(now, use="watchlist", verdict=Verdict.DEAD, rejected_at=now - timedelta(hours=9)),
        "status-broken": a_status(now, trouble=Trouble.BROKEN),
        "status-key-missing": a_status(now, trouble=Trouble.UNAVAILABLE),
        "not-linked": NotLinked(),
        "all-deleted": Forgotten(),
        "too-many-starts": TooManyStarts(now + timedelta(minutes=12)),
        "too-busy": TooBusy(now + timedelta(minutes=3)),
        "not-yours": NotYours(),
        "gone": Gone(),
    }


def answers(now: datetime, _: str) -> Iterator[Shot]:
    """Give what is answered beside a card."""
    for name, outcome in outcomes(now).items():
        view = cog._view(outcome, USER_ID)  # so that the picture is of the real answer
        assert view is not None, f"{outcome} is answered by a card"
        yield Shot(name, view)
    yield Shot("sent", views.pointer(Place(lane=Lane.DM, channel_id=1, message_id=2)))
    yield Shot("not-saved", views.saying(messages.not_saved("b1f3c9"), views.RED))
    yield Shot("key-missing", views.saying(messages.KEY_MISSING, views.RED))
    yield Shot("written-by-a-newer-release", views.saying(messages.NEWER, views.RED))
    yield Shot("ask-unlink", views.ask_unlink(USER_ID))
    yield Shot("ask-forget", views.ask_forget(USER_ID))
    yield Shot("privacy", views.privacy(USER_ID, 365, is_name_shown=False))
    yield Shot("exported", views.saying(messages.EXPORTED, views.GREEN))
    yield Shot("something-broke", views.saying(messages.something_broke("b1f3c9"), views.RED))


def notices(now: datetime, _: str) -> Iterator[Shot]:
    """Give what members are told besides the cards of their attempts."""
    for reason in (Reason.UNLINKED, Reason.UNDONE, Reason.FORGOTTEN):
        for phase in Phase if reason is Reason.UNLINKED else (Phase.SIGNED_OUT,):
            unlinking = Notice(id="n", user_id=USER_ID, topic=Topic.UNLINKING, reason=reason, phase=phase, at=now)
            yield Shot(f"{reason}-{phase}", views.notice(unlinking))
    others = [Notice(id="n", user_id=USER_ID, topic=topic, at=now) for topic in Topic if topic is not Topic.UNLINKING]
    for notice in others:
        yield Shot(f"notice-{notice.topic}", views.notice(notice))
    in_dm = Notice(id="n", user_id=USER_ID, topic=Topic.RETIRED, place=Place(lane=Lane.DM), at=now)
    yield Shot("notice-retired-in-dm", views.notice(in_dm))
    yield Shot("notice-before-an-answer", views.headed_by(others[1:2], views.not_linked(USER_ID)))


def setups(now: datetime, _: str) -> Iterator[Shot]:
    """Give what the owners of a server choose, and what comes of it for everybody."""
    chosen = Setup(role_id=2, audit_channel_id=3)
    card = partial(admin_views.SetupCard, guild_name="Home Cinema", panel=admin_messages.panel(1, None, None))
    yield Shot("setup-new", admin_views.setup(card(chosen=Setup(), before=Setup())))
    yield Shot("setup-chosen", admin_views.setup(card(chosen=chosen, before=Setup(role_id=4))))
    yield Shot("setup-saved", admin_views.setup(card(chosen=chosen, before=Setup(), is_saved=True)))
    for objection in Objection:
        refused = card(chosen=chosen, before=Setup(), objection=objection)
        yield Shot(f"setup-{objection}", admin_views.setup(refused))
    closed = replace(chosen, audit_channel_id=5)
    yield Shot("setup-closed", admin_views.setup(card(chosen=closed, before=chosen, is_channel_closed=True)))
    yield Shot("setup-was-closed", admin_views.setup(card(chosen=chosen, before=chosen, was_channel_closed=True)))
    yield Shot("panel", views.panel(1))
    yield Shot("panel-posted", admin_views.panel_posted(1, 2, 3))
    lines = [
        AuditLine(AuditEntry(at=now, actor_id=USER_ID, deed=deed, user_id=USER_ID), 1) for deed in audit_lines.LINES
    ]
    many = AuditLine(lines[0].entry, 37)
    yield Shot("audit-channel", views.CardView(None, TextDisplay(audit_lines.text([*lines, many]))))
    roles = (messages.RoleLine("Plex", None, True, True), messages.RoleLine("Movie night", "Elsewhere", True, False))  # noqa: FBT003
    surroundings = views.Surroundings(
        url=None, product="", origin=None, is_short=True, is_ephemeral=False, now=now, roles=roles
    )
    yield Shot("linked-with-roles", _card(now, Card.LINKED, surroundings=surroundings))
    unlinked = Notice(
        id="n", user_id=USER_ID, topic=Topic.UNLINKING, reason=Reason.UNLINKED, phase=Phase.SIGNED_OUT, at=now
    )
    gone = [line._replace(is_given=False) for line in roles]
    yield Shot("unlinked-with-roles", views.notice(unlinked, gone))


def owners(now: datetime, _: str) -> Iterator[Shot]:
    """Give what the owners of a server see of its members."""
    server = Server(id=1, setup=Setup(role_id=2, audit_channel_id=3))
    linked = Entry(user_id=USER_ID, linked_at=now, health=Health(), role_id=2, standing=Standing.SETTLED)
    named = replace(linked, account_name=ALICE)
    waiting = replace(linked, standing=Standing.OWED)
    withdrawn = replace(linked, role_id=None, withdrawn_at=now)
    dead = replace(linked, role_id=None, health=Health(verdict=Verdict.DEAD, rejected_at=now))
    entries = [linked, named, waiting, withdrawn, dead] * 2
    yield Shot("list", member_views.roster(Roster(number=4, total=2000, entries=entries, is_set_up=True)))
    yield Shot("list-empty", member_views.roster(Roster(number=0, total=0, entries=[], is_set_up=False)))
    refused = replace(server, objection=Objection.TOO_HIGH)
    for name, entry in {"linked": named, "waiting": waiting, "withdrawn": withdrawn, "dead": dead}.items():
        found = Found(entry=entry, server=refused if entry is waiting else server)
        yield Shot(f"find-{name}", member_views.member(found))
    for_members = replace(server, is_for_plex_members=True)
    stranger = Access(guild_id=1, user_id=USER_ID, has_access=False, checked_at=now)
    for name, access in {"no-member": stranger, "losing": replace(stranger, has_access=True, lost_at=now)}.items():
        yield Shot(f"find-{name}", member_views.member(Found(entry=linked, server=for_members, access=access)))
    rule = Rule(plex_server=Secret("Basement"), held=37)
    card = SetupCard(
        guild_name="Home Cinema", chosen=server.setup, before=server.setup, panel=admin_messages.panel(1, None, None)
    )
    yield Shot("setup", admin_views.setup(card))
    yield Shot("setup-plex-members", admin_views.setup(replace(card, rule=rule)))
    choices = [Choice("1", Secret("Basement")), Choice("2", Secret("Attic"))]
    yield Shot("plex-choices", admin_views.plex_choices(choices, server.setup))
    yield Shot("plex-preview", admin_views.rule_preview(2, choices[0], server.setup, instead_of=EVERYBODY))
    yield Shot("plex-preview-without-a-role", admin_views.rule_preview(None, choices[0], Setup(), instead_of=EVERYBODY))
    yield Shot("plex-preview-everybody", admin_views.rule_preview(2, None, server.setup, instead_of=EVERYBODY))
    yield Shot(
        "plex-saved",
        admin_views.setup(
            replace(
                card,
                rule=Rule(plex_server=choices[0].name),
                is_saved=True,
                undo_rule=RuleChange(to=EVERYBODY, instead_of="1"),
            )
        ),
    )
    yield Shot("plex-not-theirs", admin_views.no_plex_server(admin_messages.NOT_THEIRS, server.setup))
    yield Shot("plex-needs-link", admin_views.needs_link(USER_ID, server.setup))
    above = admin_messages.objection(Objection.ABOVE_CALLER, "<@&2>")
    yield Shot("plex-refused", admin_views.refused(above, server.setup))
    for name, text in {"silent": admin_messages.PLEX_SILENT, "none": admin_messages.NONE_OWNED}.items():
        yield Shot(f"plex-{name}", admin_views.no_plex_server(text, server.setup))
    found = Found(entry=linked, server=server)
    yield Shot("find-nobody", member_views.member(NotKnown()))
    yield Shot("ask-withdraw", member_views.question(found))
    for finding in (*Finding, None):
        yield Shot(f"check-{finding}", member_views.answer(Examined(found=found, finding=finding)))
    yield Shot("check-too-often", member_views.answer(TooManyChecks(now + timedelta(minutes=1))))
    deeds = [AuditEntry(at=now, actor_id=USER_ID, deed=deed, user_id=USER_ID) for deed in audit_lines.LINES]
    yield Shot("audit", member_views.record(Record(number=0, total=len(deeds), entries=deeds)))
    counts = Counts(linked=2000, waiting=3, dead=12, withdrawn=1, new=40)
    trouble = admin_messages.objection(Objection.TOO_HIGH, "<@&2>")
    yield Shot("stats", member_views.stats(Stats(server=server, counts=counts), None))
    yield Shot("stats-refused", member_views.stats(Stats(server=refused, counts=counts), trouble))


SHEETS: Mapping[str, Callable[[datetime, str], Iterator[Shot]]] = {
    "waiting": waiting_cards,
    "cards": other_cards,
    "answers": answers,
    "notices": notices,
    "setups": setups,
    "owners": owners,
}


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
) -> Shot:
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
    return Shot(name, _card(now, Card.WAITING, surroundings=surroundings, note=note, code=code), url)


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
        user_id=USER_ID,
        guild_id=1,
        device_name="Discord: robin via PlexLink",
        state=State.PENDING,
        requested_at=now,
        deadline_at=now + timedelta(minutes=14, seconds=40),
        user_code=code,
        reason=reason,
    )
    showing = AttemptCard(
        attempt=attempt,
        card=card,
        account_name=ALICE,
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
    README_PICTURE.parent.mkdir(exist_ok=True)
    _in_columns([waiting, linked], columns=2, background=BACKGROUND["dark"], gap=0).save(README_PICTURE, optimize=True)


async def _cut_out(conversation: Conversation, text: str) -> Image.Image:
    card = await conversation.see(text)
    await conversation.page.mouse.move(0, 0)
    await conversation.settle()
    await asyncio.sleep(0.5)  # for hover effects to go
    return Image.open(io.BytesIO(await card.screenshot(animations="disabled")))


async def take_review_pictures(sandbox: Sandbox, browser: Browser) -> None:
    """Post every card, and take its picture in light and dark, wide and narrow."""
    for sheet, give in SHEETS.items():
        shots = list(give(datetime.now(UTC), sandbox.plex.url))
        await _post(sandbox, shots)
        for scheme in SCHEMES:
            for name, width in WIDTHS.items():
                page = await browser.new_page(viewport={"width": width, "height": 1200}, color_scheme=scheme)
                conversation = await Conversation.open(page, sandbox.addresses["discord"])
                pictures = await _take(conversation, shots, REVIEW / f"{scheme}-{name}")
                whole = _in_columns(pictures, columns=COLUMNS[name], background=BACKGROUND[scheme])
                whole.save(REVIEW / f"{sheet}-{scheme}-{name}.png")
                await page.close()


async def _post(sandbox: Sandbox, shots: Sequence[Shot]) -> None:
    member = await sandbox.bot.fetch_user(sandbox.room.member.id)
    for shot in shots:
        files = [discord.File(io.BytesIO(draw(shot.url.reveal())), views.PICTURE_FILE)] if shot.url else []
        await member.send(view=shot.view, files=files)


async def _take(conversation: Conversation, shots: Sequence[Shot], folder: Path) -> list[Image.Image]:
    """Take a picture of each of the newest messages."""
    await conversation.settle()
    cards = (await conversation.messages.all())[-len(shots) :]
    pictures = []
    for shot, card in zip(shots, cards, strict=True):
        path = folder / f"{shot.name}.png"
        await card.screenshot(path=path, animations="disabled")
        pictures.append(Image.open(path))
    return pictures


def _in_columns(pictures: Sequence[Image.Image], *, columns: int, background: str, gap: int = GAP) -> Image.Image:
    """Put pictures side by side, each below the shortest column."""
    width = max(picture.width for picture in pictures) + gap
    heights = [0] * min(columns, len(pictures))
    places = []
    for picture in pictures:
        column = heights.index(min(heights))
        places.append((column * width, heights[column]))
        heights[column] += picture.height + gap
    sheet = Image.new("RGB", (width * len(heights) - gap, max(heights) - gap), background)
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place)
    return sheet


async def main() -> None:
    """Take all pictures."""
    if CHROMIUM is None:
        sys.exit("There is no Chromium here; on Debian and Ubuntu: sudo apt install chromium")
    logging.getLogger("plexlink").setLevel(logging.ERROR)
    async with a_browser() as browser:
        for take in (take_readme_picture, take_review_pictures):
            with tempfile.TemporaryDirectory() as folder:
                async with Sandbox(Path(folder)) as sandbox:
                    await take(sandbox, browser)
    print(f"{README_PICTURE.relative_to(ROOT)}\n{REVIEW.relative_to(ROOT)}/")  # noqa: T201 - a script's report


if __name__ == "__main__":
    asyncio.run(main())
