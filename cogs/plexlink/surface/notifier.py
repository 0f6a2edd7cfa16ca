"""Cards on their way: by direct message, or in the ephemeral answer where Discord does not take one soon."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import discord

from .. import cards
from ..audit import SOMEBODY
from ..community import Standing
from ..errors import NotifyError
from ..models import AttemptCard, Card, Lane, Notice, Place, Pointer
from ..plex import PinStyle, verification_url
from ..secret import Secret
from . import messages, qr, views
from .calls import MISTAKES, code_of, in_time, is_final, persist
from .guilds import member_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from discord.ext import commands

    from ..clock import Clock
    from ..models import Answer, Reserved, Showing
    from .guilds import Guilds

T = TypeVar("T")

_log = logging.getLogger(__name__)

_SOON_SECONDS = 8.0
"""How long somebody who looks at "thinking" waits for a direct message, before the card is in the answer instead.

After an error of Discord's, discord.py sends it again after one second and three more.
"""

_CLOCKS_DIFFER = timedelta(minutes=1)
_NEWEST = 100
"""How many messages of a conversation are looked at, all that one request brings, for one that may be out."""

_MESSAGE_GONE = {
    10003,  # unknown channel
    10008,  # unknown message
    50001,  # no access
}
_GZIP = b"\x1f\x8b"


class DiscordNotifier:
    """Bring cards to members."""

    def __init__(
        self,
        *,
        bot: commands.Bot,
        guilds: Guilds,
        clock: Clock,
        plex_url: str,
        pin_style: PinStyle,
        product: Callable[[], str],
    ) -> None:
        self._bot = bot
        self._guilds = guilds
        self._clock = clock
        self._plex_url = plex_url
        self._pin_style = pin_style
        self._product = product
        self._filling: dict[int, asyncio.Timeout] = {}
        self._pressed: dict[int, Answer] = {}

    async def show(self, showing: Showing) -> Place | None:
        """Bring something to its member and return where it is now; see `showing.Notifier`."""
        async with in_time():
            await self._guilds.recall(*_concerned(showing))
            if (place := await self._drawn_at(showing)) is not None:
                return place
            if showing.nonce is None:
                return None
            if showing.place.lane is None and showing.answer is not None:
                return await self._send_soon(showing, showing.answer, nonce=showing.nonce)
            return await self._send(showing, nonce=showing.nonce)

    async def _drawn_at(self, showing: Showing) -> Place | None:
        """Draw where there is something to be drawn on, and return where that is; nothing where there is none left.

        What only waits in the answer for a direct message is nowhere yet.
        """
        place, answer = showing.place, showing.answer
        if place.lane is Lane.DM:
            return await self._edited(showing)
        is_in_answer = place.lane is Lane.ANSWER or showing.prefers_answer
        if answer is None or not is_in_answer or not await self._draw_in(answer, showing):
            return None
        return place if place.lane is None else answer.place

    async def take_away(self, user_id: int, attempt_id: str) -> None:
        """Delete the direct message of an attempt whose card is in an answer; see `showing.Notifier`."""
        async with in_time():
            try:
                message = await self._found(user_id, lambda message: attempt_id in views.subjects(message))
                if message is not None:
                    await message.delete()
            except discord.HTTPException as error:
                if not is_final(error):
                    raise

    async def find_owner(self, guild_id: int, *, rather: int) -> int:
        """Return which owner of a server is told; see `showing.Notifier`."""
        async with in_time():
            guild = await self._guilds.find(guild_id)
            member = None if rather == SOMEBODY else await member_of(guild, rather)
            if member is not None and member.guild_permissions.manage_guild:
                return rather
            if guild.owner_id is None:
                raise NotifyError("Discord does not tell whose the server is")
            return guild.owner_id

    async def _send_soon(self, showing: Showing, answer: Answer, *, nonce: str) -> Place | None:
        """Send a direct message within a few seconds, or draw in the answer that somebody is looking at."""
        trouble: Exception | None = None
        try:
            async with asyncio.timeout(_SOON_SECONDS):
                sent = await persist(lambda: self._send(showing, nonce=nonce), is_acknowledged=False)
        except MISTAKES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, there is another way; raised if that fails too
            _log.warning("message.late user=%s: %s", showing.user_id, type(error).__name__)
            trouble, sent = error, await self._adopted_soon(showing)
        if sent is not None:
            return sent
        if not await self._draw_in(answer, showing) and trouble is not None:
            raise trouble
        return answer.place

    async def _adopted_soon(self, showing: Showing) -> Place | None:
        """Look for a message whose sending failed; where Discord does not let us look, there is none."""
        try:
            async with asyncio.timeout(_SOON_SECONDS):
                return await self._adopted(showing)
        except MISTAKES:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_send_soon`
            _log.warning("message.not_looked_for user=%s: %s", showing.user_id, type(error).__name__)
            return None

    async def hand_over(self, user_id: int, file: bytes) -> bool:
        """Send an export by direct message; tell whether the member takes any. Raise as `show` does."""
        async with in_time():
            view = views.export(messages.EXPORT_HERE, export_name(file))
            nonce = secrets.token_urlsafe(16)
            return await self._message(user_id, view, nonce=nonce, files=[export_file(file)]) is not None

    def hear(self, pressed: Answer) -> None:
        """Remember a press on a direct message: its card can be drawn through it where Discord refuses other edits."""
        now = self._clock.now()
        self._pressed = {key: kept for key, kept in self._pressed.items() if not cards.is_answer_closed(kept, now)}
        self._pressed[pressed.message_id] = pressed

    async def fill(self, answer: Answer, filling: Awaitable[T]) -> T:
        """Wait for an answer to be filled, unless something newer comes to stand there: that would be overwritten.

        Raises:
            TimeoutError: something newer came.

        """
        self._leave(answer)
        trying = self._filling[answer.message_id] = asyncio.timeout(None)
        try:
            async with trying:
                return await filling
        finally:
            if self._filling.get(answer.message_id) is trying:
                del self._filling[answer.message_id]

    def _leave(self, answer: Answer) -> None:
        """Let nobody go on who is still trying to fill an answer."""
        trying = self._filling.pop(answer.message_id, None)
        if trying is not None:
            trying.reschedule(0)

    async def _edited(self, showing: Showing) -> Place | None:
        """Edit a direct message, or draw in the answer that somebody is looking at where that does not go soon."""
        try:
            async with asyncio.timeout(None if showing.answer is None else _SOON_SECONDS):
                return showing.place if await self._edit_message(showing) else None
        except MISTAKES:
            raise
        except Exception as error:
            if showing.answer is None or not await self._draw_in(showing.answer, showing):
                raise
            _log.warning("message.not_edited user=%s: %s", showing.user_id, type(error).__name__)
            return showing.answer.place

    async def _edit_message(self, showing: Showing) -> bool:
        """Edit a direct message; tell whether it was still there."""
        url = self._url(showing)
        channel = self._bot.get_partial_messageable(showing.place.channel_id or 0)
        message = channel.get_partial_message(showing.place.message_id or 0)
        try:
            await message.edit(
                view=self._view(showing, url, is_ephemeral=False),
                attachments=_picture(url),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except discord.HTTPException as error:
            if code_of(error) in _MESSAGE_GONE:
                return False
            # A member, or a filter, may refuse messages for a while, and this one is there.
            pressed = self._pressed.get(showing.place.message_id or 0)
            if pressed is None or not is_final(error) or not await self._draw_in(pressed, showing, is_ephemeral=False):
                raise
        return True

    async def _send(self, showing: Showing, *, nonce: str) -> Place | None:
        """Send a direct message; nothing where Discord does not let us, or the member takes none."""
        if showing.is_perhaps_out and (place := await self._adopted(showing)) is not None:
            return place
        url = self._url(showing)
        view = self._view(showing, url, is_ephemeral=False)
        message = await self._message(showing.user_id, view, files=_picture(url), nonce=nonce)
        return None if message is None else await self._with_card(message, view, url)

    async def _adopted(self, showing: Showing) -> Place | None:
        """Bring a message up to date that is out though nobody told us so; return its place, if there is one."""
        url = self._url(showing)
        view = self._view(showing, url, is_ephemeral=False)
        message = await self._found(showing.user_id, lambda message: _is_about(message, showing.content, view))
        return None if message is None else await self._with_card(message, view, url)

    async def _found(self, user_id: int, is_it: Callable[[discord.Message], bool]) -> discord.Message | None:
        """Return the message that we have sent already.

        Discord forgets a nonce after some minutes; a process may be down for longer.
        """
        channel = await self._bot.create_dm(discord.Object(user_id))
        me = self._bot.user.id if self._bot.user else 0
        async for message in channel.history(limit=_NEWEST):
            if message.author.id == me and is_it(message):
                return message
        return None

    async def _with_card(self, message: discord.Message, view: views.CardView, url: Secret | None) -> Place:
        """Bring a message up to date that may show the card of an earlier time; return its place."""
        if not views.shows(message, view):
            await message.edit(view=view, attachments=_picture(url))
        return Place(lane=Lane.DM, channel_id=message.channel.id, message_id=message.id)

    async def _message(
        self, user_id: int, view: views.CardView, *, nonce: str, files: list[discord.File] | None = None
    ) -> discord.Message | None:
        """Send a direct message; nothing where Discord does not let us, or the member takes none.

        discord.py repeats what Discord may have stored already; the nonce makes Discord drop the second.
        """
        try:
            channel = await self._bot.create_dm(discord.Object(user_id))
            return await channel.send(
                view=view, files=files or [], nonce=nonce, allowed_mentions=discord.AllowedMentions.none()
            )
        except discord.HTTPException as error:
            if not is_final(error):
                raise
            _log.info("message.refused user=%s code=%s", user_id, error.code)
            return None

    async def _draw_in(self, answer: Answer, showing: Showing, *, is_ephemeral: bool = True) -> bool:
        """Draw in an interaction's answer; tell whether Discord still let us."""
        self._leave(answer)
        url = self._url(showing)
        webhook = discord.Webhook.partial(self._bot.application_id or 0, answer.token.reveal(), client=self._bot)
        # Of a client, discord.py takes the session alone here.
        webhook.proxy, webhook.proxy_auth = self._bot.http.proxy, self._bot.http.proxy_auth
        try:
            message = await webhook.edit_message(
                answer.message_id,
                view=self._view(showing, url, is_ephemeral=is_ephemeral),
                attachments=_picture(url),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except discord.HTTPException as error:
            if not is_final(error):
                raise
            _log.info("card.answer_gone code=%s", error.code)
            return False
        if isinstance(showing.content, Pointer) and _stands_below(showing.content.to, message):
            with suppress(discord.HTTPException):
                await message.delete()
        return True

    def _url(self, showing: Showing) -> Secret | None:
        """Return the page where the code is approved, while there is something to approve."""
        content = showing.content
        if not isinstance(content, AttemptCard) or content.card is not Card.WAITING:
            return None
        attempt = content.attempt
        if attempt.user_code is None or attempt.client_identifier is None:
            return None
        return Secret(
            verification_url(
                base_url=self._plex_url,
                style=self._pin_style,
                user_code=attempt.user_code,
                client_identifier=attempt.client_identifier,
                product=self._product(),
            )
        )

    def _roles(self, showing: Showing) -> tuple[messages.RoleLine, ...]:
        """Return the roles that come or go, by name; what the bot does not see any more is left out."""
        lines: list[messages.RoleLine | None] = []
        asked_in = showing.content.attempt.guild_id if isinstance(showing.content, AttemptCard) else None
        for each in showing.roles:
            guild = self._guilds.shown(each.guild_id)
            role = guild.get_role(each.role_id or 0) if guild else None
            if guild is not None and role is not None:
                is_elsewhere = asked_in != each.guild_id
                lines.append(
                    messages.RoleLine(
                        role=role.name,
                        server=guild.name if is_elsewhere else None,
                        is_given=each.is_wanted,
                        is_done=each.standing is not Standing.OWED,
                    )
                )
        if showing.reserved is not None:
            lines.append(self._reserved(showing.reserved))
        return tuple(line for line in lines if line is not None)

    def _reserved(self, reserved: Reserved) -> messages.RoleLine | None:
        """Return the role that is not for the member, in the server where they asked."""
        guild = self._guilds.shown(reserved.guild_id)
        role = guild.get_role(reserved.role_id) if guild else None
        if role is None:
            return None
        only_for = reserved.plex_server.reveal()
        return messages.RoleLine(role=role.name, server=None, is_given=False, is_done=True, only_for=only_for)

    def _view(self, showing: Showing, url: Secret | None, *, is_ephemeral: bool) -> views.CardView:
        surroundings = views.Surroundings(
            url=url,
            product=self._product(),
            origin=self._origin(showing.content),
            is_short=self._pin_style is PinStyle.SHORT,
            is_ephemeral=is_ephemeral,
            now=self._clock.now(),
            roles=self._roles(showing),
        )
        return views.draw(showing.content, surroundings)

    def _origin(self, content: AttemptCard | Notice | Pointer) -> str | None:
        if isinstance(content, Pointer):
            return None
        guild_id = _asked_in(content)
        if guild_id is None:
            return None
        guild = self._guilds.shown(guild_id)
        return "a server" if guild is None else guild.name


def _concerned(showing: Showing) -> set[int | None]:
    """Return the servers whose names or roles stand on a card."""
    asked_in = None if isinstance(showing.content, Pointer) else _asked_in(showing.content)
    return {asked_in, *(each.guild_id for each in showing.roles)}


def _asked_in(content: AttemptCard | Notice) -> int | None:
    return content.attempt.guild_id if isinstance(content, AttemptCard) else content.guild_id


def _is_about(message: discord.Message, content: AttemptCard | Notice | Pointer, view: views.CardView) -> bool:
    """Tell whether a message of ours shows an attempt, by its buttons, or a notice, by its words.

    An earlier notice may have had the same ones.
    """
    match content:
        case AttemptCard(attempt=attempt):
            return attempt.id in views.subjects(message)
        case Notice(at=at):
            return message.created_at >= at - _CLOCKS_DIFFER and views.shows(message, view)
        case _:
            return False


def _picture(url: Secret | None) -> list[discord.File]:
    if url is None:
        return []
    return [discord.File(io.BytesIO(qr.draw(url.reveal())), filename=views.PICTURE_FILE)]


def export_name(content: bytes) -> str:
    """Return the name of an export's file, which may be packed."""
    return f"{views.EXPORT_FILE}.gz" if content.startswith(_GZIP) else views.EXPORT_FILE


def export_file(content: bytes) -> discord.File:
    """Return an export as an attachment."""
    return discord.File(io.BytesIO(content), filename=export_name(content))


def _stands_below(place: Place, message: discord.WebhookMessage) -> bool:
    """Tell whether what an answer points to is below it in the same conversation: then the answer says nothing."""
    return message.channel.id == place.channel_id and message.id < (place.message_id or 0)
