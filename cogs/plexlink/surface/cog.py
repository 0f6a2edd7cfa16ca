"""Commands and buttons: Discord's words in, the use cases' values out, and an answer in every case."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import secrets
from collections import deque
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands, ui
from discord.ext import commands

from ..errors import NewerRowError, NotifyError, StoreError, StoreUnavailableError, UnknownKeyError
from ..linking import AlreadyOpen, Begun, Gone, NotYours, TooBusy, TooManyStarts
from ..links import Done, Forgotten, NotLinked, Status
from ..models import FOR_OWNERS, Answer, Origin, Wish
from ..plex import device_name
from ..secret import Secret
from ..tokens import Grant, GrantOutcome
from . import messages, views
from .calls import persist
from .interactions import acknowledge, deliver, origin_of, place_of
from .notifier import export_file, export_name
from .views import Action

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from ..clock import Clock
    from ..linking import Linking
    from ..links import Links
    from ..members import Members
    from ..models import Notice
    from ..ownership import Ownership
    from ..servers import Servers
    from ..tokens import Tokens
    from ..vitals import Vitals
    from .notifier import DiscordNotifier

_log = logging.getLogger(__name__)

_MOST_REMEMBERED = 1000
_UNLOAD_SECONDS = 2.0
_LOOKS_FOR_SECONDS = 3.0
_LARGEST_EXPORT = 8 * 2**20
"""Bytes; Discord takes 10 MiB, https://discord.com/developers/docs/reference#uploading-files."""


_IN_PLACE = {
    Action.RECHECK,
    Action.KEEP,
    Action.UNLINK,
    Action.UNLINK_NOW,
    Action.FORGET,
    Action.FORGET_NOW,
    Action.SHOW_NAME,
    Action.HIDE_NAME,
}
"""What is pressed on a card that is an answer itself, and that the next one replaces."""


class CardButton(ui.DynamicItem[ui.Button[ui.LayoutView]], template=views.CUSTOM_ID):
    """Any button of any card, whenever it was sent."""

    def __init__(self, item: ui.Button[ui.LayoutView], action: Action, subject: str) -> None:
        super().__init__(item)
        self.action = action
        self.subject = subject

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /) -> Self:
        """Read the custom id."""
        return cls(item, Action(match["action"]), match["subject"])  # type: ignore[arg-type] # the template is a button's

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Hand the press to the cog, which answers it."""
        cog = interaction.client.get_cog(PlexLink.__cog_name__)
        if isinstance(cog, PlexLink):
            await cog.press(interaction, self.action, self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the cog turns to."""

    linking: Linking
    links: Links
    servers: Servers
    ownership: Ownership
    members: Members
    tokens: Tokens
    vitals: Vitals
    notifier: DiscordNotifier
    clock: Clock
    resume: Callable[[], None]
    """Go on with everything that an earlier process left undone."""


class PlexLink(commands.Cog):
    """Link Discord members to Plex accounts.

    Resources are opened when the cog is loaded and closed when it is unloaded. What other code may catch or compare
    is reachable from here, because an extension that is reloaded is a new set of classes.
    """

    def __init__(
        self,
        *,
        bot: commands.Bot,
        opener: Callable[[], AbstractAsyncContextManager[Desk]],
        is_user_installable: bool,
    ) -> None:
        self._bot = bot
        self._opener = opener
        self._resources = AsyncExitStack()
        self._answering: set[asyncio.Task[Any]] = set()
        self._heard: deque[int] = deque(maxlen=_MOST_REMEMBERED)
        self._desk: Desk | None = None
        for command in self.get_app_commands():
            command.allowed_contexts = app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=is_user_installable
            )
            command.allowed_installs = app_commands.AppInstallationType(guild=True, user=is_user_installable)

    async def cog_load(self) -> None:
        """Open the resources; go on with what was left undone, if Discord is there already."""
        self._desk = await self._resources.enter_async_context(self._opener())
        self._bot.add_dynamic_items(CardButton)
        if self._bot.is_ready():
            self._desk.resume()

    async def cog_unload(self) -> None:
        """Let members who are being answered get their answer, then close everything that was opened."""
        self._bot.remove_dynamic_items(CardButton)
        if self._answering:
            _, late = await asyncio.wait(self._answering, timeout=_UNLOAD_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._desk = None
        await self._resources.aclose()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Go on with what was left undone."""
        if self._desk is not None:
            self._desk.resume()

    @property
    def desk(self) -> Desk | None:
        """What the plugin's cogs turn to; nothing while it is not loaded."""
        return self._desk

    @property
    def vitals(self) -> Vitals | None:
        """How the plugin is, for health checks and graphs; nothing while it is not loaded."""
        return None if self._desk is None else self._desk.vitals

    async def token_for(self, user_id: int, *, purpose: str) -> Grant:
        """Return a member's Plex token for other code, or why there is none; its use is written into the audit.

        `purpose` names the feature, in `[a-z0-9_-]{1,32}`; the member reads it in /plexstatus. Of the answer, `outcome`
        is "granted", "not_linked", "dead", "needs_relink" or "unavailable". A granted `token` opens the whole Plex
        account: send `client_identifier` with every call, and keep neither.

        Raises:
            ValueError: the purpose does not fit, or the id is none of Discord's.

        """
        if self._desk is None:
            return Grant(outcome=GrantOutcome.UNAVAILABLE)
        return await self._desk.tokens.token_for(user_id, purpose=purpose)

    @app_commands.command(name="plexlink", description=messages.COMMAND)
    async def plexlink(self, interaction: discord.Interaction[Any]) -> None:
        """Start linking."""
        await self.serve(interaction, lambda desk, wish: desk.linking.start(wish))

    @app_commands.command(name="plexstatus", description=messages.STATUS_COMMAND)
    async def plexstatus(self, interaction: discord.Interaction[Any]) -> None:
        """Show the member's link."""
        await self.serve(interaction, lambda desk, wish: desk.links.status(wish.user_id))

    @app_commands.command(name="plexunlink", description=messages.UNLINK_COMMAND)
    async def plexunlink(self, interaction: discord.Interaction[Any]) -> None:
        """Ask whether the link is to be ended."""
        await self.serve(interaction, self._ask_unlink)

    @app_commands.command(name="plexprivacy", description=messages.PRIVACY_COMMAND)
    async def plexprivacy(self, interaction: discord.Interaction[Any]) -> None:
        """Tell what is stored."""
        await self.serve(interaction, self._privacy)

    async def press(self, interaction: discord.Interaction[Any], action: Action, subject: str) -> None:
        """Do what a card's button asks for."""
        await self.serve(
            interaction,
            lambda desk, wish: self._decide(desk, interaction, action, subject, wish),
            is_in_place=action in _IN_PLACE,
        )

    async def serve(
        self,
        interaction: discord.Interaction[Any],
        decide: Callable[[Desk, Wish], Awaitable[object]],
        *,
        is_in_place: bool = False,
    ) -> None:
        """Acknowledge, decide, answer; an unloading waits for it."""
        with self._in_progress():
            wish = await self._defer(interaction)
            if wish is not None:
                await self._answer(interaction, wish, decide, is_in_place=is_in_place)
                await self._meet(interaction)

    async def _meet(self, interaction: discord.Interaction[Any]) -> None:
        """Take note of who was seen where, once they have their answer: a linked member may be owed a role."""
        member = interaction.user
        if isinstance(member, discord.Member) and self._desk is not None:
            with suppress(StoreError):  # they will be seen again
                await self._desk.servers.met(member.guild.id, member.id, [role.id for role in member.roles])

    @contextmanager
    def _in_progress(self) -> Iterator[None]:
        """Make an unloading wait for the present task."""
        task = asyncio.current_task()
        if task is not None:
            self._answering.add(task)
        try:
            yield
        finally:
            if task is not None:
                self._answering.discard(task)

    async def _decide(  # noqa: PLR0911 - one an action
        self, desk: Desk, interaction: discord.Interaction[Any], action: Action, subject: str, wish: Wish
    ) -> object:
        if action in views.OF_MEMBERS:
            if subject != str(wish.user_id):
                return NotYours()
            return await self._decide_for_member(desk, interaction, action, wish)
        match action:
            case Action.CHECK:
                return await desk.linking.check_now(subject, wish)
            case Action.CANCEL:
                return await desk.linking.cancel(subject, wish)
            case Action.MOVE:
                return await desk.linking.move_here(subject, wish)
            case Action.LEAVE:
                return await desk.linking.leave_there(subject, wish)
            case Action.UNDO:
                return await desk.linking.undo(subject, wish)
            case Action.PANEL:
                return await desk.linking.start(wish)
            case _:
                return await desk.linking.new_code(subject, wish)

    async def _decide_for_member(  # noqa: PLR0911 - one an action
        self, desk: Desk, interaction: discord.Interaction[Any], action: Action, wish: Wish
    ) -> object:
        match action:
            case Action.RECHECK:
                return await desk.links.check(wish.user_id)
            case Action.UNLINK:
                return await self._ask_unlink(desk, wish)
            case Action.UNLINK_NOW:
                return await desk.links.unlink(wish)
            case Action.PRIVACY:
                return await self._privacy(desk, wish)
            case Action.EXPORT:
                return await self._export(desk, interaction)
            case Action.FORGET:
                return views.ask_forget(wish.user_id)
            case Action.FORGET_NOW:
                return await desk.links.forget(wish)
            case Action.SHOW_NAME | Action.HIDE_NAME:
                await desk.links.show_name(wish.user_id, is_shown=action is Action.SHOW_NAME)
                return await self._privacy(desk, wish)
            case Action.ANOTHER:
                return await desk.linking.start(wish)
            case _:
                return await desk.links.status(wish.user_id)

    async def _ask_unlink(self, desk: Desk, wish: Wish) -> object:
        status = await desk.links.status(wish.user_id)
        return status if isinstance(status, NotLinked) else views.ask_unlink(wish.user_id)

    async def _privacy(self, desk: Desk, wish: Wish) -> views.CardView:
        is_name_shown = None
        with suppress(StoreError):  # what is stored at all can be said without looking
            status = await desk.links.status(wish.user_id)
            is_name_shown = status.link.is_name_shown if isinstance(status, Status) else None
        return views.privacy(wish.user_id, desk.links.audit_days, is_name_shown=is_name_shown)

    async def _export(self, desk: Desk, interaction: discord.Interaction[Any]) -> views.CardView | None:
        """Send the member's data by direct message, or with an answer of its own where those are closed."""
        user_id = interaction.user.id
        content = await asyncio.to_thread(_written, await desk.links.export(user_id))
        try:
            has_arrived = await desk.notifier.hand_over(user_id, content)
        except NotifyError:
            has_arrived = False
        if has_arrived:
            return views.saying(messages.EXPORTED, views.GREEN)
        await persist(
            lambda: interaction.followup.send(
                view=views.export(messages.EXPORT_HERE, export_name(content)), file=export_file(content), ephemeral=True
            )
        )
        return None

    async def _defer(self, interaction: discord.Interaction[Any]) -> Wish | None:
        """Acknowledge before anything else; nothing if it came before, or Discord does not know it any more."""
        if interaction.id in self._heard:
            return None
        self._heard.append(interaction.id)
        if self._desk is not None:
            self._desk.clock.observe(interaction.created_at)
        token = Secret(interaction.token)  # before anything can fail: a log filter by value knows it from here on
        origin = origin_of(interaction)
        try:
            message_id = await acknowledge(interaction, origin)
        except Exception as error:  # noqa: BLE001 - whatever it was, there is nobody left to answer
            _log.warning("interaction.not_deferred id=%s: %s", interaction.id, type(error).__name__)
            return None
        return Wish(
            user_id=interaction.user.id,
            guild_id=interaction.guild_id,
            device_name=device_name(interaction.user.name, self._bot.user.name if self._bot.user else ""),
            origin=origin,
            answer=Answer(message_id=message_id, token=token, at=interaction.created_at),
            place=place_of(interaction, origin),
        )

    async def _answer(
        self,
        interaction: discord.Interaction[Any],
        wish: Wish,
        decide: Callable[[Desk, Wish], Awaitable[object]],
        *,
        is_in_place: bool,
    ) -> None:
        """Let it be decided, and answer what is not shown by a card; whatever fails is answered too."""
        try:
            if self._desk is None:
                raise RuntimeError("the cog is not loaded")  # noqa: TRY301 - answered like every failure
            outcome = await decide(self._desk, wish)
            view = outcome if isinstance(outcome, views.CardView) else _view(outcome, wish.user_id)
        except Exception as error:  # noqa: BLE001 - logged, and answered: nothing may leave the member thinking
            await self._apologise(interaction, wish, _apology(error), is_in_place=is_in_place)
            return
        if view is None and not wish.origin.is_card:
            return  # a card will be the answer, whose place a followup would take: notices wait for the next one
        is_in_place = is_in_place and view is not None and not isinstance(outcome, NotYours)
        await self._say_with_notices(interaction, wish, view, fills_answer=_fills_answer(wish, is_in_place=is_in_place))

    async def _apologise(
        self, interaction: discord.Interaction[Any], wish: Wish, view: views.CardView, *, is_in_place: bool
    ) -> None:
        """Say what failed, without asking the database for more; a card that there is all the same is drawn over it."""
        fills_answer = _fills_answer(wish, is_in_place=is_in_place)
        await self._say(interaction, wish, view, fills_answer=fills_answer)
        if fills_answer and self._desk is not None:
            with suppress(StoreError):
                await self._desk.linking.seemed_to_fail(wish)

    async def _say_with_notices(
        self, interaction: discord.Interaction[Any], wish: Wish, view: views.CardView | None, *, fills_answer: bool
    ) -> None:
        """Answer, and tell first what no direct message could."""
        notices = await self._notices_for(interaction.user.id)
        if notices:
            view = views.headed_by(notices, view, self._servers_in(notices))
        has_said = view is not None and await self._say(interaction, wish, view, fills_answer=fills_answer)
        if notices and has_said and self._desk is not None:
            with suppress(StoreError):  # told twice at worst
                await self._desk.links.heard(notices)

    async def _say(
        self, interaction: discord.Interaction[Any], wish: Wish, view: views.CardView, *, fills_answer: bool
    ) -> bool:
        """Fill the answer that was promised, or the pressed card where that is an answer itself; else add an answer.

        Tell whether it was said.
        """
        if not fills_answer:
            return await deliver(interaction, persist(lambda: interaction.followup.send(view=view, ephemeral=True)))
        message_id = wish.answer.message_id
        filling = persist(lambda: interaction.followup.edit_message(message_id, view=view, attachments=[]))
        if self._desk is not None:
            filling = self._desk.notifier.fill(wish.answer, filling)
        return await deliver(interaction, filling)

    def _servers_in(self, notices: Sequence[Notice]) -> dict[int | None, str]:
        """Return the names of the servers that notices are about; of those that the bot does not see, none."""
        guilds = [self._bot.get_guild(each.guild_id or 0) for each in notices]
        return {guild.id: guild.name for guild in guilds if guild is not None}

    async def _notices_for(self, user_id: int) -> list[Notice]:
        if self._desk is None:
            return []
        try:
            held = await self._desk.links.held_for(user_id)
            return [each for each in held if each.topic not in FOR_OWNERS or await self._is_for(self._desk, each)]
        except StoreError:
            return []

    async def _is_for(self, desk: Desk, notice: Notice) -> bool:
        """Tell whether who reads what is for the owners of a server is one still; if not, let one be told.

        Where Discord does not say soon, it waits for the next answer.
        """
        try:
            async with asyncio.timeout(_LOOKS_FOR_SECONDS):
                owner_id = await desk.notifier.find_owner(notice.guild_id or 0, rather=notice.user_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is given
            _log.info("notice.not_read id=%s: %s", notice.id, type(error).__name__)
            return False
        if owner_id != notice.user_id:
            await desk.links.hand_on(notice, owner_id)
        return owner_id == notice.user_id


def _written(export: dict[str, Any]) -> bytes:
    """Return an export as a file; a very large one, which Discord would not take, is packed."""
    content = json.dumps(export, indent=2).encode()
    return gzip.compress(content) if len(content) > _LARGEST_EXPORT else content


def _apology(error: Exception) -> views.CardView:
    """Log what failed, and return what its member is told."""
    if isinstance(error, UnknownKeyError):
        _log.error("interaction.key_missing: %s", error)
        return views.saying(messages.KEY_MISSING, views.RED)
    if isinstance(error, NewerRowError):
        _log.error("interaction.newer_row: %s", error)
        return views.saying(messages.NEWER, views.RED)
    reference = secrets.token_hex(4)
    if isinstance(error, StoreUnavailableError):
        _log.error("interaction.not_saved reference=%s", reference)
        return views.saying(messages.not_saved(reference), views.RED)
    _log.error("interaction.failed reference=%s", reference, exc_info=error)
    return views.saying(messages.something_broke(reference), views.RED)


def _fills_answer(wish: Wish, *, is_in_place: bool) -> bool:
    """Tell whether what is said fills the answer that was promised, or replaces the pressed card."""
    return not wish.origin.is_card or (is_in_place and wish.origin is Origin.ANSWER)


def _view(outcome: object, user_id: int) -> views.CardView | None:  # noqa: PLR0911 - one an outcome
    """Return the answer to an outcome, or nothing where a card that comes by itself is the answer."""
    match outcome:
        case AlreadyOpen(place):
            return views.pointer(place, messages.STILL_OPEN)
        case Status():
            return views.status(outcome)
        case NotLinked():
            return views.not_linked(user_id)
        case Forgotten():
            return views.not_linked(user_id, messages.FORGOTTEN)
        case TooManyStarts(retry_at):
            return views.saying(messages.too_many_starts(retry_at), views.AMBER)
        case TooBusy(retry_at):
            return views.saying(messages.too_busy(retry_at), views.AMBER)
        case NotYours():
            return views.saying(messages.NOT_YOURS)
        case Gone():
            return views.saying(messages.GONE)
        case Begun() | Done() | None:
            return None
        case _:
            raise TypeError(f"no answer to {type(outcome).__name__}")
