"""A role for members of one's own Plex server only: who earns it, who loses it and when, and what is kept of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from accounts import account_of
from harness import Card
from plexlink.store.servers import HANDLE_LENGTH
from plexlink_bot.sandbox.plex_tv import ALICE, Operation, RateLimited, ServerError
from servers import (
    HOST,
    ask_for_plex_servers,
    backdate,
    choose,
    deeds,
    in_another_server,
    invite_again,
    make_role,
    memberships,
    open_to_all,
    options,
    part,
    pick,
    press,
    press_forged,
    reserve,
    roles_of,
    set_up,
    share,
    show_setup,
    stack_roles,
    throw_out,
    unlink,
)

if TYPE_CHECKING:
    from harness import World

HOUR = 3600


async def host(world: World, *names: str) -> Any:
    """Let the owner of the server link, as somebody who owns Plex servers; return the role that they chose."""
    for name in names or ("Basement",):
        share(world, HOST, name, owned=True)
    role = make_role(world)
    await set_up(world, role)
    await world.link(world.owner, HOST)
    return role


async def hosted(world: World) -> Any:
    """Let the role be for members of the owner's Plex server."""
    role = await host(world)
    await reserve(world)
    return role


async def a_helper_above(world: World, role: Any) -> Any:
    """Let somebody join whose highest role is above the one for linked members, and who may manage the server."""
    helpers = make_role(world, "Helpers", manage_guild=True)
    stack_roles(world, role, helpers)
    helper = world.join("helper")
    world.env.backend.add_member_role(world.guild.id, helper.id, helpers.id)
    await world.env.settle()
    return helper


def part_from(world: World, account: Any) -> None:
    """Let an account reach no Plex server any more."""
    world.plex.servers.pop(account)


def asked(world: World) -> int:
    """How often plex.tv was asked for servers."""
    return sum(call.operation is Operation.RESOURCES for call in world.plex.requests)


def access(world: World, member: Any = None) -> dict[str, Any] | None:
    member = member or world.alice
    rows = [row for row in world.rows("access") if row["user_id"] == member.id and row["guild_id"] == world.guild.id]
    return rows[0] if rows else None


async def check_daily(world: World) -> None:
    """Let a day have passed since the links were checked."""
    await backdate(world, "links", "next_check_at", hours=1)
    await world.advance(60)


async def lose(world: World, account: Any = ALICE) -> None:
    """Let plex.tv say for the first time that a member's account does not reach the Plex server."""
    part_from(world, account)
    await check_daily(world)


async def find(world: World, member: Any = None) -> str:
    response = await world.owner.slash(world.channel, "plexadmin find", member=member or world.alice)
    return Card(response.response).text


async def linked(world: World, count: int) -> list[Any]:
    """Let so many members link who are members of the Plex server."""
    members = [world.join(f"member{number}") for number in range(count)]
    for member in members:
        share(world, account_of(member.user.name), "Basement")
        await world.link(member, account_of(member.user.name))
    return members


# --- earning it ---


async def test_a_member_of_the_plex_server_earns_the_role_and_their_card_says_so(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    await world.link()
    assert roles_of(world, world.alice) == [role.id]
    assert "Role *Plex* added ✓" in world.card().text
    assert roles_of(world, world.owner) == [role.id], "who owns the Plex server is a member of it"
    assert deeds(world)[-2:] == ["linked", "role_given"]


async def test_who_is_no_member_of_it_does_not_and_only_their_own_card_says_why(world: World) -> None:
    await hosted(world)
    share(world, ALICE, "Attic")
    await world.link()
    assert roles_of(world, world.alice) == []
    assert "Role *Plex*: for members of the Plex server *Basement* only" in world.card().text
    assert "this member is not a member of the Plex server" in await find(world)
    assert deeds(world)[-1] == "linked"


@pytest.mark.parametrize("is_own", [True, False])
async def test_who_gives_its_identifier_to_another_plex_server_is_no_member_of_it(
    world: World, *, is_own: bool
) -> None:
    role = await hosted(world)
    share(world, ALICE, owned=is_own, owner=account_of("mallory"))
    await world.link()
    assert roles_of(world, world.alice) == []
    share(world, ALICE)
    await check_daily(world)
    assert roles_of(world, world.alice) == [role.id], "plex.tv tells of both"


async def test_a_plex_server_that_was_chosen_before_its_owner_was_kept_is_told_by_its_identifier_until_then(
    world: World,
) -> None:
    role = await hosted(world)
    world.write("UPDATE plexlink_guilds SET plex_server_owner = NULL")
    share(world, ALICE, owner=account_of("mallory"))
    await world.link()
    assert roles_of(world, world.alice) == [role.id]
    await reserve(world)
    assert access(world)["lost_at"] is not None, "everybody is asked about anew"
    await world.advance(301 + HOUR)
    await check_daily(world)
    assert roles_of(world, world.alice) == []


async def test_who_is_invited_later_gains_the_role_with_the_daily_check(world: World) -> None:
    role = await hosted(world)
    await world.link()
    assert roles_of(world, world.alice) == []
    share(world, ALICE)
    await world.alice.click((await world.alice.slash(world.channel, "plexstatus")).response, label="Check now")
    assert roles_of(world, world.alice) == [], "what a member asks for is how their link is"
    await check_daily(world)
    assert roles_of(world, world.alice) == [role.id]
    assert "is given ✓" in await find(world)


async def test_who_comes_to_the_server_later_is_asked_about_then(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    world.guild.remove_member(world.alice)
    await world.alice.user.slash("plexlink")
    world.approve(ALICE)
    await world.advance(6)
    assert access(world) is None
    alice = world.guild.add_member(world.alice.user)
    await alice.slash(world.channel, "plexprivacy")
    await world.advance(2)
    assert roles_of(world, alice) == [role.id]


async def test_another_account_of_the_same_member_is_asked_about_anew(world: World) -> None:
    role = await hosted(world)
    await world.link()
    response = (await world.alice.slash(world.channel, "plexstatus")).response
    await world.alice.click(response, label="Link another account")
    share(world, account_of("other"))
    world.approve(account_of("other"))
    await world.advance(6)
    assert roles_of(world, world.alice) == [role.id]
    response = (await world.alice.slash(world.channel, "plexstatus")).response
    await world.alice.click(response, label="Link another account")
    world.approve(ALICE)
    await world.advance(6)
    row = access(world)
    assert row is not None
    assert row["lost_at"] is not None


# --- losing it ---


async def test_who_is_no_member_any_more_loses_the_role_an_hour_later(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    await world.link()
    await lose(world)
    await backdate(world, "access", "lost_at", hours=0.5)
    await check_daily(world)
    assert roles_of(world, world.alice) == [role.id]
    assert "They keep the role for an hour" in await find(world)
    await backdate(world, "access", "lost_at", hours=1)
    assert roles_of(world, world.alice) == []
    assert deeds(world)[-1] == "role_taken"
    assert "this member is not a member of the Plex server" in await find(world)


async def test_who_is_a_member_again_within_the_hour_keeps_the_role(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    await world.link()
    await lose(world)
    share(world, ALICE)
    await backdate(world, "access", "lost_at", hours=1)
    row = access(world)
    assert row is not None
    assert (row["has_access"], row["lost_at"]) == (1, None)
    assert roles_of(world, world.alice) == [role.id]


async def test_while_plex_is_silent_nobody_gains_and_nobody_loses(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    await world.link()
    part_from(world, ALICE)
    world.plex.fail(ServerError(503), calls="resources", times=None)
    bob = world.join("bob")
    share(world, account_of("bob"))
    await world.link(bob, account_of("bob"))
    await check_daily(world)
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([role.id], [])
    assert "Role" not in world.card(bob).text
    assert "Plex has not told yet" in await find(world, bob)
    world.plex.heal()
    await world.advance(700)
    assert roles_of(world, bob) == [role.id]
    row = access(world)
    assert row is not None
    assert row["lost_at"] is not None


async def test_a_token_that_is_refused_says_nothing_about_the_plex_server(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    token = await world.link()
    world.plex.revoke(token)
    world.write("UPDATE plexlink_access SET lost_at = checked_at")
    before = asked(world)
    await backdate(world, "access", "lost_at", hours=1)
    await world.advance(1500)
    assert roles_of(world, world.alice) == [role.id]
    assert asked(world) <= before + 2, "the owner's, and hers once"


async def test_a_wave_of_losses_is_held_and_released_when_one_of_them_was_none(world: World) -> None:
    role = await hosted(world)
    members = await linked(world, 6)
    for member in members:
        part_from(world, account_of(member.user.name))
    await check_daily(world)
    await backdate(world, "access", "lost_at", hours=2)
    assert {tuple(roles_of(world, member)) for member in members} == {(role.id,)}
    assert [row["is_held"] for row in world.rows("access")].count(1) == 6
    assert deeds(world).count("access_held") == 1
    assert "**6** of your members" in Card(await show_setup(world)).text
    assert "So it is with many at once" in await find(world, members[0])
    share(world, account_of(members[0].user.name))
    held_since = {row["lost_at"] for row in world.rows("access")} - {None}
    await backdate(world, "access", "checked_at", hours=1)
    await world.advance(60)
    lost_at = [row["lost_at"] for row in world.rows("access") if row["user_id"] in {each.id for each in members}]
    assert lost_at.count(None) == 1
    assert not held_since & set(lost_at), "of the others it was forgotten, and they were asked about anew"
    assert {tuple(roles_of(world, member)) for member in members} == {(role.id,)}


def asked_owner(world: World) -> list[str]:
    """What the owner was told by direct message about losses that wait for them."""
    return [text for text in (Card(each).text for each in world.messages(world.owner)) if "seem to lose" in text]


async def let_all_part(world: World, members: list[Any]) -> None:
    for member in members:
        part_from(world, account_of(member.user.name))
    await check_daily(world)


async def test_each_wave_is_told_once_to_whoever_chose_with_what_to_do(world: World) -> None:
    await hosted(world)
    members = await linked(world, 8)
    await let_all_part(world, members[:6])
    (text,) = asked_owner(world)
    assert text.startswith(r"## Many in *Home \*Cinema\** seem to lose the role")
    assert "/plexadmin setup in that server" in text
    await let_all_part(world, members[6:])
    await world.restart()
    await world.advance(2 * HOUR)
    assert [row["is_held"] for row in world.rows("access")].count(1) == 8
    assert len(asked_owner(world)) == 1
    for member in members:
        share(world, account_of(member.user.name))
    await backdate(world, "access", "checked_at", hours=1)
    await world.advance(60)
    assert not any(row["is_held"] for row in world.rows("access"))
    await let_all_part(world, members)
    assert len(asked_owner(world)) == 2
    assert deeds(world).count("access_held") == 2


@pytest.mark.parametrize("end", ["believed", "released", "open to all"])
async def test_an_owner_who_was_not_told_yet_is_not_told_of_a_wave_that_is_over(world: World, end: str) -> None:
    await hosted(world)
    members = await linked(world, 6)
    setup = await show_setup(world)
    world.close_dms()
    await let_all_part(world, members)
    assert [row["topic"] for row in world.rows("notices")] == ["losses_held"]
    if end == "believed":
        answer = Card((await world.owner.click(setup, label="Apply")).response).text
    elif end == "released":
        for member in members:
            share(world, account_of(member.user.name))
        await backdate(world, "access", "checked_at", hours=1)
        await world.advance(60)
        answer = Card(await show_setup(world)).text
    else:
        preview = await press(world, setup, "Everybody who has linked")
        answer = Card(await press(world, preview, "Apply")).text
    assert "seem to lose" not in answer
    assert world.rows("notices") == []


async def test_an_owner_who_takes_no_direct_messages_reads_of_a_wave_with_the_next_answer(world: World) -> None:
    await hosted(world)
    members = await linked(world, 6)
    world.close_dms()
    await let_all_part(world, members)
    text = Card(await show_setup(world)).text
    assert "seem to lose the role" in text
    assert "**6** of your members" in text
    assert "seem to lose the role" not in Card(await show_setup(world)).text


async def test_who_does_not_manage_the_server_any_more_reads_of_no_wave_and_its_owner_is_told(world: World) -> None:
    role = await hosted(world)
    members = await linked(world, 6)
    helper = await a_helper_above(world, role)
    await press(world, await show_setup(world, helper), "Apply", owner=helper)
    world.close_dms()
    await let_all_part(world, members)
    (notice,) = world.rows("notices")
    assert (notice["user_id"], notice["is_held"]) == (helper.id, 1)
    world.open_dms()
    world.env.inject_error("GET", f"/guilds/*/members/{helper.id}", status=503, times=None)
    answer = (await helper.slash(world.channel, "plexstatus")).response
    assert "seem to lose" not in Card(answer).text, "nobody knows whether they may manage the server"
    world.env.backend.faults.clear()
    for role_id in list(world.env.backend.get_member(world.guild.id, helper.id).role_ids):
        world.env.backend.remove_member_role(world.guild.id, helper.id, role_id)
    assert "seem to lose" not in Card((await helper.slash(world.channel, "plexstatus")).response).text
    await world.advance(2)
    assert len(asked_owner(world)) == 1


async def test_a_wave_that_an_owner_believes_is_believed_for_a_day(world: World) -> None:
    role = await hosted(world)
    members = await linked(world, 10)
    late = [members.pop() for _ in range(5)]
    for member in members:
        part_from(world, account_of(member.user.name))
    await check_daily(world)
    assert [row["is_held"] for row in world.rows("access")].count(1) == 5
    response = await show_setup(world)
    await world.owner.click(response, label="Apply")
    await world.advance(5)
    assert {tuple(roles_of(world, member)) for member in members} == {()}
    (decision,) = (row for row in world.rows("audit") if row["deed"] == "losses_believed")
    assert (decision["guild_id"], decision["actor_id"]) == (world.guild.id, world.owner.id)
    assert "of your members" not in Card(await show_setup(world)).text
    for member in late:
        part_from(world, account_of(member.user.name))
    await check_daily(world)
    assert {tuple(roles_of(world, member)) for member in late} == {(role.id,)}
    await backdate(world, "access", "lost_at", hours=1)
    assert {tuple(roles_of(world, member)) for member in late} == {()}


async def test_many_who_are_no_members_when_it_is_chosen_keep_the_role_until_an_owner_applies(world: World) -> None:
    role = await host(world)
    members = await linked(world, 6)
    for member in members:
        part_from(world, account_of(member.user.name))
    await reserve(world)
    await world.advance(5)
    await backdate(world, "access", "lost_at", hours=1)
    assert {tuple(roles_of(world, member)) for member in members} == {(role.id,)}
    response = await reserve(world)
    assert "**6** of your members" in Card(response).text, "to choose the same again is no word about them"
    await world.owner.click(response, label="Apply")
    await world.advance(5)
    assert {tuple(roles_of(world, member)) for member in members} == {()}
    assert roles_of(world, world.owner) == [role.id]


async def test_few_losses_are_no_wave(world: World) -> None:
    await hosted(world)
    members = await linked(world, 4)
    for member in members:
        part_from(world, account_of(member.user.name))
    await check_daily(world)
    await backdate(world, "access", "lost_at", hours=1)
    assert {tuple(roles_of(world, member)) for member in members} == {()}


# --- choosing ---


async def test_choosing_it_takes_no_role_before_plex_was_asked_and_everybody_gets_it_again_afterwards(
    world: World,
) -> None:
    role = await host(world)
    bob = world.join("bob")
    share(world, ALICE)
    await world.link()
    await world.link(bob, account_of("bob"))
    world.plex.fail(ServerError(503), calls="resources", times=None)
    response = await ask_for_plex_servers(world)
    assert "Plex does not tell" in Card(response).text
    world.plex.heal()
    await world.advance(1)
    response = (await world.owner.click(response, label="Ask Plex again")).response
    world.plex.fail(ServerError(503), calls="resources", times=None)
    response = await press(world, await pick(world, response, options(response)["Basement"]), "Apply")
    assert "Only members of the Plex server *Basement*" in Card(response).text
    await world.advance(2 * HOUR)
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([role.id], [role.id])
    world.plex.heal()
    await world.advance(2 * HOUR)
    await backdate(world, "access", "lost_at", hours=1)
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([role.id], [])
    response = await open_to_all(world)
    assert "**Who gets it** · saved ✓\nEverybody who has linked." in Card(response).text
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([role.id], [role.id])
    assert world.rows("access") == []
    row = world.rows("guilds")[0]
    assert (row["plex_server_id_envelope"], row["plex_server_name_envelope"]) == (None, None)
    assert deeds(world).count("plex_chosen") == 2


async def test_what_a_plex_server_will_mean_is_shown_before_anything_happens_and_can_be_left(world: World) -> None:
    role = await host(world)
    before = world.rows("guilds"), deeds(world)
    response = await ask_for_plex_servers(world)
    preview = await pick(world, response, options(response)["Basement"])
    text = Card(preview).text
    assert f"is a member of the Plex server *Basement* gets <@&{role.id}>" in text
    assert f"loses <@&{role.id}> an hour later" in text
    assert "Nobody loses it before Plex was asked" in text
    assert list(Card(preview).buttons) == ["Apply", "Back"]
    assert "Everybody who has linked" in Card(await press(world, preview, "Back")).text
    assert (world.rows("guilds"), deeds(world)) == before
    await reserve(world)
    before = world.rows("guilds"), deeds(world)
    preview = await press(world, await show_setup(world), "Everybody who has linked")
    assert f"Every member here who has linked a Plex account gets <@&{role.id}>" in Card(preview).text
    assert "Only members of the Plex server *Basement*" in Card(await press(world, preview, "Back")).text
    assert (world.rows("guilds"), deeds(world)) == before


async def test_where_no_role_is_applied_yet_the_preview_says_for_which_one_it_is(world: World) -> None:
    share(world, HOST, owned=True)
    await world.link(world.owner, HOST)
    response = await choose(world, await show_setup(world), "role", make_role(world))
    response = await press(world, response, "Only members of a Plex server…")
    preview = await pick(world, response, options(response)["Basement"])
    assert "it is for the one that you choose and apply next" in Card(preview).text
    response = await press(world, preview, "Apply")
    assert "**Who gets it** · saved ✓\nOnly members of the Plex server *Basement*" in Card(response).text
    assert "Home \\*Cinema\\* · saved" not in Card(response).text, "the role is not"
    await press(world, response, "Apply")
    share(world, ALICE)
    await world.link()
    assert len(roles_of(world, world.alice)) == 1


async def test_a_rule_is_applied_shown_as_saved_and_undone(world: World) -> None:
    role = await host(world, "Basement", "Cellar")
    await world.link()
    saved = await reserve(world)
    assert "saved ✓" in Card(saved).text
    undone = await press(world, saved, "Undo")
    assert "Everybody who has linked." in Card(undone).text
    assert roles_of(world, world.alice) == [role.id]
    assert "*Basement*" in Card(await press(world, undone, "Undo")).text, "it is undone as well"
    await world.advance(1)
    assert "*Cellar*" in Card(await reserve(world, "Cellar")).text
    opened = await open_to_all(world)
    await world.restart()
    await world.advance(61)
    assert "Only members of the Plex server *Cellar*" in Card(await press(world, opened, "Undo")).text
    chosen = [row["detail"] for row in world.rows("audit") if row["deed"] == "plex_chosen"]
    assert chosen == ["members_only", None, "members_only", "members_only", None, "members_only"]


async def test_what_was_chosen_since_a_card_was_drawn_is_shown_and_stays(world: World) -> None:
    await host(world, "Basement", "Cellar")
    await reserve(world)
    opened = await open_to_all(world)
    await world.advance(1)
    response = await ask_for_plex_servers(world)
    preview = await pick(world, response, options(response)["Basement"])
    await world.advance(1)
    await reserve(world, "Cellar")
    rows, deeds_before = world.rows("guilds"), deeds(world)
    for old, button in ((opened, "Undo"), (preview, "Apply")):
        card = Card(await press(world, old, button))
        assert "Only members of the Plex server *Cellar*" in card.text
        assert "Undo" not in card.buttons
    assert (world.rows("guilds"), deeds(world)) == (rows, deeds_before)


async def test_only_its_owner_brings_a_plex_server_back(world: World) -> None:
    role = await hosted(world)
    helper = await a_helper_above(world, role)
    opened = await open_to_all(world, owner=helper)
    assert "Link your own Plex account first" in Card(await press(world, opened, "Undo", owner=helper)).text
    opened = await press(world, opened, "Back", owner=helper)
    share(world, account_of("helper"), "Attic", owned=True)
    await world.link(helper, account_of("helper"))
    await reserve(world)
    opened = await open_to_all(world, owner=helper)
    answer = Card(await press(world, opened, "Undo", owner=helper)).text
    assert "Only the owner of a Plex server can choose it, or bring it back" in answer
    assert world.rows("guilds")[0]["plex_server_id_envelope"] is None


async def test_what_cannot_be_read_cannot_be_brought_back(world: World) -> None:
    await hosted(world)
    world.write("UPDATE plexlink_guilds SET plex_server_id_envelope = plex_server_name_envelope")
    assert list(Card(await open_to_all(world)).buttons)[-1] == "Apply"


async def test_another_role_goes_to_whom_the_first_one_was_for(world: World) -> None:
    await hosted(world)
    share(world, ALICE)
    bob = world.join("bob")
    await world.link()
    await world.link(bob, account_of("bob"))
    another = make_role(world, "Another")
    await set_up(world, another)
    assert (roles_of(world, world.alice), roles_of(world, bob)) == ([another.id], [])


async def test_only_what_is_the_owners_own_is_offered_and_what_is_not_is_refused(world: World) -> None:
    share(world, HOST, "Attic")
    await host(world, "Basement", "Cellar")
    response = await ask_for_plex_servers(world)
    offered = options(response)
    assert list(offered) == ["Basement", "Cellar"]
    stored = world.env.backend.get_message(response.channel_id, response.id)
    assert "machine-of" not in str(stored.components)
    select = next(each for each in Card(stored).parts if each.get("type") == 3)
    handles = {
        name: world.env.bot.get_cog("PlexLink").desk.links._ledger._store._vault.sign(  # type: ignore[attr-defined]
            "plex_server", world.guild.id, world.owner.id, f"machine-of-{name.lower()}"
        )[:HANDLE_LENGTH]
        for name in ("Attic", "Cellar")
    }
    assert handles["Cellar"] == offered["Cellar"]
    for forged in (handles["Attic"], "machine-of-basement", "x"):
        select["options"][0]["value"] = forged
        answer = await pick(world, response, forged)
        assert "no Plex server of yours" in Card(answer).text
        applied = await press_forged(world, await show_setup(world), f"plexadmin:rule:0:0:{handles['Attic']}:0")
        assert "no Plex server of yours" in applied.text
        await world.advance(1)
        response = (await world.owner.click(answer, label="Ask Plex again")).response
        stored = world.env.backend.get_message(response.channel_id, response.id)
        select = next(each for each in Card(stored).parts if each.get("type") == 3)
    assert world.rows("guilds")[0]["plex_server_id_envelope"] is None


async def test_what_was_offered_to_one_owner_is_nothing_in_the_hands_of_another(world: World) -> None:
    role = await host(world)
    response = await ask_for_plex_servers(world)
    handle = options(response)["Basement"]
    helper = await a_helper_above(world, role)
    share(world, account_of("helper"), "Attic", owned=True)
    share(world, account_of("helper"), "Basement", owned=True)
    await world.link(helper, account_of("helper"))
    card = await ask_for_plex_servers(world, helper)
    select = next(
        each for each in Card(world.env.backend.get_message(card.channel_id, card.id)).parts if each.get("type") == 3
    )
    select["options"][0]["value"] = handle
    answer = await pick(world, card, handle, owner=helper)
    assert "no Plex server of yours" in Card(answer).text
    applied = await press_forged(world, await show_setup(world, helper), f"plexadmin:rule:0:0:{handle}:0", helper)
    assert "no Plex server of yours" in applied.text


async def test_who_sold_the_plex_server_meanwhile_cannot_choose_it_after_a_minute(world: World) -> None:
    await host(world)
    response = await ask_for_plex_servers(world)
    preview = await pick(world, response, options(response)["Basement"])
    part_from(world, HOST)
    await world.advance(61)
    assert "no Plex server of yours" in Card(await press(world, preview, "Apply")).text
    assert world.rows("guilds")[0]["plex_server_id_envelope"] is None


async def test_an_owner_without_a_link_is_told_to_link_first(world: World) -> None:
    await set_up(world, make_role(world))
    response = await ask_for_plex_servers(world)
    assert "Link your own Plex account first" in Card(response).text
    assert list(Card(response).buttons) == ["Link your Plex account", "Back"]
    setup = (await world.owner.click(response, label="Back")).response
    assert "Who gets it" in Card(setup).text
    answer = await ask_for_plex_servers(world)
    await world.owner.click(answer, label="Link your Plex account")
    assert len(world.plex.pins) == 1


async def test_an_owner_whose_link_has_stopped_working_is_told_to_link_too(world: World) -> None:
    await host(world)
    response = await ask_for_plex_servers(world)
    preview = await pick(world, response, options(response)["Basement"])
    world.write("UPDATE plexlink_links SET verdict = 'dead', rejected_at = linked_at")
    assert "Link your own Plex account first" in Card(await press(world, preview, "Apply")).text
    assert world.rows("guilds")[0]["plex_server_id_envelope"] is None


async def test_a_forged_press_that_picks_nothing_chooses_nothing(world: World) -> None:
    await host(world)
    answer = await press_forged(world, await show_setup(world), "plexadmin:plex-server:0:0")
    assert "no Plex server of yours" in answer.text
    assert world.rows("guilds")[0]["plex_server_id_envelope"] is None


async def test_an_owner_without_a_plex_server_is_told_so(world: World) -> None:
    await set_up(world, make_role(world))
    share(world, HOST, "Attic")
    await world.link(world.owner, HOST)
    assert "No Plex server is yours" in Card(await ask_for_plex_servers(world)).text


async def test_while_plex_wants_to_be_left_alone_an_owner_is_told_at_once(world: World) -> None:
    await host(world)
    world.plex.fail(RateLimited(retry_after=600), calls="resources")
    assert "Plex does not tell" in Card(await ask_for_plex_servers(world)).text
    before = asked(world)
    assert "Plex does not tell" in Card(await ask_for_plex_servers(world)).text
    assert asked(world) == before


@pytest.mark.parametrize("action", ["plex", "everybody", "plex-server", "rule"])
async def test_who_may_not_manage_the_server_any_more_chooses_no_plex_server(world: World, action: str) -> None:
    role = await hosted(world)
    helper = await a_helper_above(world, role)
    share(world, account_of("helper"), "Attic", owned=True)
    await world.link(helper, account_of("helper"))
    is_pick = action == "plex-server"
    card = await (ask_for_plex_servers(world, helper) if is_pick else show_setup(world, helper))
    if action == "rule":
        card = await press(world, card, "Everybody who has linked", owner=helper)
    (helpers_id,) = roles_of(world, helper)
    world.env.backend.remove_member_role(world.guild.id, helper.id, helpers_id)
    before = world.rows("guilds"), asked(world)
    if is_pick:
        result = await helper.select(card, [options(card)["Attic"]], custom_id=part(card, action))
    else:
        result = await helper.click(card, custom_id=part(card, action))
    assert "who may manage this server" in Card(result.response).text
    assert (world.rows("guilds"), asked(world)) == before


@pytest.mark.parametrize("action", ["everybody", "plex-server", "rule"])
async def test_nobody_lets_others_have_a_role_that_is_not_below_their_own(world: World, action: str) -> None:
    role = await hosted(world)
    helpers = make_role(world, "Helpers", manage_guild=True)
    stack_roles(world, helpers, role)
    helper = world.join("helper")
    world.env.backend.add_member_role(world.guild.id, helper.id, helpers.id)
    await world.env.settle()
    for name in ("Attic", "Basement"):
        share(world, account_of("helper"), name, owned=name == "Attic")
    share(world, ALICE, "Attic")
    await world.link(helper, account_of("helper"))
    await world.link()
    if action == "everybody":
        answer = await press(world, await show_setup(world, helper), "Everybody who has linked", owner=helper)
    elif action == "plex-server":
        card = await ask_for_plex_servers(world, helper)
        answer = await pick(world, card, options(card)["Attic"], owner=helper)
    else:
        stack_roles(world, role, helpers)
        await world.env.settle()
        preview = await press(world, await show_setup(world, helper), "Everybody who has linked", owner=helper)
        stack_roles(world, helpers, role)
        await world.env.settle()
        answer = await press(world, preview, "Apply", owner=helper)
    await world.advance(10)
    assert "not below your own highest role" in Card(answer).text
    assert roles_of(world, world.alice) == []
    setup = await press(world, answer, "Back", owner=helper)
    assert "Only members of the Plex server *Basement*" in Card(setup).text
    await open_to_all(world)
    await world.advance(2)
    assert roles_of(world, world.alice) == [role.id]


async def test_a_name_of_a_plex_server_can_do_no_harm(world: World) -> None:
    name = "**[x](https://evil.example)** @everyone\u202e"
    share(world, HOST, name, owned=True)
    await set_up(world, make_role(world))
    await world.link(world.owner, HOST)
    response = await ask_for_plex_servers(world)
    (label,) = options(response)
    assert "\u202e" not in label
    await world.advance(1)
    response = await reserve(world, label)
    assert r"\*\*\[x\]\(https\:\/\/evil\.example\)\*\*" in Card(response).text
    await world.link()
    assert r"\*\*\[x\]" in world.card().text


async def test_two_servers_with_different_plex_servers_do_not_disturb_each_other(world: World) -> None:
    other_host = account_of("other host")
    share(world, ALICE, "Attic", owner=other_host)
    role = await hosted(world)
    with in_another_server(world):
        share(world, other_host, "Attic", owned=True)
        there = make_role(world)
        await set_up(world, there)
        await world.link(world.owner, other_host)
        await reserve(world, "Attic")
        alice = world.guild.add_member(world.alice.user)
        other = world.guild
    await world.link()
    before = asked(world)
    await world.advance(10)
    assert asked(world) == before
    assert roles_of(world, world.alice) == []
    assert list(world.env.backend.get_member(other.id, alice.id).role_ids) == [there.id]
    text = world.card().text
    assert "for members of the Plex server *Basement* only" in text
    assert "added in *Other place* ✓" in text
    share(world, ALICE, "Basement")
    await check_daily(world)
    assert roles_of(world, world.alice) == [role.id]


async def test_a_plex_server_that_cannot_be_read_gives_and_takes_nothing(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    await world.link()
    with in_another_server(world):
        await set_up(world, make_role(world))
    first, second = (row["id"] for row in world.rows("guilds"))
    here, there = (first, second) if first == world.guild.id else (second, first)
    row = next(row for row in world.rows("guilds") if row["id"] == here)
    world.write(
        "UPDATE plexlink_guilds SET plex_server_id_envelope = ?, plex_server_name_envelope = ? WHERE id = ?",
        row["plex_server_name_envelope"],
        row["plex_server_id_envelope"],
        here,
    )
    part_from(world, ALICE)
    before = asked(world)
    await check_daily(world)
    assert roles_of(world, world.alice) == [role.id]
    assert asked(world) == before
    assert "a Plex server that I cannot read any more" in Card(await show_setup(world)).text
    assert there


# --- beside other rules ---


async def test_who_was_refused_the_role_stays_refused_whatever_plex_says(world: World) -> None:
    role = await hosted(world)
    share(world, ALICE)
    await world.link()
    response = (await world.owner.slash(world.channel, "plexadmin unlink", member=world.alice)).response
    await world.owner.click(response, label="Take the role away")
    await check_daily(world)
    assert roles_of(world, world.alice) == []
    response = (await world.owner.slash(world.channel, "plexadmin find", member=world.alice)).response
    await world.owner.click(response, label="Give the role back")
    await world.advance(2)
    assert roles_of(world, world.alice) == [role.id]


async def test_the_role_is_not_given_back_to_whom_it_is_not_for(world: World) -> None:
    await hosted(world)
    await world.link()
    response = (await world.owner.slash(world.channel, "plexadmin unlink", member=world.alice)).response
    await world.owner.click(response, label="Take the role away")
    response = (await world.owner.slash(world.channel, "plexadmin find", member=world.alice)).response
    await world.owner.click(response, label="Give the role back")
    await world.advance(2)
    await world.alice.slash(world.channel, "plexstatus")
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert roles_of(world, world.alice) == []


async def test_a_crash_after_choosing_loses_nobody(world: World) -> None:
    role = await host(world)
    await world.link()
    await reserve(world)
    world.write("DELETE FROM plexlink_access")
    await world.restart()
    await world.advance(301)
    row = access(world)
    assert row is not None
    assert row["lost_at"] is not None
    assert roles_of(world, world.alice) == [role.id]


async def test_a_restart_while_a_loss_waits_for_its_hour_does_not_forget_it(world: World) -> None:
    await hosted(world)
    share(world, ALICE)
    await world.link()
    await lose(world)
    await world.restart()
    await backdate(world, "access", "lost_at", hours=1)
    assert roles_of(world, world.alice) == []


async def test_who_unlinks_or_leaves_is_forgotten(world: World) -> None:
    await hosted(world)
    share(world, ALICE)
    await world.link()
    await unlink(world)
    assert access(world) is None
    await world.link()
    assert access(world) is not None
    world.guild.remove_member(world.alice)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert access(world) is None


async def test_all_is_forgotten_with_the_server(world: World) -> None:
    await hosted(world)
    await throw_out(world)
    await invite_again(world)
    assert world.rows("access")
    await throw_out(world)
    await backdate(world, "guilds", "left_at", hours=30 * 24)
    assert (world.rows("access"), world.rows("guilds")) == ([], [])


# --- what is kept ---


async def test_what_is_known_is_exported_and_deleted(world: World) -> None:
    await hosted(world)
    share(world, ALICE)
    share(world, ALICE, "Attic")
    await world.link()
    plexlink: Any = world.env.bot.get_cog("PlexLink")
    exported = await plexlink.desk.links.export(world.alice.id)
    (row,) = exported["plex_server_members"]
    assert (row["discord_server_id"], row["is_member_of_its_plex_server"]) == (str(world.guild.id), True)
    assert "Attic" not in str(exported)
    response = (await world.alice.slash(world.channel, "plexprivacy")).response
    question = (await world.alice.click(response, label="Delete everything")).response
    await world.alice.click(question, label="Delete everything")
    await world.advance(2 * HOUR)
    assert access(world) is None
    assert [row for row in memberships(world) if row[0] == world.alice.id] == []


async def test_nothing_of_any_plex_server_stands_open_in_the_database_and_nothing_at_all_of_others(
    world: World,
) -> None:
    for name in ("Attic", "Garage"):
        share(world, ALICE, name)
        share(world, HOST, name, owned=True)
    await hosted(world)
    share(world, ALICE)
    await world.link()
    await check_daily(world)
    files = [path.read_bytes() for path in world.data_dir.glob("plexlink.sqlite3*")]
    for name in ("Basement", "Attic", "Garage"):
        for text in (name, f"machine-of-{name.lower()}", f"of-{name}"):
            assert not any(text.encode() in content for content in files), text
    sealed = {column: value for column, value in world.rows("guilds")[0].items() if column.endswith("_envelope")}
    assert set(sealed) == {"plex_server_id_envelope", "plex_server_name_envelope"}
    assert {name: sorted(row) for name in ["access"] for row in world.rows(name)} == {
        "access": ["checked_at", "guild_id", "has_access", "is_held", "lost_at", "user_id"]
    }
