"""A Plex account belongs to one member; who proves that it is theirs can move it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import Card
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, ServerError

if TYPE_CHECKING:
    from typing import Any

    from harness import World


async def contested(world: World) -> tuple[Any, str, str]:
    """Alice has linked the account, and Bob has approved with it; return Bob and both tokens."""
    await world.plexlink()
    first = world.approve(ALICE)
    await world.advance(6)
    bob = world.join("bob")
    await world.plexlink(bob)
    second = world.approve(ALICE)
    await world.advance(6)
    return bob, first, second


def owners(world: World) -> list[int]:
    return [row["user_id"] for row in world.rows("links")]


async def test_the_second_member_is_asked_and_nothing_has_changed(world: World) -> None:
    bob, first, second = await contested(world)
    card = world.card(bob)
    assert "Another member here has linked this Plex account" in card.text
    assert list(card.buttons) == ["Move it here", "Leave it there"]
    assert "alice" not in card.text.replace("Plex account", "")
    assert owners(world) == [world.alice.id]
    assert world.plex.is_alive(first)
    assert world.plex.is_alive(second)


async def test_a_moved_account_leaves_the_first_member_who_is_told(world: World) -> None:
    bob, first, second = await contested(world)
    await world.press("Move it here", bob)
    await world.advance(6)
    assert "Linked as alice" in world.card(bob).text
    assert owners(world) == [bob.id]
    assert await world.stored_token(bob) == second
    assert not world.plex.is_alive(first)
    old, news = (Card(message) for message in world.messages())
    assert "Moved" in old.text
    assert "moved it to themselves" in news.text
    assert "bob" not in news.text
    assert list(news.buttons) == ["Link again"]
    assert [row["deed"] for row in world.rows("audit")] == ["linked", "moved", "linked"]


async def test_the_first_member_can_take_it_back_by_linking_again(world: World) -> None:
    bob, _, second = await contested(world)
    await world.press("Move it here", bob)
    await world.advance(6)
    await world.press("Link again")
    third = world.approve(ALICE)
    await world.advance(6)
    await world.press("Move it here")
    await world.advance(6)
    assert owners(world) == [world.alice.id]
    assert await world.stored_token() == third
    assert not world.plex.is_alive(second)


async def test_an_account_that_is_left_is_signed_out_for_the_second_member(world: World) -> None:
    bob, first, second = await contested(world)
    await world.press("Leave it there", bob)
    await world.advance(3)
    card = world.card(bob)
    assert "Left where it is" in card.text
    assert list(card.buttons) == ["Try again"]
    assert world.plex.is_alive(first)
    assert not world.plex.is_alive(second)
    assert owners(world) == [world.alice.id]


async def test_a_member_who_does_not_decide_has_left_it(world: World) -> None:
    bob, first, second = await contested(world)
    await world.advance(590)
    assert "Move it here" in world.card(bob).buttons
    await world.advance(20)
    assert "Left where it is" in world.card(bob).text
    assert world.plex.is_alive(first)
    assert not world.plex.is_alive(second)


async def test_a_restart_keeps_the_question_and_its_time(world: World) -> None:
    bob, _, second = await contested(world)
    await world.restart()
    assert "Move it here" in world.card(bob).buttons
    await world.press("Move it here", bob)
    await world.advance(6)
    assert await world.stored_token(bob) == second


async def test_a_restart_during_the_move_finishes_it(world: World) -> None:
    bob, first, second = await contested(world)
    world.plex.fail(ServerError(503), times=None)
    await world.press("Move it here", bob)
    assert owners(world) == [world.alice.id]
    await world.stop()
    world.plex.heal()
    await world.start()
    await world.advance(60)
    assert await world.stored_token(bob) == second
    assert not world.plex.is_alive(first)


async def test_an_account_whose_holder_went_meanwhile_is_simply_linked(world: World) -> None:
    bob, _, second = await contested(world)
    await world.press("Not me: undo")
    await world.press("Move it here", bob)
    await world.advance(6)
    assert await world.stored_token(bob) == second
    assert len(world.messages()) == 1, "nobody was robbed, nobody is told"


async def test_a_dead_sign_in_of_the_first_member_holds_no_account(world: World) -> None:
    await world.link()
    world.plex.revoke(await world.stored_token())
    bob = world.join("bob")
    await world.plexlink(bob)
    second = world.approve(ALICE)
    await world.advance(6)
    assert list(world.card(bob).buttons) == ["Move it here", "Leave it there"], "one refusal proves nothing"
    await world.advance(310)
    assert "Linked as alice" in world.card(bob).text
    assert await world.stored_token(bob) == second
    assert "moved it to themselves" in Card(world.messages()[-1]).text
    assert [row["deed"] for row in world.rows("audit")] == ["linked", "moved", "linked"]


async def test_a_sign_in_that_is_known_to_be_dead_is_not_asked_about_again(world: World) -> None:
    await world.link()
    world.write("UPDATE plexlink_links SET verdict = 'dead', rejected_at = linked_at, next_check_at = NULL")
    bob = world.join("bob")
    await world.link(bob)
    assert "Linked as alice" in world.card(bob).text
    assert owners(world) == [bob.id]


async def test_a_first_member_whose_sign_in_lives_keeps_the_account(world: World) -> None:
    bob, first, _ = await contested(world)
    await world.advance(500)
    assert "Move it here" in world.card(bob).buttons
    assert owners(world) == [world.alice.id]
    assert await world.stored_token() == first


async def test_another_links_death_moves_nobodys_deadline_more_than_once(world: World) -> None:
    carol = world.join("carol")
    await world.link(carol, BOB)
    world.plex.revoke(await world.stored_token(carol))
    bob, *_ = await contested(world)
    world.write(
        "UPDATE plexlink_links SET verdict = 'dead', rejected_at = linked_at, next_check_at = linked_at"
        " WHERE user_id = ?",
        carol.id,
    )
    before = [row["deadline_at"] for row in world.rows("attempts") if row["user_id"] == bob.id]
    await world.advance(320)
    assert [row["deadline_at"] for row in world.rows("attempts") if row["user_id"] == bob.id] == before
    assert "Move it here" in world.card(bob).buttons


async def test_a_token_whose_key_is_missing_is_not_lost_over_a_dead_rival(world: World) -> None:
    bob, first, second = await contested(world)
    change = "UPDATE plexlink_attempts SET token_envelope = replace(token_envelope, ?, ?)"
    world.write(change, "plk1:", "plk1:gone-")
    world.plex.revoke(first)
    world.write("UPDATE plexlink_links SET next_check_at = linked_at, rejected_at = '2020-01-01T00:00:00+00:00'")
    await world.advance(320)
    world.write(change, "plk1:gone-", "plk1:")
    await world.restart()
    await world.press("Move it here", bob)
    await world.advance(6)
    assert await world.stored_token(bob) == second


async def test_a_first_member_who_links_again_is_not_told_any_more_that_the_account_is_gone(world: World) -> None:
    bob, *_ = await contested(world)
    world.close_dms()
    await world.press("Move it here", bob)
    await world.advance(6)
    assert [row["topic"] for row in world.rows("notices")] == ["link_moved"]
    world.open_dms()
    await world.link(account=BOB)
    assert not world.rows("notices")


@pytest.mark.parametrize("whose", ["the first member's", "their own"])
async def test_what_would_replace_a_link_whose_key_is_missing_is_signed_out(world: World, whose: str) -> None:
    if whose == "their own":
        await world.link()
        status = (await world.alice.slash(world.channel, "plexstatus")).response
        await world.alice.click(status, label="Link another account")
        second, member = world.approve(BOB), world.alice
    else:
        member, _, second = await contested(world)
    world.write("UPDATE plexlink_links SET token_envelope = 'plk1:other:AAAA'")
    if whose != "their own":
        await world.press("Move it here", member)
    await world.advance(10)
    assert "only the bot's host can mend" in Card(world.messages(member)[-1]).text
    assert not world.plex.is_alive(second)
    assert owners(world) == [world.alice.id]


async def test_a_token_that_can_be_read_no_more_is_told_to_be_alive_at_plex(world: World) -> None:
    first = await world.link()
    world.write("UPDATE plexlink_links SET token_envelope = 'plk1:nonsense'")
    await world.plexlink()
    second = world.approve()
    await world.advance(6)
    assert await world.stored_token() == second
    assert world.plex.is_alive(first)
    assert "I could not sign out at Plex" in Card(world.messages()[-1]).text
