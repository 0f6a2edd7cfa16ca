"""The real bot as a process of its own, between a small Discord and a stand-in of plex.tv in the test's process.

    async with deployment(tmp_path) as place:
        bot = await place.start()
        code = code_of(await place.waiting_card())
        await bot.kill()
        place.plex.approve(code)
        await place.start()
        await place.card_saying("Linked as alice")

A process sees no more of the test's environment than it is given, its output is read all the time, and it is ended
with the test, by its own id.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import zxingcpp
from PIL import Image

from plexlink_bot.sandbox.plex_tv import PlexTV
from small_discord import SmallDiscord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from plexlink_bot.sandbox.plex_answers import Pin
    from postgres import PostgresDatabase
    from small_discord import Guild, Interaction, Message, User

RUN = ("-m", "plexlink_bot", "run")

STOPS_WITHIN_SECONDS = 60.0
PATIENCE_SECONDS = 180.0
"""For what takes a second or two; a busy machine must not fail a test."""

SHORT_LENGTH = 11
"""Codes and PIN ids: their characters may stand in a longer word by chance."""

WAITING = "Your code:"
QR_CODE = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)


def run_with(module: str, **constants: float) -> Sequence[str]:
    """Return arguments that run the bot with other values of a module's constants."""
    values = "; ".join(f"module.{name} = {value}" for name, value in constants.items())
    return ("-c", f"import {module} as module; {values}; from plexlink_bot.cli import main; main()", "run")


class BotProcess:
    """One run of the bot: started once, ended by itself, by `terminate` or by `kill`."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *,
        arguments: Sequence[str] = RUN,
        within: Sequence[str] = (),
    ) -> None:
        self._environment = dict(environment)
        self._within = within
        self._folder = folder
        self._arguments = arguments
        self._output = bytearray()
        self._has_said_all = False
        self._news = asyncio.Condition()

    async def start(self) -> None:
        """Start the process and read its output from now on."""
        inherited = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        self._process = await asyncio.create_subprocess_exec(
            *self._within,
            sys.executable,
            *self._arguments,
            cwd=self._folder,
            env={"HOME": str(self._folder), "PYTHONWARNINGS": "always::ResourceWarning", **inherited}
            | self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._draining = asyncio.create_task(self._drain(), name="bot-output")

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def log(self) -> str:
        """All that it wrote so far."""
        return self._output.decode(errors="replace")

    async def logged(self, text: str, *, times: int = 1) -> str:
        """Wait until there are so many whole lines with `text`, and return the last of them.

        Raises:
            AssertionError: the process ended without it, or took too long.

        """

        def line() -> str | None:
            lines = self.log.splitlines(keepends=True)
            found = [line for line in lines if text in line and line.endswith("\n")]
            return found[times - 1] if len(found) >= times else None

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS), self._news:
                await self._news.wait_for(lambda: line() is not None or self._has_said_all)
        found = line()
        assert found is not None, f"{text!r} is not in the log:\n{self.log}"
        return found

    async def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it ends, and return its exit status: minus the signal's number if one killed it.

        Raises:
            AssertionError: it did not end within `seconds`.

        """
        try:
            async with asyncio.timeout(seconds):
                status = await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"still running after {seconds} s:\n{self.log}") from None
        await self._draining
        return status

    async def terminate(self, seconds: float = STOPS_WITHIN_SECONDS) -> int:
        """Ask it to stop, as a supervisor does; return the exit status. Raise as `wait` does."""
        return await self.stop(signal.SIGTERM, seconds)

    async def stop(self, number: signal.Signals, seconds: float = STOPS_WITHIN_SECONDS) -> int:
        """Ask it to stop with a signal; return the exit status. Raise as `wait` does."""
        self._process.send_signal(number)
        return await self.wait(seconds)

    async def kill(self) -> None:
        """End it without a chance to do anything more."""
        if self.is_running:
            self._process.kill()
        await self.wait()

    async def _drain(self) -> None:
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(2**16):
            self._output += chunk
            await self._tell()
        self._has_said_all = True
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


class Deployment:
    """A bot's surroundings: Discord with a server and a member, plex.tv, a data folder, an environment."""

    def __init__(
        self, *, discord: SmallDiscord, plex: PlexTV, folder: Path, database: PostgresDatabase | None = None
    ) -> None:
        self.discord = discord
        self.plex = plex
        self.folder = folder
        self.database = database
        self.data_dir = folder / "data"
        self.alice: User = discord.add_user("alice")
        self.guild: Guild = discord.add_guild("Home Cinema", [self.alice])
        self.environment = {
            "DISCORD_TOKEN": discord.token,
            "PLEXLINK_DISCORD_API_URL": discord.api_url,
            "PLEXLINK_PLEX_URL": plex.url,
            "PLEXLINK_DATA_DIR": str(self.data_dir),
            "PLEXLINK_PLEX_RATE": "20",
            "PLEXLINK_WEB_PORT": "0",
        }
        if database is not None:
            self.environment["PLEXLINK_DATABASE_URL"] = database.url
        self._processes: list[BotProcess] = []

    def join(self, name: str) -> User:
        """Let another member join the server."""
        user = self.discord.add_user(name)
        self.guild.members.append(user)
        return user

    def choose_role(self) -> None:
        """Let linked members have the server's role, as if its owner had chosen it; the database must be there."""
        if self.database is not None:
            self.database.sql(
                "INSERT INTO plexlink_guilds (id, role_id, audited_to)"  # noqa: S608 - ids
                f" VALUES ({self.guild.id}, {self.guild.member_role.id}, 0) ON CONFLICT DO NOTHING"
            )
            return
        with closing(sqlite3.connect(self.data_dir / "plexlink.sqlite3", isolation_level=None, timeout=60)) as database:
            database.execute(
                "INSERT OR IGNORE INTO plexlink_guilds (id, role_id, audited_to) VALUES (?, ?, 0)",
                (self.guild.id, self.guild.member_role.id),
            )

    async def spawn(
        self, *, arguments: Sequence[str] = RUN, within: Sequence[str] = (), **environment: str
    ) -> BotProcess:
        """Start a bot without waiting for it, by a program `within` which it runs, if any.

        An empty variable counts as missing.
        """
        process = BotProcess({**self.environment, **environment}, self.folder, arguments=arguments, within=within)
        await process.start()
        self._processes.append(process)
        return process

    async def start(
        self, *, arguments: Sequence[str] = RUN, within: Sequence[str] = (), **environment: str
    ) -> BotProcess:
        """Start a bot as `spawn` does, and wait until it is at the gateway."""
        sessions = self.discord.identified + 1
        process = await self.spawn(arguments=arguments, within=within, **environment)
        arriving = asyncio.create_task(self.discord.wait_ready(sessions, timeout=PATIENCE_SECONDS))
        ending = asyncio.create_task(process.wait(2 * PATIENCE_SECONDS))
        try:
            await asyncio.wait({arriving, ending}, return_when=asyncio.FIRST_COMPLETED)
            assert process.is_running, f"the bot ended:\n{process.log}"
            await arriving
        except AssertionError as error:
            raise AssertionError(f"{error}\n{process.log}") from None
        finally:
            arriving.cancel()
            ending.cancel()
            await asyncio.gather(arriving, ending, return_exceptions=True)
        return process

    async def end(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            await process.kill()

    async def plexlink(self, user: User | None = None) -> Interaction:
        """Type /plexlink in the server."""
        return await self.discord.slash(user or self.alice, "plexlink", guild=self.guild)

    async def press(self, message: Message, label: str, user: User | None = None) -> Interaction:
        """Press a button of a card as the member."""
        return await self.discord.click(user or self.alice, message, label=label)

    async def card_saying(self, text: str, *, but_not: str = "\0", user: User | None = None) -> Message:
        """Wait until the one direct message of the member says `text`, and return it.

        Raises:
            AssertionError: it does not, or there are two messages.

        """

        def card() -> Message | None:
            messages = self.discord.dm(user or self.alice)
            assert len(messages) <= 1, f"more than one message: {messages}"
            return next((one for one in messages if text in one.text and but_not not in one.text), None)

        return await self._until(card, what=f"a direct message that says {text!r}")

    async def waiting_card(self, user: User | None = None) -> Message:
        """Type /plexlink; return the card with the code when the bot has committed where it is."""
        command = await self.plexlink(user)
        await self.answer_saying(command, "I sent you a direct message")
        return await self.card_saying(WAITING, user=user)

    async def answer_saying(self, interaction: Interaction, text: str, *, but_not: str = "\0") -> Message:
        """Wait until the answer to an interaction says `text`, and return it."""

        def answer() -> Message | None:
            message = interaction.answer
            says_so = message is not None and text in message.text and but_not not in message.text
            return message if says_so else None

        return await self._until(answer, what=f"an answer that says {text!r}")

    async def _until(self, predicate: Callable[[], Message | None], *, what: str) -> Message:
        try:
            return await self.discord.until(predicate, what=what, timeout=PATIENCE_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def pin(self) -> Pin:
        """Return the newest PIN at plex.tv."""
        return list(self.plex.pins.values())[-1]

    def secrets(self) -> dict[str, str]:
        """Return everything that must stay between Discord, plex.tv, the vault and the member, by a name."""
        pins = list(enumerate(self.plex.pins.values()))
        return {
            **{f"PIN id {number}": str(pin.id) for number, pin in pins},
            **{f"code {number}": pin.code for number, pin in pins},
            **{f"client identifier {number}": pin.client_identifier for number, pin in pins},
            **{f"Plex token {number}": pin.token for number, pin in pins if pin.token},
            **{f"interaction token {number}": one.token for number, one in enumerate(self.discord.interactions)},
            "bot token": self.discord.token,
        }

    @property
    def log(self) -> str:
        """All that its processes wrote."""
        return "\n-- the next process --\n".join(process.log for process in self._processes)

    def leaks(self) -> list[str]:
        """Name the secrets that stand in a log; what is short counts as a word of its own only."""
        log = self.log
        words = set(re.findall(r"[\w-]+", log))
        return [
            name for name, value in self.secrets().items() if value in (log if len(value) > SHORT_LENGTH else words)
        ]

    def stored_bytes(self) -> dict[str, bytes]:
        """Return the contents of the data folder's files by name."""
        return {path.name: path.read_bytes() for path in self.data_dir.rglob("*") if path.is_file()}


@asynccontextmanager
async def deployment(
    folder: Path, database: PostgresDatabase | None = None, **environment: str
) -> AsyncIterator[Deployment]:
    """Give the surroundings in which bots can be started, with SQLite or another database.

    Raises:
        AssertionError: one of them had a secret in its log.

    """
    async with SmallDiscord() as discord, PlexTV() as plex:
        place = Deployment(discord=discord, plex=plex, folder=folder, database=database)
        place.environment |= environment
        try:
            yield place
        finally:
            await place.end()
        leaks = place.leaks()
        assert not leaks, f"a log holds {leaks}"


def code_of(card: Message) -> str:
    """Return the code that a waiting card shows."""
    found = re.search(r"Your code: \*\*`([A-Z0-9]{4})`\*\*", card.text)
    assert found is not None, card.text
    return found[1]


def countdown_of(card: Message) -> int:
    """Return the instant at which a waiting card ends, in seconds since 1970."""
    found = re.search(r"ends <t:(\d+):R>", card.text)
    assert found is not None, card.text
    return int(found[1])


def picture_of(card: Message) -> str:
    """Return what a phone reads from a card's QR code."""
    (content,) = card.files.values()
    return text_in(content)


def text_in(picture: bytes) -> str:
    """Return what a phone reads from a QR code."""
    # One row in some hundred pictures would also pass for a bar code of another kind, "6683" for instance.
    (code,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)), formats=QR_CODE)
    return code.text
