"""A code that its member gave up may be approved all the same: its token is found and signed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from accounts import account_of
from harness import a_world
from plexlink.errors import StoreUnavailableError
from plexlink.store import Database, migrations
from plexlink.work.given_up import GivenUpCodes
from plexlink_bot.sandbox.plex_tv import JsonError, Operation, RateLimited, ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World

LONGER_THAN_A_CODE = 905


def sign_outs(world: World) -> int:
    return sum(call.operation == Operation.SIGN_OUT for call in world.plex.requests)


@pytest.mark.parametrize("label", ["Cancel", "New code"])
@pytest.mark.parametrize("approved", ["before the press", "after the press"])
async def test_approval_of_a_given_up_code_is_signed_out(world: World, label: str, approved: str) -> None:
    await world.plexlink()
    token = world.approve() if approved == "before the press" else ""
    await world.press(label)
    token = token or world.approve(number=0)
    assert world.plex.is_alive(token)
    await world.advance(LONGER_THAN_A_CODE)
    assert not world.plex.is_alive(token)
    assert world.rows("leftovers") == world.rows("sign_outs") == world.rows("links") == []


async def test_a_given_up_code_that_nobody_approves_costs_three_questions(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    asked = world.asked()
    (row,) = world.rows("leftovers")
    assert row["pin_id_envelope"].startswith("plk1:")
    assert world.rows("attempts")[0]["pin_id_envelope"] is None
    await world.advance(LONGER_THAN_A_CODE)
    assert world.asked() == asked + 3
    assert world.rows("leftovers") == []
    assert sign_outs(world) == 0


async def test_a_given_up_code_that_is_approved_at_once_is_found_within_minutes_and_not_only_at_its_end(
    world: World,
) -> None:
    await world.plexlink()
    await world.press("Cancel")
    token = world.approve()
    await world.advance(120)
    assert not world.plex.is_alive(token)
    assert world.rows("leftovers") == world.rows("sign_outs") == []


async def test_a_token_of_a_given_up_code_that_could_not_be_kept_is_kept_when_the_bot_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.plexlink()
    await world.press("Cancel")
    token = world.approve()
    world.plex.token_reads = 1
    with monkeypatch.context() as patch:
        patch.setattr(GivenUpCodes, "_finish", cannot)
        await world.advance(70)
        assert world.plex.is_alive(token)
    await world.stop()
    assert len(world.rows("sign_outs")) == 1
    await world.start()
    await world.advance(10)
    assert not world.plex.is_alive(token)


async def test_who_begins_to_work_looks_at_given_up_codes_soon_however_short_the_work_before_it_was(
    world: World,
) -> None:
    await world.plexlink()
    await world.press("Cancel")
    token = world.approve()
    await world.advance(30)
    await world.stop()
    await world.start()
    await world.advance(30)
    assert not world.plex.is_alive(token)


async def cannot(*_: object) -> None:
    raise StoreUnavailableError("The database is away.")


async def test_a_given_up_code_that_is_approved_in_its_last_seconds_is_found(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    await world.advance(885)
    token = world.approve()
    await world.advance(20)
    assert not world.plex.is_alive(token)
    assert world.rows("leftovers") == world.rows("sign_outs") == []


async def test_of_a_dozen_given_up_codes_that_end_together_each_is_asked_about_in_its_last_seconds(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path, plex_rate=1.0) as world:
        members = [world.join(f"member{number}") for number in range(12)]
        for member in members:
            await world.plexlink(member)
        await world.advance(15)
        ends_at = min(pin.expires_at for pin in world.plex.pins.values())
        for member in members:
            await world.press("Cancel", member)
        await world.advance((ends_at - world.env.now()).total_seconds() - 9)
        tokens = [world.approve(account_of(f"member{number}"), number=number) for number in range(12)]
        await world.advance(60)
        assert {world.plex.is_alive(token) for token in tokens} == {False}
        assert world.rows("leftovers") == world.rows("sign_outs") == []


async def test_an_attempt_without_a_code_leaves_nothing(world: World) -> None:
    world.plex.fail(ServerError(503), calls=Operation.CREATE_PIN, times=None)
    result = await world.plexlink()
    await world.alice.click(result.response, label="Cancel")
    assert [row["state"] for row in world.rows("attempts")] == ["cancelled"]
    assert world.rows("leftovers") == []


async def test_a_given_up_code_is_asked_about_after_a_restart(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    await world.stop()
    token = world.approve()
    await world.start()
    await world.advance(LONGER_THAN_A_CODE)
    assert not world.plex.is_alive(token)
    assert world.rows("leftovers") == []


async def test_silence_of_plex_is_outlasted(world: World) -> None:
    await world.plexlink()
    token = world.approve()
    await world.press("Cancel")
    await world.advance(800)
    world.plex.fail(ServerError(503), calls=Operation.GET_PIN, times=1)
    world.plex.fail(RateLimited(), calls=Operation.GET_PIN, times=1)
    await world.advance(LONGER_THAN_A_CODE - 800)
    assert not world.plex.is_alive(token)


async def test_a_given_up_code_is_not_kept_for_ever(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    world.plex.fail(ServerError(503), calls=Operation.GET_PIN, times=None)
    for _ in range(10):
        await world.advance(500)
    assert world.rows("leftovers") == []


@pytest.mark.parametrize("said", [JsonError(401, 1001), JsonError(422, 7), JsonError(404, 1020)], ids=repr)
async def test_whatever_is_said_before_its_end_a_code_is_looked_at_again(world: World, said: JsonError) -> None:
    await world.plexlink()
    await world.press("Cancel")
    world.plex.fail(said, calls=Operation.GET_PIN, times=1)
    await world.advance(120)
    token = world.approve()
    await world.advance(LONGER_THAN_A_CODE - 120)
    assert not world.plex.is_alive(token)


async def test_a_refusal_of_plex_costs_three_questions(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    world.plex.fail(JsonError(401, 1001), calls=Operation.GET_PIN, times=None)
    asked = world.asked()
    await world.advance(LONGER_THAN_A_CODE)
    assert world.asked() == asked + 3
    assert world.rows("leftovers") == []


@pytest.mark.parametrize("end", ["refused", "gone", "unreadable"])
async def test_a_code_that_ends_before_its_time_is_looked_after_as_one_that_is_given_up(world: World, end: str) -> None:
    await world.plexlink()
    if end == "unreadable":
        await world.stop()
        world.write("UPDATE plexlink_attempts SET user_code_envelope = pin_id_envelope")
        await world.start()
    else:
        said = JsonError(422, 7) if end == "refused" else JsonError(404, 1020)
        world.plex.fail(said, calls=Operation.GET_PIN, times=None)
        await world.advance(120)
        world.plex.heal()
    await world.advance(10)
    assert world.rows("attempts")[0]["ended_at"]
    token = world.approve()
    await world.advance(LONGER_THAN_A_CODE)
    assert not world.plex.is_alive(token)
    assert world.rows("leftovers") == world.rows("sign_outs") == []


@pytest.mark.parametrize("label", ["Cancel", "New code"])
async def test_a_code_that_is_given_up_late_is_asked_about_in_time(world: World, label: str) -> None:
    await world.plexlink()
    await world.advance(700)
    await world.press(label)
    token = world.approve(number=0)
    await world.advance(LONGER_THAN_A_CODE - 700)
    assert not world.plex.is_alive(token)


async def test_plex_tells_how_long_a_code_lives_where_the_clock_is_wrong(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    await world.stop()
    world.write("UPDATE plexlink_leftovers SET deadline_at = '2025-01-01T00:00:00+00:00'")
    await world.start()
    await world.advance(60)
    token = world.approve()
    await world.advance(LONGER_THAN_A_CODE - 60)
    assert not world.plex.is_alive(token)


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ("plk1:", "plk1:elsewhere:", 1),  # its key may come back
        ("plk1:", "nonsense", 0),
    ],
)
async def test_a_row_that_cannot_be_read_asks_nothing(world: World, old: str, new: str, left: int) -> None:
    await world.plexlink()
    await world.press("Cancel")
    (primary,) = (row["value"] for row in world.rows("keys") if row["name"] == "primary")
    world.write(
        "UPDATE plexlink_leftovers SET pin_id_envelope = replace(pin_id_envelope, ?, ?)", f"{old}{primary}:", new
    )
    asked = world.asked()
    await world.advance(LONGER_THAN_A_CODE)
    assert world.asked() == asked
    assert len(world.rows("leftovers")) == left


async def test_a_token_of_a_given_up_code_is_kept_while_the_database_cannot_take_it(world: World) -> None:
    world.plex.token_reads = 1
    await world.plexlink()
    token = world.approve()
    await world.press("Cancel")
    world.write("ALTER TABLE plexlink_sign_outs RENAME TO elsewhere")
    await world.advance(LONGER_THAN_A_CODE)
    world.write("ALTER TABLE elsewhere RENAME TO plexlink_sign_outs")
    assert world.plex.is_alive(token)
    await world.advance(60)
    assert not world.plex.is_alive(token)


async def test_the_first_release_s_database_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plexlink.sqlite3"
    with monkeypatch.context() as before:
        before.setattr(migrations, "HEAD", "0001")
        async with Database.open(f"sqlite:///{path}"):
            pass
    async with a_world(tmp_path) as world:
        await world.plexlink()
        await world.press("Cancel")
        assert len(world.rows("leftovers")) == 1
