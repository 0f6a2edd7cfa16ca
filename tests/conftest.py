"""Fixtures that most tests share, and the rule that nothing is skipped unnoticed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from harness import World, a_world
from plex_tv_client import Client, Clock, connected
from plexlink_bot.sandbox.plex_tv import PlexTV
from postgres import Server, a_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _the_same_classes() -> Iterator[None]:
    """Keep the modules that tests have imported: to unload the plugin forgets them, and later ones would be others."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "plexlink"}
    yield
    sys.modules.update(before)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def plex(clock: Clock) -> AsyncIterator[PlexTV]:
    async with PlexTV(now=clock, sleep=clock.sleep) as plex:
        yield plex


@pytest.fixture
async def client(plex: PlexTV) -> AsyncIterator[Client]:
    async with connected(plex) as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL that all tests of this process share, each with a database of its own."""
    with a_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database, of each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/plexlink.sqlite3"
    server: Server = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty folder, from an environment without settings; a `.env` writes into it, so put all back."""
    for name in os.environ:
        if name.startswith(("PLEXLINK_", "DISCORD_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of continuous integration in which a test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
