"""The host's clock is wrong, or is set while the bot runs: members see Discord's time, and no code ends early."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plexlink_bot.sandbox.plex_tv import BOB, Operation, PlexTV
from processes import PATIENCE_SECONDS, Deployment, code_of, countdown_of, deployment
from small_discord import SmallDiscord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

YEAR = timedelta(days=365)
HOUR = timedelta(hours=1)
LIFE_SECONDS = 900

STEPPED = """
import datetime, sys, time
import discord.utils
real, file = time.time, sys.argv.pop()
def seconds():
    with open(file) as step:
        return real() + float(step.read())
time.time = seconds
discord.utils.utcnow = lambda: datetime.datetime.fromtimestamp(seconds(), datetime.UTC)
from plexlink_bot.cli import main
main()
"""
"""The bot on a host whose clock is off by the seconds in a file, which may change while it runs."""


class Shifted:
    """A clock that is off by what a test says."""

    def __init__(self, shift: timedelta) -> None:
        self.shift = shift

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift


@asynccontextmanager
async def deployment_at(folder: Path, *, discord: Shifted, plex: timedelta) -> AsyncIterator[Deployment]:
    """Give surroundings whose clocks are off from the host's: relative to them it is the host's that is wrong."""
    async with SmallDiscord(now=discord) as small_discord, PlexTV(now=Shifted(plex)) as plex_tv:
        place = Deployment(discord=small_discord, plex=plex_tv, folder=folder)
        try:
            yield place
        finally:
            await place.end()


async def asked(place: Deployment, *, more: int = 1) -> None:
    """Wait until plex.tv has answered `more` questions about a PIN."""
    before = sum(call.operation == Operation.GET_PIN for call in place.plex.requests)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await place.plex.received(Operation.GET_PIN, count=before + more)


SHIFTS = {
    "a year ahead of both": (-YEAR, -YEAR),
    "a year behind both": (YEAR, YEAR),
    "right, and Plex's a year behind": (timedelta(0), -YEAR),
    "right, and Plex's a year ahead": (timedelta(0), YEAR),
    "an hour ahead of Discord's and behind Plex's": (-HOUR, HOUR),
}


@pytest.mark.parametrize("host", SHIFTS)
async def test_link_does_not_depend_on_the_hosts_clock(tmp_path: Path, host: str) -> None:
    discord, plex = SHIFTS[host]
    async with deployment_at(tmp_path, discord=Shifted(discord), plex=plex) as place:
        bot = await place.start()
        card = await place.waiting_card()
        countdown = countdown_of(card)
        assert abs(countdown - place.discord.now().timestamp() - LIFE_SECONDS) < 60
        await asked(place)
        place.alice.dms_closed = 50007
        bob = place.join("bob")
        bob.dms_closed = 50007
        command = await place.plexlink(bob)
        await place.answer_saying(command, "Your code:")
        bobs_code = place.pin().code
        await bot.kill()

        bot = await place.start()
        await asked(place, more=2)
        still = await place.card_saying("Your code:")
        assert countdown_of(still) == countdown
        place.plex.approve(code_of(still))
        await place.card_saying("Linked as alice")
        place.plex.approve(bobs_code, BOB)
        await place.answer_saying(command, "Linked as bob")
        assert "Traceback" not in bot.log


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
async def test_clock_that_is_set_while_the_bot_runs_ends_no_code_and_moves_no_countdown(
    tmp_path: Path, step: timedelta
) -> None:
    clock = tmp_path / "clock"
    stepped = ("-c", STEPPED, "run", str(clock))
    clock.write_text("0")
    async with deployment(tmp_path) as place:
        bot = await place.start(arguments=stepped)
        bob, carol = place.join("bob"), place.join("carol")
        card = await place.waiting_card()
        bob.dms_closed = 50007
        command = await place.plexlink(bob)
        await place.answer_saying(command, "Your code:")
        bobs_code = place.pin().code

        (draft := tmp_path / "draft").write_text(str(step.total_seconds()))
        draft.replace(clock)
        await asked(place, more=2)
        countdowns = {card: countdown_of(card)}
        assert abs(countdowns[card] - place.discord.now().timestamp() - LIFE_SECONDS) < 60
        await place.answer_saying(command, "Your code:")
        later = await place.waiting_card(carol)
        countdowns[later] = countdown_of(later)
        assert abs(countdowns[later] - place.discord.now().timestamp() - LIFE_SECONDS) < 60
        place.plex.approve(bobs_code, BOB)
        await place.answer_saying(command, "Linked as bob")
        await bot.kill()

        bot = await place.start(arguments=stepped)
        await asked(place, more=2)
        assert {each: countdown_of(each) for each in countdowns} == countdowns
        place.plex.approve(code_of(card))
        await place.card_saying("Linked as alice")
        assert await bot.terminate() == 0
        assert "Traceback" not in bot.log


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "held back"])
async def test_one_wrong_stamp_of_discord_ends_nobodys_code_and_moves_no_countdown(
    tmp_path: Path, off: timedelta
) -> None:
    clock = Shifted(timedelta(0))
    async with deployment_at(tmp_path, discord=clock, plex=timedelta(0)) as place:
        bot = await place.start()
        place.alice.dms_closed = 50007
        answer = await place.answer_saying(await place.plexlink(), "Your code:")
        clock.shift = off
        command = await place.plexlink(place.join("bob"))
        clock.shift = timedelta(0)
        if off > timedelta(0):
            await place.answer_saying(command, "I sent you a direct message")
        else:  # nobody can answer it any more
            await bot.logged("interaction.not_deferred")
        for user in map(place.join, ("carol", "dave")):
            card = await place.waiting_card(user)
            assert abs(countdown_of(card) - place.discord.now().timestamp() - LIFE_SECONDS) < 60
        place.plex.approve(code_of(answer))
        await place.answer_saying(place.discord.interactions[0], "Linked as alice")
