"""The pages of the sandbox's Discord: simcord's preview, made into conversations that people use for hours.

* Actions take turns, and what is pressed or chosen counts if it is still there (`LivePreview._action`).
* A change costs the same however long the conversation is (`_Parsers`, `_SHOWN_MESSAGES`).
* The page gets a style sheet and a script of ours: it looks like a conversation, in light and dark, and countdowns
  tick (`_LiveServer`, pages/room.css, pages/room.js).

Like discord_room.py, it hangs on private names of simcord 3.2.1.
"""

from __future__ import annotations

import asyncio
import logging
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from simcord.preview import Preview, _action_plans, _markdown, _queries, _snapshot
from simcord.preview._action_plans import _component_key, _component_paths
from simcord.preview._server import PreviewServer

from .site import page_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    import simcord
    from aiohttp import web
    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle, UserHandle

_log = logging.getLogger(__name__)

_SHOWN_MESSAGES = 30
_REMEMBERED_REVISIONS = 500


class _LiveServer(PreviewServer):
    """simcord's pages, dressed as a conversation."""

    _OURS: ClassVar[dict[str, str]] = {f"/{name}": name for name in ("room.css", "room.js", "icon.svg")}
    _STATIC_FILES: ClassVar[dict[str, str]] = {**PreviewServer._STATIC_FILES, **_OURS}  # noqa: SLF001
    _TOPIC = '<p id="channel-topic" class="channel-topic"></p>'
    _STYLE = '<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/room.css"></head>'
    _SCRIPT = '<script type="module" src="/room.js"></script></body>'  # after simcord's own, which it builds upon

    async def _static(self, request: web.Request) -> web.Response:
        if request.path in self._OURS and request.host in self._allowed_hosts():
            ours = page_file(self._OURS[request.path])
            ours.headers.update(self._SECURITY_HEADERS)
            return ours
        response: web.Response = await super()._static(request)
        if request.path == "/" and response.text is not None:
            response.text = self._dress(response.text)
        return response

    def _dress(self, page: str) -> str:
        preview = self.preview
        assert isinstance(preview, LivePreview)  # noqa: S101 - nobody else makes such a server
        conversation = "" if preview.conversation is None else f' data-conversation="{preview.conversation.port}"'
        page = page.replace("<body>", f'<body data-hint="{escape(preview.hint)}"{conversation}>')
        if (beside := preview.beside) is not None:
            link = f'<a id="beside" href="http://127.0.0.1:{beside.port}/">{escape(beside.title)}</a>'
            page = page.replace(self._TOPIC, self._TOPIC + link)
        page = page.replace("<title>SimCord Preview<", f"<title>{preview.title} · PlexLink sandbox<")
        return page.replace("</head>", self._STYLE).replace("</body>", self._SCRIPT)


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


class LivePreview(Preview):
    """A page that shows a channel, or a conversation with the bot, and lets its viewers act there.

    The first of the `viewers` sees it first; where there are more, the page offers a choice. While it is empty it shows
    `hint`. A link to a message that is not here leads to `conversation`, whose key is this page's, too; so is that of
    the page `beside` it, to which it leads at its top.
    """

    beside: LivePreview | None = None

    _PAGE_LEASE_SECONDS = 24 * 3600.0  # a laptop may sleep

    def __init__(
        self,
        env: simcord.Env,
        channel: ChannelHandle,
        *viewers: UserHandle | MemberActor,
        title: str,
        hint: str,
        port: int,
        conversation: LivePreview | None = None,
    ) -> None:
        _quicken()
        super().__init__(
            env,
            channel,
            viewers,
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
        self.title = title
        self.hint = hint
        self.conversation = conversation
        if conversation is not None:
            self.capability = conversation.capability
        self._server = _LiveServer(self, port)
        self._turn = asyncio.Lock()
        self._seen: dict[tuple[str, int], dict[str, str]] = {}

    async def __aenter__(self) -> Preview:
        self.env._preview = None  # noqa: SLF001 - simcord allows one, to tell it of operations; here are none
        return await super().__aenter__()

    @property
    def port(self) -> int | None:
        """The port it listens on."""
        return self._server.port

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
        self._seen[page.id, page.revision] = self._controls()
        if len(self._seen) > _REMEMBERED_REVISIONS:
            del self._seen[next(iter(self._seen))]

    async def _action(self, context_id: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._turn:
            return await super()._action(context_id, self._as_of_now(context_id, body))

    def _as_of_now(self, context_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an action as if it had been made on what is there now, unless that is no longer the same thing.

        simcord names a button or a select by its place in the message. The card may have changed while the finger came
        down, so a press means the button that the member saw; if that is gone, simcord refuses the press as stale.
        """
        if not isinstance(body, dict):
            return body
        page = self._get_page(context_id)
        now = {**body, "published_revision": page.revision}
        if body.get("kind") == "close":  # the conversation ends with the sandbox, not before
            now["kind"] = "refresh"
        if body.get("kind") in {"click", "select"}:
            place, revision = str(body.get("control_key")), body.get("published_revision")
            seen = self._seen.get((page.id, revision), {}) if isinstance(revision, int) else {}
            used, controls = seen.get(place), self._controls()
            if used is None or used not in controls.values():
                return body
            if controls.get(place) != used:
                now["control_key"] = place = next(key for key, custom_id in controls.items() if custom_id == used)
                now["target_id"] = place.split(":")[1]
        return now

    def _controls(self) -> dict[str, str]:
        """Return the custom ids of all buttons and selects in the channel, by simcord's names for their places."""
        return {
            key: component["custom_id"]
            for message in self.env.backend.messages.get(self.channel.id, {}).values()
            for index, root in enumerate(message.components)
            for path, component in _component_paths(root, str(index))
            if (key := _component_key(component, path, message.id)) and "custom_id" in component
        }


def _time_zone() -> str:
    """Return the machine's time zone by name, or UTC where it has none that Python knows."""
    _, _, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    try:
        return ZoneInfo(name).key if name else "UTC"
    except (LookupError, ValueError, OSError):
        return "UTC"
