from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import discord
import pytest

from harness import Card, a_world
from plexlink.errors import StoreUnavailableError
from plexlink.ledger import Ledger
from plexlink.links import Links
from plexlink_bot.sandbox.plex_tv import BOB, JsonError, Operation, ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World
    from plexlink_bot.sandbox.plex_tv import Fault


@pytest.mark.parametrize("call", [Operation.CREATE_PIN, Operation.GET_PIN])
@pytest.mark.parametrize("fault", [JsonError(400, 1000), JsonError(401, 1001), JsonError(422, 7)], ids=repr)
async def test_a_refusal_counts_when_plex_repeats_it_for_a_minute(world: World, call: Operation, fault: Fault) -> None:
    world.plex.fail(fault, calls=call, times=1)
    await world.plexlink()
    await world.advance(10)
    assert f"`{world.pin().code}`" in world.card().text
    world.plex.fail(fault, calls=call, times=None)
    if call is Operation.CREATE_PIN:
        await world.press("New code")
    await world.advance(50)
    assert "Plex said no" not in world.card().text
    await world.advance(50)
    assert "Plex said no" in world.card().text
    assert list(world.card().buttons) == ["Try again"]


async def test_two_refusals_with_silence_between_them_are_not_a_refusal_for_a_minute(world: World) -> None:
    await world.plexlink()
    for fault, seconds in ((JsonError(422, 7), 5), (ServerError(503), 70), (JsonError(422, 7), 5)):
        world.plex.heal()
        world.plex.fail(fault, calls=Operation.GET_PIN, times=None)
        await world.advance(seconds)
        await world.press("I've approved it")
    world.plex.heal()
    world.approve()
    await world.advance(40)
    assert "Linked as alice" in world.card().text


@pytest.mark.parametrize("gone", [JsonError(404, 1020), JsonError(410, 0)], ids=repr)
async def test_a_code_that_plex_does_not_know_before_its_time_ends_when_plex_says_so_twice(
    world: World, gone: Fault
) -> None:
    await world.plexlink()
    world.plex.fail(gone, calls=Operation.GET_PIN, times=1)
    await world.advance(30)
    assert f"`{world.pin().code}`" in world.card().text
    world.plex.fail(gone, calls=Operation.GET_PIN, times=2)
    await world.advance(12)
    assert "The code ran out" in world.card().text


async def test_an_outage_over_the_deadline_is_told_and_the_approval_still_found(world: World) -> None:
    await world.plexlink()
    await world.advance(800)
    world.plex.fail(ServerError(503), calls=Operation.GET_PIN, times=None)
    await world.advance(200)
    card = world.card()
    assert "I cannot tell yet whether you approved it" in card.text
    assert list(card.buttons) == ["New code"]
    world.plex.heal()
    await world.advance(34)
    assert "Nothing was stored" in world.card().text


async def test_an_outage_of_more_than_an_hour_ends_the_attempt(world: World) -> None:
    await world.plexlink()
    world.plex.fail(ServerError(503), calls=Operation.GET_PIN, times=None)
    for _ in range(160):
        await world.advance(30)
    assert [row["state"] for row in world.rows("attempts")] == ["expired"]


def lose_answers(world: World, state: str, *, times: int = 1) -> list[str]:
    """Let what leads to a state be kept, and the bot hear that it failed; return a list that grows each time."""
    lost: list[str] = []

    def lose() -> None:
        rows = world.rows("attempts")
        if len(lost) < times and rows and rows[0]["state"] == state:
            lost.append(state)
            raise OSError(errno.ENOSPC, "No space left on device")

    desk: Any = world.env.bot.get_cog("PlexLink")._desk
    desk.links._ledger._store._database.watch(lose)
    return lost


@pytest.mark.parametrize("state", ["approved", "linked"])
async def test_a_token_whose_commit_nobody_heard_of_is_kept_and_linked(world: World, state: str) -> None:
    await world.plexlink()
    world.plex.fail(ServerError(503), calls=Operation.USER, times=2)  # so that "Approved" is out before the end
    token = world.approve()
    lost = lose_answers(world, state, times=2)
    await world.advance(60)
    assert len(lost) == 2
    assert "Linked as alice" in world.card().text
    assert await world.stored_token() == token
    assert world.plex.is_alive(token)
    assert not world.rows("sign_outs")


@pytest.mark.parametrize("end", ["expired", "cancelled"])
async def test_an_end_whose_commit_nobody_heard_of_is_shown_soon(world: World, end: str) -> None:
    await world.plexlink()
    lost = lose_answers(world, end)
    if end == "expired":
        world.plex.expire(world.pin().code)
    else:
        await world.press("Cancel")
    await world.advance(20)
    assert len(lost) == 1
    assert "Nothing was stored" in world.card().text
    await world.advance(20)
    asked = world.asked()
    await world.advance(30)
    assert world.asked() == asked


async def test_a_start_that_seemed_to_fail_gets_its_card_over_what_was_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.close_dms()
    lost = lose_answers(world, "requested")
    edit = discord.Interaction.edit_original_response

    async def edit_when_the_rows_were_looked_up(*args: Any, **kwargs: Any) -> object:
        await asyncio.sleep(8)
        return await edit(*args, **kwargs)

    monkeypatch.setattr(discord.Interaction, "edit_original_response", edit_when_the_rows_were_looked_up)
    result = await world.plexlink()
    await world.advance(30)
    assert len(lost) == 1
    assert f"`{world.pin().code}`" in Card(result.response).text


def fail(*_: object, **__: object) -> None:
    raise StoreUnavailableError("The database does not answer.")


async def test_who_is_told_that_nothing_can_be_saved_does_not_wait_for_the_database_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer takes its time to fail, and others are in line for it by then."""
    monkeypatch.setattr(Links, "held_for", lambda *_: asyncio.sleep(60))
    monkeypatch.setattr(Ledger, "change", fail)
    result = await world.plexlink()
    assert "I could not save that" in Card(result.response).text


async def test_what_seemed_to_fail_is_not_told_any_more_once_its_card_is_there(world: World) -> None:
    world.close_dms()
    lost = lose_answers(world, "requested")
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=6)
    result = await world.plexlink()
    await world.advance(8)
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in Card(result.response).text
    await world.advance(60)
    assert len(lost) == 1
    assert "Linked as alice" in Card(result.response).text


async def test_a_failed_start_is_told_by_message_where_its_answer_is_gone(world: World) -> None:
    world.plex.fail(ServerError(503), calls=Operation.CREATE_PIN, times=None)
    world.env.inject_error("PATCH", "/webhooks/*", status=404, code=10008, times=None)
    await world.plexlink()
    await world.advance(1000)
    assert "Plex does not answer" in world.card().text


async def test_an_end_is_told_once_though_its_answer_cannot_be_opened(world: World) -> None:
    world.plex.fail(ServerError(503), calls=Operation.CREATE_PIN, times=None)
    await world.plexlink()
    await world.stop()
    long_ago = "2025-01-01T00:00:00+00:00"
    world.write("UPDATE plexlink_attempts SET answer_token_envelope = 'nonsense', requested_at = ?", long_ago)
    await world.start()
    await world.advance(60)
    assert "Plex does not answer" in world.card().text


async def test_a_row_that_a_newer_release_wrote_is_its_members_trouble_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bob = world.join("bob")
    await world.plexlink()
    await world.plexlink(bob)
    await world.stop()
    world.write("UPDATE plexlink_attempts SET state = 'levitating' WHERE user_id = ?", world.alice.id)
    world.approve(BOB)
    await world.start()
    await world.advance(700)
    assert "Linked as bob" in world.card(bob).text
    assert "A newer version of this bot" in Card((await world.plexlink()).response).text
    assert caplog.text.count("store.newer_row") == 1


async def test_two_starts_of_one_member_at_the_same_moment_lead_to_one_code(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plexlink.store.attempts import AttemptRows  # noqa: PLC0415 - the classes that the loaded plugin uses

    await world.plexlink()
    looks, open_of = [], AttemptRows.open_of

    async def look_too_early(self: AttemptRows, user_id: int) -> object:
        looks.append(user_id)
        return None if len(looks) == 1 else await open_of(self, user_id)

    monkeypatch.setattr(AttemptRows, "open_of", look_too_early)
    second = await world.plexlink()
    assert "Go to the message" in Card(second.response).buttons
    assert len(world.plex.pins) == 1


async def test_a_broken_row_ends_its_own_attempt_and_nobody_elses(world: World) -> None:
    bob = world.join("bob")
    await world.plexlink()
    await world.plexlink(bob)
    await world.stop()
    world.write("UPDATE plexlink_attempts SET pin_id_envelope = user_code_envelope WHERE user_id = ?", world.alice.id)
    await world.start()
    world.approve()
    await world.advance(8)
    assert "I can no longer read" in world.card().text
    assert "Linked as alice" in world.card(bob).text


async def test_a_card_that_discord_refuses_for_minutes_is_brought_up_by_the_sweep(world: World) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=None)
    world.approve()
    await world.advance(240)
    world.open_dms()
    assert "ends <t:" in world.card().text
    await world.advance(70)
    assert "Linked as alice" in world.card().text


async def test_a_row_whose_key_is_missing_waits_for_its_key_and_disturbs_nobody(world: World) -> None:
    bob = world.join("bob")
    await world.plexlink()
    await world.plexlink(bob)
    await world.stop()
    (known,) = (row["value"] for row in world.rows("keys") if row["name"] == "primary")
    for column in ("client_identifier_envelope", "pin_id_envelope", "user_code_envelope"):
        world.write(
            f"UPDATE plexlink_attempts SET {column} = replace({column}, ?, 'plk1:elsewhere:') WHERE user_id = ?",  # noqa: S608 - constants
            *(f"plk1:{known}:", world.alice.id),
        )
    await world.start()
    world.approve()
    await world.advance(8)
    assert "Linked as alice" in world.card(bob).text
    assert "Your code" in world.card().text
    assert [row["state"] for row in world.rows("attempts")] == ["pending", "linked"]


async def test_a_row_whose_key_does_not_come_back_gives_its_place_to_others(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_pending=1) as world:
        await world.plexlink()
        await world.stop()
        world.write("UPDATE plexlink_attempts SET pin_id_envelope = replace(pin_id_envelope, 'plk1:', 'plk1:gone-')")
        await world.start()
        await world.advance(900 + 3300)
        assert world.rows("attempts")[0]["state"] == "pending"
        await world.advance(600)
        assert "I can no longer read" in world.card().text
        bob = world.join("bob")
        await world.plexlink(bob)
        assert f"`{world.pin().code}`" in world.card(bob).text


async def test_a_discord_that_refuses_cards_is_asked_less_and_less(world: World) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=None)
    world.plex.fail(ServerError(503), calls=Operation.USER, times=None)
    world.approve()
    before = len(world.env.http_requests)
    await world.advance(64)
    edits = [call for call in world.env.http_requests[before:] if call.method == "PATCH"]
    assert 4 <= len(edits) <= 7


@pytest.mark.parametrize(("status", "code", "tries"), [(503, 0, 3), (403, 0, 3), (403, 20026, 0)])
async def test_a_card_that_discord_never_takes_is_tried_by_the_sweep_alone_unless_discord_said_no(
    world: World, caplog: pytest.LogCaptureFixture, status: int, code: int, tries: int
) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=None)
    world.plex.fail(ServerError(503), calls=Operation.USER, times=None)
    world.approve()
    await world.advance(900)
    before = len(world.env.http_requests)
    asked = len(world.plex.requests)
    await world.advance(900)
    edits = [call for call in world.env.http_requests[before:] if call.method == "PATCH"]
    assert len(world.plex.requests) - asked > len(edits) == tries
    assert caplog.text.count("card.given_up") == 1
