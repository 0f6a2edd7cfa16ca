"""For members of which Plex server a server's role is, as its owners choose it: each press ends with a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ownership import Choice, Choices, Chosen, NoLink, NotTheirs, PlexSilent
from . import admin_messages, admin_views
from .admin_views import AdminAction

if TYPE_CHECKING:
    import discord

    from ..community import Setup
    from ..ownership import Ownership
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
    guild_id = caller.guild.id
    match action:
        case AdminAction.PLEX:
            return _card(await ownership.choices(guild_id, caller.id), caller.id, chosen)
        case AdminAction.PLEX_SERVER:
            picked = await ownership.offered(guild_id, caller.id, handle)
            if not isinstance(picked, Choice):
                return _card(picked, caller.id, chosen)
            return admin_views.rule_preview(role_id, picked, chosen)
        case _:
            return admin_views.rule_preview(role_id, None, chosen)


async def apply(ownership: Ownership, caller: discord.Member, chosen: Setup, handle: str) -> CardView | Chosen:
    """Choose for whom the role is; return what stands in the way."""
    outcome = await ownership.choose(caller.guild.id, caller.id, handle)
    return outcome if isinstance(outcome, Chosen) else _card(outcome, caller.id, chosen)


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
