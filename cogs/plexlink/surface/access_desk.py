"""For members of which Plex server a server's role is, as its owners choose it: each press ends with a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ownership import Choices, Chosen, NoLink, NotTheirs, PlexSilent
from . import admin_messages, admin_views
from .admin_views import AdminAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import discord

    from ..community import Setup
    from ..ownership import Ownership
    from .views import CardView


async def answer(
    ownership: Ownership, caller: discord.Member, action: AdminAction, chosen: Setup, values: Sequence[str]
) -> CardView | None:
    """Do what was pressed or picked; return what stands in the way, or the question, or nothing: back to the setup."""
    guild_id = caller.guild.id
    outcome: Choices | Chosen | NoLink | NotTheirs | PlexSilent = Chosen()
    match action:
        case AdminAction.PLEX:
            outcome = await ownership.choices(guild_id, caller.id)
        case AdminAction.PLEX_SERVER:
            outcome = await ownership.choose(guild_id, caller.id, values[0] if values else "")
        case AdminAction.EVERYBODY:
            await ownership.open_to_all(guild_id, caller.id)
    return _card(outcome, caller.id, chosen)


def _card(outcome: Choices | Chosen | NoLink | NotTheirs | PlexSilent, user_id: int, chosen: Setup) -> CardView | None:
    match outcome:
        case Chosen():
            return None
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
