"""The page on which one spoils plex.tv, closes the direct messages, and sees what the bot asks and stores.

    GET  state                                -> 200, all that the page shows
    POST mood             {"mood": "down"}    -> 200, the state after it
    POST expire           {"code": "7RQZ"}
    POST direct-messages  {"areOpen": false}

A refusal is 4xx and {"error": "a sentence"}. No token, PIN id, client identifier or account name goes out: of plex.tv
the page gets codes and the kinds of its calls, of the database what any other program reads in the file.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from plexlink.store.migrations import VERSION_TABLE

from .plex_requests import read_json
from .plex_tv import CodeError, Fault, Latency, Operation, RateLimited, Reset, ServerError
from .site import Site, page_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Self

    from .plex_tv import Pin, PlexTV

SLOW_SECONDS = 4.0

_MOST_CODES = 10
_MOST_CALLS = 20
_MOST_ROWS = 20
_LARGEST_WISH_BYTES = 256
_LOCK_SECONDS = 0.2
_FILES = ("control.css", "control.js", "icon.svg", "page.css")


class Mood(StrEnum):
    """How plex.tv behaves."""

    WORKING = "working"
    SLOW = "slow"
    DOWN = "down"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate-limited"


FAULTS: Mapping[Mood, tuple[Fault, ...]] = {
    Mood.WORKING: (),
    Mood.SLOW: (Latency(SLOW_SECONDS),),
    Mood.DOWN: (ServerError(503),),
    Mood.UNREACHABLE: (Reset(),),
    Mood.RATE_LIMITED: (RateLimited(),),
}

_WORDS = {
    Operation.CREATE_PIN: "Make a code",
    Operation.GET_PIN: "Is the code approved?",
    Operation.LINK_PIN: "Approve a code",
    Operation.USER: "Whose account is it?",
    Operation.SIGN_OUT: "Sign out",
    Operation.PING: "Does the sign-in still work?",
    Operation.RESOURCES: "List the servers",
    Operation.DEVICES: "List the devices",
    Operation.DELETE_DEVICE: "Remove a device",
}


class DirectMessages(Protocol):
    """Whether Discord lets the bot write to the member."""

    @property
    def are_open(self) -> bool:
        """Whether a direct message arrives."""
        ...

    def open(self) -> None:
        """Let direct messages arrive."""
        ...

    def close(self) -> None:
        """Refuse direct messages."""
        ...


class _RefusedError(Exception):
    """A wish that is not granted; the sentence says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ControlPage:
    """The page and what answers it, on a site of its own; `now` is the clock of `plex`.

    What `links` names is shown at the top. The page takes plex.tv to be working when it begins, and to be changed by
    nobody else.
    """

    def __init__(
        self,
        *,
        plex: PlexTV,
        database: Path,
        direct_messages: DirectMessages,
        links: Mapping[str, str],
        port: int = 0,
        key: str,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._plex = plex
        self._database = database
        self._direct_messages = direct_messages
        self._links = links
        self._now = now
        self._mood = Mood.WORKING
        self._site = Site(self._build, port=port, key=key)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on loopback. Raises OSError where the port is taken."""
        await self._site.start()

    async def stop(self) -> None:
        """Close every connection. plex.tv stays as it was made."""
        await self._site.stop()

    @property
    def url(self) -> str:
        """The address with the key, without a slash at the end."""
        return self._site.url

    def _build(self) -> web.Application:
        files = {"/": "control.html"} | {f"/{name}": name for name in _FILES}
        wishes = {
            "/mood": self._set_mood,
            "/expire": self._expire,
            "/direct-messages": self._set_direct_messages,
        }
        app = web.Application()
        app.add_routes(
            [
                *(web.get(path, functools.partial(_send, name=name)) for path, name in files.items()),
                *(web.post(path, functools.partial(self._grant, wish=wish)) for path, wish in wishes.items()),
                web.get("/state", self._show),
            ]
        )
        return app

    async def _show(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(await self._state())

    async def _grant(self, request: web.Request, *, wish: Callable[[Mapping[str, object]], None]) -> web.StreamResponse:
        try:
            wish(await _read_wish(request))
        except _RefusedError as refused:
            return web.json_response({"error": refused.sentence}, status=refused.status)
        return web.json_response(await self._state())

    def _set_mood(self, wish: Mapping[str, object]) -> None:
        try:
            mood = Mood(str(wish.get("mood")))
        except ValueError:
            raise _RefusedError(400, f"plex.tv is one of: {', '.join(Mood)}.") from None
        self._plex.heal()
        for fault in FAULTS[mood]:
            self._plex.fail(fault, times=None)
        self._mood = mood

    def _expire(self, wish: Mapping[str, object]) -> None:
        try:
            pin = self._plex.pin(str(wish.get("code")))
        except CodeError:
            raise _RefusedError(404, "plex.tv knows no such code.") from None
        if (state := self._state_of(pin)) != "waiting":
            raise _RefusedError(409, f"This code is {state} already.")
        self._plex.expire(pin.code)

    def _set_direct_messages(self, wish: Mapping[str, object]) -> None:
        match wish.get("areOpen"):
            case True:
                self._direct_messages.open()
            case False:
                self._direct_messages.close()
            case _:
                raise _RefusedError(400, "Direct messages are open, true or false.")

    async def _state(self) -> dict[str, object]:
        return {
            "links": dict(self._links),
            "mood": self._mood,
            "codes": [self._show_code(pin) for pin in list(self._plex.pins.values())[: -_MOST_CODES - 1 : -1]],
            "directMessagesAreOpen": self._direct_messages.are_open,
            "calls": self._show_calls(),
            "database": await asyncio.to_thread(_read_database, self._database),
        }

    def _show_code(self, pin: Pin) -> dict[str, object]:
        return {"code": pin.code, "state": self._state_of(pin), "secondsLeft": pin.seconds_left(self._now())}

    def _state_of(self, pin: Pin) -> str:
        if pin.token is not None:
            return "approved"
        return "expired" if pin.is_expired(self._now()) else "waiting"

    def _show_calls(self) -> dict[str, object]:
        now = self._now()
        calls = [(number, call, call.operation) for number, call in enumerate(self._plex.requests)]
        newest = [
            {
                "number": number,
                "secondsAgo": max(0, int((now - call.at).total_seconds())),
                "asked": _WORDS[operation],
                "answer": None if call.status is None else _named(call.status),
            }
            for number, call, operation in reversed(calls)
            if operation is not None
        ]
        recent = sum(operation is not None and now - call.at < timedelta(minutes=1) for _, call, operation in calls)
        return {"inTheLastMinute": recent, "newest": newest[:_MOST_CALLS]}


async def _send(_: web.Request, *, name: str) -> web.StreamResponse:
    return page_file(name)


async def _read_wish(request: web.Request) -> Mapping[str, object]:
    """Return the members of what was sent. A type of its own keeps forms of foreign pages out."""
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise _RefusedError(415, "Send plain JSON, as application/json.")
    if request.content_length is None or request.content_length > _LARGEST_WISH_BYTES:
        raise _RefusedError(413, f"Send at most {_LARGEST_WISH_BYTES} bytes, and say how many.")
    wish = read_json(await request.read())
    if wish is None:
        raise _RefusedError(400, "Send a JSON object.")
    return wish


def _named(status: int) -> str:
    return f"{status} {http.client.responses.get(status, '')}".rstrip()


def _read_database(database: Path) -> dict[str, object]:
    """Return the plugin's tables as any other program reads them, and a sentence if they cannot be read."""
    uri = f"{database.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # all tables of one moment
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'plexlink_*' AND name <> ?",
                (VERSION_TABLE,),
            )
            return {"error": None, "tables": [_read_table(connection, name) for (name,) in names.fetchall()]}
    except sqlite3.Error as error:
        return {"error": f"The database cannot be read at the moment: {error}.", "tables": []}


def _read_table(connection: sqlite3.Connection, name: str) -> dict[str, object]:
    # The name stands in the database's own list of tables. Numbers go out as text: JavaScript would round the ids.
    (count,) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608
    rows = connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid DESC LIMIT ?', (_MOST_ROWS,))  # noqa: S608
    return {
        "name": name,
        "count": count,
        "columns": [column for column, *_ in rows.description],
        "rows": [[None if value is None else str(value) for value in row] for row in rows],
    }
