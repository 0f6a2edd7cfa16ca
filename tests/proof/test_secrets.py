"""Secrets planted all around the real process, and a long day with every kind of trouble: none of them gets out."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from planted import (
    BOT_TOKEN,
    KEY,
    PROXY_PASSWORD,
    Echo,
    PlantedDeployment,
    an_account,
    found,
    one_of_each_fault,
    planted_deployment,
)
from plexlink_bot.logs import MARK
from plexlink_bot.sandbox.plex_tv import KID, JsonError, Operation
from processes import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from planted import Sent
    from plexlink_bot.sandbox.plex_tv import Call, Fault
    from processes import BotProcess
    from small_discord import Message, User

CHECK = "I've approved it"
WAITS = "Check that the page shows"
AT_ONCE = 24

BEARING_CHILDREN = """
import os, signal, subprocess

def bear(*_):
    child = subprocess.run(["cat", "/proc/self/environ"], capture_output=True, check=True).stdout
    os.write(1, b"".join(b"child: " + line + b"\\n" for line in child.split(b"\\0")))
    os.system("env | sed 's/^/shell: /'")
    os.write(1, b"children: done\\n")

signal.signal(signal.SIGUSR1, bear)
from plexlink_bot.cli import main
main()
"""


# --- a day of a bot ---


async def start(place: PlantedDeployment, user: User) -> Message:
    """Type /plexlink; return the card with the code."""
    await place.plexlink(user)
    return await place.says(user, WAITS)


async def link(place: PlantedDeployment, user: User) -> Message:
    card = await start(place, user)
    place.plex.approve(place.pins_of(user)[-1].code, an_account(user.name))
    await place.press(card, CHECK, user)
    return await place.says(user, "Linked as")


async def undo(place: PlantedDeployment, user: User) -> Message:
    card = await link(place, user)
    await place.press(card, "Not me: undo", user)
    return await place.says(user, "Undone")


async def unlink(place: PlantedDeployment, user: User) -> Message:
    """Look at the link and at what is stored, then end it."""
    await link(place, user)
    for name, text in (("plexstatus", "Linked as"), ("plexprivacy", "What is stored about you")):
        await place.answer_saying(await place.discord.slash(user, name, guild=place.guild), text)
    command = await place.discord.slash(user, "plexunlink", guild=place.guild)
    await place.press(await place.answer_saying(command, "Unlink your Plex account?"), "Unlink", user)
    return await place.answer_saying(command, "no longer accepts the token")


async def be_managed(place: PlantedDeployment, user: User) -> Message:
    card = await start(place, user)
    place.plex.approve(place.pins_of(user)[-1].code, KID)
    await place.press(card, CHECK, user)
    return await place.says(user, "This profile cannot be linked")


async def be_second(place: PlantedDeployment, user: User) -> Message:
    first = place.join(f"first-{user.name}")
    await link(place, first)
    account = place.pins_of(first)[-1].account
    assert account is not None
    card = await start(place, user)
    place.plex.approve(place.pins_of(user)[-1].code, account)
    await place.press(card, CHECK, user)
    await place.press(await place.says(user, "Another member here has linked"), "Leave it there", user)
    return await place.says(user, "Left where it is")


async def run_out(place: PlantedDeployment, user: User) -> Message:
    card = await start(place, user)
    place.plex.expire(place.pins_of(user)[-1].code)
    await place.press(card, CHECK, user)
    return await place.says(user, "The code ran out")


async def cancel(place: PlantedDeployment, user: User) -> Message:
    card = await start(place, user)
    await place.press(card, "Cancel", user)
    return await place.says(user, "Cancelled")


async def fail(place: PlantedDeployment, user: User) -> Message:
    card = await start(place, user)
    question = (place.pins_of(user)[-1].client_identifier, Operation.GET_PIN)
    place.plex.aim(*question, *[Echo(400)] * 20)  # it is believed when it says so for a minute
    await place.press(card, CHECK, user)
    refused = await place.says(user, "Plex said no")
    place.plex.spare(*question)
    return refused


async def renew(place: PlantedDeployment, user: User) -> Message:
    """Take a new code, then undo what the second one brought."""
    card = await start(place, user)
    first = place.pins_of(user)[-1].code
    await place.press(card, "New code", user)
    await place.discord.until(lambda: len(place.pins_of(user)) == 2, what="a second code")
    card = await place.discord.until(
        lambda: card if WAITS in card.text and first not in str(card.components) else None, what="it"
    )
    assert first not in str(card.components)
    place.plex.approve(place.pins_of(user)[-1].code, an_account(user.name))
    await place.press(card, CHECK, user)
    return await place.says(user, "Linked as")


ENDS: dict[str, Callable[[PlantedDeployment, User], Awaitable[Message]]] = {
    "linked": link,
    "undone": undo,
    "unlinked": unlink,
    "managed": be_managed,
    "taken": be_second,
    "expired": run_out,
    "cancelled": cancel,
    "failed": fail,
    "renewed": renew,
}
LANES = {"message": None, "answer": 50007}


async def suffer(place: PlantedDeployment, user: User, fault: Fault) -> Message:
    """Link and undo, and meet the fault at every call to plex.tv on the way."""
    await place.plexlink(user)
    card = await place.says(user, WAITS)
    pin = place.pins_of(user)[-1]
    for operation in (Operation.GET_PIN, Operation.USER, Operation.SIGN_OUT):
        place.plex.aim(pin.client_identifier, operation, fault)
    place.plex.approve(pin.code, an_account(user.name))
    await place.press(card, CHECK, user)
    await place.press(await place.says(user, "Linked as"), "Not me: undo", user)
    return await place.says(user, "Undone")


DiscordFault = tuple[str, str, int, bool, bool]
DISCORD_FAULTS: list[DiscordFault] = [
    ("POST", "/channels/*/messages", 500, True, False),
    ("POST", "/channels/*/messages", 502, False, False),
    ("POST", "/channels/*/messages", 503, True, True),
    ("POST", "/channels/*/messages", 400, True, True),
    ("POST", "/channels/*/messages", 429, True, False),
    ("POST", "/channels/*/messages", 0, False, False),
    ("POST", "/users/@me/channels", 403, True, True),
    ("PATCH", "/channels/*/messages/*", 404, True, True),
    ("PATCH", "/channels/*/messages/*", 0, True, False),
    ("PATCH", "/webhooks/*", 500, True, False),
    ("PATCH", "/webhooks/*", 400, True, True),
    ("PATCH", "/webhooks/*", 429, True, True),
    ("PATCH", "/webhooks/*", 0, False, False),
    ("POST", "/interactions/*/callback", 500, False, False),
    ("POST", "/interactions/*/callback", 429, True, True),
]


async def be_failed_by_discord(place: PlantedDeployment, user: User, fault: DiscordFault) -> Message:
    method, path, status, before, code = fault
    place.discord.echo(method, path, status, user=user, before=before, code=code)
    if "webhooks" in path or (method == "POST" and status in {400, 403}):
        user.dms_closed = 50007  # the card is in the answer
    return await cancel(place, user)


@dataclass
class Day:
    """What could be seen of a run of the process, from its start to its end."""

    secrets: dict[str, str]
    logs: str
    snapshots: dict[str, bytes]
    sent: list[Sent]
    asked: list[Call]
    readable: dict[int, set[str]]
    ended: dict[str, Message] = field(repr=False)
    children: list[str] = field(repr=False)


class Diary:
    """Live a day with a bot and keep what is seen of it."""

    def __init__(self, place: PlantedDeployment) -> None:
        self._place = place
        self._ended: dict[str, Message] = {}
        self._snapshots: dict[str, bytes] = {}
        self._processes: list[BotProcess] = []
        self._few = asyncio.Semaphore(AT_ONCE)

    async def live(self, faults: list[Fault], discord_faults: list[DiscordFault]) -> Day:
        """Be busy, lose the database, be killed, go on, be stopped, and lose the proxy."""
        place = self._place
        bot = await self._start()
        await self._be_busy(faults, discord_faults)
        await self._lose_the_database(bot)
        await bot.kill()
        self._look_into_the_folder("after SIGKILL")
        bot = await self._start()
        await self._go_on()
        assert await bot.terminate() == 0
        self._look_into_the_folder("after SIGTERM")
        if "PLEXLINK_PROXY" not in place.environment:
            await self._lose_the_proxy()
        assert not [fault for fault in place.discord.faults if fault.times]
        logs = "".join(process.log for process in self._processes)
        return Day(
            secrets=place.secrets(),
            logs=logs,
            snapshots=self._snapshots,
            sent=place.discord.sent,
            asked=place.plex.requests,
            readable={user.id: place.own_secrets(user) for user in place.guild.members},
            ended=self._ended,
            children=[line for line in logs.splitlines() if line.startswith(("child: ", "shell: "))],
        )

    async def _start(self, **environment: str) -> BotProcess:
        bot = await self._place.start(arguments=("-c", BEARING_CHILDREN, "run"), **environment)
        self._processes.append(bot)
        os.kill(bot.pid, signal.SIGUSR1)
        await bot.logged("children: done")
        return bot

    def _look_into_the_folder(self, when: str) -> None:
        self._snapshots |= {f"{name} {when}": content for name, content in self._place.stored_bytes().items()}

    async def _be_busy(self, faults: list[Fault], discord_faults: list[DiscordFault]) -> None:
        self._place.plex.aim_at_newcomers(*faults)
        stories = [
            *(self._suffer(number, fault) for number, fault in enumerate(faults)),
            *(self._end(end, lane) for end in ENDS for lane in LANES),
            *(self._be_failed(number, fault) for number, fault in enumerate(discord_faults)),
        ]
        outcomes = await asyncio.gather(*stories, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert not failures, failures
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._place.plex.all_met()
        self._look_into_the_folder("while it runs")

    async def _end(self, end: str, lane: str) -> None:
        user = self._place.join(f"{end}-{lane}")
        user.dms_closed = LANES[lane]
        await self._tell(f"{end} in a {lane}", ENDS[end](self._place, user))

    async def _suffer(self, number: int, fault: Fault) -> None:
        user = self._place.join(f"fault-{number}")
        await self._tell(f"{fault}", suffer(self._place, user, fault))

    async def _be_failed(self, number: int, fault: DiscordFault) -> None:
        user = self._place.join(f"discord-{number}")
        await self._tell(f"{fault}", be_failed_by_discord(self._place, user, fault))

    async def _tell(self, story: str, told: Awaitable[Message]) -> None:
        async with self._few:
            try:
                self._ended[story] = await told
            except AssertionError as error:
                raise AssertionError(f"{story}: {str(error)[:3000]}") from None

    async def _lose_the_database(self, bot: BotProcess) -> None:
        """Take a table away while a member has an open code."""
        place, unlucky = self._place, self._place.join("unlucky")
        card = await start(place, unlucky)
        with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database:
            database.execute("ALTER TABLE plexlink_attempts RENAME TO away")
            command = await place.plexlink(place.join("unluckier"))
            await place.answer_saying(command, "Something broke")
            await place.press(card, "Cancel", unlucky)
            await bot.logged("no such table")
            database.execute("ALTER TABLE away RENAME TO plexlink_attempts")

    async def _go_on(self) -> None:
        """End the attempt of the process that was killed."""
        place = self._place
        unlucky = next(one for one in place.guild.members if one.name == "unlucky")
        card = await place.says(unlucky, WAITS)
        place.plex.aim(place.pins_of(unlucky)[-1].client_identifier, Operation.GET_PIN, *[JsonError(410, 1020)] * 2)
        await place.press(card, CHECK, unlucky)
        self._ended["after a kill"] = await place.says(unlucky, "The code ran out")

    async def _lose_the_proxy(self) -> None:
        """Meet a proxy that is not there."""
        bot = await self._start(PLEXLINK_PROXY=f"http://proxy-user:{PROXY_PASSWORD}@127.0.0.1:9")
        await self._place.plexlink(self._place.join("proxied"))
        await bot.logged("plex.no_answer")
        assert await bot.terminate() == 0
        self._look_into_the_folder("at the end")


@asynccontextmanager
async def surroundings(folder: Path, name: str) -> AsyncIterator[PlantedDeployment]:
    async with planted_deployment(folder, PLEXLINK_LOG_FORMAT=name) as place:
        if name == "json":
            host = urlsplit(place.plex.url).netloc
            place.environment |= {
                "PLEXLINK_PIN_STYLE": "strong",
                "PLEXLINK_PLEX_URL": "http://localhost:9",
                "PLEXLINK_PROXY": f"http://proxy-user:{PROXY_PASSWORD}@{host}",
            }
        yield place


async def two_days(folder: Path) -> dict[str, Day]:
    """Live one day with short codes and one with strong codes behind a proxy, at the same time."""
    faults = one_of_each_fault()

    async def live(name: str, faults: list[Fault], discord_faults: list[DiscordFault]) -> Day:
        async with surroundings(folder / name, name) as place:
            return await Diary(place).live(faults, discord_faults)

    console, as_json = await asyncio.gather(
        live("console", faults[::2], DISCORD_FAULTS[::2]),
        live("json", [*faults[1::2], Echo(407, "text/html")], DISCORD_FAULTS[1::2]),
    )
    return {"console": console, "json": as_json}


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Day]:
    folder = tmp_path_factory.mktemp("days")
    for name in ("console", "json"):
        (folder / name).mkdir()
    return asyncio.run(two_days(folder))


@pytest.fixture(params=["console", "json"])
def day(days: dict[str, Day], request: pytest.FixtureRequest) -> Day:
    return days[request.param]


# --- what was seen of it ---


def test_no_secret_is_in_the_log(day: Day) -> None:
    assert len(day.secrets) > 100
    assert "DEBUG" in day.logs
    for event in (
        "plex.no_answer",
        "card.failed",
        "sign_out.signed_out",
        "link.cancelled",
        "interaction.failed",
    ):
        assert event in day.logs
    assert not found(day.secrets, day.logs)
    assert "plk1:" not in day.logs, "with the key, an envelope in a log would outlive its erasure"


def test_no_secret_had_to_be_struck_out_of_the_log(day: Day) -> None:
    assert not [line for line in day.logs.splitlines() if MARK in line]


def test_no_secret_lies_open_in_the_data_folder(day: Day) -> None:
    assert {f"plexlink.sqlite3-wal {when}" for when in ("while it runs", "after SIGKILL")} <= day.snapshots.keys()
    assert any(name.startswith("commands.json") for name in day.snapshots)
    for name, content in day.snapshots.items():
        assert not found(day.secrets, content.decode("latin-1")), name


def test_child_of_the_process_inherits_no_secret(day: Day) -> None:
    for kind in ("child", "shell"):
        assert f"{kind}: PLEXLINK_LOG_LEVEL=DEBUG" in day.children
    assert not found(day.secrets, "\n".join(day.children))


def test_member_is_sent_their_own_code_and_nobody_elses(day: Day) -> None:
    assert all(
        sent.reader is not None for sent in day.sent if sent.payload is not None and "/commands" not in sent.path
    )
    shown = set()
    for sent in day.sent:
        own = set() if sent.reader is None else day.readable.get(sent.reader.id, set())
        seen = set(found(day.secrets, sent.text()))
        foreign = {name for name in seen if day.secrets[name] not in own}
        assert not foreign, (sent, foreign)
        shown |= seen
    assert len([name for name in shown if name.startswith("code")]) > 40


def test_urls_of_requests_to_plex_hold_no_secret_but_the_pin_id(day: Day) -> None:
    assert {call.operation for call in day.asked} >= {
        Operation.CREATE_PIN,
        Operation.GET_PIN,
        Operation.USER,
        Operation.SIGN_OUT,
    }
    for call in day.asked:
        path = re.sub(r"^/api/v2/pins/\d+$", "", call.path) if call.operation is Operation.GET_PIN else call.path
        assert not found(day.secrets, f"{path}?{call.query}"), call


def test_urls_of_requests_to_discord_hold_no_secret_but_the_interaction_token(day: Day) -> None:
    tokens = {value for name, value in day.secrets.items() if name.startswith("interaction token")}
    used = set()
    for sent in day.sent:
        match = re.match(r"/api/v10/(?:interactions|webhooks)/\d+/([^/?]+)", sent.path)
        used |= {match[1]} if match else set()
        assert not found(day.secrets, sent.path.replace(f"/{match[1]}", "") if match else sent.path), sent.path
    assert len(used) > 40
    assert used <= tokens


def test_code_and_picture_are_gone_when_the_attempt_has_ended(day: Day) -> None:
    assert {f"{end} in a {lane}" for end in ENDS for lane in LANES} <= day.ended.keys()
    for story, message in day.ended.items():
        assert not found(day.secrets, str(message.components)), story
        assert not message.attachments, story
        assert not [target for _, target in message.buttons if "://" in target], story


# --- settings ---


async def give(place: PlantedDeployment, source: str, values: dict[str, str]) -> dict[str, str]:
    """Give settings in one of the ways that there are; return the environment that it takes."""
    for name in values:
        place.environment.pop(name, None)
    if source == "environment":
        return values
    if source == "dotenv":
        lines = "".join(f"{name}='{value}'\n" for name, value in values.items())
        await asyncio.to_thread((place.folder / ".env").write_text, lines)
        return {}
    files = {name: place.folder / name.lower() for name in values}
    for name, file in files.items():
        await asyncio.to_thread(file.write_text, f"{values[name]}\n")
    return {f"{name}_FILE": str(file) for name, file in files.items()}


async def environments(folder: Path, source: str) -> tuple[dict[str, str], str, str]:
    """Return the secrets, what the bot's children see, and what the system shows of the bot itself."""
    async with planted_deployment(folder) as place:
        values = {
            "DISCORD_TOKEN": BOT_TOKEN,
            "PLEXLINK_KEYS": f"planted:{KEY}",
            "PLEXLINK_DATABASE_URL": f"sqlite:///{folder}/planted-database.sqlite3",
            "PLEXLINK_PROXY": f"http://proxy-user:{PROXY_PASSWORD}@127.0.0.1:9",
        }
        given = await give(place, source, values)
        bot = await place.start(arguments=("-c", BEARING_CHILDREN, "run"), **given)
        os.kill(bot.pid, signal.SIGUSR1)
        await bot.logged("children: done")
        itself = await asyncio.to_thread(Path(f"/proc/{bot.pid}/environ").read_text)
        return values, bot.log, itself


async def test_no_way_to_give_a_secret_hands_it_on_to_children(tmp_path: Path) -> None:
    sources = ["environment", "dotenv", "file"]
    for source in sources:
        (tmp_path / source).mkdir()
    seen = await asyncio.gather(*(environments(tmp_path / source, source) for source in sources))
    for source, (secrets, log, itself) in zip(sources, seen, strict=True):
        for kind in ("child", "shell"):
            assert f"{kind}: PLEXLINK_LOG_LEVEL=DEBUG" in log
        assert not found(secrets, log), source
        # Nobody can change what the system shows of a program's start: this is why there are files.
        assert set(found(secrets, itself)) == (secrets.keys() if source == "environment" else set()), source


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("@db:port/plexlink", "PLEXLINK_DATABASE_URL cannot be read, or has no port where one should be"),
        ("@127.0.0.1:1/plexlink", "bot.not_started The database cannot be used: its server cannot be reached"),
        ("@db.invalid/plexlink?sslmode=require", "bot.not_started The database cannot be used"),
    ],
)
async def test_refused_database_url_leaves_no_trace_of_its_password(tmp_path: Path, rest: str, said: str) -> None:
    async with planted_deployment(tmp_path, PLEXLINK_LOG_FORMAT="json", PLEXLINK_LOG_LEVEL="DEBUG") as place:
        password = "planted-database-password"
        bot = await place.spawn(PLEXLINK_DATABASE_URL=f"postgresql://plex:{password}{rest}")
        await bot.logged(said)
        if bot.is_running:
            await bot.terminate()
        assert password not in bot.log
        assert MARK not in bot.log
        assert not [name for name, content in place.stored_bytes().items() if password.encode() in content]
