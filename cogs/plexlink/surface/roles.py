"""Roles at Discord: which may be given to members at all, and giving and taking them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from ..community import Kept, Objection
from .calls import code_of, in_time
from .guilds import NO_MEMBER

if TYPE_CHECKING:
    from .guilds import Guilds

_NO_ROLE = 10011
_FORBIDDEN = 403

_ON_A_PAGE = 1000
"""So many members Discord tells of in one answer."""

DANGEROUS = discord.Permissions(
    **{name: True for name, _ in discord.Permissions() if name.startswith("manage_")},
    administrator=True,
    ban_members=True,
    deafen_members=True,
    kick_members=True,
    mention_everyone=True,
    moderate_members=True,
    move_members=True,
    mute_members=True,
    view_audit_log=True,
)
"""What nobody should get from a program: a role with one of these is not given."""


def objection_to(
    role: discord.Role, *, me: discord.Member | None = None, caller: discord.Member | None = None
) -> Objection | None:
    """Return why a role must not be given, by this bot, or, where one is named, for this owner.

    `me` is the bot as a member, where the gateway does not show it.
    """
    if role.is_default():
        return Objection.EVERYONE
    if role.managed:
        return Objection.MANAGED
    if role.permissions.value & DANGEROUS.value:
        return Objection.DANGEROUS
    if caller is not None and _is_above(role, caller):
        return Objection.ABOVE_CALLER
    return _out_of_reach(role, me or role.guild.me)


def is_above(role_id: int | None, caller: discord.Member) -> bool:
    """Tell whether a role is none that an owner may let anybody have, though somebody of higher rank has chosen it."""
    role = None if role_id is None else caller.guild.get_role(role_id)
    return role is not None and _is_above(role, caller)


def _is_above(role: discord.Role, caller: discord.Member) -> bool:
    return caller.id != role.guild.owner_id and role >= caller.top_role


def _out_of_reach(role: discord.Role, me: discord.Member) -> Objection | None:
    """Return why Discord would not let the bot give or take a role."""
    if not me.guild_permissions.manage_roles:
        return Objection.NO_PERMISSION
    return Objection.TOO_HIGH if role >= me.top_role else None


class DiscordRoles:
    """Give and take roles, and learn who has one; see `work.roles.RoleKeeper` and `work.holders.HolderLister`."""

    def __init__(self, *, guilds: Guilds) -> None:
        self._guilds = guilds

    async def see_to(self, *, guild_id: int, user_id: int, role_id: int | None, has: bool) -> Kept | Objection:
        """See to it that a member has a role, or has it not; see `work.roles.RoleKeeper`."""
        async with in_time():
            guild = await self._guilds.find(guild_id)
            me = await self._guilds.find_me(guild)
            role = None if role_id is None else guild.get_role(role_id)
            if role_id is not None and role is None:
                return Objection.GONE
            try:
                return await _see_to(guild, me, user_id, role, has=has)
            except discord.HTTPException as error:
                refusal = _refusal(error)
                if refusal is None:
                    raise
                return refusal

    async def holders(self, *, guild_id: int, role_id: int) -> set[int] | None:
        """Return which people have a role; see `work.holders.HolderLister`."""
        if not self._guilds.tell_members:
            return None
        holders: set[int] = set()
        last = 0
        while True:
            async with in_time():
                page = await _members_after(await self._guilds.find(guild_id), last)
            holders.update(each.id for each in page if not each.bot and each.get_role(role_id) is not None)
            if len(page) < _ON_A_PAGE:
                return holders
            last = max(each.id for each in page)


async def _members_after(guild: discord.Guild, user_id: int) -> list[discord.Member]:
    """Return the next page of a server's members."""
    page: list[discord.Member] = []
    async for member in guild.fetch_members(limit=_ON_A_PAGE, after=discord.Object(user_id)):
        page.append(member)
        if len(page) == _ON_A_PAGE:
            break  # discord.py 2.7 goes on to the end of the server after a full page
    return page


async def _see_to(
    guild: discord.Guild, me: discord.Member, user_id: int, role: discord.Role | None, *, has: bool
) -> Kept | Objection:
    member = await guild.fetch_member(user_id)
    if role is None or (member.get_role(role.id) is not None) is has:
        return Kept.AS_IT_WAS
    objection = objection_to(role, me=me) if has else _out_of_reach(role, me)
    if objection is not None:
        return objection
    if has:
        await member.add_roles(role, reason="has linked a Plex account")
    else:
        await member.remove_roles(role, reason="is not to have it any more: see /plexadmin audit")
    return Kept.CHANGED


def _refusal(error: discord.HTTPException) -> Kept | Objection | None:
    """Return what a refusal of Discord's means; nothing where it may be otherwise in a minute."""
    code = code_of(error)
    if code in NO_MEMBER:
        return Kept.ABSENT
    if code == _NO_ROLE:
        return Objection.GONE
    # Its reasons are many: no permission, a role that was moved just now, a server that wants two factors of the bot.
    return Objection.NO_PERMISSION if error.status == _FORBIDDEN and code else None
