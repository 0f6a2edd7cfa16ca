"""A Discord in the browser, played by simcord: a member's conversation with the bot, and channels of their server.

simcord is made for tests: its time is virtual, each action waits until the bot rests, actions that overlap are
refused, and its page shows what was published last. Here a person uses a bot that never rests, at any moment and for
hours. So this module bends it:

* the clock goes as the machine's does, and the bot's timers run on the event loop (`_LiveEnv._schedule_timer`);
* time is let pass as simcord's tests do it: from one timer of the bot's to the next, each time only when the bot rests,
  so that it does all that it would have done, and no answer of plex.tv comes late (`_LiveEnv.let_pass`);
* an action waits for the bot's first answer, and no longer than Discord would (`_LiveEnv._settle_internal`);
* what the bot changes is published by itself (`DiscordRoom._follow`);
* its pages are made into conversations (discord_pages.py).

All of it hangs on private names of simcord 3.2.1, which is why exactly that version is required.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import simcord
from simcord._dpy_internals import real_monotonic
from simcord.backend import Backend

from .discord_pages import LivePreview
from .discord_server import HomeCinema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from simcord.actors import MemberActor

    from ..client import PlexLinkBot
    from .clock import Clock

_log = logging.getLogger(__name__)

_BOT_NAME = "PlexLink"

_HINTS = {
    "conversation": "This is your conversation with the bot. Type /plexlink below, and press Enter twice.",
    "lounge": (
        "This is a channel of the server. Choose at its top who you are, its owner or a member. As the owner, type "
        "/plexadmin setup to choose a role and a channel for the audit, say #plex-log; / shows all commands."
    ),
    "log": (
        "Only the owner sees this channel of the server. Choose it for the audit in /plexadmin setup, and what happens "
        "stands here."
    ),
}
"""What stands where nothing was said yet."""

_ANSWER_SECONDS = 3.0
"""How long Discord waits for the first answer to an interaction."""

_REST_SECONDS = 600.0
_LOOK_SECONDS = 0.02
_PUBLISH_SECONDS = 0.2
_CANNOT_SEND = 50007


class _LiveEnv(simcord.Env):
    """simcord's world in real time."""

    def __init__(self, bot: PlexLinkBot, clock: Clock) -> None:
        super().__init__(bot, shard_count=1)
        self._clock = clock
        self.backend = Backend(clock=clock)  # type: ignore[arg-type] # all that is ever asked of it
        self.backend.bot_user.name = _BOT_NAME
        self._unanswered: Any = None

    def _begin_operation(self, label: str) -> None:
        """Let operations overlap: with a live clock there is nothing that they could disturb."""

    def _end_operation(self) -> None:
        """See `_begin_operation`."""

    def _notify_dispatch_observers(self, interaction: Any) -> None:  # noqa: ANN401 - simcord's own
        self._unanswered = interaction
        super()._notify_dispatch_observers(interaction)

    def _record_error(self, error: BaseException) -> None:
        """Show what simcord would keep for a test's end."""
        if id(error) not in self._error_ids:
            _log.error("sandbox.bot_error", exc_info=error)
        super()._record_error(error)

    async def let_pass(self, seconds: float) -> None:
        """Let the bot live through some time. Raises TimeoutError if it does not come to rest for ten minutes."""
        assert self._loop is not None  # noqa: S101 - the bot runs
        self._clock.is_hurried = True
        try:
            await self._advance_to(self._virtual_time + seconds, self._loop.time() + _REST_SECONDS)
        finally:
            self._clock.is_hurried = False
            self._schedule_timers_anew()

    def _schedule_timers_anew(self) -> None:
        """Let the timers that are left go off as much earlier as the clock is ahead now."""
        for record in self._work.callbacks:
            if record.when is not None and record.handle is not None and not record.handle.cancelled():
                if record.real_handle is not None:
                    record.real_handle.cancel()
                self._schedule_timer(record)

    async def _settle_internal(self, **limits: Any) -> None:  # noqa: ANN401 - simcord's own
        if asyncio.current_task() is self._advance_task:  # time passes only while the bot rests
            await super()._settle_internal(**limits)
            return
        interaction, self._unanswered = self._unanswered, None
        latest = real_monotonic() + _ANSWER_SECONDS
        # simcord's interactions announce nothing.
        while interaction is not None and not interaction.responded and real_monotonic() < latest:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    def _schedule_timer(self, record: Any, *_: Any) -> None:  # noqa: ANN401 - simcord's own
        def fire() -> None:
            # The handle brings the timer's context with it.
            if record.handle is not None and not record.handle.cancelled():
                record.handle._run()  # noqa: SLF001 - an asyncio handle that only simcord's clock would run
            else:
                with contextlib.suppress(ValueError):
                    self._work.callbacks.remove(record)

        assert self._runtime is not None  # noqa: S101 - there are timers only while the bot runs
        delay = max(0.0, record.when - self._virtual_time)
        record.real_handle = self._runtime.call_at(real_monotonic() + delay, fire)


class DiscordRoom:
    """A Discord with one server, its people and the bot.

    `member` uses the conversation at `url`; `owner`, who owns the server, uses its channel at `server_url`, where one
    can be `member` too, and another one at `log_url`; `neighbour` is somebody else, for whom only the sandbox acts. The
    owner takes no direct messages, which no page would show: what the bot has to say to them comes as an answer in a
    channel. `ports` are the three pages'. Raises OSError when one cannot be had.
    """

    def __init__(self, bot: PlexLinkBot, *, clock: Clock, ports: tuple[int, int, int] = (0, 0, 0)) -> None:
        self._bot = bot
        self._env = _LiveEnv(bot, clock)
        self._server = HomeCinema(self._env)
        self.owner = self._server.owner
        self.member = self._server.member.user
        self.neighbour = self._server.neighbour.user
        self.are_open = True
        self._conversation = LivePreview(
            self._env,
            self.member.dm_channel,
            self.member,
            title="Discord",
            hint=_HINTS["conversation"],
            port=ports[0],
        )
        self._channel = LivePreview(
            self._env,
            self._server.lounge,
            self.owner,
            self._server.member,
            title="#lounge",
            hint=_HINTS["lounge"],
            port=ports[1],
            conversation=self._conversation,
        )
        self._log = LivePreview(
            self._env,
            self._server.log,
            self.owner,
            title="#plex-log",
            hint=_HINTS["log"],
            port=ports[2],
            conversation=self._conversation,
        )
        self._channel.beside, self._log.beside = self._log, self._channel
        self.open()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._env.start()
        try:
            await self._bot.wait_until_ready()
            for page in self._pages:
                await page.__aenter__()
        except BaseException as error:
            await self._leave()
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise
        self._following = asyncio.create_task(self._follow(), name="sandbox-follow")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.cancel()
        await self._leave()

    @property
    def url(self) -> str:
        """The conversation's address; its fragment is a key, and whoever knows it can act as the member."""
        return self._conversation.url

    @property
    def server_url(self) -> str:
        """The channel's address; whoever knows its key can act as the owner and as the member."""
        return self._channel.url

    @property
    def log_url(self) -> str:
        """The address of the channel for the audit; whoever knows its key can act as the owner."""
        return self._log.url

    @property
    def members(self) -> Mapping[int, str]:
        """The names of the members, by their ids."""
        return {person.id: person.name for person in self._server.people}

    def open(self) -> None:
        """Let the bot send direct messages to the members."""
        self._refuse_direct_messages(self.owner)
        self.are_open = True

    def close(self) -> None:
        """Refuse the bot's direct messages, as Discord does for members who do not want any."""
        self._refuse_direct_messages(*self._server.people)
        self.are_open = False

    async def let_pass(self, seconds: float) -> None:
        """Let the bot live through some time. Raises TimeoutError if it does not come to rest for ten minutes."""
        try:
            await self._env.let_pass(seconds)
        finally:
            self._publish()  # with the new time

    @property
    def _pages(self) -> tuple[LivePreview, ...]:
        return self._conversation, self._channel, self._log

    def _refuse_direct_messages(self, *people: MemberActor) -> None:
        """Refuse the bot's messages to these people, and to nobody else."""
        self._env.backend.faults.clear()
        for person in people:
            path = f"/channels/{person.user.dm_channel.id}/messages"
            self._env.inject_error("POST", path, status=403, code=_CANNOT_SEND, times=None)

    async def _leave(self) -> None:
        try:
            if "plexlink" in self._bot.extensions:
                await self._bot.unload_extension("plexlink")
        finally:
            await self._env.shutdown()

    async def _follow(self) -> None:
        """Publish what the bot does. simcord notes every call of the bot, and would keep the notes for ever."""
        backend, is_shown = self._env.backend, True
        while True:
            await asyncio.sleep(_PUBLISH_SECONDS)
            if backend.transcript or not is_shown:
                backend.transcript.clear()
                backend.http_requests.clear()
                is_shown = self._publish()

    def _publish(self) -> bool:
        """Show every page what is there now; tell whether all of that succeeded."""
        return all([page.publish() for page in self._pages])  # noqa: C419 - each of them
