"""The plugin as a guest in somebody's plain discord.py bot: it works, and it leaves without a trace."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import threading
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from harness import SETTLE_SECONDS, Card, PatientRun
from plexlink.settings import PlexLinkSettings
from plexlink.store import Database
from plexlink_bot.sandbox.plex_tv import PlexTV

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    import simcord

SOURCE = Path(__file__).parents[2] / "cogs" / "plexlink"


class HostTree(app_commands.CommandTree[commands.Bot]):
    """The host's tree, which notes what it is asked to do for the plugin."""

    def __init__(self, client: commands.Bot) -> None:
        super().__init__(client)
        self.errors: list[Exception] = []
        self.syncs = 0
        self.first: Callable[[Any], Awaitable[None]] | None = None

    async def interaction_check(self, interaction: Any, /) -> bool:
        if self.first is not None:
            await self.first(interaction)
        return True

    async def on_error(self, _: Any, error: app_commands.AppCommandError, /) -> None:
        self.errors.append(error)

    async def sync(self, *, guild: Any = None) -> list[app_commands.AppCommand]:
        self.syncs += 1
        return await super().sync(guild=guild)


def a_host() -> commands.Bot:
    intents = discord.Intents.none()
    intents.guilds = True
    return commands.Bot(commands.when_mentioned, intents=intents, tree_cls=HostTree)


@dataclass
class House:
    """A host with one member, somewhere at a Discord, and plex.tv."""

    env: simcord.Env
    bot: commands.Bot
    plex: PlexTV
    channel: Any
    alice: Any

    async def extension(self, action: str, name: str = "plexlink") -> None:
        """Load, reload or unload as the bot does: what a test does by itself, simcord does not wait for."""
        with self.env._bot_scope():
            await getattr(self.bot, f"{action}_extension")(name)
        await self.env.settle()

    async def plexlink(self) -> Any:
        return await self.alice.slash(self.channel, "plexlink")

    def card(self) -> Card:
        stored = self.env.backend.messages.get(self.alice.user.dm_channel.id, {})
        (message,) = stored.values() if isinstance(stored, dict) else stored
        return Card(message)

    async def press(self, label: str) -> Any:
        return await self.alice.user.click(self.alice.user.dm_channel.last_message, label=label)

    def code(self) -> str:
        return list(self.plex.pins.values())[-1].code


@asynccontextmanager
async def a_house(data_dir: Path) -> AsyncIterator[House]:
    """Give a host with settings for its guest; a context manager, because simcord's clock lives in one context."""
    clock: dict[str, simcord.Env] = {}
    bot = a_host()
    async with (
        PlexTV(now=lambda: clock["env"].now()) as plex,  # noqa: PLW0108  the clock comes after the stand-in
        # The host has not synchronised its commands, and the plugin must not do it: simcord offers them all the same.
        PatientRun(bot, settle_timeout=SETTLE_SECONDS, strict_sync=False) as env,
    ):
        clock["env"] = env
        bot.plexlink_settings = PlexLinkSettings(data_dir=data_dir, plex_url=plex.url, plex_rate=200.0)
        guild = env.create_guild("Home Cinema")
        channel = guild.create_text_channel("general")
        alice = guild.add_member(env.create_user("alice"))
        try:
            yield House(env, bot, plex, channel, alice)
        finally:
            for name in list(bot.extensions):
                await bot.unload_extension(name)


@pytest.fixture(autouse=True)
def own_modules() -> Iterator[None]:
    """Give the test its own `plexlink` modules: discord.py removes them, and other tests have imported theirs."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if is_guest(name)}
    yield
    for name in [name for name in sys.modules if is_guest(name)]:
        del sys.modules[name]
    sys.modules.update(kept)


def is_guest(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in {"plexlink", "cogs"}


def tree_of(bot: commands.Bot) -> HostTree:
    assert isinstance(bot.tree, HostTree)
    return bot.tree


def open_files() -> list[str]:
    """Return the paths of this process's open files; where the system does not tell them, none."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return []
    return [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()]


def traces(bot: commands.Bot) -> dict[str, Any]:
    """Return everything in which a guest of a bot can leave something."""
    return {
        "commands": sorted(command.qualified_name for command in bot.tree.walk_commands()),
        "text commands": sorted(bot.all_commands),
        "cogs": sorted(bot.cogs),
        "extensions": sorted(bot.extensions),
        "listeners": {name: list(found) for name, found in bot.extra_events.items() if found},
        "checks": [*bot._checks, *bot._check_once],
        "dynamic items": dict(bot._connection._view_store._dynamic_items),
        "views": dict(bot._connection._view_store._views),
        "tasks": sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("plexlink")),
        "threads": threading.active_count(),
        "open files": sorted(file for file in open_files() if "plexlink" in file),
        "modules": sorted(name for name in sys.modules if is_guest(name)),
    }


def traces_left(bot: commands.Bot) -> dict[str, Any]:
    """Return the traces of a guest that has gone; the thread of a closed connection ends a moment after the closing."""
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            thread.join(timeout=60)
    return traces(bot)


async def link(house: House) -> None:
    await house.plexlink()
    assert f"Your code: **`{house.code()}`**" in house.card().text
    house.plex.approve(house.code())
    await house.press("I've approved it")


def difference(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


async def test_guest_links_an_account_and_leaves_tree_and_errors_to_its_host(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        await house.extension("load")
        assert not [entry for entry in house.env.http_requests if "/commands" in entry.path]
        await link(house)
        assert "Linked as alice" in house.card().text
        assert (tree_of(house.bot).syncs, tree_of(house.bot).errors) == (0, [])


async def defer(interaction: Any) -> None:
    await interaction.response.defer(ephemeral=True, thinking=True)


async def defer_for_all(interaction: Any) -> None:
    await interaction.response.defer(thinking=True)


async def answer_for_all(interaction: Any) -> None:
    await interaction.response.send_message("The host says hello.")


def words(message: Any) -> str:
    return message.content + Card(message).text


@pytest.mark.parametrize("dms", ["open", "closed"])
@pytest.mark.parametrize(
    ("already", "left_for_all"), [(defer, ""), (defer_for_all, "for whoever asked"), (answer_for_all, "says hello")]
)
async def test_a_member_whom_the_host_has_answered_already_is_answered_all_the_same(
    tmp_path: Path, already: Any, left_for_all: str, dms: str
) -> None:
    async with a_house(tmp_path) as house:
        await house.extension("load")
        tree_of(house.bot).first = already
        if dms == "closed":
            house.env.inject_error("POST", "/channels/*/messages", status=403, code=50007, times=None)
        result = await house.plexlink()
        last = result.followups[-1] if result.followups else result.response
        assert last.ephemeral
        assert (house.code() if dms == "closed" else "I sent you a direct message") in words(last)
        if left_for_all:
            assert not result.response.ephemeral
            assert left_for_all in words(result.response)
            assert house.code() not in words(result.response)
        house.plex.approve(house.code())
        await house.env.advance_time(6)
        assert "Linked as alice" in (words(last) if dms == "closed" else house.card().text)


async def test_guest_without_given_settings_reads_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_house(tmp_path / "not here") as house:
        del house.bot.plexlink_settings
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PLEXLINK_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("PLEXLINK_PLEX_URL", house.plex.url)
        monkeypatch.setenv("PLEXLINK_PLEX_RATE", "200")
        await house.extension("load")
        await link(house)
        assert "Linked as alice" in house.card().text
    assert {path.name for path in (tmp_path / "data").iterdir()} >= {"plexlink.key", "plexlink.sqlite3"}
    assert not (tmp_path / "not here").exists()


async def test_guest_says_what_its_settings_must_be(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        house.bot.plexlink_settings = {"data_dir": tmp_path}
        with pytest.raises(commands.ExtensionFailed, match=r"must be a plexlink\.PlexLinkSettings"):
            await house.extension("load")


async def test_guest_that_is_unloaded_leaves_no_trace(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        before = traces(house.bot)
        await house.extension("load")
        await house.plexlink()
        assert difference(before, traces(house.bot)) >= {
            "commands",
            "cogs",
            "extensions",
            "listeners",
            "dynamic items",
            "threads",
            "modules",
            "open files",
        }

        await house.extension("unload")

        assert traces_left(house.bot) == before
        async with Database.open(f"sqlite:///{tmp_path / 'plexlink.sqlite3'}") as database:
            assert await database.key_records(dict)


@pytest.mark.parametrize("obstacle", ["The database cannot be used", "already registered"])
async def test_guest_that_cannot_start_leaves_no_trace_either(tmp_path: Path, obstacle: str) -> None:
    async def taken(_: discord.Interaction[commands.Bot]) -> None:
        raise NotImplementedError

    async with a_house(tmp_path) as house:
        if obstacle == "already registered":
            house.bot.tree.command(name="plexlink", description="The host's own")(taken)
        else:
            (tmp_path / "plexlink.sqlite3").write_bytes(b"garbage" * 1000)
        before = traces(house.bot)
        with pytest.raises(commands.ExtensionFailed, match=obstacle):
            await house.bot.load_extension("plexlink")
        assert traces_left(house.bot) == before


async def test_buttons_of_old_cards_work_after_a_reload(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        await house.extension("load")
        await house.plexlink()
        first = traces(house.bot)

        await house.extension("reload")

        second = traces(house.bot)
        assert difference(first, second) <= {"listeners", "dynamic items"}
        assert {name: len(found) for name, found in second["listeners"].items()} == {
            name: len(found) for name, found in first["listeners"].items()
        }
        assert len(second["dynamic items"]) == 3

        house.plex.approve(house.code())
        await house.press("I've approved it")
        assert "Linked as alice" in house.card().text
        await house.press("Not me: undo")
        assert "Undone" in house.card().text


async def test_guest_that_is_reloaded_goes_on_with_what_was_open(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:
        await house.extension("load")
        await house.plexlink()
        await house.extension("unload")
        house.plex.approve(house.code())

        await house.extension("load")

        assert "Linked as alice" in house.card().text


async def test_guest_answers_its_own_failures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with a_house(tmp_path) as house:
        await house.extension("load")
        with closing(sqlite3.connect(tmp_path / "plexlink.sqlite3")) as database:
            database.execute("ALTER TABLE plexlink_attempts RENAME TO lost")

        answer = await house.plexlink()

        (failure,) = [record for record in caplog.records if "interaction.failed" in record.message]
        assert failure.args is not None
        assert f"`{failure.args[0]}`" in Card(answer.response).text
        assert tree_of(house.bot).errors == []


class NoInstalledPlugin(MetaPathFinder):
    """A host who copied the folder has not installed the package."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname.split(".", maxsplit=1)[0] == "plexlink":
            raise ImportError(f"{fullname} is not installed")


async def test_folder_that_was_copied_into_the_hosts_cogs_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cogs" / "plexlink"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [NoInstalledPlugin(), *sys.meta_path])
    async with a_house(tmp_path / "data") as house:
        before = traces(house.bot)
        await house.extension("load", "cogs.plexlink")
        await link(house)
        assert "Linked as alice" in house.card().text
        guests = {
            name: str(module.__file__) for name, module in sys.modules.items() if is_guest(name) and name != "cogs"
        }
        assert guests
        assert not [name for name, file in guests.items() if not file.startswith(str(folder))]

        await house.extension("reload", "cogs.plexlink")
        await house.press("Not me: undo")
        assert "Undone" in house.card().text
        await house.extension("unload", "cogs.plexlink")
        assert difference(before, traces_left(house.bot)) <= {"modules"}
        assert {name for name in sys.modules if is_guest(name)} == {"cogs"}
