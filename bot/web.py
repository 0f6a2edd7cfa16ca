"""Pages for whoever watches the bot: whether it lives, whether members can link, and figures.

    GET /livez    200 "ok", or 503 and why a restart would help
    GET /readyz   200 "ok", or 503 and in one word each what is missing: gateway, commands, plugin, database, keys,
                  work
    GET /metrics  200, Prometheus' text format

Nothing on them is a secret, an id or a name of a person, so nothing asks for a password; they are meant for this
machine or a network of one's own. Everything else is refused.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from plexlink.errors import StoreError

from .metrics import CONTENT_TYPE, Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from plexlink.vitals import Stock, Vitals

_log = logging.getLogger(__name__)

_CLOSES_AFTER_SECONDS = 1.0
_HOLDS_SECONDS = 1.0
"""However many look at the pages, the bot is looked at once in so long: members use the database too."""

_LONGEST_LINE = 1024
_MOST_HEADERS_BYTES = 8192


class Watched(Protocol):
    """The bot, as far as it is looked at."""

    @property
    def is_connected(self) -> bool:
        """Whether the connection to Discord stands."""
        ...

    @property
    def lacks_commands(self) -> bool:
        """Whether Discord has our commands nowhere."""
        ...

    @property
    def commands_missing(self) -> int:
        """In how many places Discord does not have our commands."""
        ...

    @property
    def vitals(self) -> Vitals | None:
        """How the plugin is, once it is loaded."""
        ...


@dataclass(frozen=True, slots=True)
class _Look:
    """How the bot was at a moment of the loop's time."""

    at: float
    ailments: list[str]
    stock: Stock | None


class WebPages:
    """Serve the pages for as long as the context lasts; a port that is taken is said, and goes without them."""

    def __init__(self, *, bot: Watched, metrics: Metrics, host: str, port: int) -> None:
        self._bot = bot
        self._metrics = metrics
        self._host = host
        self._port = port
        self._looking = asyncio.Lock()
        self._seen: _Look | None = None
        app = web.Application(middlewares=[_refuse_bodies])
        for path, page in {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._show_metrics}.items():
            app.router.add_get(path, page)
        app.on_response_prepare.append(_tell_nothing_more)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_CLOSES_AFTER_SECONDS,
            lingering_time=0.0,
            max_line_size=_LONGEST_LINE,
            max_field_size=_MOST_HEADERS_BYTES,
            keepalive_timeout=15.0,
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            _log.warning(
                "web.not_served PLEXLINK_WEB_HOST %s, PLEXLINK_WEB_PORT %d: %s; /readyz and /metrics are not there",
                self._host,
                self._port,
                error.strerror,
            )
        else:
            _log.debug("web.served http://%s:%d", self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _look(self) -> _Look:
        """Return how the bot is, or was a moment ago."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._seen is None or now >= self._seen.at + _HOLDS_SECONDS:
                vitals = self._bot.vitals
                self._seen = _Look(now, await self._ailments(vitals), await _stock(vitals))
            return self._seen

    async def _ailments(self, vitals: Vitals | None) -> list[str]:
        """Return in one word each what keeps members from linking."""
        found = [] if self._bot.is_connected else ["gateway"]
        if self._bot.lacks_commands:
            found.append("commands")
        return found + (["plugin"] if vitals is None else await vitals.ailments())

    async def _livez(self, _: web.Request) -> web.Response:
        vitals = self._bot.vitals
        is_stuck = vitals is not None and vitals.is_stuck()
        return _said("stuck: work that is due is not begun", is_well=False) if is_stuck else _said("ok")

    async def _readyz(self, _: web.Request) -> web.Response:
        ailments = (await self._look()).ailments
        return _said(" ".join(ailments), is_well=False) if ailments else _said("ok")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        look, vitals = await self._look(), self._bot.vitals
        text = self._metrics.render(
            is_ready=not look.ailments,
            is_connected=self._bot.is_connected,
            commands_missing=self._bot.commands_missing,
            work=None if vitals is None else vitals.work(),
            stock=look.stock,
            folder=None if vitals is None else vitals.folder,
        )
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})


async def _stock(vitals: Vitals | None) -> Stock | None:
    try:
        return None if vitals is None else await vitals.stock()
    except StoreError:
        return None


def _said(text: str, *, is_well: bool = True) -> web.Response:
    return web.Response(text=f"{text}\n", status=HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE)


@web.middleware
async def _refuse_bodies(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse whoever announces a body, however small: no page wants one, and reading costs."""
    if not request.body_exists:
        return await handler(request)
    response = web.Response(text="no body is wanted\n", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    response.force_close()
    return response


async def _tell_nothing_more(_: web.Request, response: web.StreamResponse) -> None:
    """Keep the versions of our libraries to ourselves, and the pages out of caches and frames."""
    response.headers["Server"] = "PlexLink"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
