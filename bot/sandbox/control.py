"""The page on which one spoils plex.tv, lets days pass, and sees what the bot asks and stores.

    GET  state                                -> 200, all that the page shows
    POST mood             {"mood": "down"}    -> 200, the state after it
    POST expire           {"code": "7RQZ"}
    POST sign-out         {"id": "9000001"}
    POST direct-messages  {"areOpen": false}
    POST let-pass         {"span": "a day"}

A refusal is 4xx and {"error": "a sentence"}. No token, PIN id or client identifier goes out: of plex.tv the page gets
codes, the kinds of its calls and whose sign-ins it knows, of the database what any other program reads in the file.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import logging
import sqlite3
from contextlib import closing
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from plexlink.audit import SOMEBODY, Deed
from plexlink.store.migrations import VERSION_TABLE

from .plex_requests import read_json
from .plex_tv import CodeError, Fault, Latency, Operation, RateLimited, Reset, ServerError
from .site import Site, page_file

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import Self

    from .plex_tv import Account, Pin, PlexTV

_log = logging.getLogger(__name__)

SLOW_SECONDS = 4.0

_MOST_CODES = 10
_MOST_SIGN_INS = 10
_MOST_CALLS = 20
_MOST_ROWS = 20
_MOST_DEEDS = 30
_LARGEST_WISH_BYTES = 256
_LOCK_SECONDS = 0.2
_AUDIT = "plexlink_audit"
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

SPANS: Mapping[str, timedelta] = {
    "5 minutes": timedelta(minutes=5),
    "an hour": timedelta(hours=1),
    "a day": timedelta(days=1),
}
"""How much time one can let pass."""

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

_DEEDS = {
    Deed.LINKED: "linked an account",
    Deed.REPLACED: "linked another account instead",
    Deed.MOVED: "took the account over",
    Deed.UNLINKED: "unlinked the account",
    Deed.UNDONE: "undid the link",
    Deed.USED: "used the token",
    Deed.DIED: "found the sign-in dead",
    Deed.BELIEVED: "was told to believe Plex's refusal",
    Deed.EXPORTED: "exported what is stored",
    Deed.FORGOTTEN: "had everything deleted",
    Deed.ROLE_CHOSEN: "chose the role for linked members",
    Deed.CHANNEL_CHOSEN: "chose the channel for the audit",
    Deed.ROLE_GIVEN: "gave the role",
    Deed.ROLE_TAKEN: "took the role away",
    Deed.ROLE_REFUSED: "could not give the role",
    Deed.PLEX_SERVER_CHOSEN: "chose the Plex server whose members get the role",
    Deed.ACCESS_HELD: "held back that many are not members of the Plex server any more",
    Deed.LOSSES_BELIEVED: "decided, as an owner, that many are not members of the Plex server any more",
    Deed.ROLE_FOUND: "found the role with somebody who has not linked",
    Deed.PANEL_POSTED: "posted the panel",
    Deed.PANEL_GONE: "found the panel gone",
    Deed.ROLE_WITHDRAWN: "decided, as an owner, that the role is not the member's",
    Deed.ROLE_GIVEN_BACK: "decided, as an owner, that the role may be the member's again",
    Deed.CHECKED: "let Plex be asked, as an owner",
}


_ACTORS = {None: "the bot", str(SOMEBODY): "somebody who has had everything deleted"}


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


class ControlPage:
    """The page and what answers it, on a site of its own; `now` is the clock of `plex`, `let_pass` makes it go on.

    What `links` names is shown at the top; `members` are the names of Discord's, by their ids. The page takes plex.tv
    to be working when it begins, and to be changed by nobody else.
    """

    def __init__(
        self,
        *,
        plex: PlexTV,
        database: Path,
        direct_messages: DirectMessages,
        members: Mapping[int, str],
        links: Mapping[str, str],
        port: int = 0,
        key: str,
        now: Callable[[], datetime],
        let_pass: Callable[[float], Coroutine[None, None, None]],
    ) -> None:
        self._plex = plex
        self._database = database
        self._direct_messages = direct_messages
        self._members = {str(user_id): name for user_id, name in members.items()}
        self._links = links
        self._now = now
        self._let_pass = let_pass
        self._mood = Mood.WORKING
        self._passing: str | None = None
        self._passage: asyncio.Task[None] | None = None
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
        """Close every connection, and let no more time pass. plex.tv stays as it was made."""
        if self._passage is not None:
            self._passage.cancel()
            await asyncio.wait({self._passage})
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
            "/sign-out": self._sign_out,
            "/let-pass": self._begin_to_let_pass,
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

    def _sign_out(self, wish: Mapping[str, object]) -> None:
        for token, device in self._plex.tokens.items():
            if str(device.id) == wish.get("id"):
                self._plex.revoke(token)
                return
        raise _RefusedError(404, "plex.tv knows no such sign-in.")

    def _begin_to_let_pass(self, wish: Mapping[str, object]) -> None:
        span = str(wish.get("span"))
        if span not in SPANS:
            raise _RefusedError(400, f"Let pass one of: {', '.join(SPANS)}.")
        if self._passing is not None:
            raise _RefusedError(409, "Time is passing already.")
        self._passing = span
        self._passage = asyncio.create_task(self._pass(SPANS[span]), name="sandbox-passage")

    async def _pass(self, span: timedelta) -> None:
        try:
            await self._let_pass(span.total_seconds())
        except TimeoutError:
            _log.exception("sandbox.time_stopped")
        finally:
            self._passing = None

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
            "time": {"now": self._now().isoformat(), "passing": self._passing},
            "codes": [self._show_code(pin) for pin in list(self._plex.pins.values())[: -_MOST_CODES - 1 : -1]],
            "signIns": [
                {"id": str(device.id), "account": _name_of(device.account), "device": device.name}
                for device in list(self._plex.tokens.values())[: -_MOST_SIGN_INS - 1 : -1]
            ],
            "directMessagesAreOpen": self._direct_messages.are_open,
            "calls": self._show_calls(),
            "database": await asyncio.to_thread(_read_database, self._database, self._members),
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


def _name_of(account: Account) -> str:
    return account.title or account.username


def _named(status: int) -> str:
    return f"{status} {http.client.responses.get(status, '')}".rstrip()


def _read_database(database: Path, members: Mapping[str, str]) -> dict[str, object]:
    """Return audit and tables of the plugin as any other program reads them, and a sentence if they cannot be read."""
    uri = f"{database.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # all tables of one moment
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'plexlink_*' AND name <> ?",
                (VERSION_TABLE,),
            )
            tables = [name for (name,) in names.fetchall()]
            return {
                "error": None,
                "audit": _read_audit(connection, members) if _AUDIT in tables else [],
                "tables": [_read_table(connection, name) for name in tables],
            }
    except sqlite3.Error as error:
        return {"error": f"The database cannot be read at the moment: {error}.", "audit": [], "tables": []}


def _read_audit(connection: sqlite3.Connection, members: Mapping[str, str]) -> list[dict[str, object]]:
    rows = connection.execute(
        f"SELECT id, at, CAST(actor_id AS TEXT), deed, CAST(user_id AS TEXT), detail FROM {_AUDIT} "  # noqa: S608 - ours
        "ORDER BY id DESC LIMIT ?",
        (_MOST_DEEDS,),
    )
    return [
        {
            "id": entry,
            "at": at,
            "who": _ACTORS.get(actor) or members.get(actor, actor),
            "did": _DEEDS.get(deed, deed),
            "whom": "" if user == str(SOMEBODY) else members.get(user, user),
            "detail": detail,
        }
        for entry, at, actor, deed, user, detail in rows
    ]


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
