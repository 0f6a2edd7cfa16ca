"""What the owners of a server ask about its members, translated for the use cases: each ends with a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..community import Objection
from ..members import NotKnown
from . import admin_messages, member_views
from .member_views import MemberAction
from .roles import is_above, objection_to

if TYPE_CHECKING:
    import discord

    from ..community import Server
    from ..members import Members
    from .views import CardView

NOBODY = 0
"""Whoever is not in the server: nothing is known of them there."""


async def answer(members: Members, caller: discord.Member, action: MemberAction, number: int) -> CardView:  # noqa: PLR0911 - one an action
    """Return the answer; `number` is a page's, or a member's id. The server is always the caller's."""
    guild = caller.guild
    match action:
        case MemberAction.LIST:
            return member_views.roster(await members.page(guild.id, number))
        case MemberAction.AUDIT:
            return member_views.record(await members.audit(guild.id, number))
        case MemberAction.STATS:
            stats = await members.stats(guild.id)
            return member_views.stats(stats, _trouble(guild, stats.server))
        case MemberAction.UNLINK:
            return member_views.question(await members.find(guild.id, number))
        case MemberAction.WITHDRAW:
            return member_views.member(await members.withdraw(guild.id, number, actor_id=caller.id))
        case MemberAction.GIVE_BACK:
            return await _give_back(members, caller, number)
        case MemberAction.CHECK:
            return member_views.answer(await members.check(guild.id, number, actor_id=caller.id))
        case MemberAction.FIND:
            return member_views.member(await members.find(guild.id, number))


async def _give_back(members: Members, caller: discord.Member, user_id: int) -> CardView:
    """Let a member have the role again, if it is one that the caller may let anybody have."""
    found = await members.find(caller.guild.id, user_id)
    role_id = None if isinstance(found, NotKnown) else found.server.setup.role_id
    if is_above(role_id, caller):
        why = admin_messages.objection(Objection.ABOVE_CALLER, f"<@&{role_id}>")
        return member_views.member(found, headline=why)
    return member_views.member(await members.give_back(caller.guild.id, user_id, actor_id=caller.id))


def _trouble(guild: discord.Guild, server: Server) -> str | None:
    """Return why the role of a server cannot be given, as far as can be seen."""
    if server.setup.role_id is None:
        return None
    role = guild.get_role(server.setup.role_id)
    objection = Objection.GONE if role is None else objection_to(role) or server.objection
    return None if objection is None else admin_messages.objection(objection, f"<@&{server.setup.role_id}>")
