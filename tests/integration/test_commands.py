from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import discord
import pytest

from harness import Card, a_world
from plexlink.secret import Secret
from rows import A

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World

A_SERVER = 1456074443980800999


def registered(world: World) -> list[dict[str, Any]]:
    """The commands that Discord was told, as the last replacement of the global ones said."""
    calls = [call for call in world.env.http_requests if call.method == "PUT" and call.path.endswith("/commands")]
    return list(calls[-1].json)


async def test_the_command_works_in_servers_and_in_the_bots_messages_only(world: World) -> None:
    commands = {command["name"]: command for command in registered(world)}
    admin = commands.pop("plexadmin")
    assert set(commands) == {"plexlink", "plexstatus", "plexunlink", "plexprivacy"}
    assert all(command["contexts"] == [0, 1] for command in commands.values())
    assert all(command["integration_types"] == [0] for command in commands.values())
    assert (admin["contexts"], admin["integration_types"]) == ([0], [0])
    assert int(admin["default_member_permissions"]) == discord.Permissions(manage_guild=True).value


async def test_a_user_installed_app_is_the_operators_choice(tmp_path: Path) -> None:
    async with a_world(tmp_path, user_install=True) as world:
        for command in registered(world):
            of_members = command["name"] != "plexadmin"
            assert sorted(command["contexts"]) == ([0, 1, 2] if of_members else [0])
            assert sorted(command["integration_types"]) == ([0, 1] if of_members else [0])


async def test_commands_of_chosen_servers_exist_there_and_nowhere_else(tmp_path: Path) -> None:
    async with a_world(tmp_path, guild_id=A_SERVER, guilds=(A_SERVER,)) as world:
        await world.plexlink()
        assert f"`{world.pin().code}`" in world.card().text
        with pytest.raises(Exception, match="plexlink"):
            await world.env.create_user("stranger").slash("plexlink")


async def test_an_interaction_that_discord_has_forgotten_leaves_nothing_behind(world: World) -> None:
    world.env.inject_error("POST", "/interactions/*/callback", status=404, code=10062)
    result = await world.plexlink()
    assert not result.acknowledged
    assert world.rows("attempts") == []
    assert world.plex.requests == []


async def test_a_member_is_answered_though_discord_fails_for_a_while(world: World) -> None:
    world.env.inject_error("PATCH", "/webhooks/*/*/messages/*", status=503, times=4)
    result = await world.alice.slash(world.channel, "plexstatus")
    await world.advance(30)
    assert "Not linked" in Card(result.response).text


async def test_a_member_of_a_reloaded_bot_is_answered_by_the_new_cog(world: World) -> None:
    await world.plexlink()
    with world.env._bot_scope():  # simcord's time, as for everything that the bot does
        await world.env.bot.reload_extension("plexlink")
    result = await world.plexlink()
    assert "Go to the message" in Card(result.response).buttons


NESTED = "[" * 200_000


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"guilds": 5}', '{"guilds": ["x"]}', '{"guilds": [1.5]}', "\0", pytest.param(NESTED, id="[…")],
)
async def test_a_record_of_the_commands_that_is_not_ours_stops_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "commands.json").write_text(text)
    async with a_world(tmp_path) as world:
        assert '"guilds"' in (tmp_path / "commands.json").read_text()
        await world.plexlink()
        assert f"`{world.pin().code}`" in world.card().text


@pytest.mark.parametrize("keys", [None, Secret(f"a:{A.text.reveal()}")], ids=["file", "setting"])
async def test_a_copy_of_the_keys_that_a_killed_process_left_is_removed_at_the_start(
    tmp_path: Path, keys: Secret | None
) -> None:
    async with a_world(tmp_path, keys=keys) as world:
        await world.stop()
        names = (".plexlink.key.0123456789abcdef.draft", ".another.key.0123456789abcdef.draft", "plexlink.key.20251001")
        for name in names:
            (tmp_path / name).write_text("a copy")
        await world.start()
        assert [(tmp_path / name).exists() for name in names] == [False, True, True]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
async def test_what_others_may_open_is_said_once_at_each_start(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def said() -> list[str]:
        return [message for message in caplog.messages if "_not_private" in message]

    folder = world.data_dir.resolve()
    await world.stop()
    folder.chmod(0o700)
    await world.start()
    assert not said()
    await world.stop()
    folder.chmod(0o755)
    (folder / "plexlink.key").chmod(0o640)
    await world.start()
    assert said() == [
        f"store.folder_not_private folder={folder}: others may open it; give the bot one of its own, chmod 700",
        f"vault.key_not_private file={folder}/plexlink.key: others may read it; chmod 600",
    ]


async def test_a_record_of_the_commands_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "commands.json").mkdir()
    async with a_world(tmp_path) as world:
        await world.plexlink()
        assert f"`{world.pin().code}`" in world.card().text
