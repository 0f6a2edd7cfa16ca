"""`/plexadmin`: the owners' commands and presses, translated for the use cases."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands, ui
from discord.ext import commands

from ..community import Objection, Setup
from ..errors import NotifyError
from ..ownership import EVERYBODY, Chosen
from . import access_desk, admin_messages, admin_views, member_desk, member_messages, member_views, views
from .admin_views import AdminAction, SetupCard
from .calls import in_time
from .guilds import member_of
from .member_views import MemberAction
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

    async def cog_load(self) -> None:
        """Take the presses of owners' cards."""
        self._bot.add_dynamic_items(AdminItem, MemberItem)

    async def cog_unload(self) -> None:
        """Take no more presses."""
        self._bot.remove_dynamic_items(AdminItem, MemberItem)

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
