"""The name under which Plex knows the bot, and what is said of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness import a_world
from plexlink.settings import PlexLinkSettings
from plexlink.wiring import _product

if TYPE_CHECKING:
    from pathlib import Path


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if message.startswith("plex.product ")]


@pytest.mark.parametrize(
    ("given", "shown"),
    [("Kino für alle", "Kino fuer alle"), ("Кино", "Kino"), ("🎬", "PlexLink"), ("x" * 65, "x" * 64)],
)
async def test_start_says_once_what_plex_will_show_where_it_is_another_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, given: str, shown: str
) -> None:
    caplog.set_level(logging.INFO, "plexlink")
    sentence = f'plex.product Plex shows this bot as "{shown}"; PLEXLINK_PLEX_PRODUCT names it otherwise'
    async with a_world(tmp_path, plex_product=given) as world:
        assert said(caplog) == [sentence]
        await world.plexlink()
        assert world.plex.requests[-1].headers["X-Plex-Product"] == shown
    assert said(caplog) == [sentence]


async def test_start_says_nothing_where_plex_shows_the_bots_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plexlink")
    async with a_world(tmp_path) as world:
        await world.plexlink()
        assert world.plex.requests[-1].headers["X-Plex-Product"] == "TestBot"
    assert said(caplog) == []


def test_bot_that_is_not_logged_in_yet_hears_of_its_name_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plexlink")
    bot: Any = SimpleNamespace(user=None)
    product = _product(bot, PlexLinkSettings(data_dir=tmp_path))
    assert (product(), said(caplog)) == ("PlexLink", [])
    bot.user = SimpleNamespace(name="Kino für alle")
    assert product() == product() == "Kino fuer alle"
    assert len(said(caplog)) == 1
