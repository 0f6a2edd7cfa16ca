"""The machine has a bad day under the real process: its disk, its files, its descriptors, its log.

Whatever members were told has happened is in the database after a SIGKILL; what could not be saved they were told so;
and when the trouble is over everything goes on without a restart.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from accounts import account_of
from plexlink.secret import Cell
from plexlink.vault import KeyRecords, Vault, read_key_file
from plexlink_bot.sandbox.plex_tv import Hang, Operation
from processes import PATIENCE_SECONDS, RUN, WAITING, Deployment, code_of, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from processes import BotProcess
    from small_discord import Interaction, Message, User

    Fault = Callable[[Deployment, BotProcess], AbstractAsyncContextManager[None]]

NOT_SAVED = "I could not save that"
WAITS_FOR_DISK = "I cannot save anything at the moment"
APPROVED_UNSAVED = "You approved, but I cannot save it at the moment"

UNAVAILABLE, AVAILABLE = "store.unavailable", "store.available_again"
FULL = "its disk does not take what is written"
LOCKED = "another program holds it locked"
READ_ONLY = "it is read-only"
ANOTHER_FILE = "another file was put in its place"

LOCKED_SECONDS = 20.0
SECONDS_WITHOUT_DESCRIPTORS = 5.0

DROPPED = "dac_override,-dac_read_search"
GIVES_UP_ITS_RIGHTS = f"""
import os, sys
dropped = ["--bounding-set=-{DROPPED}", "--inh-caps=-{DROPPED}"]
os.execvp("setpriv", ["setpriv", *dropped, sys.executable, "-m", "plexlink_bot", "run"])
"""
"""Root may read and write whatever the rights say, unless it gives that up."""

RUN_UNPRIVILEGED = ("-c", GIVES_UP_ITS_RIGHTS) if os.geteuid() == 0 else RUN


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        yield place


def database_of(place: Deployment) -> Path:
    return place.data_dir / "plexlink.sqlite3"


def rows(place: Deployment, query: str, *parameters: object) -> list[tuple[object, ...]]:
    """Read the database as any other program would."""
    with closing(sqlite3.connect(database_of(place))) as database:
        return database.execute(query, parameters).fetchall()


def stored_token(place: Deployment, user: User) -> str:
    """Return the token of a member's link, opened as an operator can who has the key file."""
    records = dict(rows(place, "SELECT name, value FROM plexlink_keys"))
    ring = read_key_file(place.data_dir / "plexlink.key")
    vault = Vault(ring=ring, records=KeyRecords(**records), reload=lambda: ring)
    ((link_id, envelope),) = rows(place, "SELECT id, token_envelope FROM plexlink_links WHERE user_id = ?", user.id)
    return vault.decrypt(str(envelope), Cell("plexlink_links", "token_envelope", str(link_id), user.id)).reveal()


def approve(place: Deployment, user: User, card: Message) -> str:
    """Approve the code of a card with an account of the member's own; return the token."""
    return place.plex.approve(code_of(card), account_of(user.name))


def limit(bot: BotProcess, what: int, most: int) -> None:
    """Set a limit of the running process; the hard one stays, so that it can be raised again."""
    _, hard = resource.prlimit(bot.pid, what)
    resource.prlimit(bot.pid, what, (most, hard))


def unlimit(bot: BotProcess, what: int) -> None:
    _, hard = resource.prlimit(bot.pid, what)
    resource.prlimit(bot.pid, what, (hard, hard))


@asynccontextmanager
async def full_disk(_: Deployment, bot: BotProcess) -> AsyncIterator[None]:
    """Let every file be as large as it may be."""
    limit(bot, resource.RLIMIT_FSIZE, 0)
    yield
    unlimit(bot, resource.RLIMIT_FSIZE)


@asynccontextmanager
async def replaced_file(place: Deployment, _: BotProcess) -> AsyncIterator[None]:
    """Put another file, a copy, in the place of the database; then put the right one back."""
    path = database_of(place)
    away = path.with_name("away")
    path.rename(away)
    shutil.copyfile(away, path)
    yield
    away.rename(path)


@asynccontextmanager
async def locked_database(place: Deployment, _: BotProcess) -> AsyncIterator[None]:
    """Lock the database for twenty seconds, as another program does in a long transaction."""
    with closing(sqlite3.connect(database_of(place), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        until = asyncio.get_running_loop().time() + LOCKED_SECONDS
        yield
        await asyncio.sleep(until - asyncio.get_running_loop().time())
        other.execute("ROLLBACK")


def assert_calm(log: str, *expected: str) -> None:
    """Expect each of the lines once, no traceback, and not more than a few lines for each thing that happened."""
    assert [log.count(each) for each in expected] == [1] * len(expected), log
    assert "Traceback" not in log, log
    assert len(log.splitlines()) < 120, log


@dataclass
class Cast:
    """Members who are each at another point when the fault strikes."""

    types: User
    queues: User
    reads: User
    waits: User
    approves: User
    cancels: User
    renews: User
    undoes: User

    @classmethod
    def join(cls, place: Deployment) -> Cast:
        return cls(**{name: place.join(name) for name in cls.__dataclass_fields__})


async def linked(place: Deployment, user: User) -> Message:
    """Link a member; return the card."""
    return await finish(place, user, await place.waiting_card(user))


async def finish(place: Deployment, user: User, card: Message) -> Message:
    """Approve the code on a card and see the member linked with this very token."""
    token = approve(place, user, card)
    await place.press(card, "I've approved it", user)
    await place.card_saying(f"Linked as {user.name}", user=user)
    assert stored_token(place, user) == token
    return card


async def refusal(place: Deployment, bot: BotProcess, interaction: Interaction) -> None:
    """Expect an answer for the member alone, with a reference that is in the log."""

    def answer() -> Message | None:
        return next(
            (one for one in (interaction.answer, *interaction.followups) if one and NOT_SAVED in one.text), None
        )

    said = await place.discord.until(answer, what="an answer that says that nothing could be saved")
    assert said.ephemeral_for == interaction.user.id
    await bot.logged(f"interaction.not_saved reference={said.text.rsplit('`', 2)[1]}")


async def together(scenarios: Mapping[str, Awaitable[None]], *, at_once: int = 3) -> None:
    """Go through some scenarios at the same time, the first ones first; report by name what went wrong in which."""
    places = asyncio.Semaphore(at_once)

    async def in_turn(scenario: Awaitable[None]) -> None:
        async with places:
            await scenario

    outcomes = await asyncio.gather(*map(in_turn, scenarios.values()), return_exceptions=True)
    failures = {name: outcome for name, outcome in zip(scenarios, outcomes, strict=True) if outcome is not None}
    if failures:
        raise ExceptionGroup("; ".join(failures), [each for each in failures.values() if isinstance(each, Exception)])


# Nothing can be saved for a while.


class BadDay:
    """Members at every point of the way, a fault, and how each of them gets on with it."""

    def __init__(self, place: Deployment) -> None:
        self.place = place
        self.cast = Cast.join(place)
        self.cards: dict[str, Message] = {}
        self.presses: dict[str, Interaction] = {}

    async def before(self) -> None:
        """Bring everybody to where the fault meets them."""
        place, cast = self.place, self.cast
        self.bot = await place.start()
        place.plex.token_reads = 1
        waiting = (cast.waits, cast.approves, cast.cancels, cast.renews)
        cards = await asyncio.gather(*(place.waiting_card(user) for user in waiting), linked(place, cast.undoes))
        self.cards = dict(zip([*(user.name for user in waiting), "undoes"], cards, strict=True))
        self.code_to_renew = code_of(self.cards["renews"])
        self.sending = place.discord.hold("POST", "/channels/*/messages", before=False)
        await place.plexlink(cast.reads)
        await self.sending.caught()
        place.plex.fail(Hang(), calls=Operation.CREATE_PIN)
        self.codes = len(place.plex.pins)
        self.waiting_for_pin = await place.plexlink(cast.queues)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await place.plex.received(Operation.CREATE_PIN, count=self.codes + 1)

    async def during(self) -> None:
        """Let everybody go on although nothing can be saved."""
        place, cast, cards = self.place, self.cast, self.cards
        place.plex.heal()
        self.sending.release()
        self.token = approve(place, cast.approves, cards["approves"])
        await place.press(cards["approves"], "I've approved it", cast.approves)
        self.presses = {
            "types": await place.plexlink(cast.types),
            "cancels": await place.press(cards["cancels"], "Cancel", cast.cancels),
            "renews": await place.press(cards["renews"], "New code", cast.renews),
            "undoes": await place.press(cards["undoes"], "Not me: undo", cast.undoes),
        }

    async def everybody_is_told(self) -> None:
        """Nobody is left thinking, and nobody is told what has not happened."""
        place, cast, cards = self.place, self.cast, self.cards
        before = {name: cards[name].text for name in ("cancels", "renews", "undoes")}
        await asyncio.gather(*(refusal(place, self.bot, press) for press in self.presses.values()))
        await place.answer_saying(self.waiting_for_pin, WAITS_FOR_DISK)
        await place.card_saying(APPROVED_UNSAVED, user=cast.approves)
        assert {name: cards[name].text for name in before} == before
        assert len(place.plex.pins) == self.codes + 1

    async def after(self) -> None:
        """Everybody comes to the end without a restart, and what they saw is kept."""
        place, cast, cards = self.place, self.cast, self.cards
        await asyncio.gather(
            place.card_saying("Linked as approves", user=cast.approves),
            place.card_saying(WAITING, user=cast.queues),
            place.card_saying(WAITING, user=cast.reads),
            finish(place, cast.waits, cards["waits"]),
            self._tries_again("cancels", "Cancel", "Cancelled"),
            self._tries_again("undoes", "Not me: undo", "Undone"),
            self._gets_new_code(),
            self._gets_code(),
        )
        await self.bot.logged(AVAILABLE)
        assert len(place.plex.pins) == self.codes + len(("queues", "types", "renews")), "a code was made for nobody"
        assert self._messages_to(cast.reads) == 1, "a message that could not be noted was sent again"
        await self.bot.kill()
        assert stored_token(place, cast.approves) == self.token
        open_attempts = rows(place, "SELECT user_id FROM plexlink_attempts WHERE ended_at IS NULL")
        assert {row[0] for row in open_attempts} == {
            user.id for user in (cast.types, cast.renews, cast.queues, cast.reads)
        }
        links = {row[0] for row in rows(place, "SELECT user_id FROM plexlink_links")}
        assert links == {cast.approves.id, cast.waits.id}

    async def _tries_again(self, name: str, label: str, then: str) -> None:
        user, card = getattr(self.cast, name), self.cards[name]
        if then not in card.text:
            await self.place.press(card, label, user)
        await self.place.card_saying(then, user=user)

    def _messages_to(self, user: User) -> int:
        path = f"/channels/{self.place.discord.dm_channel(user).id}/messages"
        return sum((one.method, one.path) == ("POST", path) for one in self.place.discord.requests)

    async def _gets_new_code(self) -> None:
        card, user = self.cards["renews"], self.cast.renews
        if code_of(card) == self.code_to_renew:
            await self.place.press(card, "New code", user)
        await self.place.card_saying(WAITING, but_not=self.code_to_renew, user=user)

    async def _gets_code(self) -> None:
        if not self.place.discord.dm(self.cast.types):
            await self.place.plexlink(self.cast.types)
        await self.place.card_saying(WAITING, user=self.cast.types)

    async def after_a_restart(self) -> None:
        """The next process goes on with what the killed one had promised."""
        place, cast = self.place, self.cast
        await place.start()
        for user in (cast.types, cast.renews, cast.queues, cast.reads):
            await finish(place, user, await place.card_saying(WAITING, user=user))


async def bad_day(folder: Path, fault: Fault, sentence: str, *, tells_all: bool) -> None:
    async with deployment(folder) as place:
        day = BadDay(place)
        await day.before()
        async with fault(place, day.bot):
            await day.during()
            if tells_all:
                await day.everybody_is_told()
        await day.after()
        assert_calm(day.bot.log, UNAVAILABLE, sentence, AVAILABLE)
        await day.after_a_restart()


def a_folder(above: Path, name: str) -> Path:
    """Make a folder for one of several deployments of a test."""
    folder = above / name
    folder.mkdir()
    return folder


# Files are taken away while the bot runs. SQLite alone would go on without a word and lose everything at the end.


def delete(*names: str) -> Callable[[Deployment], None]:
    def strike(place: Deployment) -> None:
        for name in names:
            (place.data_dir / name).unlink()

    return strike


def move_away(place: Deployment) -> None:
    database_of(place).rename(place.folder / "elsewhere.sqlite3")


def delete_folder(place: Deployment) -> None:
    place.data_dir.rename(place.folder / "trash")  # at once: the bot puts back what it misses
    shutil.rmtree(place.folder / "trash")


FILE = "plexlink.sqlite3"
PUT_BACK, KEY_PUT_BACK = "store.put_back", "vault.key_put_back"


async def life_goes_on(folder: Path, strike: Callable[[Deployment], None], *warnings: str) -> None:
    """Take files away from a bot with a waiting and a linked member, and kill it when everybody got on."""
    async with deployment(folder) as place:
        bot = await place.start()
        bob, carol = place.join("bob"), place.join("carol")
        linked_card, waiting = await asyncio.gather(linked(place, place.alice), place.waiting_card(bob))
        token = stored_token(place, place.alice)
        strike(place)
        other = await place.waiting_card(carol)
        assert stored_token(place, place.alice) == token
        await finish(place, bob, waiting)
        await bot.kill()
        assert_calm(bot.log, *warnings)
        assert UNAVAILABLE not in bot.log
        assert all(path.stat().st_mode & 0o777 in {0o600, 0o644} for path in place.data_dir.iterdir())

        await place.start()
        assert stored_token(place, place.alice) == token
        await finish(place, carol, other)
        await place.press(linked_card, "Not me: undo")
        await place.card_saying("Undone")


async def test_files_that_are_deleted_while_the_bot_runs_are_put_back_with_everything_in_them(tmp_path: Path) -> None:
    strikes = {
        "file": (delete(FILE), PUT_BACK),
        "all": (delete(FILE, f"{FILE}-wal", f"{FILE}-shm"), PUT_BACK),
        "log": (delete(f"{FILE}-wal", f"{FILE}-shm"), PUT_BACK),
        "moved": (move_away, PUT_BACK),
        "key": (delete("plexlink.key"), KEY_PUT_BACK),
        "folder": (delete_folder, PUT_BACK, KEY_PUT_BACK),
    }
    await together({name: life_goes_on(a_folder(tmp_path, name), *strike) for name, strike in strikes.items()})


async def test_another_file_in_the_place_of_the_database_is_taken_by_the_next_start(place: Deployment) -> None:
    bot = await place.start()
    await linked(place, place.alice)
    backup = rows(place, "SELECT COUNT(*) FROM plexlink_links")
    with closing(sqlite3.connect(database_of(place))) as database:
        database.execute("VACUUM INTO ?", [str(place.folder / "backup")])
    await linked(place, place.join("carol"))  # since the backup
    content = (place.folder / "backup").read_bytes()
    (place.folder / "backup").replace(database_of(place))

    bob = place.join("bob")
    await refusal(place, bot, await place.plexlink(bob))
    await refusal(place, bot, await place.plexlink(bob))
    assert database_of(place).read_bytes() == content
    await bot.kill()
    assert_calm(bot.log, UNAVAILABLE, ANOTHER_FILE)

    await place.start()
    await place.waiting_card(bob)
    assert rows(place, "SELECT COUNT(*) FROM plexlink_links") == backup


# Nothing may be written any more.


async def test_rights_that_are_taken_from_files_while_the_bot_runs_matter_at_the_next_start(place: Deployment) -> None:
    bot = await place.start(arguments=RUN_UNPRIVILEGED)
    card = await place.waiting_card()
    database_of(place).chmod(0o400)
    place.data_dir.chmod(0o500)
    await finish(place, place.alice, card)
    await bot.kill()

    refused = await place.spawn(arguments=RUN_UNPRIVILEGED)
    assert await refused.wait() == 78, refused.log
    assert "cannot be written" in refused.log.splitlines()[-1]
    assert "Traceback" not in refused.log
    for file in (database_of(place), place.data_dir / f"{FILE}-wal"):  # SQLite gives its log the rights of the file
        file.chmod(0o600)
    place.data_dir.chmod(0o700)
    await place.start(arguments=RUN_UNPRIVILEGED)
    await place.press(card, "Not me: undo")
    await place.card_saying("Undone")


def take_from_user(path: Path) -> None:
    """Let a file be another user's; who is not root may only pretend."""
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        path.chmod(0)


async def refuses_to_start(place: Deployment, folder: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    spoil(folder)
    bot = await place.spawn(arguments=RUN_UNPRIVILEGED, PLEXLINK_DATA_DIR=str(folder))
    assert await bot.wait() == 78, bot.log
    last = bot.log.splitlines()[-1]
    assert last.startswith("plexlink: ")
    assert sentence in last
    assert "; mend " in last
    assert_calm(bot.log, sentence)


async def test_database_that_the_bot_may_not_write_is_refused_at_the_start(place: Deployment) -> None:
    await (await place.start()).kill()
    ways: dict[str, tuple[Callable[[Path], None], str]] = {
        "file": (lambda folder: (folder / FILE).chmod(0o400), f"{FILE} cannot be written"),
        "owner": (lambda folder: take_from_user(folder / FILE), f"{FILE} cannot be written"),
        "log": (lambda folder: (folder / f"{FILE}-wal").chmod(0o400), f"{FILE}-wal cannot be written"),
        "index": (lambda folder: (folder / f"{FILE}-shm").chmod(0o400), f"{FILE}-shm cannot be written"),
        "lock": (lambda folder: (folder / f"{FILE}.lock").chmod(0o400), f"{FILE}.lock cannot be written"),
        "key": (lambda folder: take_from_user(folder / "plexlink.key"), "plexlink.key cannot be read"),
    }
    copies = {name: Path(shutil.copytree(place.data_dir, place.folder / name)) for name in ways}
    await together({name: refuses_to_start(place, copies[name], *way) for name, way in ways.items()})


# The start meets a trouble that passes.


async def starts_when_it_can(folder: Path, fault: Fault, sentence: str) -> None:
    """Kill a bot, start it in the trouble, and see it go on when the trouble is over."""
    async with deployment(folder) as place:
        first = await place.start()
        card = await place.waiting_card()
        await first.kill()
        token = approve(place, place.alice, card)
        bot = await place.spawn()
        async with fault(place, bot):
            assert "trying again in 2 s" in await bot.logged(sentence)
        await place.card_saying("Linked as alice")
        assert stored_token(place, place.alice) == token
        assert "Traceback" not in bot.log
        assert bot.log.count("bot.not_started") <= 5
        assert await bot.terminate() == 0


# No file, pipe or connection can be opened any more.


async def recovers_without_descriptors(folder: Path) -> None:
    """Leave a bot that has lost its connections and its database without a descriptor to open them again."""
    async with deployment(folder) as place:
        bot = await place.start()
        card = await place.waiting_card()
        bob = place.join("bob")
        limit(bot, resource.RLIMIT_NOFILE, 3)
        database_of(place).unlink()
        await refusal(place, bot, await place.plexlink(bob))
        await place.discord.drop_gateway()
        await place.discord.until(lambda: place.discord.connected == 0, what="a lost gateway")
        await asyncio.sleep(SECONDS_WITHOUT_DESCRIPTORS)
        lines = len(bot.log.splitlines())
        unlimit(bot, resource.RLIMIT_NOFILE)
        await place.discord.until(lambda: place.discord.connected == 1, what="a gateway")
        await finish(place, place.alice, card)
        await finish(place, bob, await place.waiting_card(bob))
        assert lines < 200, bot.log
        assert bot.log.count(UNAVAILABLE) == bot.log.count(PUT_BACK) == 1, bot.log
        await bot.kill()
        assert len(rows(place, "SELECT id FROM plexlink_links")) == 2


async def puts_back_when_it_may(folder: Path) -> None:
    """Delete the file of a bot that may not write its folder, and let it."""
    async with deployment(folder) as place:
        bot = await place.start(arguments=RUN_UNPRIVILEGED)
        card = await place.waiting_card()
        database_of(place).unlink()
        place.data_dir.chmod(0o500)
        token = approve(place, place.alice, card)
        await place.press(card, "I've approved it")
        await place.card_saying(APPROVED_UNSAVED)
        await refusal(place, bot, await place.plexlink(place.join("bob")))
        place.data_dir.chmod(0o700)
        await place.card_saying("Linked as alice")
        await bot.kill()
        assert stored_token(place, place.alice) == token
        assert_calm(bot.log, UNAVAILABLE, READ_ONLY, AVAILABLE, PUT_BACK)


async def test_trouble_that_passes_loses_nothing_and_needs_no_restart(tmp_path: Path) -> None:
    def folder(name: str) -> Path:
        return a_folder(tmp_path, name)

    await together(
        {
            "locked": bad_day(folder("locked"), locked_database, LOCKED, tells_all=False),
            "locked at the start": starts_when_it_can(folder("locked-start"), locked_database, LOCKED),
            "full disk": bad_day(folder("full"), full_disk, FULL, tells_all=True),
            "another file": bad_day(folder("other"), replaced_file, ANOTHER_FILE, tells_all=True),
            "full disk at the start": starts_when_it_can(folder("full-start"), full_disk, FULL),
            "read-only folder": puts_back_when_it_may(folder("read-only")),
            "no descriptors": recovers_without_descriptors(folder("descriptors")),
        },
        at_once=4,
    )


# The log itself cannot be written.

CANNOT_FLUSH = 120

SPOILED_LOG = """
import os, sys
kind = sys.argv.pop()
if kind == "closed":
    os.close(2)
elif kind == "full disk":
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
else:
    reading, writing = os.pipe()
    if kind == "full pipe":
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x")
        except BlockingIOError:
            os.set_blocking(writing, True)
        os.set_inheritable(reading, True)
    os.dup2(writing, 2)
os.execv(sys.executable, [sys.executable, "-m", "plexlink_bot", "run"])
"""


async def works_without_log(folder: Path, kind: str) -> None:
    async with deployment(folder) as place:
        bot = await place.start(arguments=("-c", SPOILED_LOG, kind), PLEXLINK_LOG_LEVEL="DEBUG")
        await finish(place, place.alice, await place.waiting_card())
        # The interpreter itself notices at its end that the last lines could not be written.
        assert await bot.terminate() in {0, CANNOT_FLUSH}


async def test_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    kinds = ("closed", "full disk", "broken pipe", "full pipe")
    await together({kind: works_without_log(a_folder(tmp_path, kind), kind) for kind in kinds})
