"""The slash commands are where they should be, whatever becomes of servers, of other programs and of uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from processes import deployment, run_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from processes import Deployment
    from small_discord import Guild

OURS = {"plexlink", "plexstatus", "plexunlink", "plexprivacy", "plexadmin"}
OTHERS = {
    "play": {
        "id": "7",
        "application_id": "8",
        "version": "9",
        "name": "play",
        "type": 1,
        "description": "Somebody else's",
        "options": [],
        "default_member_permissions": None,
    }
}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as place:
        yield place


async def has_commands(place: Deployment, guild: Guild | None = None) -> None:
    shelf = place.discord.commands if guild is None else place.discord.guild_commands.setdefault(guild.id, {})
    await place.discord.until(lambda: shelf.keys() >= OURS, what="commands")


async def test_a_server_that_was_never_joined_costs_the_others_nothing_and_gets_its_commands_with_the_bot(
    place: Deployment,
) -> None:
    absent = place.discord.add_guild("Elsewhere", [place.alice])
    del place.discord.guilds[absent.id]
    bot = await place.start(PLEXLINK_GUILDS=f"{absent.id},{place.guild.id}")
    await has_commands(place, place.guild)
    assert place.discord.commands == {}
    await bot.logged("bot.ready ")
    missing = f"server {absent.id}: the bot is not there, or may not have commands; invite it with https://discord.com/"
    assert missing in await bot.logged("bot.ready_without_commands")

    await place.discord.invite_bot(absent)
    await has_commands(place, absent)
    assert bot.log.count("bot.commands_missing") == 1


async def test_kicked_and_invited_again_the_bot_has_its_commands(place: Deployment) -> None:
    bot = await place.start(PLEXLINK_GUILDS=str(place.guild.id))
    await has_commands(place, place.guild)
    await bot.logged("bot.ready ")
    await place.discord.kick_bot(place.guild)
    await place.discord.invite_bot(place.guild)
    await has_commands(place, place.guild)


async def test_commands_that_somebody_wiped_are_back_after_a_start_and_others_stay(place: Deployment) -> None:
    bot = await place.start()
    await has_commands(place)
    assert await bot.terminate() == 0
    place.discord.commands.clear()
    place.discord.commands.update(OTHERS)
    bot = await place.start()
    assert place.discord.commands.keys() == OURS | OTHERS.keys()
    assert place.discord.commands["play"] == OTHERS["play"]
    assert await bot.terminate() == 0

    syncs = len(place.discord.requests)
    await place.start()
    asked = [each.method for each in place.discord.requests[syncs:] if each.path.endswith("/commands")]
    assert asked == ["GET"], "nothing differs, nothing is uploaded"


async def test_a_server_that_is_not_chosen_any_more_loses_the_commands_and_the_others_have_them(
    place: Deployment,
) -> None:
    bot = await place.start(PLEXLINK_GUILDS=str(place.guild.id))
    await has_commands(place, place.guild)
    place.discord.guild_commands[place.guild.id].update(OTHERS)
    assert await bot.terminate() == 0
    await place.start()
    await has_commands(place)
    assert place.discord.guild_commands[place.guild.id].keys() == OTHERS.keys()


async def test_what_discord_refuses_is_said_in_its_words(place: Deployment) -> None:
    place.discord.fail("PUT", "/applications/*/commands", 400, 30034, times=1)
    bot = await place.start()
    assert "everywhere: Discord said " in await bot.logged("bot.commands_missing")
    assert "code 30034" in await bot.logged("bot.ready_without_commands")
    assert place.discord.commands == {}


async def test_a_server_for_which_discord_fails_costs_the_others_nothing_and_is_tried_again(place: Deployment) -> None:
    other = place.discord.add_guild("Elsewhere", [place.alice])
    fault = place.discord.fail("GET", f"/applications/*/guilds/{other.id}/commands", 503, times=50)
    impatient = run_with("plexlink_bot.commands", _FIRST_PAUSE_SECONDS=0.2)
    bot = await place.start(arguments=impatient, PLEXLINK_GUILDS=f"{other.id},{place.guild.id}")
    await has_commands(place, place.guild)
    missing = await bot.logged("bot.ready_without_commands")
    assert f"server {other.id}: Discord cannot be reached" in missing
    assert "bot.unreachable" not in bot.log
    fault.times = 0
    await has_commands(place, other)


async def test_a_server_that_is_not_chosen_any_more_is_tried_again_as_well(place: Deployment) -> None:
    other = place.discord.add_guild("Elsewhere", [place.alice])
    bot = await place.start(PLEXLINK_GUILDS=f"{other.id},{place.guild.id}")
    await has_commands(place, other)
    assert await bot.terminate() == 0
    place.discord.fail("GET", f"/applications/*/guilds/{other.id}/commands", 503)
    bot = await place.start(PLEXLINK_GUILDS=str(place.guild.id))
    await bot.logged("bot.ready ")
    assert "bot.commands_missing" not in bot.log
    assert await bot.terminate() == 0
    await place.start(PLEXLINK_GUILDS=str(place.guild.id))
    shelf = place.discord.guild_commands[other.id]
    await place.discord.until(lambda: not shelf, what="commands to go")


async def test_a_command_that_discord_refuses_is_named_and_tried_again_and_the_others_are_there(
    place: Deployment,
) -> None:
    place.discord.commands.update(OTHERS)
    fault = place.discord.fail("POST", "/applications/*/commands", 400, 30032)
    bot = await place.start(arguments=run_with("plexlink_bot.commands", _FIRST_PAUSE_SECONDS=5))
    said = await bot.logged("bot.commands_missing")
    refused = OURS - place.discord.commands.keys()
    assert [f"everywhere: {name}: Discord said " in said for name in refused] == [True]
    assert fault.times == 0
    await has_commands(place)


async def test_a_menus_command_of_the_same_name_is_somebody_elses_and_stays(place: Deployment) -> None:
    menu = OTHERS["play"] | {"name": "plexlink", "type": 3, "description": ""}
    place.discord.commands["the menu's"] = menu
    await place.start()
    await has_commands(place)
    assert place.discord.commands["the menu's"] == menu


async def test_a_server_that_is_joined_while_discord_fails_gets_its_commands_later(place: Deployment) -> None:
    absent = place.discord.add_guild("Elsewhere", [place.alice])
    del place.discord.guilds[absent.id]
    impatient = run_with("plexlink_bot.commands", _FIRST_PAUSE_SECONDS=0.2)
    bot = await place.start(arguments=impatient, PLEXLINK_GUILDS=str(absent.id))
    await bot.logged("bot.ready ")
    fault = place.discord.fail("PUT", "/applications/*/guilds/*/commands", 503, times=50)
    await place.discord.invite_bot(absent)
    await bot.logged("Discord cannot be reached")
    fault.times = 0
    await has_commands(place, absent)
