"""What the owners of a server see of its members and do about them, through Discord's permissions and the real bot."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import discord
import pytest
from simcord.actors import MemberActor

from accounts import account_of
from harness import Card
from plexlink.surface import member_messages, messages
from plexlink.surface.admin_views import AdminAction
from plexlink.surface.member_views import ABOUT_NOBODY, MemberAction
from plexlink_bot.sandbox.plex_tv import ALICE, ServerError
from servers import (
    backdate,
    deeds,
    let_bot,
    let_die,
    make_role,
    press_forged,
    raise_role,
    roles_of,
    set_up,
    show_setup,
    stack_roles,
    throw_out,
    unlink,
    withdraw,
    written_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import World
    from plexlink_bot.sandbox.plex_tv import Account

THREE_DAYS = 72
NOT_ALLOWED = "This is for members who may manage this server."
COMMANDS = ("list", "find", "unlink", "check", "audit", "stats")


async def ask(world: World, what: str, owner: Any = None, **options: Any) -> Any:
    return (await (owner or world.owner).slash(world.channel, f"plexadmin {what}", **options)).response


async def press(world: World, response: Any, label: str, owner: Any = None) -> Any:
    return (await (owner or world.owner).click(response, label=label)).response


async def privacy(world: World) -> Any:
    return (await world.alice.slash(world.channel, "plexprivacy")).response


async def export(world: World) -> dict[str, Any]:
    plexlink: Any = world.env.bot.get_cog("PlexLink")
    exported: dict[str, Any] = await plexlink.desk.links.export(world.alice.id)
    return exported


async def find(world: World, member: Any = None) -> Card:
    return Card(await ask(world, "find", member=member or world.alice))


async def listed(world: World) -> str:
    return Card(await ask(world, "list")).text


@contextmanager
def elsewhere(world: World) -> Iterator[None]:
    """Be in another server, with another owner, for a while."""
    here = world.guild, world.channel, world.owner
    world.guild = world.env.create_guild("Other place")
    world.channel = world.guild.create_text_channel("general")
    world.owner = MemberActor(world.env, world.guild, world.guild.owner)
    yield
    world.guild, world.channel, world.owner = here


async def link_elsewhere(world: World, name: str = "bob") -> Any:
    """Let somebody link who is in another server only; return their user."""
    with elsewhere(world):
        await set_up(world, make_role(world, "Theirs"))
        bob = world.join(name)
        await world.link(bob, account_of(name))
    return bob.user


def a_manager(world: World, name: str = "mona") -> tuple[Any, Any]:
    """Return a member who may manage the server, and the role that says so."""
    role, member = make_role(world, "Managers", manage_guild=True), world.join(name)
    world.env.backend.add_member_role(world.guild.id, member.id, role.id)
    return member, role


def let_link(world: World, number: int) -> None:
    """Let many members have linked, one a minute; nothing of theirs can be decrypted."""
    first = datetime(2025, 6, 1, tzinfo=UTC)
    at = [(first + timedelta(minutes=each)).isoformat(timespec="microseconds") for each in range(number)]
    links = [
        (f"link-{each}", 1000 + each, f"attempt-{each}", f"lookup-{each}", *["sealed"] * 4, at[each])
        for each in range(number)
    ]
    members = [(world.guild.id, 1000 + each, 0, 1, "settled", "setup", at[each], 1) for each in range(number)]
    with closing(sqlite3.connect(world.data_dir / "plexlink.sqlite3")) as connection, connection:
        connection.executemany(
            "INSERT INTO plexlink_links (id, user_id, attempt_id, account_lookup, account_id_envelope, "
            "account_name_envelope, client_identifier_envelope, token_envelope, linked_at, next_check_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '2027-12-31')",
            links,
        )
        connection.executemany(
            "INSERT INTO plexlink_members (guild_id, user_id, role_id, is_wanted, standing, cause, at, is_seen) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            members,
        )


# --- the list ---


async def test_an_empty_list_says_what_leads_to_entries(world: World) -> None:
    assert "/plexlink" in await listed(world)
    assert "/plexadmin setup" in await listed(world)
    await set_up(world)
    assert "/plexlink" in await listed(world)
    assert "/plexadmin setup" not in await listed(world)


async def test_the_list_says_who_is_linked_and_since_when_and_the_newest_is_first(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    bob = world.join("bob")
    await world.link(bob, account_of("bob"))
    first, second = (await listed(world)).splitlines()[1:]
    assert first.startswith(f"<@{bob.id}> · linked ✓ · since <t:")
    assert first.endswith(":D>")
    assert second.startswith(f"<@{world.alice.id}> · linked ✓")


async def test_who_waits_for_the_role_is_listed_as_soon_as_they_were_seen_here(world: World) -> None:
    await set_up(world, make_role(world))
    let_bot(world, manage_roles=False)
    await world.env.settle()
    bob = await link_elsewhere(world)
    await world.alice.user.slash("plexlink")  # not here: it is Discord that says where she is
    world.approve(ALICE)
    await world.advance(6)
    carol = world.join("carol")
    await world.link(carol, account_of("carol"))
    lines = (await listed(world)).splitlines()[1:]
    assert [line.split(" · ")[:2] for line in lines] == [
        [f"<@{member.id}>", "linked, waits for the role"] for member in (carol, world.alice)
    ], f"and not {bob.id}"
    card = await find(world)
    assert "is not given yet" in card.text
    assert "Manage Roles" in card.text


async def test_who_is_here_is_known_though_the_role_is_deleted(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    world.env.backend.delete_role(world.guild.id, role.id)
    await world.env.settle()
    assert f"<@{world.alice.id}>" in await listed(world)
    await world.alice.slash(world.channel, "plexstatus")
    assert "Choose another one" in (await find(world)).text
    assert "Choose another one" in Card(await ask(world, "stats")).text
    another = make_role(world, "Another")
    await set_up(world, another)
    assert roles_of(world, world.alice) == [another.id]
    assert len((await listed(world)).splitlines()) == 2


async def test_a_dead_link_is_given_its_role_back_only_once_it_works(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await let_die(world, await world.link())
    await backdate(world, "links", "rejected_at", hours=THREE_DAYS)
    await withdraw(world)
    card = Card(await press(world, await ask(world, "find", member=world.alice), "Give the role back"))
    assert "until there is a link that works" in card.text
    await world.advance(600)
    assert deeds(world).count("role_given") == 1
    await world.plexlink()
    world.approve(ALICE)
    await world.advance(6)
    assert roles_of(world, world.alice) == [role.id]


async def test_a_link_that_stopped_working_is_listed_for_as_long_as_it_is_there(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await let_die(world, await world.link())
    assert "stopped working" in await listed(world)
    await backdate(world, "links", "rejected_at", hours=THREE_DAYS)
    assert roles_of(world, world.alice) == []
    await world.advance(2 * 3600)
    assert "stopped working" in await listed(world)
    assert "until there is a link that works" in (await find(world)).text
    await unlink(world)
    assert str(world.alice.id) not in await listed(world)


async def test_a_dead_link_does_not_come_by_its_role_again_by_a_press(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await let_die(world, await world.link())
    await backdate(world, "links", "rejected_at", hours=THREE_DAYS)
    for _ in range(2):
        await world.alice.slash(world.channel, "plexstatus")
        await set_up(world, role)
        assert roles_of(world, world.alice) == []
    assert deeds(world).count("role_given") == 1
    await world.plexlink()
    world.approve(ALICE)
    await world.advance(6)
    assert roles_of(world, world.alice) == [role.id]
    assert len((await listed(world)).splitlines()) == 2


async def test_two_thousand_members_are_paged_and_nothing_is_decrypted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await set_up(world)
    let_link(world, 2000)
    response = await ask(world, "list")
    assert "2,000" in Card(response).text
    assert f"<@{1000 + 1999}>" in Card(response).text.splitlines()[1]
    seen: list[str] = []
    for page in range(3):
        assert f"Page {page + 1} of 200" in Card(response).text
        seen += [line.split()[0] for line in Card(response).text.splitlines() if line.startswith("<@")]
        response = await press(world, response, "›")  # noqa: RUF001
    assert len(set(seen)) == 30
    assert "Page 3 of 200" in Card(await press(world, response, "‹")).text  # noqa: RUF001
    assert "Page 200 of 200" in (await press_forged(world, response, "plexmember:list:199")).text
    assert "Page 1 of 200" in (await press_forged(world, response, "plexmember:list:4000")).text
    members, began = world.env.bot.get_cog("PlexLink").desk.members, time.process_time()  # type: ignore[attr-defined]
    for page in range(0, 200, 20):
        await members.page(world.guild.id, page)
    assert time.process_time() - began < 2, "ten pages, each of some ten milliseconds"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and "store." in record.message]


# --- the account's name ---


async def test_an_owner_reads_the_plex_name_only_while_its_member_shows_it(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    assert "at Plex" not in await listed(world) + (await find(world)).text
    response = await privacy(world)
    assert messages.SHOW_NAME in Card(response).buttons
    response = await press(world, response, messages.SHOW_NAME, world.alice)
    assert messages.HIDE_NAME in Card(response).buttons
    assert "(*alice* at Plex)" in await listed(world)
    assert "(*alice* at Plex)" in (await find(world)).text
    assert (await export(world))["link"]["is_name_shown_to_server_owners"] is True
    await press(world, response, messages.HIDE_NAME, world.alice)
    assert "at Plex" not in await listed(world) + (await find(world)).text


@pytest.mark.parametrize(("account", "is_shown"), [(ALICE, True), (account_of("other"), False)])
async def test_a_new_link_shows_its_name_where_it_is_of_the_same_account(
    world: World, account: Account, *, is_shown: bool
) -> None:
    await set_up(world, make_role(world))
    assert list(Card(await privacy(world)).buttons) == ["Export", "Delete everything"]
    await world.link()
    await press(world, await privacy(world), messages.SHOW_NAME, world.alice)
    response = (await world.alice.slash(world.channel, "plexstatus")).response
    await world.alice.click(response, label="Link another account")
    world.approve(account)
    await world.advance(6)
    assert ("at Plex" in await listed(world)) is is_shown


# --- what owners decide ---


async def test_the_role_is_taken_after_a_question_and_the_member_is_told_and_keeps_the_link(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    token = await world.link()
    question = await ask(world, "unlink", member=world.alice)
    assert "Their link to Plex is theirs and stays" in Card(question).text
    assert roles_of(world, world.alice) == [role.id]
    kept = await press(world, question, "Leave it")
    assert list(Card(kept).buttons) == ["Take the role away", "Check now"]
    card = Card(await withdraw(world))
    await world.advance(2)
    assert roles_of(world, world.alice) == []
    assert list(card.buttons) == ["Give the role back", "Check now"]
    told = Card(world.messages()[-1])
    assert (
        r"The owners of *Home \*Cinema\** have taken your role away. Your link to Plex is yours and stays." in told.text
    )
    assert world.plex.is_alive(token)
    assert len(world.rows("links")) == 1
    assert "role taken away" in await listed(world)
    assert deeds(world)[-2:] == ["role_withdrawn", "role_taken"]


async def test_a_role_that_owners_took_comes_back_by_their_hand_only(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    await withdraw(world)
    await world.alice.slash(world.channel, "plexstatus")
    await backdate(world, "guilds", "reconciled_at", hours=24)
    await backdate(world, "members", "at", hours=2)
    await world.alice.slash(world.channel, "plexstatus")
    assert roles_of(world, world.alice) == [], "a day later, and by an interaction"
    another = make_role(world, "Another")
    await set_up(world, another)
    await set_up(world)
    await set_up(world, role)
    assert roles_of(world, world.alice) == [], "by setup"
    await unlink(world)
    await world.link()
    assert roles_of(world, world.alice) == [], "by a new link"
    world.guild.remove_member(world.alice)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    world.alice = world.guild.add_member(world.alice.user)
    await world.alice.slash(world.channel, "plexstatus")
    assert roles_of(world, world.alice) == [], "by coming back"
    assert "role taken away" in await listed(world)
    card = Card(await press(world, await ask(world, "find", member=world.alice), "Give the role back"))
    await world.advance(2)
    assert roles_of(world, world.alice) == [role.id]
    assert list(card.buttons) == ["Take the role away", "Check now"]
    assert deeds(world)[-2:] == ["role_given_back", "role_given"]
    assert len((await listed(world)).splitlines()) == 2


async def test_who_has_everything_deleted_has_the_decision_deleted_too(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    await withdraw(world)
    assert [each["discord_server_id"] for each in (await export(world))["withdrawn_roles"]] == [str(world.guild.id)]
    question = await press(world, await privacy(world), "Delete everything", world.alice)
    await press(world, question, "Delete everything", world.alice)
    await world.advance(2 * 3600)
    assert (world.rows("withdrawals"), world.rows("members")) == ([], [])
    assert roles_of(world, world.alice) == []


async def test_decisions_go_with_the_server(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    await withdraw(world)
    await throw_out(world)
    await backdate(world, "guilds", "left_at", hours=30 * 24)
    assert world.rows("withdrawals") == []


async def test_a_decision_is_told_once_and_not_at_all_once_it_is_lifted(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    world.close_dms()
    question = await ask(world, "unlink", member=world.alice)
    await press(world, question, "Take the role away")
    await press_forged(world, await ask(world, "find", member=world.alice), f"plexmember:withdraw:{world.alice.id}")
    await world.advance(10)
    assert len(world.rows("notices")) == 1
    assert deeds(world).count("role_withdrawn") == 1
    await press(world, await ask(world, "find", member=world.alice), "Give the role back")
    assert "taken your role away" not in Card((await world.alice.slash(world.channel, "plexstatus")).response).text
    await withdraw(world)
    await world.advance(10)
    status = Card((await world.alice.slash(world.channel, "plexstatus")).response)
    assert r"The owners of *Home \*Cinema\** have taken your role away" in status.text
    assert world.rows("notices") == []


async def test_a_role_that_discord_does_not_let_go_is_said_to_be_still_there(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    raise_role(world, role)
    await world.env.settle()
    await withdraw(world)
    assert "Discord is still to be told" in (await find(world)).text
    raise_role(world, role)
    await world.env.settle()
    assert roles_of(world, world.alice) == []
    assert "Discord is still to be told" not in (await find(world)).text


async def test_where_no_role_is_chosen_there_is_none_to_take(world: World) -> None:
    await set_up(world)
    await world.link()
    assert Card(await ask(world, "unlink", member=world.alice)).text == member_messages.NO_ROLE
    await press_forged(world, await ask(world, "find", member=world.alice), f"plexmember:withdraw:{world.alice.id}")
    assert world.rows("withdrawals") == []


# --- checks ---


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("works", "Asked Plex just now: it works ✓"),
        ("silent", "Plex did not answer just now"),
        ("refused", "Plex refused it just now"),
        ("dead", "Plex does not accept it any more"),
    ],
)
async def test_a_check_asks_plex_and_says_what_it_said(world: World, answer: str, sentence: str) -> None:
    await set_up(world, make_role(world))
    token = await world.link()
    if answer == "silent":
        world.plex.fail(ServerError(503), calls="user", times=None)
    elif answer == "refused":
        world.plex.revoke(token)
    elif answer == "dead":
        await let_die(world, token)
        await world.advance(20)
    before = len(world.plex.requests)
    assert sentence in Card(await ask(world, "check", member=world.alice)).text
    assert len(world.plex.requests) > before
    assert deeds(world)[-1] == "checked"


async def test_the_owners_of_a_server_may_ask_plex_five_times_in_a_minute(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    response = await ask(world, "find", member=world.alice)
    for _ in range(5):
        response = await press(world, response, "Check now")
        assert "it works" in Card(response).text
    refused = Card(await ask(world, "check", member=world.alice))
    assert "Too many checks" in refused.text
    assert "<t:" in refused.text
    assert deeds(world).count("checked") == 5
    await world.advance(61)
    assert "it works" in Card(await ask(world, "check", member=world.alice)).text


# --- the audit, and numbers ---


async def test_the_audit_tells_in_words_what_happened_here_and_nothing_of_other_servers(world: World) -> None:
    role = make_role(world)
    await set_up(world, role, world.channel)
    await link_elsewhere(world)
    await world.link()
    await withdraw(world)
    await ask(world, "check", member=world.alice)
    text = Card(await ask(world, "audit")).text
    owner, alice = f"<@{world.owner.id}>", f"<@{world.alice.id}>"
    lines = [line.split(">", 1)[1].strip().partition(" ")[2] for line in text.splitlines()[1:]]
    assert lines == [
        f"{owner} let Plex be asked about the link of {alice}",
        f"{alice}: role taken away (as the owners decided)",
        f"{owner} decided that {alice} is not to have the role",
        f"{alice}: role given",
        f"{alice} linked",
        f"{owner} chose the role <@&{role.id}>",
        f"{owner} chose <#{world.channel.id}> for the audit",
    ]


async def test_the_audit_has_pages_and_an_empty_one_says_what_leads_to_lines(world: World) -> None:
    assert "/plexadmin setup" in Card(await ask(world, "audit")).text
    first, second = make_role(world), make_role(world, "Another")
    for _ in range(6):
        await set_up(world, first)
        await set_up(world, second)
    response = await ask(world, "audit")
    assert len([line for line in Card(response).text.splitlines() if line.startswith("<t:")]) == 10
    response = await press(world, response, "›")  # noqa: RUF001
    assert len([line for line in Card(response).text.splitlines() if line.startswith("<t:")]) == 2
    assert "Page 2 of 2" in Card(response).text


async def test_the_numbers_are_of_this_server_only(world: World) -> None:
    role = make_role(world)
    await set_up(world, role, world.channel)
    await link_elsewhere(world)
    await world.link()
    bob = world.join("bob")
    await world.link(bob, account_of("bob here"))
    world.write("UPDATE plexlink_links SET linked_at = '2020-01-01T00:00:00.000000+00:00' WHERE user_id = ?", bob.id)
    text = Card(await ask(world, "stats")).text
    assert "Linked: **2**, of them this week **1**" in text
    assert "Waiting for the role: **0**" in text
    assert f"<@&{role.id}>" in text
    assert f"<#{world.channel.id}>" in text
    await withdraw(world, bob)
    raise_role(world, role)
    await world.env.settle()
    text = Card(await ask(world, "stats")).text
    assert "Role taken away by you: **1**" in text
    assert "Drag my role above it" in text


# --- limits ---


async def test_of_somebody_who_is_linked_elsewhere_an_owner_learns_what_they_learn_of_anybody(world: World) -> None:
    await set_up(world, make_role(world))
    bob = await link_elsewhere(world)
    stranger = world.join("stranger")
    card = await find(world, stranger)
    assert card.text == member_messages.NOT_KNOWN
    asked, response = len(world.plex.requests), await ask(world, "list")
    await world.link()
    asked = len(world.plex.requests)
    before = world.rows("links"), world.rows("withdrawals"), world.rows("audit")
    for action in MemberAction:
        if action in ABOUT_NOBODY:
            continue
        response = await ask(world, "find", member=world.alice)
        text = (await press_forged(world, response, f"plexmember:{action}:{bob.id}")).text
        assert text == member_messages.NOT_KNOWN, action
    assert (world.rows("links"), world.rows("withdrawals"), world.rows("audit")) == before
    assert len(world.plex.requests) == asked
    for command in ("unlink", "check"):
        assert Card(await ask(world, command, member=stranger)).text == member_messages.NOT_KNOWN


ABOUT_SOMEBODY = sorted(set(MemberAction) - ABOUT_NOBODY)


@pytest.mark.parametrize("action", ABOUT_SOMEBODY)
async def test_an_old_card_about_somebody_who_has_left_does_nothing_any_more(world: World, action: str) -> None:
    await set_up(world, make_role(world))
    await world.link()
    await ask(world, "list")
    card = await (ask(world, "find", member=world.alice) if action != "give-back" else withdraw(world))
    world.guild.remove_member(world.alice)
    before = world.rows("withdrawals"), deeds(world), len(world.plex.requests)
    text = (await press_forged(world, card, f"plexmember:{action}:{world.alice.id}")).text
    assert text == member_messages.NOT_KNOWN
    assert (world.rows("withdrawals"), deeds(world), len(world.plex.requests)) == before
    assert world.alice.mention not in await listed(world), "it was noted that they have left"
    assert world.rows("links"), "a link is its member's"


async def test_while_discord_does_not_say_who_is_there_a_card_answers_with_what_is_known(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    card = await ask(world, "find", member=world.alice)
    world.env.inject_error("GET", f"/guilds/*/members/{world.alice.id}", status=503, code=0, times=None)
    assert "it works" in Card(await press(world, card, "Check now")).text
    assert world.alice.mention in await listed(world)


async def test_who_may_not_manage_the_server_is_refused_at_every_command(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    (command,) = (each for each in await world.env.bot.tree.fetch_commands() if each.name == "plexadmin")
    world.guild.set_command_permissions(command, {world.alice: True})
    before = world.rows("guilds"), world.rows("withdrawals"), deeds(world), len(world.plex.requests)
    for what in ("setup", "panel", *COMMANDS):
        options = {"member": world.alice} if what in {"find", "unlink", "check"} else {}
        response = await ask(world, what, world.alice, **options)
        assert Card(response).text == NOT_ALLOWED, what
        assert response.ephemeral
    assert (world.rows("guilds"), world.rows("withdrawals"), deeds(world), len(world.plex.requests)) == before


async def test_who_may_not_manage_the_server_any_more_is_refused_whatever_they_press_or_pick(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    mona, managers = a_manager(world)
    await world.env.settle()
    ids = [f"plexadmin:{action}:0:0" for action in AdminAction]
    ids += [f"plexmember:{action}:{world.alice.id}" for action in MemberAction]
    cards = {custom_id: await ask(world, "find", mona, member=world.alice) for custom_id in ids}
    world.env.backend.remove_member_role(world.guild.id, mona.id, managers.id)
    await world.env.settle()
    before = world.rows("guilds"), world.rows("withdrawals"), deeds(world), len(world.plex.requests)
    for custom_id, card in cards.items():
        assert (await press_forged(world, card, custom_id, mona)).text == NOT_ALLOWED, custom_id
    assert (world.rows("guilds"), world.rows("withdrawals"), deeds(world), len(world.plex.requests)) == before


async def test_nobody_gives_a_role_back_that_is_not_below_their_own(world: World) -> None:
    role = make_role(world)
    mona, managers = a_manager(world)
    stack_roles(world, managers, role)
    await set_up(world, role)
    await world.link()
    await withdraw(world)
    await world.advance(2)
    found = await ask(world, "find", mona, member=world.alice)
    card = await press(world, found, "Give the role back", mona)
    await world.advance(10)
    assert "not below your own highest role" in Card(card).text
    assert roles_of(world, world.alice) == []
    assert len(world.rows("withdrawals")) == 1
    await press(world, await ask(world, "find", member=world.alice), "Give the role back")
    await world.advance(2)
    assert roles_of(world, world.alice) == [role.id]


async def test_who_may_not_manage_the_server_any_more_is_refused_at_every_button(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await world.link()
    mona, managers = a_manager(world)
    found = await ask(world, "find", mona, member=world.alice)
    question = await press(world, found, "Take the role away", mona)
    again = await ask(world, "find", mona, member=world.alice)
    world.env.backend.edit_role(
        world.guild.id, managers.id, {"permissions": discord.Permissions(send_messages=True).value}
    )
    await world.env.settle()
    for response, label in ((question, "Take the role away"), (again, "Check now")):
        assert Card(await press(world, response, label, mona)).text == NOT_ALLOWED
    assert roles_of(world, world.alice) == [role.id]
    assert "checked" not in deeds(world)


async def test_owners_read_no_token_no_code_no_account_and_no_other_server(world: World) -> None:
    log = world.guild.create_text_channel("plex-log")
    await set_up(world, make_role(world), log)
    with elsewhere(world):
        await set_up(world, make_role(world, "Theirs"))
        other = world.guild.id
        world.guild.add_member(world.alice.user)
    token = await world.link()
    (row,) = world.rows("links")
    shown = []
    for what in COMMANDS:
        options = {"member": world.alice} if what in {"find", "unlink", "check"} else {}
        shown.append(json.dumps(Card(await ask(world, what, **options)).parts))
    shown.append(json.dumps(Card(await show_setup(world)).parts))
    await world.advance(60)
    written = [json.dumps(Card(message).parts) for message in written_in(world, log)]
    assert any("linked" in text for text in written)
    shown += written
    for secret in (
        token,
        str(ALICE.id),
        ALICE.uuid,
        ALICE.email,
        world.pin().code,
        row["id"],
        str(other),
        "Other place",
    ):
        assert secret not in "".join(shown)
    assert "alice" not in "".join(shown).replace(world.alice.mention, "")


async def test_no_hand_without_the_key_consents_for_a_member(world: World) -> None:
    """Neither by a word of its own, nor by the consent of somebody else."""
    await set_up(world, make_role(world))
    bob = world.join("bob")
    await world.link()
    await world.link(bob, account_of("bob here"))
    await bob.click(
        (await bob.slash(world.channel, "plexprivacy")).response, label="Show my Plex name to server owners"
    )
    for planted in ("1", "true", next(row["consent"] for row in world.rows("links") if row["user_id"] == bob.id)):
        world.write("UPDATE plexlink_links SET consent = ? WHERE user_id = ?", planted, world.alice.id)
        assert "at Plex" not in (await find(world)).text
