"""For members of which Plex server a server's role is, as its owners choose it: each press ends with a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ownership import Choice, Choices, Chosen, NoLink, NotTheirs, Overtaken, PlexSilent
from . import admin_messages, admin_views
from .admin_views import AdminAction

if TYPE_CHECKING:
    import discord

    from ..community import Setup
    from ..ownership import Ownership, RuleChange
    from .views import CardView


async def ask(
    ownership: Ownership,
    caller: discord.Member,
    action: AdminAction,
    chosen: Setup,
    handle: str,
    *,
    role_id: int | None,
) -> CardView:
    """Return the question, what the answer to it would mean for the role that is applied, or what stands in the way."""
    guild_id, picked = caller.guild.id, None
    if action is AdminAction.PLEX:
        return _card(await ownership.choices(guild_id, caller.id), caller.id, chosen)
    if action is AdminAction.PLEX_SERVER:
        outcome = await ownership.offered(guild_id, caller.id, handle)
        if not isinstance(outcome, Choice):
            return _card(outcome, caller.id, chosen)
        picked = outcome
    return admin_views.rule_preview(role_id, picked, chosen, instead_of=await ownership.handle(guild_id, caller.id))


async def apply(
    ownership: Ownership, caller: discord.Member, chosen: Setup, wanted: RuleChange
) -> CardView | Chosen | Overtaken:
    """Choose for whom the role is; return what stands in the way."""
    outcome = await ownership.choose(caller.guild.id, caller.id, wanted)
    return outcome if isinstance(outcome, Chosen | Overtaken) else _card(outcome, caller.id, chosen)


def _card(outcome: Choices | NoLink | NotTheirs | PlexSilent, user_id: int, chosen: Setup) -> CardView:
    match outcome:
        case NoLink():
            return admin_views.needs_link(user_id, chosen)
        case PlexSilent():
            return admin_views.no_plex_server(admin_messages.PLEX_SILENT, chosen)
        case NotTheirs():
            return admin_views.no_plex_server(admin_messages.NOT_THEIRS, chosen)
        case Choices(choices):
            if not choices:
                return admin_views.no_plex_server(admin_messages.NONE_OWNED, chosen)
            return admin_views.plex_choices(choices, chosen)
