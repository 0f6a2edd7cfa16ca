"""Commands and buttons: Discord's words in, the service's values out, and an answer in every case."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import app_commands, ui
from discord.ext import commands

from . import messages, views
from .errors import StoreUnavailableError
from .models import Answer, Lane, Place, Secret
from .notifier import persist
from .plex import device_name
from .service import AlreadyLinked, AlreadyOpen, Begun, Done, Gone, NotYours, Press, Request, TooBusy, TooManyStarts
from .views import Action

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from .service import LinkService, PressOutcome, StartOutcome

_log = logging.getLogger(__name__)

_ALREADY_ACKNOWLEDGED = 40060
_MOST_REMEMBERED = 1000
_UNLOAD_SECONDS = 2.0


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


class PlexLink(commands.Cog):
    """Link Discord members to Plex accounts.

    Resources are opened when the cog is loaded and closed when it is unloaded. What other code may catch or compare
    is reachable from here, because an extension that is reloaded is a new set of classes.
    """

    def __init__(
        self,
        *,
        bot: commands.Bot,
        opener: Callable[[], AbstractAsyncContextManager[LinkService]],
        is_user_installable: bool,
    ) -> None:
        self._bot = bot
        self._opener = opener
        self._resources = AsyncExitStack()
        self._answering: set[asyncio.Task[Any]] = set()
        self._heard: deque[int] = deque(maxlen=_MOST_REMEMBERED)
        self._service: LinkService | None = None
        for command in self.get_app_commands():
            command.allowed_contexts = app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=is_user_installable
            )
            command.allowed_installs = app_commands.AppInstallationType(guild=True, user=is_user_installable)

    async def cog_load(self) -> None:
        """Open the resources; go on with what was left undone, if Discord is there already."""
        self._service = await self._resources.enter_async_context(self._opener())
        self._bot.add_dynamic_items(CardButton)
        if self._bot.is_ready():
            await self._service.resume()

    async def cog_unload(self) -> None:
        """Let members who are being answered get their answer, then close everything that was opened."""
        self._bot.remove_dynamic_items(CardButton)
        if self._answering:
            _, late = await asyncio.wait(self._answering, timeout=_UNLOAD_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._service = None
        await self._resources.aclose()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Go on with what was left undone."""
        if self._service is not None:
            await self._service.resume()

    @app_commands.command(name="plexlink", description=messages.COMMAND)
    async def plexlink(self, interaction: discord.Interaction[Any]) -> None:
        """Start linking."""
        with self._in_progress():
            answer = await self._defer(interaction)
            if answer is not None:
                await self._answer(interaction, lambda service: service.start(self._request(interaction, answer)))

    async def press(self, interaction: discord.Interaction[Any], action: Action, subject: str) -> None:
        """Do what a card's button asks for."""
        with self._in_progress():
            answer = await self._defer(interaction)
            if answer is not None:
                await self._answer(
                    interaction, lambda service: self._decide(service, interaction, action, subject, answer)
                )

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

    async def _decide(
        self,
        service: LinkService,
        interaction: discord.Interaction[Any],
        action: Action,
        subject: str,
        answer: Answer,
    ) -> StartOutcome | PressOutcome:
        user_id = interaction.user.id
        place = _message_place(interaction)
        press = Press(user_id=user_id, answer=answer if place is None else None, place=place)
        match action:
            case Action.CHECK:
                return await service.check_now(subject, press)
            case Action.CANCEL:
                return await service.cancel(subject, press)
            case Action.UNDO:
                return await service.undo(subject, press)
            case Action.NEW:
                return await service.new_code(subject, self._request(interaction, answer))
            case Action.ANOTHER if subject != str(user_id):
                return NotYours()
            case Action.ANOTHER:
                return await service.start(self._request(interaction, answer))

    def _request(self, interaction: discord.Interaction[Any], answer: Answer) -> Request:
        """Describe a wish for a code; from a card in a direct message, the new attempt takes the card over."""
        place = _message_place(interaction)
        return Request(
            user_id=interaction.user.id,
            guild_id=interaction.guild_id,
            device_name=device_name(interaction.user.name, self._bot.user.name if self._bot.user else ""),
            answer=answer if place is None else None,
            place=place or Place(),
            may_replace_link=interaction.message is not None,
        )

    async def _defer(self, interaction: discord.Interaction[Any]) -> Answer | None:
        """Acknowledge before anything else; nothing if it came before, or Discord does not know it any more."""
        if interaction.id in self._heard:
            return None
        self._heard.append(interaction.id)
        if self._service is not None:
            self._service.observe(interaction.created_at)
        token = Secret(interaction.token)  # before anything can fail: a log filter by value knows it from here on
        try:
            message_id = await _acknowledge(interaction)
        except Exception as error:  # noqa: BLE001 - whatever it was, there is nobody left to answer
            _log.warning("interaction.not_deferred id=%s: %s", interaction.id, type(error).__name__)
            return None
        return Answer(message_id=message_id, token=token, at=interaction.created_at)

    async def _answer(
        self,
        interaction: discord.Interaction[Any],
        decide: Callable[[LinkService], Awaitable[StartOutcome | PressOutcome]],
    ) -> None:
        """Let the service decide and answer what is not shown by a card; whatever fails is answered too."""
        try:
            if self._service is None:
                raise RuntimeError("the cog is not loaded")  # noqa: TRY301 - answered like every failure
            outcome = await decide(self._service)
            view = _view(outcome, interaction.user.id)
        except StoreUnavailableError:
            reference = secrets.token_hex(4)
            _log.error("interaction.not_saved reference=%s", reference)
            view = views.notice(messages.not_saved(reference), views.RED)
        except Exception:  # noqa: BLE001 - logged, and answered: nothing may leave the member thinking
            reference = secrets.token_hex(4)
            _log.exception("interaction.failed reference=%s", reference)
            view = views.notice(messages.something_broke(reference), views.RED)
        if view is not None:
            await self._say(interaction, view)

    async def _say(self, interaction: discord.Interaction[Any], view: views.CardView) -> None:
        """Fill the deferred answer of a command, or add an ephemeral one to a press."""
        try:
            if interaction.message is None:
                await persist(lambda: interaction.edit_original_response(view=view, attachments=[]))
            else:
                await persist(lambda: interaction.followup.send(view=view, ephemeral=True))
        except Exception as error:  # noqa: BLE001 - logged; nothing may escape to the host
            _log.warning("interaction.not_answered id=%s: %s", interaction.id, type(error).__name__)


async def _acknowledge(interaction: discord.Interaction[Any]) -> int:
    """Defer, and return the id of the message that the answer goes to: the card, or the command's own answer."""
    response = None
    try:
        response = await persist(
            lambda: interaction.response.defer(ephemeral=True, thinking=interaction.message is None)
        )
    except discord.HTTPException as error:
        # Discord took an earlier try and lost its answer: the command must not think for ever, the press not be lost.
        if error.code != _ALREADY_ACKNOWLEDGED:
            raise
    if interaction.message is not None:
        return interaction.message.id
    if response is not None and response.message_id is not None:
        return response.message_id
    return (await persist(interaction.original_response)).id


def _message_place(interaction: discord.Interaction[Any]) -> Place | None:
    """Return where the pressed card is, if it is a message of its own and not an ephemeral answer."""
    message = interaction.message
    if message is None or message.flags.ephemeral:
        return None
    return Place(lane=Lane.DM, channel_id=message.channel.id, message_id=message.id)


def _view(outcome: StartOutcome | PressOutcome, user_id: int) -> views.CardView | None:  # noqa: PLR0911 - one an outcome
    """Return the answer to an outcome, or nothing where the attempt's card is the answer."""
    match outcome:
        case Begun() | Done():
            return None
        case AlreadyOpen(place):
            return views.pointer(place, messages.STILL_OPEN)
        case AlreadyLinked():
            return views.already_linked(account_name=outcome.account_name, linked_at=outcome.linked_at, user_id=user_id)
        case TooManyStarts(retry_at):
            return views.notice(messages.too_many_starts(retry_at), views.RED)
        case TooBusy(retry_at):
            return views.notice(messages.too_busy(retry_at), views.AMBER)
        case NotYours():
            return views.notice(messages.NOT_YOURS)
        case Gone():
            return views.notice(messages.GONE)
