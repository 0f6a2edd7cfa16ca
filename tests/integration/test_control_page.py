"""The control page over real sockets: a real stand-in of plex.tv, a real database, and a browser's requests."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from harness import a_world
from plexlink_bot.sandbox.control import FAULTS, SLOW_SECONDS, ControlPage, Mood
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, Operation, PlexTV, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness import World
    from plex_tv_client import Client, Clock

KEY = "planted-key-of-the-page"
LINKS = {"Discord": "http://127.0.0.1:1/discord", "plex.tv": "http://127.0.0.1:2/plex"}
NAMED = replace(ALICE, username="planted-account-name")
NAMED_TOO = replace(BOB, username="planted-other-name")
JSON = {"Content-Type": "application/json"}


@dataclass
class SwitchedMessages:
    are_open: bool = True

    def open(self) -> None:
        self.are_open = True

    def close(self) -> None:
        self.are_open = False


@dataclass
class Browser:
    page: ControlPage
    session: aiohttp.ClientSession

    async def state(self) -> dict[str, Any]:
        async with self.session.get(f"{self.page.url}/state") as answer:
            assert answer.status == 200
            state: dict[str, Any] = await answer.json()
            return state

    async def wish(self, path: str, **members: Any) -> dict[str, Any]:
        status, said = await self.post(path, json.dumps(members))
        assert status == 200, said
        return said

    async def post(self, path: str, body: Any, headers: dict[str, str] = JSON) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.page.url}/{path}", data=body, headers=headers) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def browsing(**others: Any) -> AsyncIterator[Browser]:
    page = ControlPage(**{"direct_messages": SwitchedMessages(), "links": LINKS, "key": KEY, **others})
    async with page, aiohttp.ClientSession() as session:
        yield Browser(page, session)


@pytest.fixture
def direct_messages() -> SwitchedMessages:
    return SwitchedMessages()


@pytest.fixture
async def browser(
    plex: PlexTV, clock: Clock, tmp_path: Path, direct_messages: SwitchedMessages
) -> AsyncIterator[Browser]:
    database = tmp_path / "nothing.sqlite3"
    async with browsing(plex=plex, now=clock, database=database, direct_messages=direct_messages) as browser:
        yield browser


async def status_of(client: Client) -> int | None:
    """What a client of plex.tv gets; None is no answer at all."""
    try:
        return (await client.create_pin()).status
    except aiohttp.ClientError:
        return None


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- plex.tv's mood ---


@pytest.mark.parametrize(
    ("mood", "status"),
    [(Mood.WORKING, 201), (Mood.SLOW, 201), (Mood.DOWN, 503), (Mood.UNREACHABLE, None), (Mood.RATE_LIMITED, 429)],
)
async def test_each_mood_is_what_its_name_says(
    browser: Browser, client: Client, clock: Clock, mood: Mood, status: int | None
) -> None:
    await browser.wish("mood", mood=mood)
    assert [await status_of(client), await status_of(client)] == [status, status]
    assert clock.slept == [SLOW_SECONDS] * 2 * (mood is Mood.SLOW)


async def test_moods_do_not_add_up(browser: Browser, client: Client, clock: Clock) -> None:
    for mood in (Mood.DOWN, Mood.SLOW, Mood.RATE_LIMITED):
        await browser.wish("mood", mood=mood)
    assert await status_of(client) == 429
    await browser.wish("mood", mood=Mood.WORKING)
    assert await status_of(client) == 201
    assert clock.slept == []


async def test_the_mood_is_read_back_after_a_reload(browser: Browser) -> None:
    assert (await browser.state())["mood"] == "working"
    for mood in Mood:
        assert (await browser.wish("mood", mood=mood))["mood"] == mood
        assert (await browser.state())["mood"] == mood


async def test_the_page_offers_exactly_the_moods_that_there_are(browser: Browser) -> None:
    async with browser.session.get(browser.page.url) as answer:
        offered = re.findall(r'name="mood" value="([^"]+)"', await answer.text())
    assert offered == list(Mood) == list(FAULTS)


# --- codes ---


async def test_codes_are_listed_with_their_state_newest_first(
    browser: Browser, client: Client, plex: PlexTV, clock: Clock
) -> None:
    first = await client.new_code()
    clock.advance(60)
    second = await client.new_code()
    third = str((await client.create_pin(params={"strong": "true"})).members["code"])
    plex.approve(second)
    assert (await browser.state())["codes"] == [
        {"code": third, "state": "waiting", "secondsLeft": 1800},
        {"code": second, "state": "approved", "secondsLeft": 900},
        {"code": first, "state": "waiting", "secondsLeft": 840},
    ]
    clock.advance(840)
    assert [code["state"] for code in (await browser.state())["codes"]] == ["waiting", "approved", "expired"]


async def test_no_more_than_ten_codes_are_listed(browser: Browser, client: Client) -> None:
    codes = [await client.new_code() for _ in range(12)]
    listed = [code["code"] for code in (await browser.state())["codes"]]
    assert listed == codes[:1:-1]


@pytest.mark.parametrize("strong", ["false", "true"])
async def test_a_code_that_is_expired_here_is_dead_at_plex(browser: Browser, client: Client, strong: str) -> None:
    pin = (await client.create_pin(params={"strong": strong})).members
    other = await client.new_code()
    after = await browser.wish("expire", code=pin["code"])
    assert [(code["code"], code["state"]) for code in after["codes"]] == [(other, "waiting"), (pin["code"], "expired")]
    assert (await client.get_pin(pin["id"])).status == 404


async def test_only_a_waiting_code_can_be_expired(browser: Browser, client: Client, plex: PlexTV) -> None:
    approved, expired = await client.new_code(), await client.new_code()
    plex.approve(approved)
    plex.expire(expired)
    for code, state in ((approved, "approved"), (expired, "expired")):
        assert await browser.post("expire", json.dumps({"code": code})) == (
            409,
            {"error": f"This code is {state} already."},
        )
    assert not plex.pin(approved).is_expired(plex.pin(approved).created_at)


# --- direct messages ---


async def test_direct_messages_are_switched_and_read_back(browser: Browser, direct_messages: SwitchedMessages) -> None:
    assert (await browser.wish("direct-messages", areOpen=False))["directMessagesAreOpen"] is False
    assert not direct_messages.are_open
    assert (await browser.wish("direct-messages", areOpen=True))["directMessagesAreOpen"] is True
    assert direct_messages.are_open
    direct_messages.close()
    assert (await browser.state())["directMessagesAreOpen"] is False


# --- what was asked ---


async def test_calls_are_told_in_words_newest_first(
    browser: Browser, client: Client, plex: PlexTV, clock: Clock
) -> None:
    await client.new_code()
    clock.advance(55)
    await client.ask("GET", "/no/such/operation")
    await client.get_pin(1)
    await browser.wish("mood", mood=Mood.UNREACHABLE)
    await status_of(client)
    clock.advance(5)
    assert (await browser.state())["calls"] == {
        "inTheLastMinute": 2,
        "newest": [
            {"number": 3, "secondsAgo": 5, "asked": "Make a code", "answer": None},
            {"number": 2, "secondsAgo": 5, "asked": "Is the code approved?", "answer": "404 Not Found"},
            {"number": 0, "secondsAgo": 60, "asked": "Make a code", "answer": "201 Created"},
        ],
    }
    assert len(plex.requests) == 4


async def test_no_more_than_twenty_calls_are_listed_but_all_are_counted(browser: Browser, client: Client) -> None:
    for _ in range(23):
        await client.get_pin(1)
    calls = (await browser.state())["calls"]
    assert calls["inTheLastMinute"] == 23
    assert [call["number"] for call in calls["newest"]] == list(range(22, 2, -1))


async def test_every_operation_has_its_words(browser: Browser, client: Client, plex: PlexTV) -> None:
    await client.new_code()
    call = plex.requests.pop()
    plex.requests += [replace(call, operation=operation, status=599) for operation in Operation]
    calls = (await browser.state())["calls"]["newest"]
    assert len({call["asked"] for call in calls}) == len(Operation)
    assert {call["answer"] for call in calls} == {"599"}


# --- the database ---


@dataclass
class Lived:
    """A world in which much has happened, and what the page says of it."""

    world: World
    tokens: list[str]
    state: dict[str, Any]

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        return {table["name"]: table for table in self.state["database"]["tables"]}


@pytest.fixture
async def lived(tmp_path: Path) -> AsyncIterator[Lived]:
    """One member is linked, another one's link is undone while plex.tv fails, and one code is open."""
    async with a_world(tmp_path, pin_style="strong") as world:
        await world.plexlink()
        tokens = [world.approve(NAMED)]
        await world.advance(6)
        bob = world.join("bob")
        await world.plexlink(bob)
        tokens.append(world.approve(NAMED_TOO))
        await world.advance(6)
        world.plex.fail(ServerError(500), calls=Operation.SIGN_OUT, times=None)
        await world.press("Not me: undo", bob)
        await world.plexlink(world.join("carol"))
        dave = world.join("dave")
        await world.plexlink(dave)
        await world.press("Cancel", dave)
        database = tmp_path / "plexlink.sqlite3"
        async with browsing(plex=world.plex, database=database, now=world.env.now) as browser:
            yield Lived(world, tokens, await browser.state())


async def test_the_tables_of_the_plugin_are_shown_as_they_are(lived: Lived) -> None:
    assert {name: table["count"] for name, table in lived.tables.items()} == {
        "plexlink_attempts": 4,
        "plexlink_links": 1,
        "plexlink_sign_outs": 1,
        "plexlink_leftovers": 1,
        "plexlink_keys": 4,
        "plexlink_notices": 1,
        "plexlink_audit": 3,
        "plexlink_numbers": 0,
    }
    for name, table in lived.tables.items():
        stored = lived.world.rows(name.removeprefix("plexlink_"))
        assert not stored or table["columns"] == list(stored[0])
        assert table["rows"] == [
            [None if value is None else str(value) for value in row.values()] for row in reversed(stored)
        ]


async def test_what_is_secret_is_shown_in_envelopes(lived: Lived) -> None:
    for name, least in {
        "plexlink_attempts": 3,
        "plexlink_links": 4,
        "plexlink_sign_outs": 2,
        "plexlink_leftovers": 2,
    }.items():
        table = lived.tables[name]
        sealed = [number for number, column in enumerate(table["columns"]) if column.endswith("_envelope")]
        envelopes = [row[number] for row in table["rows"] for number in sealed if row[number]]
        assert len(envelopes) >= least
        assert all(re.fullmatch(r"plk1:\w+:[\w=-]+", envelope) for envelope in envelopes)


async def test_no_secret_leaves_the_page_but_a_code_among_the_codes(lived: Lived, tmp_path: Path) -> None:
    pins = list(lived.world.plex.pins.values())
    assert [code.pop("code") for code in lived.state["codes"]] == [pin.code for pin in reversed(pins)]
    text = json.dumps(lived.state)
    secrets = {
        *lived.tokens,
        *(secret for pin in pins for secret in (str(pin.id), pin.code, pin.client_identifier)),
        *(secret for each in (NAMED, NAMED_TOO) for secret in (each.username, each.email, each.uuid)),
        *re.findall(r"^\w+:(\S+)$", (tmp_path / "plexlink.key").read_text(), re.MULTILINE),
    }
    assert len(secrets) == 2 + 4 * 3 + 2 * 3 + 1
    for secret in secrets:
        assert secret not in text


async def test_a_table_is_shown_up_to_twenty_rows_newest_first(plex: PlexTV, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path := tmp_path / "a ?#%.sqlite3")) as connection:
        connection.execute("CREATE TABLE plexlink_many (id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO plexlink_many VALUES (?)", [(2**60 + number,) for number in range(25)])
        connection.execute("CREATE TABLE plexlink_version (version_num TEXT)")
        connection.execute("CREATE TABLE plexlinks_of_another_program (id TEXT)")
        connection.commit()
    async with browsing(plex=plex, database=path) as browser:
        (table,) = (await browser.state())["database"]["tables"]
    assert table["count"] == 25
    assert table["rows"] == [[str(2**60 + number)] for number in range(24, 4, -1)]


async def test_a_database_that_is_not_there_is_told_and_not_made(browser: Browser, tmp_path: Path) -> None:
    assert (await browser.state())["database"] == {
        "error": "The database cannot be read at the moment: unable to open database file.",
        "tables": [],
    }
    assert not names_in(tmp_path)


async def test_a_locked_database_is_told_and_holds_nothing_up(plex: PlexTV, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path := tmp_path / "locked.sqlite3", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE plexlink_one (id TEXT)")
        connection.execute("BEGIN EXCLUSIVE")
        async with browsing(plex=plex, database=path) as browser:
            state = await browser.state()
    assert state["database"]["error"] == "The database cannot be read at the moment: database is locked."
    assert state["mood"] == "working"


# --- what is refused ---

NEST = b"[" * 256


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("mood", b'{"mood": "sulky"}', 400, "plex.tv is one of: working, slow, down, unreachable, rate-limited."),
        ("mood", b"{}", 400, "plex.tv is one of: working, slow, down, unreachable, rate-limited."),
        ("expire", b'{"code": "NOPE"}', 404, "plex.tv knows no such code."),
        ("expire", b'{"code": "\\ud800"}', 404, "plex.tv knows no such code."),
        ("expire", b'{"code": null}', 404, "plex.tv knows no such code."),
        ("direct-messages", b'{"areOpen": "no"}', 400, "Direct messages are open, true or false."),
        ("direct-messages", b'{"areOpen": 1}', 400, "Direct messages are open, true or false."),
        ("mood", b"{", 400, "Send a JSON object."),
        ("mood", b"\xff\xfe\xff", 400, "Send a JSON object."),
        ("mood", b'"down"', 400, "Send a JSON object."),
        ("mood", NEST, 400, "Send a JSON object."),
        ("mood", b'{"mood": "down"}'.ljust(257), 413, "Send at most 256 bytes, and say how many."),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused_with_a_sentence(
    browser: Browser, path: str, body: bytes, status: int, sentence: str
) -> None:
    before = await browser.state()
    assert await browser.post(path, body) == (status, {"error": sentence})
    assert await browser.state() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_heard(browser: Browser, headers: dict[str, str]) -> None:
    status, said = await browser.post("mood", b'{"mood": "down"}', headers)
    assert (status, said) == (415, {"error": "Send plain JSON, as application/json."})
    assert (await browser.state())["mood"] == "working"


async def test_a_wish_of_no_stated_length_is_refused(browser: Browser) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'{"mood": "down"}'

    status, _ = await browser.post("mood", endless())
    assert status == 413
    assert (await browser.state())["mood"] == "working"


async def test_who_has_no_key_or_comes_by_another_name_gets_nothing(browser: Browser) -> None:
    wish = json.dumps({"mood": "down"})
    elsewhere = browser.page.url.replace(KEY, "another-key")
    async with browser.session.post(f"{elsewhere}/mood", data=wish, headers=JSON) as answer:
        assert answer.status == 404
    foreign = {**JSON, "Host": "evil.example"}
    async with browser.session.post(f"{browser.page.url}/mood", data=wish, headers=foreign) as answer:
        assert answer.status == 404
    async with browser.session.get(f"{browser.page.url}/mood") as answer:
        assert answer.status == 405
    assert (await browser.state())["mood"] == "working"


# --- the page itself ---


async def test_all_that_the_page_names_is_served_and_nothing_is_inline(browser: Browser) -> None:
    async with browser.session.get(browser.page.url) as answer:
        page = await answer.text()
        assert answer.content_type == "text/html"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        base = answer.url
    named = re.findall(r'\b(?:src|href)="([^"]+)"', page)
    assert {"control.js", "control.css", "page.css"} <= set(named)
    for name in named:
        async with browser.session.get(base.join(URL(name))) as answer:
            assert answer.status == 200
    assert not re.search(r"<style|<script(?! src=)|\s(?:style|on\w+)=", page)


async def test_the_script_finds_every_element_that_it_asks_for(browser: Browser) -> None:
    async with browser.session.get(f"{browser.page.url}/") as answer:
        page = await answer.text()
    async with browser.session.get(f"{browser.page.url}/control.js") as answer:
        script = await answer.text()
    asked_for = set(re.findall(r'(?:byId|clone)\("([^"]+)"\)', script))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(asked_for) > 10
    assert asked_for <= set(ids)
    assert len(ids) == len(set(ids))
    assert "innerHTML" not in script


async def test_the_links_are_handed_on_and_the_address_outlives_a_restart(browser: Browser) -> None:
    assert (await browser.state())["links"] == LINKS
    address = browser.page.url
    await browser.wish("mood", mood=Mood.DOWN)
    await browser.page.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await browser.state()
    await browser.page.start()
    assert browser.page.url == address
    assert (await browser.state())["mood"] == "down"
