"""The control page over real sockets: a real stand-in of plex.tv, a real database, and a browser's requests."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from harness import EPHEMERAL, Card, a_world
from plex_tv_client import BOT, Clock
from plexlink.audit import Deed
from plexlink_bot.sandbox.app import Sandbox
from plexlink_bot.sandbox.control import FAULTS, SLOW_SECONDS, SPANS, ControlPage, Mood
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, KID, Operation, PlexTV, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from harness import World
    from plex_tv_client import Client

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

    async def until_time_has_passed(self) -> None:
        while (await self.state())["time"]["passing"]:  # noqa: ASYNC110 - as the page does it
            await asyncio.sleep(0.05)

    async def wish(self, path: str, **members: Any) -> dict[str, Any]:
        status, said = await self.post(path, json.dumps(members))
        assert status == 200, said
        return said

    async def post(self, path: str, body: Any, headers: dict[str, str] = JSON) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.page.url}/{path}", data=body, headers=headers) as answer:
            return answer.status, await answer.json()


@dataclass
class Passage:
    """Time that passes when a test says so."""

    asked_for: list[float] = field(default_factory=list)
    may_pass: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seconds: float) -> None:
        self.asked_for.append(seconds)
        await self.may_pass.wait()


@asynccontextmanager
async def browsing(**others: Any) -> AsyncIterator[Browser]:
    usual = {"direct_messages": SwitchedMessages(), "members": {}, "now": Clock(), "let_pass": Passage()}
    page = ControlPage(**{**usual, "links": LINKS, "key": KEY, **others})
    async with page, aiohttp.ClientSession() as session:
        yield Browser(page, session)


@pytest.fixture
def direct_messages() -> SwitchedMessages:
    return SwitchedMessages()


@pytest.fixture
def passage() -> Passage:
    return Passage()


@pytest.fixture
async def browser(
    plex: PlexTV, clock: Clock, tmp_path: Path, direct_messages: SwitchedMessages, passage: Passage
) -> AsyncIterator[Browser]:
    world = {"plex": plex, "now": clock, "direct_messages": direct_messages, "let_pass": passage}
    async with browsing(database=tmp_path / "nothing.sqlite3", **world) as browser:
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


# --- sign-ins ---


async def test_sign_ins_are_listed_by_their_names_newest_first(browser: Browser, client: Client, plex: PlexTV) -> None:
    for account in (ALICE, KID):
        pin = await client.create_pin(params={"X-Plex-Device-Name": f"of {account.id}"})
        plex.approve(str(pin.members["code"]), account)
    listed = (await browser.state())["signIns"]
    assert [(each["account"], each["device"]) for each in listed] == [("Kid", "of 1003"), ("alice", "of 1001")]


async def test_a_sign_in_that_is_ended_here_is_refused_by_plex(browser: Browser, client: Client, plex: PlexTV) -> None:
    gone, kept = [plex.approve(await client.new_code(), account) for account in (ALICE, BOB)]
    after = await browser.wish("sign-out", id=(await browser.state())["signIns"][-1]["id"])
    assert [each["account"] for each in after["signIns"]] == ["bob"]
    for token, status in ((gone, 401), (kept, 200)):
        answer = await client.ask("GET", "/api/v2/user", headers={**BOT, "X-Plex-Token": token})
        assert answer.status == status


# --- time ---


async def test_the_page_says_what_passes_and_lets_nothing_else_pass_meanwhile(
    browser: Browser, passage: Passage, clock: Clock
) -> None:
    assert (await browser.state())["time"] == {"now": clock().isoformat(), "passing": None}
    assert (await browser.wish("let-pass", span="a day"))["time"]["passing"] == "a day"
    assert await browser.post("let-pass", b'{"span": "an hour"}') == (409, {"error": "Time is passing already."})
    passage.may_pass.set()
    await browser.until_time_has_passed()
    await browser.wish("let-pass", span="an hour")
    await browser.until_time_has_passed()
    assert passage.asked_for == [86400, 3600]


async def test_the_page_offers_exactly_the_spans_that_there_are(browser: Browser) -> None:
    async with browser.session.get(browser.page.url) as answer:
        offered = re.findall(r'<button [^>]*value="([^"]+)"', await answer.text())
    assert offered == list(SPANS)


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
        named = {"members": {bob.id: "bob"}, "now": world.env.now}
        async with browsing(plex=world.plex, database=database, **named) as browser:
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
        "plexlink_processes": 0,
        "plexlink_tenure": 0,
        "plexlink_guilds": 0,
        "plexlink_members": 0,
        "plexlink_withdrawals": 0,
        "plexlink_access": 0,
    }
    for name, table in lived.tables.items():
        stored = lived.world.rows(name.removeprefix("plexlink_"))
        assert not stored or table["columns"] == list(stored[0])
        assert table["rows"] == [
            [None if value is None else str(value) for value in row.values()] for row in reversed(stored)
        ]


async def test_the_audit_is_told_in_words_newest_first(lived: Lived) -> None:
    audit = lived.state["database"]["audit"]
    assert [(entry["who"], entry["did"], entry["whom"], entry["detail"]) for entry in audit] == [
        ("bob", "undid the link", "bob", None),
        ("bob", "linked an account", "bob", None),
        (str(lived.world.alice.id), "linked an account", str(lived.world.alice.id), None),
    ]
    assert [entry["at"] for entry in audit] == [row["at"] for row in reversed(lived.world.rows("audit"))]


async def test_every_deed_has_its_words(plex: PlexTV, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path := tmp_path / "deeds.sqlite3")) as connection:
        connection.execute("CREATE TABLE plexlink_audit (id INTEGER PRIMARY KEY, at, actor_id, deed, user_id, detail)")
        rows = [("2026-01-31", None, deed, 2**60 + 1, "on deck") for deed in (*Deed, "of a newer release")]
        rows.insert(0, ("2026-01-31", None, Deed.PANEL_POSTED, 0, None))
        connection.executemany("INSERT INTO plexlink_audit VALUES (NULL, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    async with browsing(plex=plex, database=path) as browser:
        audit = (await browser.state())["database"]["audit"]
    assert {(entry["who"], entry["whom"], entry["detail"]) for entry in audit} == {
        ("the bot", str(2**60 + 1), "on deck"),
        ("the bot", "", None),
    }
    assert audit[0]["did"] == "of a newer release"
    assert len({entry["did"] for entry in audit} - set(Deed)) == len(Deed) + 1


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


async def test_no_secret_leaves_the_page_but_a_code_among_the_codes_and_whose_a_sign_in_is(
    lived: Lived, tmp_path: Path
) -> None:
    pins = list(lived.world.plex.pins.values())
    assert [code.pop("code") for code in lived.state["codes"]] == [pin.code for pin in reversed(pins)]
    assert [each.pop("account") for each in lived.state["signIns"]] == [NAMED_TOO.username, NAMED.username]
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
        "audit": [],
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
        ("sign-out", b'{"id": "1"}', 404, "plex.tv knows no such sign-in."),
        ("sign-out", b"{}", 404, "plex.tv knows no such sign-in."),
        ("let-pass", b'{"span": "a year"}', 400, "Let pass one of: 5 minutes, an hour, a day."),
        ("let-pass", b'{"span": 86400}', 400, "Let pass one of: 5 minutes, an hour, a day."),
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


# --- the whole sandbox ---


@dataclass
class Living:
    """A member of a sandbox in which time can pass."""

    sandbox: Sandbox
    control: Browser

    @property
    def messages(self) -> list[Card]:
        """What the member has been sent, but for answers that only they see."""
        member = self.sandbox.room.member
        stored = self.sandbox.room._env.backend.messages.get(member.dm_channel.id, {})
        return [Card(message) for message in stored.values() if not message.flags & EPHEMERAL]

    async def let_pass(self, span: str) -> None:
        await self.control.wish("let-pass", span=span)
        await self.control.until_time_has_passed()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 - Discord and the database announce nothing
            await asyncio.sleep(0.05)

    async def link(self) -> None:
        """Link the member's account."""
        await self.sandbox.room.member.slash("plexlink")
        await self.until(lambda: self.sandbox._pin_of("robin") is not None)
        self.sandbox.plex.approve(self.sandbox._pin_of("robin").code)
        await self.until(lambda: any("Linked as alice" in message.text for message in self.messages))

    def health(self) -> dict[str, Any]:
        with closing(sqlite3.connect(self.sandbox._data_dir / "plexlink.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            query = "SELECT * FROM plexlink_links WHERE user_id = ?"
            return dict(connection.execute(query, (self.sandbox.room.member.id,)).fetchone())


@asynccontextmanager
async def a_life(folder: Path) -> AsyncIterator[Living]:
    async with Sandbox(folder, plex_rate=50) as sandbox, aiohttp.ClientSession() as session:
        yield Living(sandbox, Browser(sandbox.control, session))


async def test_the_page_leads_to_the_others(tmp_path: Path) -> None:
    async with a_life(tmp_path / "sandbox") as life:
        pages = life.sandbox.addresses
        assert (await life.control.state())["links"] == {
            "Discord": pages["discord"],
            "Discord as the owner": pages["owner"],
            "#plex-log": pages["log"],
            "plex.tv": f"{pages['plex']}link/",
        }


async def test_a_sign_in_ends_and_a_day_later_its_member_has_been_told(tmp_path: Path) -> None:
    async with a_life(tmp_path / "sandbox") as life:
        await life.link()
        for sign_in in (await life.control.state())["signIns"]:
            if sign_in["account"] == "alice":
                await life.control.wish("sign-out", id=sign_in["id"])
        member = life.sandbox.room.member
        status = await member.slash("plexstatus")
        await life.until(lambda: "Check now" in Card(status.response).buttons)
        await member.click(status.response, label="Check now")
        await life.until(lambda: life.health()["finding"] == "rejected")
        assert life.health()["verdict"] == "suspect"
        await life.let_pass("5 minutes")
        assert life.health()["verdict"] == "dead"
        assert len(life.messages) == 1
        await life.let_pass("a day")
        assert "Plex ended our sign-in" in life.messages[-1].text
        newest = (await life.control.state())["database"]["audit"][0]
        assert (newest["did"], newest["whom"]) == ("found the sign-in dead", "robin")


async def test_days_pass_for_bot_plex_and_discord_alike_and_a_slow_plex_is_no_dead_one(tmp_path: Path) -> None:
    async with a_life(tmp_path / "sandbox") as life:
        await life.link()
        before = life.sandbox._clock.now()
        await life.control.wish("mood", mood=Mood.SLOW)
        for span in ("a day", "an hour"):
            await life.let_pass(span)
        bot = life.health()
        pings = [call for call in life.sandbox.plex.requests if call.operation == Operation.PING]
        assert bot["finding"] == "alive"
        assert datetime.fromisoformat(bot["checked_at"]) > before + timedelta(minutes=5)
        assert {call.status for call in pings} == {200}
        assert pings[-1].at > before + timedelta(minutes=5)
        assert life.sandbox.room._env.now() > before + timedelta(days=1, hours=1)


async def test_what_was_to_come_later_comes_as_much_earlier_as_time_has_passed(tmp_path: Path) -> None:
    async with a_life(tmp_path / "sandbox") as life:
        env, rung_at = life.sandbox.room._env, list[float]()
        before = env._virtual_time
        with env._bot_scope():
            env._loop.call_later(302, lambda: rung_at.append(env._virtual_time))
        await life.let_pass("5 minutes")
        await life.until(lambda: bool(rung_at))
        assert 302 <= rung_at[0] - before < 600


async def test_a_kept_folder_keeps_its_time(tmp_path: Path) -> None:
    async with a_life(tmp_path / "kept") as life:
        await life.let_pass("an hour")
        then = life.sandbox._clock.now()
    async with a_life(tmp_path / "kept") as life:
        assert datetime.fromisoformat((await life.control.state())["time"]["now"]) > then
