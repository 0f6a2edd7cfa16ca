"""A plain client of the stand-in of plex.tv for its own tests, a virtual clock, and the recordings."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict, Unpack
from xml.etree import ElementTree as ET

import aiohttp

from plexlink_bot.sandbox.plex_tv import ALICE, Account, PlexTV

RECORDINGS = Path(__file__).parent / "data" / "plex"
START = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
BOT = {"Accept": "application/json", "X-Plex-Client-Identifier": "the-bot", "X-Plex-Product": "PlexLink"}
PIN_IS_GONE = "error_404_pin_expired_or_wrong_client.json"


class Clock:
    """The virtual time; to sleep is to move it."""

    def __init__(self) -> None:
        self.now = START
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the socket."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def members(self) -> dict[str, object]:
        members: dict[str, object] = json.loads(self.raw)
        return members

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def xml(self) -> ET.Element:
        return ET.fromstring(self.text)  # noqa: S314  our own answer


class Said(TypedDict, total=False):
    """What a request may say beside its path; headers that are not given are the bot's."""

    headers: Mapping[str, str]
    params: Mapping[str, str]
    data: Mapping[str, str] | bytes
    json: object


class Client:
    """A client that says who it is unless told otherwise, and follows no redirect."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(self, method: str, path: str, **said: Unpack[Said]) -> Reply:
        said = {"headers": BOT, **said}
        async with self.session.request(method, path, allow_redirects=False, **said) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def create_pin(self, **said: Unpack[Said]) -> Reply:
        return await self.ask("POST", "/api/v2/pins", **said)

    async def new_code(self) -> str:
        return str((await self.create_pin()).members["code"])

    async def get_pin(self, pin_id: object, **said: Unpack[Said]) -> Reply:
        return await self.ask("GET", f"/api/v2/pins/{pin_id}", **said)

    async def with_token(self, token: str, method: str, path: str, **said: Unpack[Said]) -> Reply:
        said = {**said, "headers": {**BOT, "X-Plex-Token": token}}
        return await self.ask(method, path, **said)

    async def user(self, token: str) -> Reply:
        return await self.with_token(token, "GET", "/api/v2/user")

    async def sign_out(self, token: str) -> Reply:
        return await self.with_token(token, "DELETE", "/api/v2/users/signout")


@asynccontextmanager
async def connected(plex: PlexTV) -> AsyncIterator[Client]:
    # Each test gets a fresh connection: aiohttp repeats a GET by itself when a used connection breaks.
    async with aiohttp.ClientSession(plex.url, auto_decompress=False) as session:
        yield Client(session)


async def sign_in(plex: PlexTV, client: Client, account: Account = ALICE) -> str:
    token = plex.approve(await client.new_code(), account)
    plex.requests.clear()
    return token


def recorded(name: str) -> dict[str, object]:
    members: dict[str, object] = json.loads((RECORDINGS / name).read_text(encoding="utf-8"))
    return members


def shape(value: object) -> object:
    """Return the keys and types of a JSON value; null stays null, a list is its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return None if value is None else type(value).__name__


def assert_error(reply: Reply, status: int, recording: str) -> None:
    assert (reply.status, reply.members) == (status, recorded(recording))
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
