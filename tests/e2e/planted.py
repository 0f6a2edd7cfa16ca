"""Secrets of every kind, planted around a bot that runs as a process, and where they must not turn up.

The surroundings echo what the bot sends: errors of Discord, of plex.tv and of a proxy quote the request with its
path and headers. Codes and PIN ids are long enough here not to turn up by chance.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import string
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from plexlink_bot.sandbox import plex_faults as faults
from plexlink_bot.sandbox.plex_requests import operation_of
from plexlink_bot.sandbox.plex_tv import ALICE, Account, Operation, PlexTV
from processes import Deployment, text_in
from small_discord import SmallDiscord
from small_discord_rest import _BODY, API, Rest, answer_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from plexlink_bot.sandbox.plex_tv import Exchange, Pin
    from small_discord import Message, User

ENVELOPE = re.compile(r"plk1:[^:]*:[A-Za-z0-9_=-]*")
ECHO = "X-Echo"

BOT_TOKEN = "MTA.planted.bot-token-of-nobody"
KEY = "cGxhbnRlZC1rZXktbWF0ZXJpYWwtMDEyMzQ1Njc4OWE="
PROXY_PASSWORD = "planted-proxy-password"
PROXY_HEADER = "cHJveHktdXNlcjpwbGFudGVkLXByb3h5LXBhc3N3b3Jk"  # user and password as a proxy is sent them


def assert_free_of(secrets: dict[str, str], text: str, what: str) -> None:
    # Four characters may well occur by chance in the base64 of an envelope, and four digits anywhere.
    without_envelopes = ENVELOPE.sub("", text)
    telling = {name: value for name, value in secrets.items() if len(value) > 4 or not value.isdigit()}
    seen = [name for name, value in telling.items() if value in (text if len(value) > 4 else without_envelopes)]
    assert not seen, f"{what} holds {seen}"


def assert_only_sealed(place: Deployment) -> None:
    for name, content in place.stored_bytes().items():
        assert_free_of(place.secrets(), content.decode("latin-1"), name)


@dataclass(frozen=True)
class Sent:
    """One request of the bot to Discord: its whole path, and whatever came in its body."""

    method: str
    path: str
    payload: Any = field(repr=False)
    pictures: list[bytes] = field(repr=False)
    reader: User | None
    """The one member who is shown it."""

    def text(self) -> str:
        """Return all that its reader could read, pictures included."""
        return "\n".join((json.dumps(self.payload), *map(text_in, self.pictures)))


class WatchedRest(Rest):
    """Keep every request as it came; a fault with the header `X-Echo` quotes it in its body."""

    def add_routes(self, app: web.Application) -> None:
        app.middlewares.append(self._watch)
        super().add_routes(app)

    @property
    def sent(self) -> list[Sent]:
        return self.__dict__.setdefault("_sent", [])

    @web.middleware
    async def _watch(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            response = await handler(request)
        finally:
            self._note(request)
        if ECHO in response.headers:
            told = f"{request.method} {request.path_qs} {dict(request.headers)}"
            body = {"message": told, "code": told if response.headers[ECHO] == "code" else 0, "retry_after": 0.1}
            headers = {name: response.headers[name] for name in ("Via", "Retry-After") if name in response.headers}
            return answer_json(body, response.status, headers)
        return response

    def _note(self, request: web.Request) -> None:
        body = request.get(_BODY)
        if body is None:
            return
        reader = self._world.concerned(request.path.removeprefix(API), body.payload)
        pictures = [upload.content for upload in body.files.values()]
        self.sent.append(Sent(request.method, request.path_qs, body.payload, pictures, reader))


class WatchedDiscord(SmallDiscord):
    """A small Discord that keeps what the bot sent."""

    def __init__(self) -> None:
        super().__init__(token=BOT_TOKEN)
        self._rest = WatchedRest(self, self._gateway)

    @property
    def sent(self) -> list[Sent]:
        return self._rest.sent

    def echo(self, method: str, path: str, status: int, *, user: User, before: bool = True, code: bool = False) -> None:
        """Meet the next such request about a member with an error that quotes it; 429 comes from Discord itself."""
        headers = {ECHO: "code" if code else "message"} if status else {}
        if status == 429:
            headers |= {"Via": "1.1 google", "Retry-After": "0.1"}
        self.fail(method, path, status, user=user, before=before, headers=headers)


@dataclass(frozen=True)
class Echo:
    """An error that quotes the request, headers included, as a proxy or a debug page does."""

    status: int
    content_type: str = "application/json"

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        told = f"{exchange.request.method} {exchange.request.raw_path} {dict(exchange.request.headers)}"
        body = json.dumps({"errors": [{"code": 9999, "message": told}]}) if "json" in self.content_type else told
        return await faults.Body(body.encode(), self.status, self.content_type).answer(exchange)


class PlantedPlex(PlexTV):
    """A plex.tv whose secrets are easy to find again, and whose faults are aimed at one attempt each."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []
        self._aimed: defaultdict[tuple[str, Operation], deque[faults.Fault]] = defaultdict(deque)
        self._creating: deque[faults.Fault] = deque()
        self._met = asyncio.Event()
        self.fail(self, times=None)

    def approve(self, code: str, account: Account = ALICE) -> str:
        self.given.append(super().approve(code, account))
        return self.given[-1]

    def aim(self, client_identifier: str, operation: Operation, *aimed: faults.Fault) -> None:
        """Meet the next such calls of one attempt with faults."""
        self._aimed[client_identifier, operation] += aimed

    def spare(self, client_identifier: str, operation: Operation) -> None:
        """Meet no more such calls of one attempt."""
        self._aimed.pop((client_identifier, operation), None)
        self._met.set()

    def aim_at_newcomers(self, *aimed: faults.Fault) -> None:
        """Meet the next calls that make a PIN with faults."""
        self._creating += aimed

    async def all_met(self) -> None:
        """Wait until every fault has met its request."""
        while any((self._creating, *self._aimed.values())):
            self._met.clear()
            await self._met.wait()

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Be a fault: choose the one that is meant for this request."""
        operation, _ = operation_of(exchange.request)
        sender = exchange.request.headers.get("X-Plex-Client-Identifier", "")
        aimed = self._creating if operation is Operation.CREATE_PIN else self._aimed[sender, operation]
        fault = aimed.popleft() if aimed else faults.NoFault()
        self._met.set()
        return await fault.answer(exchange)

    def _new_pin_id(self) -> int:
        while (number := 2_000_000_000 + secrets.randbelow(147_000_000)) in self.pins:
            pass
        return number

    def _new_code(self, *, strong: bool) -> str:
        alphabet = string.ascii_lowercase if strong else string.ascii_uppercase
        code = "".join(secrets.choice(alphabet + string.digits) for _ in range(18 if strong else 4))
        return ("planted" if strong else "PLANTED") + code


def one_of_each_fault() -> list[faults.Fault]:
    """Return a fault of every kind after which plex.tv is asked again."""
    without_the_deed: list[faults.Fault] = [
        *(faults.ServerError(500), faults.Html(403), faults.Html(200), faults.Empty(404), faults.ForeignJson(401)),
        *(faults.RateLimited(1), faults.Reset(), faults.Redirect("http://127.0.0.1:9/elsewhere")),
        *(faults.Huge(2**20), faults.GzipBomb(2**21), faults.DeepJson()),
        faults.Body(b"\xff\xfe", content_type="application/json; charset=utf-16"),
        faults.Body(b"planted", encoding="br"),
    ]
    with_the_deed: list[faults.Fault] = [
        *(faults.Reset(after="headers"), faults.Reset(after="body"), faults.Truncated(), faults.Latency(0.2)),
        *(faults.Drip(0.001), faults.Bom(), faults.WrongTypes(id=[], authToken=7, uuid=None)),
        faults.AfterStoring(faults.ServerError(502)),
    ]
    return [*without_the_deed, *with_the_deed, Echo(502, "text/html"), Echo(500), Echo(200, "text/plain")]


class PlantedDeployment(Deployment):
    """A bot's surroundings, with secrets planted everywhere."""

    discord: WatchedDiscord
    plex: PlantedPlex

    def secrets(self) -> dict[str, str]:
        """Return every secret of the run by a name."""
        return {
            **super().secrets(),
            **{f"Plex token {number}": token for number, token in enumerate(self.plex.given)},
            "key": KEY,
            "proxy password": PROXY_PASSWORD,
            "proxy header": PROXY_HEADER,
        }

    def own_secrets(self, user: User) -> set[str]:
        """Return what one member's own cards may show: the codes, and what a strong code's page wants beside it."""
        own = self.pins_of(user)
        return {pin.code for pin in own} | {pin.client_identifier for pin in own if pin.strong}

    def pins_of(self, user: User) -> list[Pin]:
        """Return a member's PINs, the newest last."""
        return [pin for pin in self.plex.pins.values() if pin.device_name.startswith(f"Discord: {user.name} ")]

    async def says(self, user: User, text: str, *, but_not: str = "\0") -> Message:
        """Wait until a member's card says something, be it a message or the answer to the command."""
        if user.dms_closed is None:
            return await self.card_saying(text, user=user, but_not=but_not)
        command = next(one for one in self.discord.interactions if one.user is user and one.message is None)
        return await self.answer_saying(command, text, but_not=but_not)


@asynccontextmanager
async def planted_deployment(folder: Path, **environment: str) -> AsyncIterator[PlantedDeployment]:
    """Give surroundings with planted secrets in which bots can be started."""
    async with WatchedDiscord() as discord, PlantedPlex() as plex:
        place = PlantedDeployment(discord=discord, plex=plex, folder=folder)
        place.environment |= {
            "PLEXLINK_KEYS": f"planted:{KEY}",
            "PLEXLINK_LOG_LEVEL": "DEBUG",
            "PLEXLINK_PLEX_RATE": "1000",
            **environment,
        }
        try:
            yield place
        finally:
            await place.end()


def found(secrets: dict[str, str], text: str) -> list[str]:
    """Return the names of the secrets that a text holds."""
    return [name for name, value in secrets.items() if value in text]


def an_account(name: str) -> Account:
    """Return an account of Plex that is nobody else's."""
    return Account(id=10_000 + secrets.randbelow(10**8), uuid=secrets.token_hex(8), username=name, email="")
