"""Stored tokens through the years: checked daily, believed dead only for good reasons, and told of once."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, count, pairwise
from typing import TYPE_CHECKING, Any

import pytest

from accounts import account_of
from harness import Card, World, a_world
from plexlink.models import Topic
from plexlink.secret import Secret
from plexlink_bot.sandbox.plex_tv import Empty, Html, JsonError, Operation, RateLimited, Reset, ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from plexlink_bot.sandbox.plex_tv import Fault

MANY = 1000
WAVE_HOURS, CHECKED_AN_HOUR = 7, 12
REFUSED = JsonError(401, 1001)


async def linked(world: World, member: Any = None) -> str:
    """Link a member to an account of their own."""
    return await world.link(member, account_of((member or world.alice).user.name))


async def many(world: World, count: int) -> None:
    """Give members links without going through their commands; the tokens are alive at plex.tv."""
    await linked(world)
    desk: Any = world.env.bot.get_cog("PlexLink")._desk
    device = next(iter(world.plex.tokens.values()))
    async with desk.links._ledger._store.transaction() as tx:
        template = await tx.links.of(world.alice.id)
        for number in range(1, count):
            token = f"token-of-member-{number:05}"
            world.plex.tokens[token] = replace(device)
            await tx.links.add(
                replace(
                    template,
                    id=f"link{number}",
                    user_id=number,
                    attempt_id=f"attempt{number}",
                    account_id=Secret(f"account{number}"),
                    token=Secret(token),
                )
            )


def verdicts(world: World) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in world.rows("links"):
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    return counts


def spoil(world: World, change: str) -> None:
    """Change the links behind the bot's back."""
    world.write(f"UPDATE plexlink_links SET {change}")  # noqa: S608 - a test's own words


async def check_all(world: World, where: str = "verdict <> 'dead'") -> None:
    """Let the daily check come now, and its second question."""
    spoil(world, f"next_check_at = linked_at WHERE {where}")
    await world.advance(700)


async def pass_hours(world: World, hours: int) -> None:
    for _ in range(hours):
        await world.advance(3600)


async def test_every_token_is_pinged_and_checked_once_a_day(world: World) -> None:
    await linked(world)
    world.plex.requests.clear()
    await pass_hours(world, 25)
    pings = sum(call.operation == Operation.PING for call in world.plex.requests)
    checks = sum(call.operation == Operation.USER for call in world.plex.requests)
    assert pings == checks
    assert 1 <= checks <= 2


async def test_checks_are_spread_over_the_day(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await many(world, 200)
        with pytest.MonkeyPatch.context() as patch:
            numbers = count()
            patch.setattr("random.random", lambda: next(numbers) * 0.618 % 1)
            await world.advance(301)
        planned = sorted(datetime.fromisoformat(row["next_check_at"]) for row in world.rows("links"))
        thirds = [planned[0] + timedelta(hours=hours) for hours in (0, 8, 16, 24)]
        for begin, end in pairwise(thirds):
            assert 30 < sum(begin <= at < end for at in planned) < 110


async def test_a_check_waits_behind_what_members_wait_for(tmp_path: Path) -> None:
    async with a_world(tmp_path, plex_rate=1.0) as world:
        await many(world, 50)
        spoil(world, "next_check_at = linked_at")
        await world.advance(301)
        await world.plexlink(world.join("bob"))
        await world.advance(2)
        operations = [call.operation for call in world.plex.requests]
        assert Operation.PING in operations
        assert operations.count(Operation.CREATE_PIN) == 2
        assert len(operations) < 50


@pytest.mark.parametrize("fault", [JsonError(403, 1041), RateLimited(30)], ids=["403 of Plex's", "429"])
async def test_an_outage_marks_no_token_dead(tmp_path: Path, fault: Fault) -> None:
    async with a_world(tmp_path) as world:
        await many(world, 10)
        world.plex.fail(fault, times=None)
        for _ in range(3):
            await check_all(world)
        assert verdicts(world) == {"alive": 10}
        assert not world.rows("notices")
        world.plex.heal()
        await pass_hours(world, 3)
        assert {row["finding"] for row in world.rows("links")} == {"alive"}


async def test_an_outage_that_changes_its_face_marks_none_of_a_thousand_tokens_dead(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await many(world, MANY)
        for number, fault in enumerate((ServerError(502), Html(403), Empty(404), Html(401), Reset())):
            world.plex.heal()
            world.plex.fail(fault, times=None)
            spoil(world, f"next_check_at = linked_at WHERE user_id % 5 = {number}")
            await world.advance(301)
        assert verdicts(world) == {"alive": MANY}
        assert not world.rows("notices")
        assert {row["finding"] for row in world.rows("links")} == {"silent"}


async def test_one_refusal_alone_is_not_the_end(world: World) -> None:
    await linked(world)
    world.plex.fail(REFUSED, calls=Operation.PING, times=1)
    await check_all(world)
    await pass_hours(world, 2)
    assert verdicts(world) == {"alive": 1}
    assert not world.rows("notices")
    assert len(world.messages()) == 1


async def test_a_dead_token_is_told_once_with_a_way_on(world: World) -> None:
    world.plex.revoke(await linked(world))
    await check_all(world)
    await world.advance(1800)
    assert len(world.messages()) == 1, "a wave of refusals would show within the hour"
    await pass_hours(world, 2)
    first, news = (Card(message) for message in world.messages())
    assert "Linked as" in first.text
    assert "Plex ended our sign-in" in news.text
    assert list(news.buttons) == ["Link again", "Unlink"]
    await world.restart()
    await pass_hours(world, 26)
    assert len(world.messages()) == 2
    await world.press("Link again")
    assert "Your code:" in Card(world.messages()[-1]).text
    assert len(world.messages()) == 2


async def a_silent_death(world: World) -> None:
    """Let a token die whose member takes no messages."""
    world.plex.revoke(await linked(world))
    world.close_dms()
    await check_all(world)
    await pass_hours(world, 2)


async def test_where_messages_are_closed_a_dead_token_is_the_first_line_of_the_next_answer(world: World) -> None:
    await a_silent_death(world)
    status = Card((await world.alice.slash(world.channel, "plexstatus")).response)
    assert status.text.startswith("## Your link to Plex stopped working")
    again = Card((await world.alice.slash(world.channel, "plexstatus")).response)
    assert not again.text.startswith("## Your link to Plex stopped working")


async def test_where_the_next_answer_is_a_code_the_dead_token_stands_above_it(world: World) -> None:
    await a_silent_death(world)
    result = await world.plexlink()
    text = Card(result.response).text
    assert text.index("Your link to Plex stopped working") < text.index("Your code:")
    assert not world.rows("notices")
    world.open_dms()
    assert "stopped working" not in Card((await world.alice.slash(world.channel, "plexstatus")).response).text


async def test_who_links_again_needs_no_news_of_the_dead_token(world: World) -> None:
    await a_silent_death(world)
    result = await world.plexlink()
    assert "Your code:" in Card(result.response).text
    world.approve()
    await world.advance(6)
    assert not world.rows("notices")
    assert verdicts(world) == {"alive": 1}


def gaps(world: World, members: list[Any]) -> list[float]:
    """Return the seconds between the messages that tell members of their dead tokens; each gets one."""
    sent = [
        [datetime.fromisoformat(message.timestamp) for message in world.messages(member) if _is_news(message)]
        for member in members
    ]
    assert {len(instants) for instants in sent} == {1}
    return [(later - earlier).total_seconds() for earlier, later in pairwise(sorted(chain(*sent)))]


def _is_news(message: Any) -> bool:
    return "Plex ended our sign-in" in Card(message).text


async def test_dead_tokens_are_told_one_a_second(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        members = [world.join(f"member{number}") for number in range(4)]
        for member in members:
            world.plex.revoke(await linked(world, member))
        await check_all(world)
        await pass_hours(world, 2)
        assert min(gaps(world, members)) >= 0.9


async def test_a_hold_up_at_discord_does_not_let_them_all_go_at_once(world: World) -> None:
    """Each waits twice as long after each try: the tenth, after five in vain, would meet the last, after three."""
    members = [world.join(f"member{number}") for number in range(34)]
    desk: Any = world.env.bot.get_cog("PlexLink")._desk
    world.env.inject_error("POST", "/channels/*/messages", status=503, times=None)
    with world.env._bot_scope():
        async with desk.links._ledger.change() as change:
            for member in members:
                await change.notify(member.id, Topic.LINK_DEAD)
    await world.advance(40)
    world.open_dms()
    await world.advance(120)
    assert min(gaps(world, members)) >= 0.9


async def test_a_hold_up_of_the_database_does_not_let_them_all_go_at_once(world: World) -> None:
    members = [world.join(f"member{number}") for number in range(12)]
    desk: Any = world.env.bot.get_cog("PlexLink")._desk
    is_full = False

    def look() -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    with world.env._bot_scope():
        desk.links._ledger._store._database.watch(look)
        async with desk.links._ledger.change() as change:
            for member in members:
                await change.notify(member.id, Topic.LINK_DEAD)
    is_full = True
    await world.advance(40)
    is_full = False
    await world.advance(60)
    assert min(gaps(world, members)) >= 0.9


async def test_a_stop_between_a_dead_tokens_commit_and_its_message_neither_loses_nor_repeats_it(world: World) -> None:
    world.plex.revoke(await linked(world))
    world.env.inject_error("POST", "/channels/*/messages", status=503, times=None)
    await check_all(world)
    await pass_hours(world, 2)
    (notice,) = world.rows("notices")
    await world.stop()
    world.open_dms()
    await world.start()
    await world.advance(30)
    assert "Plex ended our sign-in" in Card(world.messages()[-1]).text
    await world.stop()  # now as if it had been killed before it noted that the message is out
    places = ", ".join("?" for _ in notice)
    world.write(f"INSERT INTO plexlink_notices ({', '.join(notice)}) VALUES ({places})", *notice.values())  # noqa: S608
    await world.start()
    await world.advance(30)
    assert len(world.messages()) == 2
    assert not world.rows("notices")


async def test_what_nobody_was_told_yet_is_taken_back_when_plex_accepts_the_token_again(world: World) -> None:
    token = await linked(world)
    status = (await world.alice.slash(world.channel, "plexstatus")).response
    device = world.plex.tokens.pop(token)
    world.close_dms()
    await check_all(world)
    await pass_hours(world, 2)
    assert [row["topic"] for row in world.rows("notices")] == ["link_dead"]
    world.plex.tokens[token] = device
    text = Card((await world.alice.click(status, label="Check now")).response).text
    assert "stopped working" not in text
    assert "it works" in text
    assert not world.rows("notices")


async def a_wave(world: World) -> None:
    """Let plex.tv refuse every token for a day, as the checks of the day come to it."""
    for operation in (Operation.PING, Operation.USER):
        world.plex.fail(REFUSED, calls=operation, times=None)
    for hour in range(WAVE_HOURS):
        first = hour * CHECKED_AN_HOUR
        spoil(world, f"next_check_at = linked_at WHERE user_id BETWEEN {first} AND {first + CHECKED_AN_HOUR - 1}")
        await world.advance(3600)


async def test_a_wave_of_refusals_is_told_to_nobody_and_ends_when_plex_accepts_one_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_world(tmp_path) as world:
        await many(world, WAVE_HOURS * CHECKED_AN_HOUR)
        await a_wave(world)
        assert not world.rows("notices")
        assert len(world.messages()) == 1
        assert caplog.text.count("health.held") == 1
        cog: Any = world.env.bot.get_cog("PlexLink")
        assert (await cog.token_for(7, purpose="p")).outcome == "granted"

        world.plex.heal()
        world.plex.revoke("token-of-member-00007")
        await pass_hours(world, 4)
        assert verdicts(world) == {"alive": WAVE_HOURS * CHECKED_AN_HOUR - 1, "dead": 1}
        assert not any(row["is_held"] for row in world.rows("links"))
        assert [row["user_id"] for row in world.rows("links") if row["told_at"]] == [7]


async def test_a_link_that_cannot_be_read_disturbs_nobody_else(world: World) -> None:
    await many(world, 3)
    spoil(world, "token_envelope = 'plk1:nonsense' WHERE user_id = 1")
    spoil(world, "token_envelope = 'plk1:other:AAAA' WHERE user_id = 2")
    await check_all(world)
    assert verdicts(world) == {"alive": 3}
    checked = {row["user_id"]: row["finding"] for row in world.rows("links")}
    assert checked[world.alice.id] == "alive"


def confirm_dead(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PLEXLINK_DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "plexlink_bot", "confirm-dead"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own


async def test_the_operator_can_confirm_that_a_wave_is_real(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await many(world, 20)
        for operation in (Operation.PING, Operation.USER):
            world.plex.fail(REFUSED, calls=operation, times=None)
        await check_all(world)
        await pass_hours(world, 2)
        assert not world.rows("notices")
        confirmed = await asyncio.to_thread(confirm_dead, tmp_path)
        assert confirmed.stdout == "20 refusals are believed now.\n", confirmed.stderr
        await world.advance(301)
        assert len(world.messages()) == 2
        assert len([row for row in world.rows("links") if row["told_at"]]) == 20
        assert sum(row["deed"] == "believed" for row in world.rows("audit")) == 20


async def test_the_operators_word_holds_for_those_who_are_refused_after_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await many(world, 30)
        for operation in (Operation.PING, Operation.USER):
            world.plex.fail(REFUSED, calls=operation, times=None)
        await check_all(world, "user_id < 20")
        await asyncio.to_thread(confirm_dead, tmp_path)
        await check_all(world)
        assert not any(row["is_held"] for row in world.rows("links"))
        await world.advance(301)
        assert all(row["told_at"] for row in world.rows("links"))


async def test_checks_without_an_answer_do_not_hide_a_wave(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await many(world, 60)
        world.plex.fail(ServerError(503), times=None)
        await check_all(world, "user_id >= 12")
        world.plex.heal()
        for operation in (Operation.PING, Operation.USER):
            world.plex.fail(REFUSED, calls=operation, times=None)
        await check_all(world, "user_id < 12")
        assert {row["user_id"] for row in world.rows("links") if row["is_held"]} >= set(range(1, 12))


async def test_who_was_refused_before_a_wave_is_not_told_during_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await many(world, 30)
        for operation in (Operation.PING, Operation.USER):
            world.plex.fail(REFUSED, calls=operation, times=None)
        await check_all(world, "user_id = 1")
        await world.advance(2700)
        await check_all(world, "user_id BETWEEN 2 AND 21")
        assert {row["user_id"] for row in world.rows("links") if row["is_held"]} >= set(range(1, 22))
        await pass_hours(world, 2)
        assert not [row for row in world.rows("links") if row["told_at"]]


def test_there_is_nothing_to_confirm_before_the_first_start(tmp_path: Path) -> None:
    done = confirm_dead(tmp_path)
    assert done.returncode == 78
    assert done.stderr == f"plexlink: There is no database {tmp_path / 'plexlink.sqlite3'} yet; start the bot first.\n"
