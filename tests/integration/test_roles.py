"""Roles follow links, through the real bot and a Discord with roles and permissions."""

from __future__ import annotations

import asyncio
import errno
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from accounts import account_of
from harness import Card, a_world
from plexlink.surface import roles as surface_roles
from plexlink.surface.roles import DiscordRoles
from plexlink_bot.sandbox.plex_tv import ALICE
from servers import (
    backdate,
    deeds,
    in_another_server,
    invite_again,
    let_bot,
    let_die,
    make_role,
    memberships,
    raise_role,
    roles_of,
    set_up,
    throw_out,
    unlink,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness import World

HOUR = 3600


async def test_who_links_gets_the_role_and_who_unlinks_loses_it_and_both_cards_say_so(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    assert roles_of(world, world.alice) == [role.id]
    assert "Role *Plex* added ✓" in world.card().text
    response = await unlink(world)
    assert roles_of(world, world.alice) == []
    assert r"Role *Plex* removed in *Home \*Cinema\** ✓" in Card(response).text
    assert deeds(world) == ["role_chosen", "linked", "role_given", "unlinked", "role_taken"]


async def test_who_had_linked_before_gets_the_role_when_it_is_chosen_without_a_word(world: World) -> None:
    await world.link()
    messages = [message.components for message in world.messages()]
    role = make_role(world)
    await set_up(world, role)
    assert roles_of(world, world.alice) == [role.id]
    await world.advance(HOUR)
    assert [Card(message).text for message in world.messages()] != []
    assert len(messages) == len(world.messages())


async def test_another_role_takes_the_place_of_the_first_and_none_takes_it_away(world: World) -> None:
    first, second = make_role(world), make_role(world, "Movie night")
    await set_up(world, first)
    await world.link()
    await set_up(world, second)
    assert roles_of(world, world.alice) == [second.id]
    await set_up(world)
    assert roles_of(world, world.alice) == []
    assert world.rows("links"), "a link is its member's"


async def test_a_new_link_of_the_same_member_keeps_the_role_and_a_moved_one_moves_it(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    response = (await world.alice.slash(world.channel, "plexstatus")).response
    await world.alice.click(response, label="Link another account")
    world.approve(account_of("other"))
    await world.advance(6)
    assert roles_of(world, world.alice) == [role.id]
    assert deeds(world) == ["role_chosen", "linked", "role_given"]
    bob = world.join("bob")
    await world.plexlink(bob)
    world.approve(account_of("other"))
    await world.advance(6)
    await world.press("Move it here", bob)
    await world.advance(6)
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([], [role.id])
    assert "moved" in deeds(world)


async def test_everything_deleted_takes_the_role_too_and_leaves_nothing(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    response = (await world.alice.slash(world.channel, "plexprivacy")).response
    question = (await world.alice.click(response, label="Delete everything")).response
    await world.alice.click(question, label="Delete everything")
    await world.advance(2 * HOUR)
    assert roles_of(world, world.alice) == []
    assert memberships(world) == []


async def test_a_dead_link_keeps_the_role_for_72_hours_and_a_living_one_brings_it_back(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await let_die(world, await world.link())
    await backdate(world, "links", "rejected_at", hours=71)
    assert roles_of(world, world.alice) == [role.id]
    assert "died" in deeds(world)
    await backdate(world, "links", "rejected_at", hours=72)
    assert roles_of(world, world.alice) == []
    await world.plexlink()
    world.approve(ALICE)
    await world.advance(6)
    assert roles_of(world, world.alice) == [role.id]


async def test_the_time_for_dead_links_is_a_setting(tmp_path: Path) -> None:

    async with a_world(tmp_path, role_grace=timedelta()) as world:
        role = make_role(world)
        await set_up(world, role)
        await let_die(world, await world.link())
        await world.advance(600)
        assert roles_of(world, world.alice) == []


async def test_a_linked_member_who_comes_later_gets_the_role_with_the_first_interaction(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    world.guild.remove_member(world.alice)
    await world.alice.user.slash("plexlink")
    world.approve(ALICE)
    await world.advance(6)
    assert memberships(world) == []
    assert "Role" not in world.card().text
    alice = world.guild.add_member(world.alice.user)
    await alice.slash(world.channel, "plexprivacy")
    assert roles_of(world, alice) == [role.id]


async def test_where_discord_tells_who_joins_a_linked_member_gets_the_role_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        role = make_role(world)
        await set_up(world, role)
        await world.link()
        world.guild.remove_member(world.alice)
        await world.env.settle()
        assert memberships(world) == []
        alice = world.guild.add_member(world.alice.user)
        await world.env.settle()
        assert roles_of(world, alice) == [role.id]


async def test_who_leaves_a_server_or_is_banned_keeps_the_link_and_the_roles_of_others(tmp_path: Path) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        await set_up(world, make_role(world))
        with in_another_server(world):
            theirs, there = make_role(world, "Theirs"), world.guild.id
            await set_up(world, theirs)
            alice = world.guild.add_member(world.alice.user)
        token = await world.link()
        await world.advance(10)
        world.guild.remove_member(world.alice)  # Discord says the same of a ban
        await world.advance(10)
        assert {row["guild_id"] for row in world.rows("members")} == {there}
        assert list(world.env.backend.get_member(there, alice.id).role_ids) == [theirs.id]
        assert await world.stored_token() == token
        assert world.plex.is_alive(token)


async def test_a_role_taken_by_hand_comes_back_within_a_day(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    world.env.backend.remove_member_role(world.guild.id, world.alice.id, role.id)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert roles_of(world, world.alice) == [role.id]


async def test_a_role_given_by_hand_to_somebody_without_a_link_is_noted_once_and_stays(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    world.env.backend.add_member_role(world.guild.id, world.alice.id, role.id)
    for _ in range(3):
        await world.alice.slash(world.channel, "plexstatus")
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert deeds(world) == ["role_chosen", "role_found"]
    assert roles_of(world, world.alice) == [role.id]


async def test_where_discord_tells_who_the_members_are_a_role_of_other_hands_is_noted_within_a_day(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        role, backend, here = make_role(world), world.env.backend, world.guild.id
        bot = world.guild.add_member(world.env.create_user("Helper", bot=True))
        for member in (world.alice, bot):
            backend.add_member_role(here, member.id, role.id)
        bob = world.join("bob")
        await set_up(world, role)
        await world.link(bob)
        await world.advance(301)
        assert deeds(world).count("role_found") == 1, "who had it when it was chosen"
        backend.remove_member_role(here, world.alice.id, role.id)
        await backdate(world, "guilds", "reconciled_at", hours=24)
        assert [row["user_id"] for row in world.rows("members")] == [bob.id]
        backend.add_member_role(here, world.alice.id, role.id)
        for _ in range(2):
            await backdate(world, "guilds", "reconciled_at", hours=24)
        assert deeds(world).count("role_found") == 2
        assert roles_of(world, world.alice) == [role.id]


async def test_all_members_of_a_large_server_are_asked_for_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface_roles, "_ON_A_PAGE", 3)
    async with a_world(tmp_path, members_intent=True) as world:
        role = make_role(world)
        people = [world.join(f"member{number}") for number in range(10)]
        for member in people[::2]:
            world.env.backend.add_member_role(world.guild.id, member.id, role.id)
        await set_up(world, role)
        await world.advance(301)
        found = {row["user_id"] for row in world.rows("audit") if row["deed"] == "role_found"}
        assert found == {member.id for member in people[::2]}


class LargeServer:
    """A server of 2,500, and whoever looks it up; discord.py goes on to its end, whatever limit it is given."""

    tell_members = True
    asked = 0

    async def find(self, _: int) -> LargeServer:
        return self

    async def fetch_members(self, *, limit: int, after: discord.Object) -> AsyncIterator[SimpleNamespace]:
        assert limit == 1000
        self.asked += 1
        for number in range(after.id + 1, 2501):
            yield SimpleNamespace(id=number, bot=False, get_role=lambda role_id: role_id)


async def test_each_page_of_a_large_server_has_its_own_time() -> None:
    server: Any = LargeServer()
    holders = await DiscordRoles(guilds=server).holders(guild_id=1, role_id=2)
    assert (holders, server.asked) == (set(range(1, 2501)), 3)


async def test_who_has_a_role_is_asked_for_when_it_takes_the_place_of_another(tmp_path: Path) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        first, second = make_role(world), make_role(world, "Movie night")
        world.env.backend.add_member_role(world.guild.id, world.alice.id, second.id)
        await set_up(world, first)
        await world.advance(301)
        await set_up(world, second)
        await world.advance(301)
        assert deeds(world) == ["role_chosen", "role_chosen", "role_found"]


async def test_who_has_a_role_is_asked_for_until_discord_says_and_no_more_that_day_where_it_refuses(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        role, faults = make_role(world), world.env.backend.faults
        world.env.backend.add_member_role(world.guild.id, world.alice.id, role.id)
        world.env.inject_error("GET", "/guilds/*/members", status=503, times=3)
        await set_up(world, role)
        await world.advance(1200)
        assert deeds(world) == ["role_chosen", "role_found"]
        world.env.inject_error("GET", "/guilds/*/members", status=403, code=50001, times=None)
        await backdate(world, "guilds", "reconciled_at", hours=24)
        faults.clear()
        bob = world.join("bob")
        world.env.backend.add_member_role(world.guild.id, bob.id, role.id)
        await world.advance(1200)
        assert [row["user_id"] for row in world.rows("members")] == [world.alice.id]
        await backdate(world, "guilds", "reconciled_at", hours=24)
        assert [row["user_id"] for row in world.rows("members")] == [world.alice.id, bob.id]


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let discord.py remember members, as it does in the bots of most hosts; ours lets it not."""
    flags = discord.MemberCacheFlags.from_intents(discord.Intents(guilds=True, members=True))
    monkeypatch.setattr(discord.MemberCacheFlags, "none", lambda: flags)


@pytest.mark.usefixtures("cached")
async def test_where_discord_tells_of_members_roles_of_other_hands_are_noted_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        role, another, backend = make_role(world), make_role(world, "Another"), world.env.backend
        await set_up(world, role)
        for given in (role, another):
            backend.add_member_role(world.guild.id, world.alice.id, given.id)
            await world.env.settle()
        assert deeds(world) == ["role_chosen", "role_found"]
        assert set(roles_of(world, world.alice)) == {role.id, another.id}


@pytest.mark.usefixtures("cached")
async def test_where_discord_tells_of_members_a_role_taken_by_hand_comes_back_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        role = make_role(world)
        await set_up(world, role)
        await world.link()
        world.env.backend.remove_member_role(world.guild.id, world.alice.id, role.id)
        await world.advance(2)
        assert roles_of(world, world.alice) == [role.id]
        await unlink(world)
        await world.advance(60)
        assert roles_of(world, world.alice) == []
        assert "role_found" not in deeds(world), "what the bot does itself is no other hand's"


@pytest.mark.usefixtures("cached")
async def test_of_a_member_whose_roles_stay_as_they_are_nothing_is_looked_up(tmp_path: Path) -> None:
    async with a_world(tmp_path, members_intent=True) as world:
        await set_up(world, make_role(world))
        await world.env.settle()
        desk: Any = world.env.bot.get_cog("PlexLink")._desk
        looks: list[int] = []
        desk.links._ledger._store._database.watch(lambda: looks.append(1))
        world.env.backend.edit_member(world.guild.id, world.alice.id, {"nick": "Al"})
        await world.env.settle()
        assert looks == []


@pytest.mark.parametrize("trouble", ["no_permission", "too_high", "dangerous"])
async def test_what_forbids_a_role_is_noted_once_and_the_role_is_given_as_soon_as_that_is_mended(
    world: World, trouble: str
) -> None:
    role, backend = make_role(world), world.env.backend
    await set_up(world, role)

    def turn(*, on: bool) -> None:
        if trouble == "no_permission":
            let_bot(world, manage_roles=not on)
        elif trouble == "too_high":
            raise_role(world, role)
        else:
            backend.edit_role(world.guild.id, role.id, {"permissions": 4 if on else 0})

    turn(on=True)
    await world.env.settle()
    await world.link()
    await world.link(world.join("bob"), account_of("bob"))
    await world.advance(2 * HOUR)
    assert roles_of(world, world.alice) == []
    assert deeds(world) == ["role_chosen", "role_refused"]
    assert "added" not in world.card().text
    turn(on=False)
    await world.env.settle()
    await world.advance(10)
    assert roles_of(world, world.alice) == [role.id]
    assert world.rows("guilds")[0]["objection"] is None


async def test_a_role_that_is_deleted_is_noted_and_another_can_be_chosen(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    world.env.backend.delete_role(world.guild.id, role.id)
    await world.env.settle()
    assert world.rows("guilds")[0]["objection"] == "gone"
    await world.advance(2)
    (told,) = world.messages(world.owner)
    assert "needs a look" in Card(told).text
    another = make_role(world, "Another")
    await set_up(world, another)
    assert roles_of(world, world.alice) == [another.id]


@pytest.mark.parametrize("away", ["stopped", "thrown out"])
async def test_a_role_that_is_deleted_while_the_bot_is_away_is_noted_though_nobody_is_owed_it(
    world: World, away: str
) -> None:
    role = make_role(world)
    await set_up(world, role)
    if away == "stopped":
        await world.stop()
        world.env.backend.delete_role(world.guild.id, role.id)
        await world.start()
    else:
        await throw_out(world)
        world.env.backend.delete_role(world.guild.id, role.id)
        await world.env.settle()
        await invite_again(world)
    await world.advance(5)
    await world.restart()
    await world.advance(5)
    assert world.rows("guilds")[0]["objection"] == "gone"
    assert deeds(world) == ["role_chosen", "role_refused"], "once"
    (told,) = world.messages(world.owner)
    assert "needs a look" in Card(told).text


async def test_an_old_role_that_cannot_be_taken_does_not_hold_up_the_new_one(world: World) -> None:
    first, second = make_role(world), make_role(world, "Movie night")
    await set_up(world, first)
    await world.link()
    raise_role(world, first)
    await world.env.settle()
    await set_up(world, second)
    assert set(roles_of(world, world.alice)) == {first.id, second.id}
    assert world.rows("guilds")[0]["objection"] is None, "what is chosen can be given"
    raise_role(world, first)
    await world.env.settle()
    assert roles_of(world, world.alice) == [second.id]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_discord_that_fails_for_a_while_is_asked_again(world: World, method: str) -> None:
    role = make_role(world)
    await set_up(world, role)
    path = "/guilds/*/members/*" if method == "GET" else "/guilds/*/members/*/roles/*"
    world.env.inject_error(method, path, status=503, code=0, times=3)
    await world.link()
    await world.advance(60)
    assert roles_of(world, world.alice) == [role.id]
    await unlink(world)
    await world.advance(60)
    assert roles_of(world, world.alice) == []


async def test_one_member_for_whom_discord_always_fails_does_not_keep_the_others_waiting(world: World) -> None:
    role, bob = make_role(world), world.join("bob")
    await set_up(world, role)
    world.env.inject_error("PUT", f"/guilds/*/members/{world.alice.id}/roles/*", status=500, code=0, times=None)
    await world.link()
    await world.link(bob, account_of("bob"))
    await world.advance(400)
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([], [role.id])


async def test_servers_do_not_disturb_each_other(world: World) -> None:
    role, other = make_role(world), world.env.create_guild("Other place")
    await set_up(world, role)
    raise_role(world, role)
    world.guild, first = other, world.guild
    world.channel, channel = other.create_text_channel("general"), world.channel
    theirs = make_role(world, "Theirs")
    owner, world.owner = world.owner, type(world.owner)(world.env, other, other.owner)
    await set_up(world, theirs)
    alice = other.add_member(world.alice.user)
    await world.link(alice)
    assert roles_of(world, alice) == [theirs.id]
    world.guild, world.channel, world.owner = first, channel, owner
    assert roles_of(world, world.alice) == []
    raise_role(world, role)
    await world.env.settle()
    assert roles_of(world, world.alice) == [role.id]
    text = Card(world.env.backend.messages[world.alice.user.dm_channel.id][world.messages(alice)[0].id]).text
    assert "Role *Theirs* added ✓" in text
    assert r"Role *Plex* added in *Home \*Cinema\** ✓" in text


async def test_a_server_that_removes_the_bot_finds_its_settings_again_for_a_month(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    await throw_out(world)
    await unlink(world)
    assert roles_of(world, world.alice) == [role.id], "nobody can take it now"
    await invite_again(world)
    assert roles_of(world, world.alice) == []
    await throw_out(world)
    await backdate(world, "guilds", "left_at", hours=29 * 24)
    assert len(world.rows("guilds")) == 1
    await backdate(world, "guilds", "left_at", hours=30 * 24)
    assert (world.rows("guilds"), world.rows("members")) == ([], [])


def break_database(world: World) -> list[OSError]:
    """Let the disk be full until the list is cleared."""
    trouble = [OSError(errno.ENOSPC, "No space left on device")]

    def look() -> None:
        if trouble:
            raise trouble[0]

    desk: Any = world.env.bot.get_cog("PlexLink")._desk
    desk.links._ledger._store._database.watch(look)
    return trouble


async def test_a_server_that_removes_the_bot_while_the_database_is_down_is_noted_as_soon_as_that_is_back(
    world: World,
) -> None:
    await set_up(world, make_role(world))
    trouble = break_database(world)
    await throw_out(world)
    await world.advance(600)
    assert world.rows("guilds")[0]["left_at"] is None
    trouble.clear()
    await world.advance(61)
    assert world.rows("guilds")[0]["left_at"] is not None, "and nothing else has happened meanwhile"


async def test_a_server_that_is_back_before_the_database_is_was_never_left(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    trouble = break_database(world)
    await throw_out(world)
    await world.advance(20)
    await invite_again(world)
    trouble.clear()
    await world.advance(61)
    assert world.rows("guilds")[0]["left_at"] is None
    await world.link()
    assert roles_of(world, world.alice) == [role.id]


async def test_nobody_looks_for_servers_after_the_end(world: World) -> None:
    await set_up(world, make_role(world))
    trouble = break_database(world)
    await throw_out(world)
    assert "plexlink-servers" in {task.get_name() for task in asyncio.all_tasks()}
    await world.stop()
    assert "plexlink-servers" not in {task.get_name() for task in asyncio.all_tasks()}
    trouble.clear()
    await world.start()


def forget_looks(world: World) -> None:
    """Let no server have been looked at, and nothing be known of who is there."""
    world.write("DELETE FROM plexlink_members")
    world.write("UPDATE plexlink_guilds SET reconciled_at = NULL")


def looked_at(world: World) -> set[int]:
    return {row["id"] for row in world.rows("guilds") if row["reconciled_at"] is not None}


async def test_the_first_look_at_one_server_is_kept_though_that_at_another_fails(world: World) -> None:
    await world.link()
    role = make_role(world)
    await set_up(world, role)
    with in_another_server(world):
        await set_up(world, make_role(world, "Theirs"))
        other = world.guild.id
    forget_looks(world)
    world.write(
        f"CREATE TRIGGER trouble BEFORE INSERT ON plexlink_members WHEN new.guild_id = {other} "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    )
    await world.advance(301)
    assert looked_at(world) == {world.guild.id}
    world.write("DROP TRIGGER trouble")
    await world.advance(31)
    assert looked_at(world) == {world.guild.id, other}


async def test_others_get_their_turn_between_the_first_looks_at_many_servers(world: World) -> None:
    await world.link()
    for _ in range(6):
        with in_another_server(world):
            await set_up(world, make_role(world))
    forget_looks(world)
    desk: Any = world.env.bot.get_cog("PlexLink")._desk
    answers: list[asyncio.Task[int]] = []

    async def ask() -> int:
        await desk.links.status(world.alice.id)
        return len(looked_at(world))

    def look() -> None:
        if not answers and looked_at(world):
            answers.append(asyncio.create_task(ask()))

    desk.links._ledger._store._database.watch(look)
    await world.advance(301)
    assert len(looked_at(world)) == 6
    (answer,) = answers
    assert await answer < 4


async def test_a_start_takes_note_of_servers_that_were_left_meanwhile(world: World) -> None:
    await set_up(world, make_role(world))
    await world.stop()
    world.env.backend.remove_guild(world.guild.id)
    await world.start()
    assert world.rows("guilds")[0]["left_at"] is not None


async def test_a_start_goes_on_with_servers_that_were_joined_again_meanwhile(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await throw_out(world)
    await world.restart()
    await world.link()
    assert roles_of(world, world.alice) == [role.id]


async def test_a_restart_gives_what_was_owed(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    world.env.inject_error("PUT", "/guilds/*/members/*/roles/*", status=503, code=0, times=None)
    await world.link()
    assert roles_of(world, world.alice) == []
    await world.stop()
    world.env.backend.faults.clear()
    await world.start()
    assert roles_of(world, world.alice) == [role.id]
    assert "Role *Plex* added ✓" in world.card().text


async def test_many_who_link_at_once_are_served_in_their_order_and_nobody_twice(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    members = [world.join(f"member{number}") for number in range(100)]
    at = world.env.now().isoformat(timespec="microseconds")
    for member in members:
        world.write(
            "INSERT INTO plexlink_members (guild_id, user_id, role_id, is_wanted, standing, cause, at) "
            "VALUES (?, ?, ?, 1, 'owed', 'linked', ?)",
            *(world.guild.id, member.id, role.id, at),
        )
    world.env.inject_error("PUT", "/guilds/*/members/*/roles/*", status=502, code=0, times=4)
    for member in members[10::30]:
        world.env.inject_error("PUT", f"/guilds/*/members/{member.id}/roles/*", status=429, code=0, times=1)
    await world.advance(400)
    assert not world.env.backend.faults, "Discord has failed, and asked for patience, as often as it was to"
    given = sorted((entry.id, entry.target_id) for entry in world.guild.audit_log())
    assert [target for _, target in given] == [member.id for member in members]
    assert all(roles_of(world, member) == [role.id] for member in members)


async def refuse_for_a_moment(world: World, role: Any) -> None:
    """Let somebody lack the role while it must not be given, and have it again."""
    world.env.backend.edit_role(world.guild.id, role.id, {"permissions": 4})
    world.env.backend.remove_member_role(world.guild.id, world.alice.id, role.id)
    await world.alice.slash(world.channel, "plexstatus")
    await world.advance(5)
    world.env.backend.edit_role(world.guild.id, role.id, {"permissions": 0})
    await world.advance(5)


async def test_two_roles_that_are_refused_for_different_reasons_are_told_once(world: World) -> None:
    first, second = make_role(world), make_role(world, "Movie night")
    await set_up(world, first)
    await world.link()
    raise_role(world, first)
    await world.env.settle()
    await set_up(world, second)
    world.env.backend.edit_role(world.guild.id, second.id, {"permissions": 4})
    await world.env.settle()
    await world.link(world.join("bob"), account_of("bob"))
    await world.advance(600)
    assert deeds(world).count("role_refused") == 1


async def test_who_cannot_be_told_what_broke_again_and_again_is_answered_all_the_same(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    world.close_dms()
    for _ in range(3):
        await refuse_for_a_moment(world, role)
    assert [row["topic"] for row in world.rows("notices")] == ["setup_broken"]
    text = Card((await world.owner.slash(world.channel, "plexstatus")).response).text
    assert text.count("needs a look") == 1
    assert "Not linked" in text


@pytest.mark.parametrize("code", [50013, 60003, 50001])
async def test_whatever_discord_forbids_is_told_to_the_owners(world: World, code: int) -> None:
    role = make_role(world)
    await set_up(world, role)
    world.env.inject_error("PUT", "/guilds/*/members/*/roles/*", status=403, code=code, times=None)
    await world.link()
    await world.advance(60)
    assert deeds(world) == ["role_chosen", "role_refused"]


async def test_a_row_of_a_newer_release_keeps_nobody_else_from_the_role(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    world.write(
        "INSERT INTO plexlink_members (guild_id, user_id, role_id, is_wanted, standing, cause, at) "
        "VALUES (?, 5, ?, 1, 'owed', 'of a newer one', '2020-01-01T00:00:00.000000+00:00')",
        *(world.guild.id, role.id),
    )
    await world.link()
    assert roles_of(world, world.alice) == [role.id]


async def test_who_has_left_is_not_known_here_any_more_though_the_role_is_refused(world: World) -> None:
    role, bob = make_role(world), world.join("bob")
    await set_up(world, role)
    await world.link()
    raise_role(world, role)
    await world.env.settle()
    await world.link(bob, account_of("bob"))
    for member in (world.alice, bob):
        world.guild.remove_member(member)
    await world.advance(2 * HOUR)
    await backdate(world, "guilds", "reconciled_at", hours=25)
    await world.advance(60)
    assert memberships(world) == []


async def test_everything_deleted_leaves_no_line_about_the_member(world: World) -> None:
    await set_up(world, make_role(world), world.channel)
    await world.link()
    response = (await world.alice.slash(world.channel, "plexprivacy")).response
    question = (await world.alice.click(response, label="Delete everything")).response
    await world.alice.click(question, label="Delete everything")
    await world.advance(HOUR)
    assert [row["deed"] for row in world.rows("audit") if row["user_id"] == world.alice.id] == ["forgotten"]
    assert deeds(world)[-2:] == ["unlinked", "role_taken"]


async def test_an_owner_who_has_everything_deleted_leaves_what_happened_to_the_server(world: World) -> None:
    await set_up(world, make_role(world), world.channel)
    before = deeds(world)
    response = (await world.owner.slash(world.channel, "plexprivacy")).response
    question = (await world.owner.click(response, label="Delete everything")).response
    await world.owner.click(question, label="Delete everything")
    await world.advance(10)
    assert deeds(world) == before
    assert {row["actor_id"] for row in world.rows("audit") if row["guild_id"]} == {0}


async def test_a_dead_link_that_is_seen_elsewhere_is_not_told_as_a_new_one(world: World) -> None:
    await let_die(world, await world.link())
    await set_up(world, make_role(world))
    await world.alice.slash(world.channel, "plexstatus")
    await world.advance(10)
    assert "linked" not in deeds(world)
