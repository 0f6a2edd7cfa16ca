"""Cards about the members of a server, for its owners. A page, or whom it is about, travels in the custom ids."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

import discord
from discord import ui

from ..community import Standing
from ..members import NotKnown, TooManyChecks
from . import member_messages, views
from .views import AMBER, GREEN, GREY, RED, CardView

if TYPE_CHECKING:
    from ..members import Examined, Found, Page, Record, Roster, Stats


class MemberAction(StrEnum):
    """What is asked for about members; part of a button's custom id."""

    LIST = "list"
    AUDIT = "audit"
    STATS = "stats"
    FIND = "find"
    UNLINK = "unlink"
    WITHDRAW = "withdraw"
    GIVE_BACK = "give-back"
    CHECK = "check"


ABOUT_NOBODY = frozenset({MemberAction.LIST, MemberAction.AUDIT, MemberAction.STATS})
"""What is asked about the server as a whole; of everything else, the number is a member's id."""

CUSTOM_ID = re.compile(rf"plexmember:(?P<action>{'|'.join(MemberAction)}):(?P<number>[0-9]{{1,19}})")
"""The number is a page's, or a member's id; never a server's, which is always the one where the button is pressed."""

_SECONDARY, _DANGER = discord.ButtonStyle.secondary, discord.ButtonStyle.danger


def roster(page: Roster) -> CardView:
    """Return a page of the linked members."""
    return _page(member_messages.roster(page), page, MemberAction.LIST)


def record(page: Record) -> CardView:
    """Return a page of the audit."""
    return _page(member_messages.record(page), page, MemberAction.AUDIT)


def _page(text: str, page: Page, action: MemberAction) -> CardView:
    if page.pages == 1:
        return CardView(GREY, ui.TextDisplay(text))
    is_first, is_last = page.number == 0, page.number + 1 >= page.pages
    earlier = _button(member_messages.EARLIER, action, max(0, page.number - 1), is_disabled=is_first)
    later = _button(member_messages.LATER, action, page.number + 1, is_disabled=is_last)
    footer = ui.TextDisplay[CardView](member_messages.footer(page.number, page.pages))
    return CardView(GREY, ui.TextDisplay(text), footer, ui.ActionRow(earlier, later))


def member(found: Found | NotKnown, *, headline: str | None = None) -> CardView:
    """Return how a member's link is, and what an owner may do about it; `headline` is what was just learned."""
    if isinstance(found, NotKnown):
        return views.saying(member_messages.NOT_KNOWN)
    entry = found.entry
    text = member_messages.found(found)
    buttons = [_button(member_messages.CHECK, MemberAction.CHECK, entry.user_id)]
    if entry.withdrawn_at is not None:
        buttons.insert(0, _button(member_messages.GIVE_BACK, MemberAction.GIVE_BACK, entry.user_id))
    elif found.server.setup.role_id is not None:
        buttons.insert(0, _button(member_messages.WITHDRAW, MemberAction.UNLINK, entry.user_id))
    colour = (
        RED if entry.is_dead else AMBER if entry.withdrawn_at is not None or entry.standing is Standing.OWED else GREEN
    )
    texts = [text] if headline is None else [text, headline]
    return CardView(colour, *(ui.TextDisplay[CardView](each) for each in texts), ui.ActionRow(*buttons))


def question(found: Found | NotKnown) -> CardView:
    """Return the question before the role is taken away; where that cannot be, why."""
    if isinstance(found, NotKnown) or found.entry.withdrawn_at is not None:
        return member(found)
    if found.server.setup.role_id is None:
        return views.saying(member_messages.NO_ROLE)
    user_id = found.entry.user_id
    yes = _button(member_messages.WITHDRAW, MemberAction.WITHDRAW, user_id, _DANGER)
    no = _button(member_messages.KEEP, MemberAction.FIND, user_id)
    return CardView(RED, ui.TextDisplay(member_messages.ask(found)), ui.ActionRow(yes, no))


def answer(examined: Examined | NotKnown | TooManyChecks) -> CardView:
    """Return what Plex said about a link."""
    match examined:
        case TooManyChecks(retry_at):
            return views.saying(member_messages.too_many_checks(retry_at), AMBER)
        case NotKnown():
            return member(examined)
        case _:
            return member(examined.found, headline=member_messages.examined(examined))


def stats(stats: Stats, trouble: str | None) -> CardView:
    """Return a server in numbers; `trouble` is why its role cannot be given."""
    return CardView(GREY if trouble is None else RED, ui.TextDisplay(member_messages.stats(stats, trouble)))


def _button(
    label: str,
    action: MemberAction,
    number: int,
    style: discord.ButtonStyle = _SECONDARY,
    *,
    is_disabled: bool = False,
) -> ui.Button[CardView]:
    return ui.Button(label=label, style=style, custom_id=f"plexmember:{action}:{number}", disabled=is_disabled)
