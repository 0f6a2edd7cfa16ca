"""Cards: a state in, a Components V2 layout out; no I/O.

A card's buttons carry what is needed in their custom id, so that they outlive restarts; a dynamic item of the cog
answers them, which is why Discord's client need not remember any view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import discord
from discord import ui

from ..models import AttemptCard, Card, Lane, Notice, Phase, Place, Pointer, Reason, Topic, Trouble
from . import messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ..links import Status
    from ..secret import Secret

PICTURE_FILE = "qr.png"
EXPORT_FILE = "plexlink-export.json"

AMBER = discord.Colour(0xE5A00D)
GREEN = discord.Colour(0x2E9E5B)
GREY = discord.Colour(0x80848E)
RED = discord.Colour(0xD83C3E)

_COLOURS = {
    Card.QUEUED: AMBER,
    Card.WAITING: AMBER,
    Card.UNSURE: AMBER,
    Card.APPROVED: AMBER,
    Card.CONTESTED: AMBER,
    Card.LINKED: GREEN,
    Card.REFUSED: RED,
    Card.FAILED: RED,
}


class Action(StrEnum):
    """What a button asks for; part of its custom id."""

    CHECK = "check"
    NEW = "new"
    CANCEL = "cancel"
    MOVE = "move"
    LEAVE = "leave"
    UNDO = "undo"
    ANOTHER = "another"
    STATUS = "status"
    RECHECK = "recheck"
    KEEP = "keep"
    UNLINK = "unlink"
    UNLINK_NOW = "unlink-now"
    PRIVACY = "privacy"
    EXPORT = "export"
    FORGET = "forget"
    FORGET_NOW = "forget-now"
    PANEL = "panel"
    SHOW_NAME = "show-name"
    HIDE_NAME = "hide-name"


OF_MEMBERS = frozenset(Action) - {
    Action.CHECK,
    Action.NEW,
    Action.CANCEL,
    Action.MOVE,
    Action.LEAVE,
    Action.UNDO,
    Action.PANEL,
}
"""Whose subject is a member; that of a panel is its server, and that of the others an attempt."""

CUSTOM_ID = re.compile(rf"plexlink:(?P<action>{'|'.join(Action)}):(?P<subject>[A-Za-z0-9_-]{{1,22}})")


_PRIMARY, _SECONDARY = discord.ButtonStyle.primary, discord.ButtonStyle.secondary
_DANGER = discord.ButtonStyle.danger
_BUTTONS = {
    Card.QUEUED: (messages.CANCEL, Action.CANCEL, _SECONDARY),
    Card.APPROVED: (messages.CANCEL, Action.CANCEL, _SECONDARY),
    Card.UNSURE: (messages.NEW_CODE, Action.NEW, _PRIMARY),
    Card.EXPIRED: (messages.NEW_CODE, Action.NEW, _PRIMARY),
    Card.REFUSED: (messages.TRY_AGAIN, Action.NEW, _PRIMARY),
    Card.FAILED: (messages.TRY_AGAIN, Action.NEW, _PRIMARY),
    Card.CANCELLED: (messages.START_AGAIN, Action.NEW, _SECONDARY),
    Card.UNDONE: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
    Card.UNLINKED: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
    Card.REPLACED: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
    Card.MOVED: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
    Card.FORGOTTEN: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a waiting card needs besides its attempt."""

    url: Secret | None
    product: str
    origin: str | None
    is_short: bool
    is_ephemeral: bool
    now: datetime
    roles: tuple[messages.RoleLine, ...] = ()


class CardView(ui.LayoutView):
    """One framed card."""

    def __init__(self, colour: discord.Colour | None, *items: ui.Item[CardView]) -> None:
        super().__init__(timeout=None)
        self.add_item(ui.Container(*items, accent_colour=colour))

    def is_dispatchable(self) -> bool:
        """Tell discord.py not to keep this view: the cog's dynamic item answers its buttons."""
        return False


def draw(content: AttemptCard | Notice | Pointer, surroundings: Surroundings) -> CardView:
    """Return the layout of what is brought to a member."""
    match content:
        case AttemptCard():
            return card(content, surroundings)
        case Notice():
            return notice(content, surroundings.roles, surroundings.origin)
        case Pointer(place):
            return pointer(place)


def card(showing: AttemptCard, surroundings: Surroundings) -> CardView:
    """Return the layout of an attempt's card."""
    if showing.card is Card.WAITING:
        return _waiting(showing, surroundings)
    items: list[ui.Item[CardView]] = [ui.TextDisplay(_text(showing, surroundings.roles))]
    buttons = _buttons(showing)
    if buttons:
        items.append(ui.ActionRow(*buttons))
    return CardView(_COLOURS.get(showing.card, GREY), *items)


def shows(message: discord.Message, view: CardView) -> bool:
    """Tell whether a message shows a card; by its words, because Discord rewrites everything else."""
    shown = ui.LayoutView.from_message(message, timeout=None)
    return _words(shown) == _words(view)


def subjects(message: discord.Message) -> set[str]:
    """Return what the buttons of a message are about."""
    buttons = ui.LayoutView.from_message(message, timeout=None).walk_children()
    ids = (CUSTOM_ID.fullmatch(item.custom_id or "") for item in buttons if isinstance(item, ui.Button))
    return {found["subject"] for found in ids if found}


def _words(view: ui.LayoutView) -> list[str]:
    return [item.content for item in view.walk_children() if isinstance(item, ui.TextDisplay)]


def saying(text: str, colour: discord.Colour = GREY) -> CardView:
    """Return a card that only says something."""
    return CardView(colour, ui.TextDisplay(text))


def pointer(place: Place, text: str = messages.SENT) -> CardView:
    """Return an answer that points to the card; an ephemeral card cannot be pointed to."""
    if place.lane is not Lane.DM:
        return saying(text, AMBER)
    url = f"https://discord.com/channels/@me/{place.channel_id}/{place.message_id}"
    link: ui.Button[CardView] = ui.Button(label=messages.GO_TO_MESSAGE, url=url)
    return CardView(AMBER, ui.Section(ui.TextDisplay(text), accessory=link))


def not_linked(user_id: int, text: str = messages.NOT_LINKED) -> CardView:
    """Return the answer to a member who has no link, or none any more."""
    link = _button(messages.LINK_YOURS, Action.ANOTHER, str(user_id), _PRIMARY)
    return CardView(GREY, ui.TextDisplay(text), ui.ActionRow(link))


def status(status: Status) -> CardView:
    """Return the card of a member who has a link."""
    link, subject = status.link, str(status.link.user_id)
    text = ui.TextDisplay[CardView](messages.status(link, status.last_use, status.finding, is_asking=status.is_asking))
    if link.trouble is Trouble.UNAVAILABLE:
        return CardView(RED, text, ui.ActionRow(_button(messages.PRIVACY, Action.PRIVACY, subject)))
    if link.is_dead or link.trouble is not None:
        buttons = [_button(messages.LINK_AGAIN, Action.ANOTHER, subject, _PRIMARY)]
    else:
        buttons = [
            _button(messages.RECHECK, Action.RECHECK, subject, _PRIMARY),
            _button(messages.LINK_ANOTHER, Action.ANOTHER, subject),
        ]
    buttons.append(_button(messages.UNLINK, Action.UNLINK, subject))
    buttons.append(_button(messages.PRIVACY, Action.PRIVACY, subject))
    colour = RED if link.is_dead or link.trouble is not None else AMBER if link.health.rejected_at else GREEN
    return CardView(colour, text, ui.ActionRow(*buttons))


def panel(guild_id: int) -> CardView:
    """Return the card that stands in a channel of a server, for everybody."""
    link = _button(messages.LINK_PLEX, Action.PANEL, str(guild_id), _PRIMARY)
    return CardView(
        AMBER, ui.TextDisplay(messages.PANEL), ui.ActionRow(link), ui.TextDisplay(messages.PANEL_SMALL_PRINT)
    )


def ask_unlink(user_id: int) -> CardView:
    """Return the question before an unlinking."""
    return _question(messages.ASK_UNLINK, user_id, messages.UNLINK, Action.UNLINK_NOW)


def ask_forget(user_id: int) -> CardView:
    """Return the question before everything is deleted."""
    return _question(messages.ASK_FORGET, user_id, messages.FORGET, Action.FORGET_NOW)


def _question(text: str, user_id: int, label: str, action: Action) -> CardView:
    yes = _button(label, action, str(user_id), _DANGER)
    no = _button(messages.KEEP, Action.KEEP, str(user_id))
    return CardView(RED, ui.TextDisplay(text), ui.ActionRow(yes, no))


def notice(  # noqa: PLR0911 - one a topic
    notice: Notice, roles: Sequence[messages.RoleLine] = (), server: str | None = None
) -> CardView:
    """Return the layout of a notice; once what it tells of is over, there is a way on."""
    subject = str(notice.user_id)
    text = ui.TextDisplay[CardView](messages.notice(notice, roles, server))
    again = _button(messages.LINK_AGAIN, Action.ANOTHER, subject, _PRIMARY)
    match notice.topic:
        case Topic.UNLINKING if notice.phase in messages.UNDER_WAY:
            return CardView(AMBER, text)
        case Topic.UNLINKING:
            colour = RED if notice.phase in {Phase.GIVEN_UP, Phase.UNREADABLE} else GREY
            return CardView(colour, text, ui.ActionRow(_button(messages.LINK_AGAIN, Action.ANOTHER, subject)))
        case Topic.RETIRED | Topic.SETUP_BROKEN | Topic.LOSSES_HELD:
            return CardView(GREY if notice.topic is Topic.RETIRED else RED, text)
        case Topic.ROLE_WITHDRAWN:
            return CardView(GREY, text, ui.ActionRow(_button(messages.STATUS, Action.STATUS, subject)))
        case Topic.LINK_DEAD:
            return CardView(RED, text, ui.ActionRow(again, _button(messages.UNLINK, Action.UNLINK, subject)))
        case Topic.LINK_MOVED:
            return CardView(RED, text, ui.ActionRow(again))
        case Topic.SIGNED_OUT | Topic.NOT_SIGNED_OUT:
            colour = GREY if notice.topic is Topic.SIGNED_OUT else RED
            return CardView(colour, text, ui.ActionRow(_button(messages.PRIVACY, Action.PRIVACY, subject)))


def headed_by(
    notices: Sequence[Notice], answer: CardView | None, servers: Mapping[int | None, str] | None = None
) -> CardView:
    """Return an answer with notices in front of it, or notices alone; `servers` names those that they are about."""
    names = servers or {}
    text = "\n".join(messages.notice(each, server=names.get(each.guild_id)) for each in notices)
    if answer is None:
        return saying(text)
    items = answer.children
    answer.clear_items()
    answer.add_item(ui.TextDisplay(text))
    for item in items:
        answer.add_item(item)
    return answer


def privacy(user_id: int, audit_days: int, *, is_name_shown: bool | None = None) -> CardView:
    """Return what is stored, with ways to have it and to be rid of it, and, with a link, to show its name or not."""
    buttons = [
        _button(messages.EXPORT, Action.EXPORT, str(user_id)),
        _button(messages.FORGET, Action.FORGET, str(user_id), _DANGER),
    ]
    items: list[ui.Item[CardView]] = [ui.TextDisplay(messages.privacy(audit_days)), ui.ActionRow(*buttons)]
    if is_name_shown is not None:
        label, action = (
            (messages.HIDE_NAME, Action.HIDE_NAME) if is_name_shown else (messages.SHOW_NAME, Action.SHOW_NAME)
        )
        items.append(ui.ActionRow(_button(label, action, str(user_id))))
    return CardView(GREY, *items)


def export(text: str, file: str) -> CardView:
    """Return the message that carries the file of an export."""
    return CardView(GREY, ui.TextDisplay(text), ui.File(f"attachment://{file}"))


def _waiting(showing: AttemptCard, surroundings: Surroundings) -> CardView:
    attempt = showing.attempt
    assert attempt.user_code is not None  # noqa: S101 - a pending attempt has its code
    assert attempt.deadline_at is not None  # noqa: S101 - and its deadline
    assert surroundings.url is not None  # noqa: S101 - and so a page to approve it on
    upper = messages.waiting(
        user_code=attempt.user_code.reveal(),
        deadline_at=attempt.deadline_at,
        is_short=surroundings.is_short,
        product=surroundings.product,
    )
    news = [messages.notice(each) for each in showing.news] if surroundings.is_ephemeral else []
    items: list[ui.Item[CardView]] = [ui.TextDisplay("\n".join([*news, upper]))]
    if showing.note is not None:
        items.append(ui.TextDisplay(messages.note(showing.note, surroundings.now)))
    # A phone cannot scan its own screen: what it needs is not below the picture.
    items += [ui.ActionRow(*_waiting_buttons(attempt.id, surroundings.url)), _picture()]
    if surroundings.is_ephemeral:
        items.append(ui.TextDisplay(messages.NO_DM))
    items.append(ui.TextDisplay(messages.small_print(origin=surroundings.origin, device_name=attempt.device_name)))
    return CardView(AMBER, *items)


def _picture() -> ui.Item[CardView]:
    gallery: ui.MediaGallery[CardView] = ui.MediaGallery()
    gallery.add_item(media=f"attachment://{PICTURE_FILE}", description=messages.PICTURE)
    return gallery


def _waiting_buttons(attempt_id: str, url: Secret) -> list[ui.Button[CardView]]:
    return [
        ui.Button(label=messages.OPEN_PLEX, url=url.reveal()),
        _button(messages.CHECK_NOW, Action.CHECK, attempt_id, _PRIMARY),
        _button(messages.NEW_CODE, Action.NEW, attempt_id),
        _button(messages.CANCEL, Action.CANCEL, attempt_id),
    ]


def _text(showing: AttemptCard, roles: Sequence[messages.RoleLine]) -> str:
    fixed = {
        Card.APPROVED: messages.APPROVED,
        Card.CANCELLED: messages.CANCELLED,
        Card.EXPIRED: messages.EXPIRED,
        Card.UNSURE: messages.UNSURE,
        Card.UNDONE: messages.UNDONE,
        Card.UNLINKED: messages.UNLINKED,
        Card.REPLACED: messages.REPLACED,
        Card.MOVED: messages.MOVED,
        Card.FORGOTTEN: messages.FORGOTTEN,
    }.get(showing.card)
    if fixed is not None:
        return fixed
    reason = showing.attempt.reason or Reason.UNREADABLE
    if showing.card is Card.QUEUED:
        return messages.queued(showing.ready_at or showing.attempt.requested_at, showing.note)
    if showing.card is Card.CONTESTED:
        return messages.contested(showing.attempt.deadline_at or showing.attempt.requested_at)
    if showing.card is Card.LINKED:
        return messages.linked(showing.account_name.reveal() if showing.account_name else "", roles)
    return {**messages.REFUSED, **messages.FAILED}.get(reason, messages.BROKEN)


def _buttons(showing: AttemptCard) -> list[ui.Button[CardView]]:
    attempt_id, member = showing.attempt.id, str(showing.attempt.user_id)
    if showing.card is Card.LINKED:
        return [
            _button(messages.UNDO, Action.UNDO, attempt_id),
            _button(messages.STATUS, Action.STATUS, member),
            _button(messages.PRIVACY, Action.PRIVACY, member),
        ]
    if showing.card is Card.CONTESTED:
        return [
            _button(messages.MOVE_HERE, Action.MOVE, attempt_id, _PRIMARY),
            _button(messages.LEAVE_THERE, Action.LEAVE, attempt_id),
        ]
    if showing.card not in _BUTTONS:
        return []
    label, action, style = _BUTTONS[showing.card]
    return [_button(label, action, attempt_id, style)]


def _button(label: str, action: Action, subject: str, style: discord.ButtonStyle = _SECONDARY) -> ui.Button[CardView]:
    return ui.Button(label=label, style=style, custom_id=f"plexlink:{action}:{subject}")
