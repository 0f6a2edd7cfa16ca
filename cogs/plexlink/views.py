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

from . import messages
from .models import Card, Lane, Place, Reason

if TYPE_CHECKING:
    from datetime import datetime

    from .models import Secret, Showing

PICTURE_FILE = "qr.png"

AMBER = discord.Colour(0xE5A00D)
GREEN = discord.Colour(0x2E9E5B)
GREY = discord.Colour(0x80848E)
RED = discord.Colour(0xD83C3E)

_COLOURS = {
    Card.QUEUED: AMBER,
    Card.WAITING: AMBER,
    Card.UNSURE: AMBER,
    Card.APPROVED: AMBER,
    Card.LINKED: GREEN,
    Card.REFUSED: RED,
    Card.FAILED: RED,
}


class Action(StrEnum):
    """What a button asks for; part of its custom id."""

    CHECK = "check"
    NEW = "new"
    CANCEL = "cancel"
    UNDO = "undo"
    ANOTHER = "another"


CUSTOM_ID = re.compile(rf"plexlink:(?P<action>{'|'.join(Action)}):(?P<subject>[A-Za-z0-9_-]{{1,22}})")


_PRIMARY, _SECONDARY = discord.ButtonStyle.primary, discord.ButtonStyle.secondary
_BUTTONS = {
    Card.QUEUED: (messages.CANCEL, Action.CANCEL, _SECONDARY),
    Card.LINKED: (messages.UNDO, Action.UNDO, _SECONDARY),
    Card.UNSURE: (messages.NEW_CODE, Action.NEW, _PRIMARY),
    Card.EXPIRED: (messages.NEW_CODE, Action.NEW, _PRIMARY),
    Card.REFUSED: (messages.TRY_AGAIN, Action.NEW, _PRIMARY),
    Card.FAILED: (messages.TRY_AGAIN, Action.NEW, _PRIMARY),
    Card.CANCELLED: (messages.START_AGAIN, Action.NEW, _SECONDARY),
    Card.UNDONE: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
    Card.REPLACED: (messages.LINK_AGAIN, Action.NEW, _SECONDARY),
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


class CardView(ui.LayoutView):
    """One framed card."""

    def __init__(self, colour: discord.Colour | None, *items: ui.Item[CardView]) -> None:
        super().__init__(timeout=None)
        self.add_item(ui.Container(*items, accent_colour=colour))

    def is_dispatchable(self) -> bool:
        """Tell discord.py not to keep this view: the cog's dynamic item answers its buttons."""
        return False


def card(showing: Showing, surroundings: Surroundings) -> CardView:
    """Return the layout of an attempt's card."""
    if showing.card is Card.WAITING:
        return _waiting(showing, surroundings)
    items: list[ui.Item[CardView]] = [ui.TextDisplay(_text(showing))]
    buttons = _buttons(showing)
    if buttons:
        items.append(ui.ActionRow(*buttons))
    return CardView(_COLOURS.get(showing.card, GREY), *items)


def shows(message: discord.Message, view: CardView) -> bool:
    """Tell whether a message shows a card; by its words, because Discord rewrites everything else."""
    shown = ui.LayoutView.from_message(message, timeout=None)
    return _words(shown) == _words(view)


def _words(view: ui.LayoutView) -> list[str]:
    return [item.content for item in view.walk_children() if isinstance(item, ui.TextDisplay)]


def notice(text: str, colour: discord.Colour = GREY) -> CardView:
    """Return a card that only says something."""
    return CardView(colour, ui.TextDisplay(text))


def pointer(place: Place, text: str = messages.SENT) -> CardView:
    """Return an answer that points to the card; an ephemeral card cannot be pointed to."""
    if place.lane is not Lane.DM:
        return notice(text, AMBER)
    url = f"https://discord.com/channels/@me/{place.channel_id}/{place.message_id}"
    link: ui.Button[CardView] = ui.Button(label=messages.GO_TO_MESSAGE, url=url)
    return CardView(AMBER, ui.Section(ui.TextDisplay(text), accessory=link))


def already_linked(*, account_name: Secret, linked_at: datetime, user_id: int) -> CardView:
    """Return the answer to a member who is linked."""
    text = messages.already_linked(account_name.reveal(), linked_at)
    another = _button(messages.LINK_ANOTHER, Action.ANOTHER, str(user_id))
    return CardView(GREEN, ui.TextDisplay(text), ui.ActionRow(another))


def _waiting(showing: Showing, surroundings: Surroundings) -> CardView:
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
    items: list[ui.Item[CardView]] = [ui.TextDisplay(upper), _picture()]
    if showing.note is not None:
        items.append(ui.TextDisplay(messages.note(showing.note, surroundings.now)))
    items.append(ui.ActionRow(*_waiting_buttons(attempt.id, surroundings.url)))
    if surroundings.is_ephemeral:
        items.append(ui.TextDisplay(messages.CLOSED_DM))
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


def _text(showing: Showing) -> str:
    fixed = {
        Card.APPROVED: messages.APPROVED,
        Card.CANCELLED: messages.CANCELLED,
        Card.EXPIRED: messages.EXPIRED,
        Card.UNSURE: messages.UNSURE,
        Card.UNDONE: messages.UNDONE,
        Card.REPLACED: messages.REPLACED,
    }.get(showing.card)
    if fixed is not None:
        return fixed
    reason = showing.attempt.reason or Reason.UNREADABLE
    if showing.card is Card.QUEUED:
        return messages.queued(showing.ready_at or showing.attempt.requested_at, showing.note)
    if showing.card is Card.LINKED:
        return messages.linked(showing.account_name.reveal() if showing.account_name else "")
    return {**messages.REFUSED, **messages.FAILED}.get(reason, messages.BROKEN)


def _buttons(showing: Showing) -> list[ui.Button[CardView]]:
    if showing.card not in _BUTTONS:
        return []
    label, action, style = _BUTTONS[showing.card]
    return [_button(label, action, showing.attempt.id, style)]


def _button(label: str, action: Action, subject: str, style: discord.ButtonStyle = _SECONDARY) -> ui.Button[CardView]:
    return ui.Button(label=label, style=style, custom_id=f"plexlink:{action}:{subject}")
