"""Cards for the owners of a server. What is chosen, but not applied yet, travels in the custom ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import discord
from discord import ui

from ..community import Objection, Setup
from ..ownership import EVERYBODY, UNREADABLE, RuleChange
from . import admin_messages, messages
from .views import AMBER, GREEN, GREY, RED, Action, CardView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ownership import Choice, Rule

_NOTHING = 0


class AdminAction(StrEnum):
    """What a part of an owner's card asks for; part of its custom id."""

    ROLE = "role"
    CHANNEL = "channel"
    APPLY = "apply"
    UNDO = "undo"
    PLEX = "plex"
    PLEX_SERVER = "plex-server"
    EVERYBODY = "everybody"
    RULE = "rule"
    """Apply what the two before have shown, or undo it; for whom the role is to be is in the custom id."""
    BACK = "back"


CUSTOM_ID = re.compile(
    rf"plexadmin:(?P<action>{'|'.join(AdminAction)}):(?P<role>[0-9]{{1,20}}):(?P<channel>[0-9]{{1,20}})"
    rf"(?::(?P<to>{EVERYBODY}|[0-9a-f]{{16}}):(?P<instead_of>{EVERYBODY}|{UNREADABLE}|[0-9a-f]{{16}}))?"
)
"""The last two are what `RULE` does: see `ownership.RuleChange`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupCard:
    """What stands on the card: what is chosen on it, what was before, and what speaks against it.

    `undo_rule` brings back for whom the role was until it was saved just now that it is for others.
    """

    guild_name: str
    chosen: Setup
    before: Setup
    panel: str
    rule: Rule | None = None
    objection: Objection | None = None
    is_channel_closed: bool = False
    was_channel_closed: bool = False
    is_saved: bool = False
    undo_rule: RuleChange | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether it can be applied; what speaks against what was there before keeps nothing else from it."""
        is_new_role = self.chosen.role_id != self.before.role_id
        is_new_channel = self.chosen.audit_channel_id != self.before.audit_channel_id
        is_role_refused = is_new_role and self.objection is not None
        return not is_role_refused and not (is_new_channel and self.is_channel_closed)


def change_in(match: re.Match[str]) -> RuleChange | None:
    """Return for whom a custom id says that the role is to be."""
    return RuleChange(to=match["to"], instead_of=match["instead_of"]) if match["to"] else None


def chosen_in(match: re.Match[str]) -> Setup:
    """Return what a custom id says is chosen."""
    return Setup(role_id=int(match["role"]) or None, audit_channel_id=int(match["channel"]) or None)


def with_choice(chosen: Setup, action: AdminAction, values: Sequence[str]) -> Setup:
    """Return what is chosen after a select was used; an empty one chooses nothing."""
    picked = int(values[0]) if values else None
    return replace(chosen, role_id=picked) if action is AdminAction.ROLE else replace(chosen, audit_channel_id=picked)


def setup(card: SetupCard) -> CardView:
    """Return the card on which a server is set up."""
    role, channel = _role(card.chosen), _channel(card.chosen)
    plex_server = None if card.rule is None or card.rule.plex_server is None else card.rule.plex_server.reveal()
    items: list[ui.Item[CardView]] = [
        ui.TextDisplay(admin_messages.setup(messages.name(card.guild_name), is_saved=card.is_saved)),
        ui.TextDisplay(admin_messages.ROLE_HEADLINE),
        ui.ActionRow(_role_select(card.chosen)),
        ui.TextDisplay(admin_messages.who_gets_it(plex_server, is_saved=card.undo_rule is not None)),
        ui.ActionRow(*_for_whom(card.chosen, is_for_plex_members=plex_server is not None)),
        ui.TextDisplay(admin_messages.CHANNEL_HEADLINE),
        ui.ActionRow(_channel_select(card.chosen)),
        ui.Separator(),
        ui.TextDisplay(card.panel),
    ]
    if card.is_open:
        text = admin_messages.preview(before=_role(card.before), after=role, channel=channel, plex_server=plex_server)
        items.insert(-1, ui.TextDisplay(text))
    troubles = []
    if card.objection is not None:
        troubles.append(admin_messages.objection(card.objection, role or ""))
    if card.is_channel_closed:
        troubles.append("⚠️ " + admin_messages.NO_CHANNEL.format(channel=channel))
    elif card.was_channel_closed:
        items.append(ui.TextDisplay("⚠️ " + admin_messages.WAS_CLOSED.format(channel=channel)))
    if card.rule is not None and card.rule.held:
        items.append(ui.TextDisplay(admin_messages.HELD.format(count=card.rule.held)))
    if troubles:
        items.append(ui.TextDisplay("\n".join(troubles)))
    items.append(ui.ActionRow(*_buttons(card)))
    return CardView(RED if troubles else GREEN if card.is_saved else AMBER, *items)


def plex_choices(choices: Sequence[Choice], chosen: Setup) -> CardView:
    """Return the question for members of which Plex server the role is; names are strangers' texts."""
    select: ui.Select[CardView] = ui.Select(
        custom_id=_custom_id(AdminAction.PLEX_SERVER, chosen),
        placeholder=admin_messages.CHOOSE_PLEX_SERVER,
        options=[
            discord.SelectOption(label=messages.label(each.name.reveal()) or "a Plex server", value=each.handle)
            for each in choices
        ],
    )
    back = _button(admin_messages.BACK, AdminAction.BACK, chosen)
    return CardView(AMBER, ui.TextDisplay(admin_messages.PLEX_CHOICES), ui.ActionRow(select), ui.ActionRow(back))


def rule_preview(role_id: int | None, choice: Choice | None, chosen: Setup, *, instead_of: str) -> CardView:
    """Return what it means that a role is for members of a Plex server only, or without one for everybody."""
    change = RuleChange(to=EVERYBODY if choice is None else choice.handle, instead_of=instead_of)
    apply: ui.Button[CardView] = ui.Button(
        label=admin_messages.APPLY,
        style=discord.ButtonStyle.primary,
        custom_id=_custom_id(AdminAction.RULE, chosen, change),
    )
    back = _button(admin_messages.BACK, AdminAction.BACK, chosen)
    text = admin_messages.rule_preview(
        role=_role(Setup(role_id=role_id)), plex_server=None if choice is None else choice.name.reveal()
    )
    return CardView(AMBER, ui.TextDisplay(text), ui.ActionRow(apply, back))


def no_plex_server(text: str, chosen: Setup) -> CardView:
    """Return why there is nothing to choose from, with ways on."""
    again = _button(admin_messages.ASK_AGAIN, AdminAction.PLEX, chosen)
    back = _button(admin_messages.BACK, AdminAction.BACK, chosen)
    return CardView(GREY, ui.TextDisplay(text), ui.ActionRow(again, back))


def refused(text: str, chosen: Setup) -> CardView:
    """Return why what was pressed is not done, with the way back."""
    return CardView(RED, ui.TextDisplay(text), ui.ActionRow(_button(admin_messages.BACK, AdminAction.BACK, chosen)))


def needs_link(user_id: int, chosen: Setup) -> CardView:
    """Return the answer to an owner who has no link with which to show what is theirs."""
    link: ui.Button[CardView] = ui.Button(
        label=messages.LINK_YOURS,
        style=discord.ButtonStyle.primary,
        custom_id=f"plexlink:{Action.ANOTHER}:{user_id}",
    )
    back = _button(admin_messages.BACK, AdminAction.BACK, chosen)
    return CardView(GREY, ui.TextDisplay(admin_messages.NEEDS_LINK), ui.ActionRow(link, back))


def panel_posted(guild_id: int, channel_id: int, message_id: int) -> CardView:
    """Return the answer to an owner who has posted the panel."""
    link: ui.Button[CardView] = ui.Button(
        label=messages.GO_TO_MESSAGE, url=messages.url_of(guild_id, channel_id, message_id)
    )
    text = ui.TextDisplay[CardView](admin_messages.PANEL_POSTED.format(channel=f"<#{channel_id}>"))
    return CardView(GREEN, ui.Section(text, accessory=link))


def _for_whom(chosen: Setup, *, is_for_plex_members: bool) -> list[ui.Button[CardView]]:
    if not is_for_plex_members:
        return [_button(admin_messages.ONLY_PLEX_MEMBERS, AdminAction.PLEX, chosen)]
    return [
        _button(admin_messages.ANOTHER_PLEX_SERVER, AdminAction.PLEX, chosen),
        _button(admin_messages.EVERYBODY, AdminAction.EVERYBODY, chosen),
    ]


def _button(label: str, action: AdminAction, chosen: Setup, change: RuleChange | None = None) -> ui.Button[CardView]:
    return ui.Button(label=label, custom_id=_custom_id(action, chosen, change))


def _buttons(card: SetupCard) -> list[ui.Button[CardView]]:
    apply: ui.Button[CardView] = ui.Button(
        label=admin_messages.APPLY,
        style=discord.ButtonStyle.primary,
        custom_id=_custom_id(AdminAction.APPLY, card.chosen),
        disabled=card.is_saved or not card.is_open,
    )
    if card.undo_rule is not None:
        return [apply, _button(admin_messages.UNDO, AdminAction.RULE, card.chosen, card.undo_rule)]
    if not card.is_saved or card.before == card.chosen:
        return [apply]
    return [apply, _button(admin_messages.UNDO, AdminAction.UNDO, card.before)]


def _role_select(chosen: Setup) -> ui.RoleSelect[CardView]:
    return ui.RoleSelect(
        custom_id=_custom_id(AdminAction.ROLE, chosen),
        placeholder=admin_messages.CHOOSE_ROLE,
        min_values=0,
        max_values=1,
        default_values=[discord.Object(chosen.role_id)] if chosen.role_id else [],
    )


def _channel_select(chosen: Setup) -> ui.ChannelSelect[CardView]:
    return ui.ChannelSelect(
        custom_id=_custom_id(AdminAction.CHANNEL, chosen),
        placeholder=admin_messages.CHOOSE_CHANNEL,
        channel_types=[discord.ChannelType.text],
        min_values=0,
        max_values=1,
        default_values=[discord.Object(chosen.audit_channel_id)] if chosen.audit_channel_id else [],
    )


def _custom_id(action: AdminAction, chosen: Setup, change: RuleChange | None = None) -> str:
    custom_id = f"plexadmin:{action}:{chosen.role_id or _NOTHING}:{chosen.audit_channel_id or _NOTHING}"
    return custom_id if change is None else f"{custom_id}:{change.to}:{change.instead_of}"


def _role(chosen: Setup) -> str | None:
    return None if chosen.role_id is None else f"<@&{chosen.role_id}>"


def _channel(chosen: Setup) -> str | None:
    return None if chosen.audit_channel_id is None else f"<#{chosen.audit_channel_id}>"
