"""`/plexadmin`: the owners' commands and what happens to their servers, translated for the use cases."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands, ui
from discord.ext import commands

from ..community import Objection, Setup
from ..errors import NotifyError, StoreError, StoreUnavailableError
from ..ownership import EVERYBODY, Chosen
from . import access_desk, admin_messages, admin_views, member_desk, member_messages, member_views, views
from .admin_views import AdminAction, SetupCard
from .guilds import member_of, shards_of
from .member_views import MemberAction
from .notifier import in_time
from .panels import can_write_in
from .roles import is_above, objection_to

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable

    from ..community import Server
    from ..models import Wish
    from ..ownership import RuleChange
    from ..servers import Servers
    from .cog import Desk, PlexLink
    from .panels import DiscordPanels

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
"""Between two looks which servers there are, while that cannot be kept."""


class AdminItem(ui.DynamicItem[ui.Item[ui.LayoutView]], template=admin_views.CUSTOM_ID):
    """Any part of an owner's card, whenever it was sent."""

    def __init__(
        self, item: ui.Item[ui.LayoutView], action: AdminAction, chosen: Setup, change: RuleChange | None
    ) -> None:
        super().__init__(item)
        self.action = action
        self.chosen = chosen
        self.change = change

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /) -> Self:
        """Read the custom id."""
        chosen, change = admin_views.chosen_in(match), admin_views.change_in(match)
        return cls(item, AdminAction(match["action"]), chosen, change)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand it to the cog, which answers."""
        cog = interaction.client.get_cog(PlexAdmin.__cog_name__)
        if isinstance(cog, PlexAdmin):
            await cog.press(interaction, self.action, self.chosen, self.change)


class MemberItem(ui.DynamicItem[ui.Button[ui.LayoutView]], template=member_views.CUSTOM_ID):
    """Any button of a card about members, whenever it was sent."""

    def __init__(self, item: ui.Button[ui.LayoutView], action: MemberAction, number: int) -> None:
        super().__init__(item)
        self.action = action
        self.number = number

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /) -> Self:
        """Read the custom id."""
        return cls(item, MemberAction(match["action"]), int(match["number"]))  # type: ignore[arg-type] # the template is a button's

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand it to the cog, which answers."""
        cog = interaction.client.get_cog(PlexAdmin.__cog_name__)
        if isinstance(cog, PlexAdmin):
            await cog.press_about(interaction, self.action, self.number)


@app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
@app_commands.allowed_installs(guilds=True, users=False)
@app_commands.default_permissions(manage_guild=True)
class PlexAdmin(commands.GroupCog, group_name="plexadmin", group_description=admin_messages.ADMIN):
    """Let the owners of a server choose what linking means there.

    What Discord shows to whom is up to the server; so whether somebody may manage it is asked each time.
    """

    def __init__(self, *, bot: commands.Bot, plexlink: PlexLink, panels: DiscordPanels) -> None:
        self._bot = bot
        self._plexlink = plexlink
        self._panels = panels
        self._catching_up: asyncio.Task[None] | None = None

    async def cog_load(self) -> None:
        """Take the presses of owners' cards; look which servers there are, if Discord has told already."""
        self._bot.add_dynamic_items(AdminItem, MemberItem)
        if self._bot.is_ready():
            await self._note(self._compare_servers)

    async def cog_unload(self) -> None:
        """Take no more presses, and look no more."""
        self._bot.remove_dynamic_items(AdminItem, MemberItem)
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    @app_commands.command(name="setup", description=admin_messages.SETUP_COMMAND)
    async def setup(self, interaction: discord.Interaction[Any]) -> None:
        """Show what is chosen."""
        await self._admit(interaction, self._show_setup)

    @app_commands.command(name="panel", description=admin_messages.PANEL_COMMAND)
    @app_commands.describe(channel=admin_messages.PANEL_CHANNEL)
    async def panel(self, interaction: discord.Interaction[Any], channel: discord.TextChannel | None = None) -> None:
        """Post the card with which everybody can begin to link, in place of the former one."""
        where = channel or interaction.channel

        async def do(desk: Desk, caller: discord.Member) -> views.CardView:
            if not isinstance(where, discord.TextChannel):
                return views.saying(admin_messages.NO_PANEL_HERE)
            return await self._post_panel(desk.servers, caller, where)

        await self._admit(interaction, do)

    @app_commands.command(name="list", description=member_messages.LIST_COMMAND)
    async def list_members(self, interaction: discord.Interaction[Any]) -> None:
        """Show who has linked."""
        await self.ask(interaction, MemberAction.LIST)

    @app_commands.command(name="find", description=member_messages.FIND_COMMAND)
    @app_commands.describe(member=member_messages.MEMBER_OPTION)
    async def find(self, interaction: discord.Interaction[Any], member: discord.User) -> None:
        """Show how a member's link is."""
        await self._ask_about(interaction, MemberAction.FIND, member)

    @app_commands.command(name="unlink", description=member_messages.UNLINK_COMMAND)
    @app_commands.describe(member=member_messages.MEMBER_OPTION)
    async def unlink(self, interaction: discord.Interaction[Any], member: discord.User) -> None:
        """Ask whether the role is to be taken from a member."""
        await self._ask_about(interaction, MemberAction.UNLINK, member)

    @app_commands.command(name="check", description=member_messages.CHECK_COMMAND)
    @app_commands.describe(member=member_messages.MEMBER_OPTION)
    async def check(self, interaction: discord.Interaction[Any], member: discord.User) -> None:
        """Let Plex be asked about a member's link."""
        await self._ask_about(interaction, MemberAction.CHECK, member)

    @app_commands.command(name="audit", description=member_messages.AUDIT_COMMAND)
    async def audit(self, interaction: discord.Interaction[Any]) -> None:
        """Show what happened."""
        await self.ask(interaction, MemberAction.AUDIT)

    @app_commands.command(name="stats", description=member_messages.STATS_COMMAND)
    async def stats(self, interaction: discord.Interaction[Any]) -> None:
        """Show the server in numbers."""
        await self.ask(interaction, MemberAction.STATS)

    async def _ask_about(
        self, interaction: discord.Interaction[Any], action: MemberAction, user: discord.User | discord.Member
    ) -> None:
        """Ask about whoever is named: of somebody who is not in the server, Discord says no member."""
        number = user.id if isinstance(user, discord.Member) else member_desk.NOBODY
        await self.ask(interaction, action, number)

    async def press_about(self, interaction: discord.Interaction[Any], action: MemberAction, number: int) -> None:
        """Answer a button of a card about members; somebody may have left since it was sent."""

        async def do(desk: Desk, caller: discord.Member) -> views.CardView:
            if action not in member_views.ABOUT_NOBODY:
                await _look_for(desk.servers, caller.guild, number)
            return await member_desk.answer(desk.members, caller, action, number)

        await self._admit(interaction, do, is_in_place=True)

    async def ask(self, interaction: discord.Interaction[Any], action: MemberAction, number: int = 0) -> None:
        """Answer what is asked about members; `number` is a page's, or a member's id."""
        await self._admit(interaction, lambda desk, caller: member_desk.answer(desk.members, caller, action, number))

    async def press(
        self, interaction: discord.Interaction[Any], action: AdminAction, chosen: Setup, change: RuleChange | None
    ) -> None:
        """Do what a part of an owner's card asks for."""
        data: dict[str, Any] = {**(interaction.data or {})}
        values = data.get("values", [])

        async def do(desk: Desk, caller: discord.Member) -> views.CardView:
            match action:
                case AdminAction.ROLE | AdminAction.CHANNEL:
                    return await _draft(desk, caller, admin_views.with_choice(chosen, action, values))
                case AdminAction.APPLY | AdminAction.UNDO:
                    return await self._apply(desk, caller, chosen)
                case AdminAction.PLEX | AdminAction.PLEX_SERVER | AdminAction.EVERYBODY:
                    return await _ask_for_whom(desk, caller, action, chosen, values[0] if values else EVERYBODY)
                case AdminAction.RULE if change is not None:
                    return await _decide_for_whom(desk, caller, chosen, change)
                case _:
                    return await _draft(desk, caller, chosen)

        await self._admit(interaction, do, is_in_place=True)

    async def _admit(
        self,
        interaction: discord.Interaction[Any],
        do: Callable[[Desk, discord.Member], Awaitable[views.CardView]],
        *,
        is_in_place: bool = False,
    ) -> None:
        """Do what an owner asks for; nothing for anybody else."""

        async def decide(desk: Desk, _: Wish) -> views.CardView:
            caller = interaction.user
            if not isinstance(caller, discord.Member):
                return views.saying(admin_messages.ONLY_IN_SERVERS)
            if not interaction.permissions.manage_guild:
                return views.saying(admin_messages.NOT_ALLOWED)
            return await do(desk, caller)

        await self._plexlink.serve(interaction, decide, is_in_place=is_in_place)

    async def _show_setup(self, desk: Desk, caller: discord.Member) -> views.CardView:
        server = await desk.servers.of(caller.guild.id)
        await self._look_after_panel(desk.servers, server)
        return await _draft(desk, caller, server.setup)

    async def _look_after_panel(self, servers: Servers, server: Server) -> None:
        """Look whether a server's panel is there; Discord may not say."""
        message_id = server.panel_message_id
        if message_id is not None:
            with suppress(NotifyError):
                channel_id = server.panel_channel_id or 0
                if await self._panels.is_gone(guild_id=server.id, channel_id=channel_id, message_id=message_id):
                    await servers.panel_gone(server.id, message_id)

    async def _post_panel(
        self, servers: Servers, caller: discord.Member, channel: discord.TextChannel
    ) -> views.CardView:
        """Post a panel, then delete the former one: there is one at every moment, and two for an instant.

        A process that dies before the new one is noted leaves both; they work, but nobody deletes the new one later.
        """
        refused = views.saying(admin_messages.NO_CHANNEL.format(channel=channel.mention), views.RED)
        if not can_write_in(channel):
            return refused
        try:
            message_id = await self._panels.post(channel)
        except NotifyError as error:
            _log.warning("panel.not_posted server=%d: %s", channel.guild.id, error)
            return views.saying(admin_messages.PANEL_UNSURE.format(channel=channel.mention), views.RED)
        if message_id is None:
            return refused
        former = await servers.panel_posted(channel.guild.id, channel.id, message_id, actor_id=caller.id)
        if former.panel_message_id is not None:
            await self._panels.remove(channel_id=former.panel_channel_id or 0, message_id=former.panel_message_id)
        return admin_views.panel_posted(channel.guild.id, channel.id, message_id)

    async def _apply(self, desk: Desk, caller: discord.Member, chosen: Setup) -> views.CardView:
        """Choose, unless something speaks against it by now."""
        before = await desk.servers.of(caller.guild.id)
        card = await _card(desk, caller, chosen, before)
        if not card.is_open:
            return admin_views.setup(card)
        after = await desk.servers.set_up(caller.guild.id, chosen, instead_of=before.setup, actor_id=caller.id)
        if after is None:  # somebody else was faster, and what they chose is to be looked at first
            return await _draft(desk, caller, chosen)
        return admin_views.setup(
            SetupCard(
                guild_name=caller.guild.name,
                chosen=chosen,
                before=before.setup,
                panel=_panel(after),
                rule=await desk.ownership.rule(caller.guild.id),
                is_saved=True,
            )
        )

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Take note of servers that were left or joined again, and of roles that went, while nobody looked."""
        await self._note(self._compare_servers)

    async def _compare_servers(self, servers: Servers) -> None:
        for server in await servers.known():
            guild = self._bot.get_guild(server.id)
            if guild is not None:
                await _compare(servers, server, guild)
            elif server.left_at is None and self._is_ours(server.id):
                await servers.left(server.id)

    def _is_ours(self, guild_id: int) -> bool:
        """Tell whether this process would see a server; others may run other shards."""
        return shards_of(self._bot).have(guild_id)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Go on with a server that was left."""
        await self._note(lambda servers: _go_on(servers, guild))

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Take note that the bot was removed."""
        await self._note(lambda servers: servers.left(guild.id))

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Take note that a channel is gone."""
        await self._note(lambda servers: servers.channel_gone(channel.guild.id, channel.id))

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """Take note that a role is gone."""
        await self._note(lambda servers: servers.role_gone(role.guild.id, role.id))

    @commands.Cog.listener()
    async def on_guild_role_update(self, _: discord.Role, role: discord.Role) -> None:
        """Let what was refused be tried again."""
        await self._note(lambda servers: servers.roles_changed(role.guild.id))

    @commands.Cog.listener()
    async def on_member_update(self, before: discord.Member, member: discord.Member) -> None:
        """Take note of roles that other hands gave or took; where the bot has got another, try again what was refused.

        discord.py tells it of the bot itself always, and of members whom it has in its cache: where the host has turned
        that on, and the members intent.
        """
        if self._bot.user is not None and member.id == self._bot.user.id:
            await self._note(lambda servers: servers.roles_changed(member.guild.id))
        elif set(before.roles) != set(member.roles):
            await self._note(lambda servers: _meet(servers, member))

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        """Greet a linked member with the role; Discord tells it where the host has turned the members intent on."""
        await self._note(lambda servers: _meet(servers, member))

    @commands.Cog.listener()
    async def on_raw_member_remove(self, payload: discord.RawMemberRemoveEvent) -> None:
        """Take note that a member has left; told as `on_member_join` is."""
        await self._note(lambda servers: servers.member_left(payload.guild_id, payload.user.id))

    async def _note(self, tell: Callable[[Servers], Awaitable[object]]) -> None:
        """Tell what has happened; where that cannot be kept, it is looked which servers there are until it can."""
        if not await self._has_noted(tell) and (self._catching_up is None or self._catching_up.done()):
            self._catching_up = asyncio.create_task(self._catch_up(), name="plexlink-servers")

    async def _has_noted(self, tell: Callable[[Servers], Awaitable[object]]) -> bool:
        """Tell what has happened; return whether that was kept, or there is nobody to keep it."""
        desk = self._plexlink.desk
        try:
            if desk is not None:
                await tell(desk.servers)
        except StoreError as error:
            if not isinstance(error, StoreUnavailableError):  # of that the store has said so, once for all
                _log.warning("server.not_noted: %s", error)
            return False
        return True

    async def _catch_up(self) -> None:
        """Look which servers there are until that is kept: Discord does not say it again.

        It is no job of the agenda's, which knows nothing of what Discord's client has seen.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            # Before Discord has told which servers there are, all of them seem to be gone; `on_ready` looks then.
            if not self._bot.is_ready() or await self._has_noted(self._compare_servers):
                return


async def _look_for(servers: Servers, guild: discord.Guild, user_id: int) -> None:
    """Take note of it if a member has left a server, of whom nothing is known there then.

    Where Discord does not say, what was known stays.
    """
    try:
        async with in_time():
            member = await member_of(guild, user_id)
    except NotifyError as error:
        _log.warning("member.not_looked_for server=%d: %s", guild.id, error)
        return
    if member is None:
        await servers.member_left(guild.id, user_id)


async def _meet(servers: Servers, member: discord.Member) -> None:
    await servers.met(member.guild.id, member.id, [role.id for role in member.roles])


async def _go_on(servers: Servers, guild: discord.Guild) -> None:
    await _compare(servers, await servers.of(guild.id), guild)


async def _compare(servers: Servers, server: Server, guild: discord.Guild) -> None:
    """Take note that a server has the bot back, or not any more the role that was chosen.

    Of a server that is unavailable, Discord shows no roles.
    """
    if server.left_at is not None:
        await servers.joined(server.id)
    role_id = server.setup.role_id
    if role_id is not None and not guild.unavailable and guild.get_role(role_id) is None:
        await servers.role_gone(server.id, role_id)


async def _ask_for_whom(
    desk: Desk, caller: discord.Member, action: AdminAction, chosen: Setup, handle: str
) -> views.CardView:
    """Ask for whom a server's role is to be, or show what that means, unless it is above the caller's."""
    role_id = (await desk.servers.of(caller.guild.id)).setup.role_id
    if action is not AdminAction.PLEX and is_above(role_id, caller):
        return _above(role_id, chosen)
    return await access_desk.ask(desk.ownership, caller, action, chosen, handle, role_id=role_id)


async def _decide_for_whom(desk: Desk, caller: discord.Member, chosen: Setup, change: RuleChange) -> views.CardView:
    """Let a server's role be for others; where somebody has chosen since the card was drawn, show what is so now."""
    role_id = (await desk.servers.of(caller.guild.id)).setup.role_id
    if is_above(role_id, caller):
        return _above(role_id, chosen)
    outcome = await access_desk.apply(desk.ownership, caller, chosen, change)
    if isinstance(outcome, views.CardView):
        return outcome
    card = await _card(desk, caller, chosen, await desk.servers.of(caller.guild.id))
    if isinstance(outcome, Chosen):
        is_saved = outcome.is_new and chosen == card.before
        card = replace(card, is_saved=is_saved, undo_rule=outcome.undo)
    return admin_views.setup(card)


def _above(role_id: int | None, chosen: Setup) -> views.CardView:
    return admin_views.refused(admin_messages.objection(Objection.ABOVE_CALLER, f"<@&{role_id}>"), chosen)


async def _draft(desk: Desk, caller: discord.Member, chosen: Setup) -> views.CardView:
    """Return the card with what is chosen, but not applied."""
    return admin_views.setup(await _card(desk, caller, chosen, await desk.servers.of(caller.guild.id)))


async def _card(desk: Desk, caller: discord.Member, chosen: Setup, server: Server) -> SetupCard:
    """Return what is chosen, but not applied, with what speaks against it now."""
    is_same_channel = chosen.audit_channel_id == server.setup.audit_channel_id
    return SetupCard(
        guild_name=caller.guild.name,
        chosen=chosen,
        before=server.setup,
        panel=_panel(server),
        rule=await desk.ownership.rule(server.id),
        objection=_objection(caller, chosen, server.setup),
        is_channel_closed=_is_closed(caller.guild, chosen),
        was_channel_closed=server.closed_at is not None and is_same_channel,
    )


def _panel(server: Server) -> str:
    return admin_messages.panel(server.id, server.panel_channel_id, server.panel_message_id)


def _objection(caller: discord.Member, chosen: Setup, before: Setup) -> Objection | None:
    """Return what speaks against a choice; what is chosen already, perhaps by somebody of higher rank, may stay."""
    if chosen.role_id is None:
        return None
    role = caller.guild.get_role(chosen.role_id)
    if role is None:
        return Objection.GONE
    return objection_to(role, caller=None if chosen.role_id == before.role_id else caller)


def _is_closed(guild: discord.Guild, chosen: Setup) -> bool:
    """Tell whether the bot cannot write into the chosen channel."""
    if chosen.audit_channel_id is None:
        return False
    channel = guild.get_channel(chosen.audit_channel_id)
    return channel is None or not can_write_in(channel)
