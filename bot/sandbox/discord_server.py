"""The server in the sandbox's Discord: its people, its roles and its channels, all declared here.

Every id is fixed, so that a kept database knows them again; simcord itself gives new ones at each start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from simcord.actors import MemberActor
from simcord.backend.models import Channel, Overwrite, Role, User
from simcord.builders import ChannelHandle, UserHandle
from simcord.enums import ChannelType, OverwriteType

if TYPE_CHECKING:
    import simcord

_SERVER = (100_000_000_000_000_010, "Home Cinema")
_MEMBER = (100_000_000_000_000_001, "robin")
_NEIGHBOUR = (100_000_000_000_000_002, "sam")
_OWNER = (100_000_000_000_000_003, "jamie")
_LOUNGE = (100_000_000_000_000_011, "lounge", "A channel of the server Home Cinema; jamie owns it, robin is a member")
_LOG = (100_000_000_000_000_012, "plex-log", "For the audit; only the owner and the bot read along")
_BOT_MAY = discord.Permissions(manage_roles=True)
_ROLES = (  # the lowest first; the bot's own is above them all
    (100_000_000_000_000_021, "Movie night", discord.Permissions.none()),
    (100_000_000_000_000_022, "Plex", discord.Permissions.none()),
    (100_000_000_000_000_023, "Moderators", discord.Permissions(kick_members=True, ban_members=True)),
)
_SEE = discord.Permissions(view_channel=True).value


class HomeCinema:
    """Build the server into a simulated Discord that has not started yet.

    `owner` runs it, `member` is one of those for whom it is, `neighbour` another one; all of them see `lounge`, and the
    owner alone `log`.
    """

    def __init__(self, env: simcord.Env) -> None:
        self._env = env
        owner = self._meet(*_OWNER)
        server_id, name = _SERVER
        self._guild = env.create_guild(name, id=server_id, owner=owner)
        self.owner = MemberActor(env, self._guild, owner)
        self.member = self._guild.add_member(self._meet(*_MEMBER))
        self.neighbour = self._guild.add_member(self._meet(*_NEIGHBOUR))
        own_role = self._add_roles()
        self.lounge = self._add_channel(*_LOUNGE)
        self.log = self._add_channel(
            *_LOG,
            Overwrite(server_id, OverwriteType.ROLE, deny=_SEE),
            Overwrite(own_role.id, OverwriteType.ROLE, allow=_SEE),
        )

    @property
    def people(self) -> tuple[MemberActor, ...]:
        """All members but the bot."""
        return self.owner, self.member, self.neighbour

    def _meet(self, user_id: int, name: str) -> UserHandle:
        backend = self._env.backend
        user = backend.users[backend.reserve_id(user_id)] = User(id=user_id, name=name)
        return UserHandle(self._env, user)

    def _add_roles(self) -> Role:
        """Add the roles below the bot's own, and return that."""
        roles = self._env.backend.get_guild(self._guild.id).roles
        (own_role,) = (role for role in roles.values() if role.managed)
        own_role.permissions, own_role.position = _BOT_MAY.value, len(_ROLES) + 1
        for position, (role_id, name, permissions) in enumerate(_ROLES, start=1):
            self._env.backend.reserve_id(role_id)
            roles[role_id] = Role(id=role_id, name=name, permissions=permissions.value, position=position)
        return own_role

    def _add_channel(self, channel_id: int, name: str, topic: str, *overwrites: Overwrite) -> ChannelHandle:
        backend, guild_id = self._env.backend, self._guild.id
        channel = Channel(
            id=backend.reserve_id(channel_id),
            type=ChannelType.TEXT,
            name=name,
            topic=topic,
            guild_id=guild_id,
            position=len(backend.get_guild(guild_id).channel_ids),
            overwrites=list(overwrites),
        )
        backend.channels[channel_id] = channel
        backend.messages[channel_id] = {}
        backend.get_guild(guild_id).channel_ids.append(channel_id)
        return ChannelHandle(self._env, self._guild, channel)
