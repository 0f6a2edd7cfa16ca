"""A member who can write the database, but has no key, gets nothing of another member's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Card

if TYPE_CHECKING:
    from typing import Any

    from harness import World


def row_of(world: World, member: Any) -> dict[str, Any]:
    """Return the row of a member's newest attempt."""
    return [row for row in world.rows("attempts") if row["user_id"] == member.id][-1]


def seen_by(world: World, member: Any) -> str:
    return "\n".join(Card(message).text for message in world.messages(member))


async def test_a_code_does_not_follow_its_row_to_another_members_message(world: World) -> None:
    bob = world.join("bob")
    await world.plexlink()
    code = world.pin().code
    await world.plexlink(bob)
    bobs = row_of(world, bob)
    world.write(
        "UPDATE plexlink_attempts SET channel_id = ?, message_id = ? WHERE user_id = ?",
        bobs["channel_id"],
        bobs["message_id"],
        world.alice.id,
    )
    await world.press("I've approved it")
    await world.restart()
    await world.advance(60)
    assert code not in seen_by(world, bob)
    assert "Your code" in seen_by(world, bob), "his own"


async def test_a_link_does_not_answer_to_another_members_attempt(world: World) -> None:
    token = await world.link()
    bob = world.join("bob")
    await world.plexlink(bob)
    await world.press("Cancel", bob)
    own = row_of(world, bob)["id"]
    world.write("UPDATE plexlink_links SET attempt_id = ?", own)
    world.write("UPDATE plexlink_attempts SET state = 'linked', shown_state = NULL WHERE id = ?", own)
    await world.restart()
    await world.advance(60)
    assert "alice" not in seen_by(world, bob)
    assert world.plex.is_alive(token)
    grant = await world.env.bot.get_cog("PlexLink").token_for(bob.id, purpose="theft")
    assert grant.token is None
    assert "can no longer read" in Card((await world.alice.slash(world.channel, "plexstatus")).response).text
