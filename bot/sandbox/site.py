"""A web site on loopback, for those only who know its key."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

_SHUTDOWN_SECONDS = 0.05
_PAGES = Path(__file__).resolve().parent / "pages"  # an editable install links each file
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}


class Site:
    """One aiohttp application on 127.0.0.1; `port` 0 takes a free one and keeps it over a stop and a start.

    `key` is the first segment of every path, so that an address is a permission: other users of the machine reach
    the port, but do not know the path. For whoever has no key everything is 404.
    """

    def __init__(self, build: Callable[[], web.Application], *, port: int = 0, key: str = "") -> None:
        self._build = build
        self._port = port
        self._key = key
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        app = self._build()
        if self._key:
            app, inner = web.Application(middlewares=[self._guard]), app
            app.router.add_get(f"/{self._key}", self._add_slash)
            app.add_subapp(f"/{self._key}", inner)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """The address with the key, without a slash at the end."""
        if not self._port:
            raise RuntimeError("the site has no port before its first start")
        return f"http://127.0.0.1:{self._port}" + (f"/{self._key}" if self._key else "")

    async def _add_slash(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{self._key}/"})

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        # A foreign page can point a name of its own at 127.0.0.1; the browser then sends that name.
        if request.host not in {f"127.0.0.1:{self._port}", f"localhost:{self._port}"}:
            return web.Response(status=404, text="Not found\n")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response


class OneTimeAddress:
    """An address that leads to another one once.

    A browser is started with an address in its command line, which every user of the machine can read.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._is_used = False
        self._site = Site(self._build, key=secrets.token_urlsafe(16))

    async def __aenter__(self) -> Self:
        await self._site.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._site.stop()

    @property
    def url(self) -> str:
        """The address that works once."""
        return f"{self._site.url}/"

    def _build(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._lead)
        return app

    async def _lead(self, _: web.Request) -> web.Response:
        if self._is_used:
            return web.Response(status=410, text="This address has been used. Open the one in the terminal.\n")
        self._is_used = True
        return web.Response(status=302, headers={"Location": self._target})


def page_file(name: str) -> web.Response:
    """Return a file of pages/ as an answer. The name is the program's, never a visitor's."""
    path = _PAGES / name
    return web.Response(body=path.read_bytes(), content_type=_TYPES[path.suffix], charset="utf-8")
