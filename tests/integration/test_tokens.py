"""`token_for`: what other code is given, and what the audit keeps of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness import World, a_world

if TYPE_CHECKING:
    from pathlib import Path

    from plexlink.tokens import Grant


async def token_for(world: World, member: Any = None, purpose: Any = "watchlist") -> Grant:
    cog: Any = world.env.bot.get_cog("PlexLink")
    grant: Grant = await cog.token_for((member or world.alice).id, purpose=purpose)
    return grant


async def test_a_token_comes_with_the_client_identifier_to_send(world: World) -> None:
    token = await world.link()
    grant = await token_for(world)
    assert grant.outcome == "granted"
    assert grant.token is not None
    assert grant.client_identifier is not None
    assert (grant.token.reveal(), grant.client_identifier.reveal()) == (token, world.pin().client_identifier)
    assert token not in repr(grant)


async def test_each_use_is_in_the_audit_with_its_purpose(world: World) -> None:
    await world.link()
    for purpose in ("watchlist", "on-deck", "a_1"):
        await token_for(world, purpose=purpose)
    uses = [row for row in world.rows("audit") if row["deed"] == "used"]
    assert [row["detail"] for row in uses] == ["watchlist", "on-deck", "a_1"]
    assert {(row["actor_id"], row["user_id"]) for row in uses} == {(None, world.alice.id)}


@pytest.mark.parametrize("purpose", ["", "Watchlist", "a b", "x" * 33, "täglich", "a\n", 5, None])
async def test_a_purpose_that_does_not_fit_is_refused(world: World, purpose: Any) -> None:
    await world.link()
    with pytest.raises(ValueError, match="purpose"):
        await token_for(world, purpose=purpose)
    assert [row["deed"] for row in world.rows("audit")] == ["linked"]


@pytest.mark.parametrize("user_id", ["123", 1.5, 0, -1, 2**63, True, None])
async def test_an_id_that_is_none_is_refused_and_spoils_nothing_for_others(world: World, user_id: Any) -> None:
    await world.link()
    cog: Any = world.env.bot.get_cog("PlexLink")
    asked = [cog.token_for(each, purpose="watchlist") for each in (world.alice.id, user_id, world.alice.id)]
    first, refused, last = await asyncio.gather(*asked, return_exceptions=True)
    assert (first.outcome, last.outcome) == ("granted", "granted")
    assert isinstance(refused, ValueError)


async def test_the_outcomes_can_be_told_apart_and_cost_no_line_in_the_audit(world: World) -> None:
    token = await world.link()
    assert (await token_for(world, world.join("bob"))).outcome == "not_linked"
    world.write("UPDATE plexlink_links SET token_envelope = ?", "plk1:nonsense")
    assert (await token_for(world)).outcome == "needs_relink"
    world.write("UPDATE plexlink_links SET token_envelope = ?", "plk1:other:AAAA")
    grant = await token_for(world)
    assert grant.outcome == "unavailable"
    assert grant.token is None
    assert [row["deed"] for row in world.rows("audit")] == ["linked"]
    assert world.plex.is_alive(token)


async def test_outcomes_compare_as_plain_text_after_a_reload(world: World) -> None:
    await world.link()
    before = await token_for(world)
    with world.env._bot_scope():  # simcord's time, as for everything that the bot does
        await world.env.bot.reload_extension("plexlink")
    after = await token_for(world)
    assert before.outcome == after.outcome == "granted"
    assert type(before.outcome) is not type(after.outcome)


async def test_an_unloaded_cog_says_unavailable(world: World) -> None:
    cog: Any = world.env.bot.get_cog("PlexLink")
    await world.stop()
    assert (await cog.token_for(world.alice.id, purpose="watchlist")).outcome == "unavailable"
    await world.start()


async def test_calls_that_come_together_are_written_together(world: World) -> None:
    await world.link()
    cog: Any = world.env.bot.get_cog("PlexLink")
    grants = await asyncio.gather(*(cog.token_for(world.alice.id, purpose=f"p{n}") for n in range(200)))
    assert {grant.outcome for grant in grants} == {"granted"}
    uses = [row for row in world.rows("audit") if row["deed"] == "used"]
    assert sorted(row["detail"] for row in uses) == sorted(f"p{n}" for n in range(200))
    assert len({row["at"] for row in uses}) <= 3


async def test_a_caller_who_gives_up_holds_up_nobody(world: World) -> None:
    await world.link()
    cog: Any = world.env.bot.get_cog("PlexLink")
    first, second = (asyncio.ensure_future(cog.token_for(world.alice.id, purpose="p")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).outcome == "granted"


async def test_other_extensions_hear_of_links(world: World) -> None:
    heard: list[tuple[str, Any]] = []
    for name in ("plexlink_linked", "plexlink_unlinked", "plexlink_token_dead"):

        async def listener(event: Any, name: str = name) -> None:
            heard.append((name, event))

        world.env.bot.add_listener(listener, f"on_{name}")
    token = await world.link()
    world.plex.revoke(token)
    world.write("UPDATE plexlink_links SET next_check_at = linked_at")
    await world.advance(2 * 3600)
    await world.press("Link again")
    world.approve()
    await world.advance(6)
    assert [name for name, _ in heard] == [
        "plexlink_linked",
        "plexlink_token_dead",
        "plexlink_unlinked",
        "plexlink_linked",
    ]
    assert all(event.user_id == world.alice.id for _, event in heard)
    assert heard[2][1].reason == "replaced"
    assert token not in repr(heard)
    with pytest.raises(AttributeError):
        heard[0][1].user_id = 7


async def test_a_full_disk_hands_out_nothing(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.link()
        (tmp_path / "plexlink.sqlite3").rename(tmp_path / "elsewhere")
        (tmp_path / "plexlink.sqlite3").write_bytes(b"another file")
        assert (await token_for(world)).outcome == "unavailable"
        (tmp_path / "elsewhere").rename(tmp_path / "plexlink.sqlite3")
        assert (await token_for(world)).outcome == "granted"
