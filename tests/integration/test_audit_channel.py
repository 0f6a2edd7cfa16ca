"""The audit's channel, through the real bot: in order, each line once, and never a flood."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import discord
import pytest

from harness import Card
from plexlink.audit import AuditEntry, AuditLine, Deed
from plexlink.surface import audit_lines
from servers import (
    audited_in,
    backdate,
    in_another_server,
    make_role,
    set_up,
    show_setup,
    write_lines,
    written_in,
)

if TYPE_CHECKING:
    from harness import World

HOUR = 3600
NUMBER = re.compile(r": (\d+) members")


def make_channel(world: World, name: str = "audit") -> Any:
    return world.guild.create_text_channel(name)


def posts(world: World, channel: Any) -> list[Any]:
    path = f"/channels/{channel.id}/messages"
    return [call for call in world.env.http_requests if call.method == "POST" and call.path == path]


def given_in(lines: list[str]) -> int:
    """How many roles were given, as lines and their sums tell it."""
    summed = sum(int(number) for number in NUMBER.findall("\n".join(lines)))
    return summed + sum(line.endswith(": role given") for line in lines)


def owners_messages(world: World) -> list[str]:
    return [Card(message).text for message in world.messages(world.owner)]


async def test_what_happens_is_told_in_order_and_once(world: World) -> None:
    role, channel = make_role(world), make_channel(world)
    await set_up(world, role, channel)
    await world.link()
    await world.advance(60)
    response = (await world.alice.slash(world.channel, "plexunlink")).response
    await world.alice.click(response, label="Unlink")
    await world.advance(60)
    alice, owner = f"<@{world.alice.id}>", f"<@{world.owner.id}>"
    expected = [
        f"⚙️ {owner} chose <#{channel.id}> for the audit",
        f"⚙️ {owner} chose the role <@&{role.id}>",
        f"✅ {alice} linked · role given",
        f"↩️ {alice} unlinked",
        f"↩️ {alice}: role taken away (unlinked)",
    ]
    assert audited_in(world, channel) == expected
    assert all(call.json["allowed_mentions"] == {"parse": []} for call in posts(world, channel)), "nobody is notified"
    await world.restart()
    await world.advance(HOUR)
    assert audited_in(world, channel) == expected
    assert written_in(world, world.channel) == []


async def test_a_line_notifies_nobody_also_where_the_hosts_bot_would(world: World) -> None:
    """Our own bot notifies nobody by itself; a host's does, unless it is told."""
    world.env.bot.allowed_mentions = discord.AllowedMentions.all()
    role, channel = make_role(world), make_channel(world)
    world.env.backend.edit_role(world.guild.id, role.id, {"mentionable": True})
    await world.env.settle()
    await set_up(world, role, channel)
    await world.link()
    await world.advance(60)
    text = "\n".join(audited_in(world, channel))
    for mention in (f"<@&{role.id}>", world.owner.mention, world.alice.mention):
        assert mention in text
    for message in written_in(world, channel):
        assert (message.ping_user_ids, message.ping_role_ids, message.mention_everyone) == ([], [], False)


async def test_a_channel_begins_with_the_choice_of_it_and_a_former_one_with_the_new_choice(world: World) -> None:
    first, second = make_channel(world), make_channel(world, "another")
    await set_up(world, make_role(world))
    await world.link()
    await set_up(world, None, first)
    await world.advance(30)
    assert "for the audit" in audited_in(world, first)[0]
    assert not any("linked" in line for line in audited_in(world, first))
    await set_up(world, None, second)
    await write_lines(world, "linked", 2)
    await world.advance(30)
    told = audited_in(world, first)
    await set_up(world, None, first)
    await world.advance(30)
    assert audited_in(world, first) == [*told, f"⚙️ <@{world.owner.id}> chose <#{first.id}> for the audit"]
    assert audited_in(world, second)[1:] == ["✅ <@1> linked", "✅ <@2> linked"]


async def test_what_happens_at_about_the_same_time_is_one_message_of_at_most_twenty_lines(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    await world.advance(30)
    await write_lines(world, "linked", 30)
    await world.advance(3.5)
    await world.advance(4)
    assert [Card(each).text.count("\n") + 1 for each in written_in(world, channel)] == [1, 20]
    await world.advance(6)
    assert audited_in(world, channel)[1:] == [f"✅ <@{user_id}> linked" for user_id in range(1, 31)]


async def test_two_thousand_members_at_once_make_a_handful_of_messages(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    await write_lines(world, "role_given", 2000)
    await write_lines(world, "died", 1)
    await world.advance(600)
    assert len(written_in(world, channel)) <= 4
    lines = audited_in(world, channel)
    assert given_in(lines) == 2000
    assert lines[-1] == "⚠️ <@1>: the link has stopped working"


async def test_two_thousand_members_one_after_the_other_do_not_make_a_message_each_time(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    for _ in range(60):
        await write_lines(world, "role_given", 10)
        await world.advance(10)
    await world.advance(400)
    assert len(written_in(world, channel)) <= 9
    assert given_in(audited_in(world, channel)) == 600


async def test_a_crash_after_sending_repeats_the_same_message_under_the_same_nonce(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    await world.advance(30)
    world.write(
        "CREATE TRIGGER crash BEFORE UPDATE OF audited_to ON plexlink_guilds WHEN new.audited_to > old.audited_to "
        "BEGIN SELECT RAISE(ABORT, 'the machine has stopped'); END"
    )
    await write_lines(world, "linked", 3)
    await world.advance(4)
    await world.stop()
    world.write("DROP TRIGGER crash")
    await write_lines(world, "died", 2)
    await world.start()
    await world.advance(30)
    _, sent, *again, later = posts(world, channel)
    assert again
    for each in again:
        assert each.json["nonce"] == sent.json["nonce"]
        assert each.json["enforce_nonce"], "so Discord makes no second message of it"
        assert each.json["components"] == sent.json["components"]
    assert later.json["nonce"] != sent.json["nonce"]
    assert len(later.json["nonce"]) <= 25
    assert audited_in(world, channel)[-2:] == [f"⚠️ <@{each}>: the link has stopped working" for each in (1, 2)]


@pytest.mark.parametrize(("status", "code"), [(403, 50013), (403, 50001), (404, 10003)])
async def test_a_channel_that_is_forbidden_is_told_once_and_not_tried_at_every_line(
    world: World, status: int, code: int
) -> None:
    role, channel = make_role(world), make_channel(world)
    await set_up(world, role, channel)
    await world.advance(30)
    before = len(posts(world, channel))
    world.env.inject_error("POST", f"/channels/{channel.id}/messages", status=status, code=code, times=None)
    await world.link()
    await world.advance(HOUR)
    await world.link(world.join("bob"))
    await world.advance(HOUR)
    assert len(posts(world, channel)) == before + 1
    (told,) = owners_messages(world)
    assert "needs a look" in told
    assert "did not let me write into" in Card(await show_setup(world)).text
    await backdate(world, "guilds", "closed_at", hours=24)
    assert len(posts(world, channel)) == before + 2
    world.env.backend.faults.clear()
    await set_up(world, role, channel)
    await world.advance(30)
    assert len(owners_messages(world)) == 1
    assert audited_in(world, channel)[2] == f"✅ <@{world.alice.id}> linked · role given", "no line is lost"
    assert "did not let me" not in Card(await show_setup(world)).text


async def test_a_channel_that_opens_again_gets_everything_within_a_day(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    world.env.inject_error("POST", f"/channels/{channel.id}/messages", status=403, code=50013)
    await world.advance(30)
    assert audited_in(world, channel) == []
    await backdate(world, "guilds", "closed_at", hours=24)
    assert len(audited_in(world, channel)) == 1
    assert world.rows("guilds")[0]["closed_at"] is None


async def test_a_channel_that_was_deleted_is_told_once_and_another_one_can_be_chosen(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    await world.advance(30)
    world.env.backend.delete_channel(channel.id)
    await world.env.settle()
    for _ in range(2):
        await write_lines(world, "linked", 1)
        await world.advance(600)
    assert len(owners_messages(world)) == 1
    assert "I may not write there" in Card(await show_setup(world)).text
    another = make_channel(world, "another")
    await set_up(world, None, another)
    await world.advance(30)
    assert [line[:1] for line in audited_in(world, another)] == ["✅", "✅", "⚙"], "what nobody was told is told there"


async def test_a_discord_that_fails_for_a_while_loses_no_line_and_repeats_none(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    world.env.inject_error("POST", f"/channels/{channel.id}/messages", status=503, times=4)
    await write_lines(world, "linked", 2)
    await world.advance(400)
    assert audited_in(world, channel)[1:] == ["✅ <@1> linked", "✅ <@2> linked"]
    assert owners_messages(world) == []


async def test_servers_read_their_own_audit_alone(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, None, channel)
    with in_another_server(world):
        theirs = make_channel(world)
        await set_up(world, None, theirs)
        await write_lines(world, "died", 1)
        world.env.inject_error("POST", f"/channels/{theirs.id}/messages", status=403, code=50013, times=None)
    await write_lines(world, "linked", 1)
    await world.advance(60)
    assert audited_in(world, channel) == [
        f"⚙️ <@{world.owner.id}> chose <#{channel.id}> for the audit",
        "✅ <@1> linked",
    ]
    assert audited_in(world, theirs) == []
    assert owners_messages(world) == []
    world.env.backend.faults.clear()
    await backdate(world, "guilds", "closed_at", hours=25)
    assert audited_in(world, theirs)[1:] == ["⚠️ <@1>: the link has stopped working"]
    assert len(audited_in(world, channel)) == 2


async def test_without_a_channel_nothing_is_written(world: World) -> None:
    channel = make_channel(world)
    await set_up(world, make_role(world), channel)
    await set_up(world)
    response = await show_setup(world)
    custom_id = next(each for each in Card(response).parts if ":channel:" in each.get("custom_id", ""))["custom_id"]
    response = (await world.owner.select(response, (), custom_id=custom_id)).response
    await world.owner.click(response, label="Apply")
    await world.link()
    await world.advance(HOUR)
    assert not any("linked" in line for line in audited_in(world, channel))


@pytest.mark.parametrize("deed", Deed)
@pytest.mark.parametrize("detail", [None, "123", "unlinked"])
def test_every_deed_has_words_of_our_own(deed: Deed, detail: str | None) -> None:
    entry = AuditEntry(at=datetime.now(UTC), actor_id=0, deed=deed, user_id=0, detail=detail)
    for times in (1, 2):
        text = audit_lines.text([AuditLine(entry, times)])
        assert text
        assert "{" not in text
        assert "<@0>" not in text
        assert "None" not in text or detail is None
