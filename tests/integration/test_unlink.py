"""/plexunlink: asked once, erased at once, signed out at Plex, checked, and told step by step."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harness import Card, a_world
from plex_tv_client import connected
from plexlink_bot.sandbox.plex_tv import ALICE, AfterStoring, Empty, JsonError, Operation, Reset, ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World


async def question(world: World) -> Any:
    return (await world.alice.slash(world.channel, "plexunlink")).response


async def unlink(world: World) -> Any:
    """Return the answer that tells how it goes."""
    return (await world.alice.click(await question(world), label="Unlink")).response


def shown(world: World, response: Any) -> str:
    """What the ephemeral answer says by now."""
    stored = world.env.backend.messages[response.channel_id]
    return Card(stored[response.id] if isinstance(stored, dict) else response).text


def called(world: World, operation: Operation) -> int:
    return sum(call.operation == operation for call in world.plex.requests)


async def test_nothing_happens_before_the_question_is_answered(world: World) -> None:
    token = await world.link()
    response = await question(world)
    assert list(Card(response).buttons) == ["Unlink", "Keep it"]
    kept = await world.alice.click(response, label="Keep it")
    assert "Linked as alice" in Card(kept.response).text
    assert world.plex.is_alive(token)
    assert world.rows("links")


async def test_who_has_no_link_is_told_so(world: World) -> None:
    assert "Not linked" in Card(await question(world)).text


async def test_every_step_is_done_checked_and_told(world: World) -> None:
    token = await world.link()
    response = await unlink(world)
    await world.advance(1)
    text = shown(world, response)
    assert "Link erased here ✓" in text
    assert "Token erased here ✓" in text
    assert "Signed out at Plex ✓" in text
    assert "no longer accepts the token ✓" in text
    assert not world.plex.is_alive(token)
    assert called(world, Operation.USER) == 2, "once for linking, once to check"
    assert not any(world.rows(table) for table in ("links", "sign_outs", "notices"))
    assert "Unlinked" in world.card().text, "the old card says so too"


async def test_a_sign_out_that_plex_refuses_removes_exactly_our_device(world: World) -> None:
    token = await world.link()
    async with connected(world.plex) as client:  # another program of the same account
        other = world.plex.approve(await client.new_code(), ALICE)
    world.plex.fail(JsonError(403, 1041), calls=Operation.SIGN_OUT, times=None)
    response = await unlink(world)
    await world.advance(2)
    assert "Removed this bot from your devices at Plex ✓" in shown(world, response)
    assert not world.plex.is_alive(token)
    assert world.plex.is_alive(other)


async def test_a_sign_out_that_changes_nothing_is_noticed(world: World) -> None:
    """A 204 that did not sign out: the check finds the token alive, and the device is removed."""
    token = await world.link()
    world.plex.fail(Empty(204), calls=Operation.SIGN_OUT, times=None)
    response = await unlink(world)
    await world.advance(2)
    assert "Removed this bot from your devices" in shown(world, response)
    assert not world.plex.is_alive(token)


async def test_an_answer_that_was_lost_is_understood_at_the_next_try(world: World) -> None:
    token = await world.link()
    world.plex.fail(AfterStoring(Reset()), calls=Operation.SIGN_OUT, times=2)
    response = await unlink(world)
    await world.advance(40)
    assert not world.plex.is_alive(token)
    assert "does not know our sign-in any more ✓" in shown(world, response)


async def test_one_refusal_of_the_token_is_not_believed(world: World) -> None:
    token = await world.link()
    world.plex.fail(JsonError(401, 1001), calls=Operation.SIGN_OUT)
    response = await unlink(world)
    await world.advance(2)
    assert "Removed this bot from your devices" in shown(world, response)
    assert not world.plex.is_alive(token)


async def test_what_is_signed_out_but_cannot_be_checked_is_told_as_that(world: World) -> None:
    token = await world.link()
    world.plex.fail(ServerError(503), calls=Operation.USER, times=None)
    response = await unlink(world)
    await world.advance(1)
    text = shown(world, response)
    assert "Signed out at Plex ✓" in text
    assert "does not tell yet" in text
    assert "Token erased" not in text
    assert not world.plex.is_alive(token)
    assert world.rows("sign_outs")
    world.plex.heal()
    await world.advance(60)
    assert "no longer accepts the token ✓\nToken erased here ✓" in shown(world, response)
    assert "Signed out at Plex ✓" in Card(world.messages()[-1]).text, "as was promised"


async def test_a_token_whose_key_is_missing_is_erased_after_a_day_too(world: World) -> None:
    await world.link()
    world.plex.fail(ServerError(503), times=None)
    await unlink(world)
    world.write("UPDATE plexlink_sign_outs SET token_envelope = 'plk1:other:AAAA'")
    await world.advance(3600)
    assert world.rows("sign_outs")
    for _ in range(24):
        await world.advance(3600)
    assert not any(world.rows(table) for table in ("sign_outs", "notices"))
    assert "I could not sign out at Plex" in Card(world.messages()[-1]).text


async def test_while_plex_is_down_the_member_is_told_and_hears_how_it_ended(world: World) -> None:
    token = await world.link()
    world.plex.fail(ServerError(503), times=None)
    response = await unlink(world)
    text = shown(world, response)
    assert "You are not signed out at Plex yet" in text
    assert "24 hours" in text
    assert "settings/devices" in text
    (row,) = world.rows("sign_outs")
    assert row["token_envelope"].startswith("plk1:")
    await world.restart()
    await world.advance(3600)
    world.plex.heal()
    await world.advance(3600)
    assert not world.plex.is_alive(token)
    news = Card(world.messages()[-1])
    assert "Signed out at Plex ✓" in news.text
    assert len(world.messages()) == 2
    assert not any(world.rows(table) for table in ("links", "sign_outs", "notices"))


async def test_after_a_day_it_is_erased_and_told(world: World) -> None:
    await world.link()
    world.plex.fail(ServerError(503), times=None)
    await unlink(world)
    for _ in range(26):
        await world.advance(3600)
    assert not any(world.rows(table) for table in ("sign_outs", "notices"))
    assert "I could not sign out at Plex" in Card(world.messages()[-1]).text
    assert len(world.messages()) == 2


async def test_where_messages_are_closed_the_end_is_told_with_the_next_answer(world: World) -> None:
    await world.link()
    world.plex.fail(ServerError(503), times=None)
    await unlink(world)
    world.plex.heal()
    world.close_dms()
    await world.advance(60)
    (row,) = world.rows("notices")
    assert row["is_held"]
    status = Card((await world.alice.slash(world.channel, "plexstatus")).response)
    assert status.text.index("Signed out at Plex ✓") < status.text.index("Not linked")
    assert not world.rows("notices")
    again = Card((await world.alice.slash(world.channel, "plexstatus")).response)
    assert "Signed out" not in again.text


async def test_an_end_that_could_not_be_shown_is_shown_after_a_restart(world: World) -> None:
    token = await world.link()
    response = await question(world)
    world.env.inject_error("PATCH", "/webhooks/*", status=500, times=None)
    await world.alice.click(response, label="Unlink")
    await world.stop()
    assert not world.plex.is_alive(token)
    assert "Unlink your Plex account?" in shown(world, response)
    world.open_dms()
    await world.start()
    await world.advance(5)
    assert "Signed out at Plex ✓" in shown(world, response)
    assert not world.rows("notices")


async def test_undo_takes_the_same_way_on_its_own_card(world: World) -> None:
    token = await world.link()
    await world.press("Not me: undo")
    await world.advance(1)
    card = world.card()
    assert "Undone" in card.text
    assert "Signed out at Plex ✓" in card.text
    assert not world.plex.is_alive(token)
    assert world.rows("links") == world.rows("sign_outs") == []
    await world.press("Link again")
    assert "Your code:" in world.card().text


async def test_undo_where_messages_are_closed_is_told_in_the_answer(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.close_dms()
        result = await world.plexlink()
        world.approve()
        await world.advance(6)
        result = await world.alice.click(result.response, label="Not me: undo")
        await world.advance(1)
        assert "Signed out at Plex ✓" in shown(world, result.response)


async def test_a_new_link_is_active_before_the_old_one_is_signed_out(world: World) -> None:
    old = await world.link()
    world.plex.fail(ServerError(503), calls=Operation.SIGN_OUT, times=None)
    world.plex.fail(ServerError(503), calls=Operation.DEVICES, times=None)
    response = (await world.alice.slash(world.channel, "plexstatus")).response
    await world.alice.click(response, label="Link another account")
    new = world.approve()
    await world.advance(6)
    assert await world.stored_token() == new
    assert world.plex.is_alive(old)
    await world.stop()
    world.plex.heal()
    await world.start()
    await world.advance(60)
    assert not world.plex.is_alive(old)
    assert world.plex.is_alive(new)


async def test_the_audit_tells_who_did_what_and_holds_no_secret(world: World) -> None:
    token = await world.link()
    await unlink(world)
    rows = world.rows("audit")
    assert [(row["deed"], row["actor_id"], row["user_id"]) for row in rows] == [
        ("linked", world.alice.id, world.alice.id),
        ("unlinked", world.alice.id, world.alice.id),
    ]
    assert token not in str(rows)


async def test_the_audit_is_pruned(tmp_path: Path) -> None:
    async with a_world(tmp_path, audit_days=1) as world:
        await world.link()
        for hours, left in ((23, 1), (25, 0)):
            at = (world.env.now() - timedelta(hours=hours)).isoformat(timespec="microseconds")
            world.write("UPDATE plexlink_audit SET at = ?", at)
            await world.advance(301)
            assert len(world.rows("audit")) == left


async def test_the_card_of_an_unlinking_is_true_soon_after_an_outage_of_discord(world: World) -> None:
    await world.link()
    question = await world.alice.slash(world.channel, "plexunlink")
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=None)
    await world.alice.click(question.response, label="Unlink")
    await world.advance(260)
    world.env.backend.faults.clear()
    await world.advance(35)
    assert "Signed out at Plex ✓" in Card(question.response).text


async def test_a_card_that_discord_never_takes_is_given_up_and_told_by_message(world: World) -> None:
    await world.link()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=403, code=50005, times=None)
    await world.press("Not me: undo")
    await world.advance(1500)
    assert not world.rows("notices")
    assert "Signed out at Plex ✓" in Card(world.messages()[-1]).text


@pytest.mark.parametrize("label", ["Not me: undo", "New code"])
async def test_a_command_whose_answer_was_late_is_answered_though_its_card_is_another_by_then(
    world: World, label: str
) -> None:
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=None)
    command = await world.plexlink()
    if label == "Not me: undo":
        world.approve()
        await world.advance(4)
    await world.press(label)
    world.env.backend.faults.clear()
    await world.advance(60)
    assert Card(command.response).text


async def test_an_answer_that_comes_late_is_not_put_over_a_newer_one(world: World) -> None:
    await world.link()
    question = await world.alice.slash(world.channel, "plexunlink")
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=None)
    await world.alice.click(question.response, label="Keep it")
    world.env.backend.faults.clear()
    await world.alice.click(question.response, label="Unlink")
    await world.advance(60)
    assert "Signed out at Plex ✓" in Card(question.response).text
