"""A Discord in the browser: one member's conversation with the bot, played by simcord.

simcord is made for tests: its time is virtual, each action waits until the bot rests, actions that overlap are
refused, and its page shows what was published last. Here a person uses a bot that never rests, at any moment and for
hours. So this module, and no other, bends it:

* the clock goes as the machine's does, and the bot's timers run on the event loop (`_LiveEnv._schedule_timer`);
* time is let pass as simcord's tests do it: from one timer of the bot's to the next, each time only when the bot rests,
  so that it does all that it would have done, and no answer of plex.tv comes late (`_LiveEnv.let_pass`);
* an action waits for the bot's first answer, and no longer than Discord would (`_LiveEnv._settle_internal`);
* actions take turns, and a press counts if its button is still there (`_LivePreview._action`);
* what the bot changes is published by itself (`DiscordRoom._follow`);
* a change costs the same however long the conversation is (`_Parsers`, `_SHOWN_MESSAGES`);
* the page gets a style sheet and a script of ours: it looks like a conversation, in light and dark, and countdowns
  tick (`_LiveServer`, pages/room.css, pages/room.js).

All of it hangs on private names of simcord 3.2.1, which is why exactly that version is required.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

import simcord
from simcord._dpy_internals import real_monotonic
from simcord.backend import Backend
from simcord.backend.models import User
from simcord.builders import UserHandle
from simcord.preview import Preview, _action_plans, _markdown, _queries, _snapshot
from simcord.preview._action_plans import _component_key, _component_paths
from simcord.preview._server import PreviewServer

from .site import page_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from aiohttp import web

    from ..client import PlexLinkBot
    from .clock import Clock

_log = logging.getLogger(__name__)

_BOT_NAME = "PlexLink"
_GUILD_NAME = "Home Cinema"
# Fixed, so that a kept database knows its members again.
_MEMBER = (100_000_000_000_000_001, "robin")
_NEIGHBOUR = (100_000_000_000_000_002, "sam")

_ANSWER_SECONDS = 3.0
"""How long Discord waits for the first answer to an interaction."""

_REST_SECONDS = 600.0
_LOOK_SECONDS = 0.02
_PUBLISH_SECONDS = 0.2
_SHOWN_MESSAGES = 30
_REMEMBERED_REVISIONS = 500
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


class _LiveServer(PreviewServer):
    """simcord's pages, dressed as a conversation."""

    _OURS: ClassVar[dict[str, str]] = {f"/{name}": name for name in ("room.css", "room.js", "icon.svg")}
    _STATIC_FILES: ClassVar[dict[str, str]] = {**PreviewServer._STATIC_FILES, **_OURS}  # noqa: SLF001
    _STYLE = '<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/room.css"></head>'
    _SCRIPT = '<script type="module" src="/room.js"></script></body>'  # after simcord's own, which it builds upon

    async def _static(self, request: web.Request) -> web.Response:
        if request.path in self._OURS and request.host in self._allowed_hosts():
            ours = page_file(self._OURS[request.path])
            ours.headers.update(self._SECURITY_HEADERS)
            return ours
        response: web.Response = await super()._static(request)
        if request.path == "/" and response.text is not None:
            page = response.text.replace("<title>SimCord Preview<", "<title>Discord · PlexLink sandbox<")
            response.text = page.replace("</head>", self._STYLE).replace("</body>", self._SCRIPT)
        return response


class _Parsers:
    """simcord's Markdown parsers, each made once: simcord makes one for every text, whenever anything changes.

    The names that a parser puts for ids are those of the text at hand.
    """

    def __init__(self) -> None:
        self._make = _markdown._markdown_parser  # noqa: SLF001
        self._made: dict[int, tuple[Any, dict[str, Any]]] = {}

    def __call__(self, policy: Mapping[str, bool | str], context: Mapping[str, Any]) -> Any:  # noqa: ANN401
        if id(policy) not in self._made:  # the policies are constants
            names: dict[str, Any] = {}
            self._made[id(policy)] = self._make(policy, names), names
        parser, names = self._made[id(policy)]
        names.clear()
        names.update(context)
        return parser


_parsers = _Parsers()


def _newest_summaries(preview: Any, page: Any, messages: list[Any]) -> Any:  # noqa: ANN401 - simcord's own
    """Sum up what the page shows, for simcord's list of all messages, which is out of sight here."""
    return _queries._message_navigation(preview, page, messages[-_SHOWN_MESSAGES:])  # noqa: SLF001


def _quicken() -> None:
    """Keep simcord's page from growing slower with every message."""
    _markdown._markdown_parser = _parsers  # noqa: SLF001
    _snapshot._message_navigation = _newest_summaries  # type: ignore[attr-defined,assignment] # noqa: SLF001
    for module in (_snapshot, _action_plans):
        module.HISTORY_WINDOW_SIZE = _SHOWN_MESSAGES  # type: ignore[attr-defined]
    _action_plans.HISTORY_STEP = _SHOWN_MESSAGES // 2  # type: ignore[attr-defined]


class _LivePreview(Preview):
    """The page of one member's conversation with the bot."""

    _PAGE_LEASE_SECONDS = 24 * 3600.0  # a laptop may sleep

    def __init__(self, env: _LiveEnv, member: UserHandle, *, port: int) -> None:
        _quicken()
        super().__init__(
            env,
            member.dm_channel,
            (member,),
            layout="channel",
            display="responsive",
            width=960,
            height=720,
            locale="en-US",
            timezone=_time_zone(),
            presentation_time=None,
            assets=None,
            port=port,
        )
        self._server = _LiveServer(self, port)
        self._turn = asyncio.Lock()
        self._seen: dict[tuple[str, int], dict[str, str]] = {}

    def publish(self) -> bool:
        """Show every open page what is there now; tell whether that succeeded."""
        failures = 0
        for page in tuple(self._pages.values()):
            try:
                self._publish(page, reason="refresh")
            except Exception:  # noqa: BLE001 - one broken page must not freeze the others
                failures += 1
                _log.exception("sandbox.not_published")
        return not failures

    def _open_page(self, viewer_id: Any = None, target_id: Any = None) -> Any:  # noqa: ANN401 - simcord's own
        """Open a page; where there are too many, the one that was used least lately makes room."""
        busy = {id(self._python), id(self._action_page)}
        idle = [page for page in self._pages.values() if id(page) not in busy]
        if len(idle) >= self._MAX_PAGES:
            self._close_page(min(idle, key=lambda page: page.last_activity).id)
        return super()._open_page(viewer_id, target_id)

    def _publish(self, page: Any, *, reason: Any = "action") -> None:  # noqa: ANN401 - simcord's own
        self._advance_presentation_time()
        super()._publish(page, reason=reason)
        self._seen[page.id, page.revision] = self._buttons()
        if len(self._seen) > _REMEMBERED_REVISIONS:
            del self._seen[next(iter(self._seen))]

    async def _action(self, context_id: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._turn:
            return await super()._action(context_id, self._as_of_now(context_id, body))

    def _as_of_now(self, context_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an action as if it had been made on what is there now, unless that is no longer the same thing.

        simcord names a button by its place in the message. The card may have changed while the finger came down, so
        a press means the button that the member saw; if that is gone, simcord refuses the press as stale.
        """
        if not isinstance(body, dict):
            return body
        page = self._get_page(context_id)
        now = {**body, "published_revision": page.revision}
        if body.get("kind") == "close":  # the conversation ends with the sandbox, not before
            now["kind"] = "refresh"
        if body.get("kind") == "click":
            place, revision = str(body.get("control_key")), body.get("published_revision")
            seen = self._seen.get((page.id, revision), {}) if isinstance(revision, int) else {}
            pressed, buttons = seen.get(place), self._buttons()
            if pressed is None or pressed not in buttons.values():
                return body
            if buttons.get(place) != pressed:
                now["control_key"] = place = next(key for key, custom_id in buttons.items() if custom_id == pressed)
                now["target_id"] = place.split(":")[1]
        return now

    def _buttons(self) -> dict[str, str]:
        """Return the custom ids of all buttons in the conversation, by simcord's names for their places."""
        return {
            key: component["custom_id"]
            for message in self.env.backend.messages.get(self.channel.id, {}).values()
            for index, root in enumerate(message.components)
            for path, component in _component_paths(root, str(index))
            if (key := _component_key(component, path, message.id)) and "custom_id" in component
        }


class DiscordRoom:
    """A Discord with one server, two members and the bot.

    `member` uses the conversation at `url`; `neighbour` is somebody else, for whom only the sandbox acts.
    Raises OSError when the port cannot be had.
    """

    def __init__(self, bot: PlexLinkBot, *, clock: Clock, port: int = 0) -> None:
        self._bot = bot
        self._env = _LiveEnv(bot, clock)
        self._guild = self._env.create_guild(_GUILD_NAME)
        self.member = self._join(*_MEMBER)
        self.neighbour = self._join(*_NEIGHBOUR)
        self._preview = _LivePreview(self._env, self.member, port=port)
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._env.start()
        try:
            await self._bot.wait_until_ready()
            await self._preview.__aenter__()
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
        return self._preview.url

    @property
    def are_open(self) -> bool:
        """Whether the members let the bot send direct messages."""
        return not self._env.backend.faults

    @property
    def members(self) -> Mapping[int, str]:
        """The names of the members, by their ids."""
        return {member.id: member.name for member in (self.member, self.neighbour)}

    def open(self) -> None:
        """Let the bot send direct messages."""
        self._env.backend.faults.clear()

    def close(self) -> None:
        """Refuse the bot's direct messages, as Discord does for members who do not want any."""
        self.open()
        self._env.inject_error("POST", "/channels/*/messages", status=403, code=_CANNOT_SEND, times=None)

    async def let_pass(self, seconds: float) -> None:
        """Let the bot live through some time. Raises TimeoutError if it does not come to rest for ten minutes."""
        try:
            await self._env.let_pass(seconds)
        finally:
            self._preview.publish()  # with the new time

    async def _leave(self) -> None:
        try:
            if "plexlink" in self._bot.extensions:
                await self._bot.unload_extension("plexlink")
        finally:
            await self._env.shutdown()

    def _join(self, user_id: int, name: str) -> UserHandle:
        backend = self._env.backend
        user = backend.users[backend.reserve_id(user_id)] = User(id=user_id, name=name)
        handle = UserHandle(self._env, user)
        self._guild.add_member(handle)
        return handle

    async def _follow(self) -> None:
        """Publish what the bot does. simcord notes every call of the bot, and would keep the notes for ever."""
        backend, is_shown = self._env.backend, True
        while True:
            await asyncio.sleep(_PUBLISH_SECONDS)
            if backend.transcript or not is_shown:
                backend.transcript.clear()
                backend.http_requests.clear()
                is_shown = self._preview.publish()


def _time_zone() -> str:
    """Return the machine's time zone by name, or UTC where it has none that Python knows."""
    _, _, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    try:
        return ZoneInfo(name).key if name else "UTC"
    except (LookupError, ValueError, OSError):
        return "UTC"
