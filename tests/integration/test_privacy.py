"""/plexprivacy: what is stored, a copy of it, and an end to it."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from accounts import account_of
from harness import Card
from plexlink.store import tables
from plexlink_bot.sandbox.plex_tv import ServerError
from servers import make_role, reserve, set_up, share, withdraw

if TYPE_CHECKING:
    from harness import World


async def privacy(world: World) -> Any:
    return (await world.alice.slash(world.channel, "plexprivacy")).response


async def forget(world: World) -> Any:
    response = await world.alice.click(await privacy(world), label="Delete everything")
    return await world.alice.click(response.response, label="Delete everything")


async def moved_to_bob(world: World) -> Any:
    """Let Alice link her account, and Bob move it to himself; return Bob."""
    await world.link()
    bob = world.join("bob")
    await world.plexlink(bob)
    world.approve()
    await world.advance(6)
    await world.press("Move it here", bob)
    await world.advance(6)
    return bob


def exported(world: World, message: Any) -> dict[str, Any]:
    """The file that came with a message."""
    (attachment,) = message.attachments
    is_plain = isinstance(attachment, dict)
    assert (attachment["filename"] if is_plain else attachment.filename) == "plexlink-export.json"
    cdn: Any = world.env.backend.cdn
    content: dict[str, Any] = json.loads(cdn.get(attachment["url"] if is_plain else attachment.url))
    return content


def mentions(world: World, user_id: int) -> dict[str, int]:
    """In how many rows of each table a member is named."""
    with closing(sqlite3.connect(world.data_dir / "plexlink.sqlite3")) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "user_id" in {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        ]
        counts = {
            name: connection.execute(f"SELECT count(*) FROM {name} WHERE user_id = ?", [user_id]).fetchone()[0]  # noqa: S608 - names of our own
            for name in names
        }
    return {name: count for name, count in counts.items() if count}


async def test_the_card_says_what_why_how_long_and_who(world: World) -> None:
    card = Card(await privacy(world))
    for word in ("token", "encrypted", "365 days", "24 hours", "Who can read it"):
        assert word in card.text
    assert list(card.buttons) == ["Export", "Delete everything"]


async def test_everything_deleted_leaves_the_bare_fact(world: World) -> None:
    token = await world.link()
    await world.env.bot.get_cog("PlexLink").token_for(world.alice.id, purpose="watchlist")
    await forget(world)
    await world.advance(5)
    assert mentions(world, world.alice.id) == {"plexlink_audit": 1}
    (row,) = world.rows("audit")
    assert (row["deed"], row["detail"]) == ("forgotten", None)
    assert not world.plex.is_alive(token)
    assert "alice" not in world.card().text
    assert "Deleted" in world.card().text


async def test_an_open_code_is_ended_and_leaves_the_card_and_the_database(world: World) -> None:
    await world.plexlink()
    code = world.pin().code
    await forget(world)
    await world.advance(2)
    card = world.card()
    assert code not in str(card.parts)
    assert card.attachments == []
    assert set(mentions(world, world.alice.id)) == {"plexlink_leftovers", "plexlink_audit"}
    await world.advance(900)
    assert mentions(world, world.alice.id) == {"plexlink_audit": 1}


async def test_an_approved_code_is_signed_out(world: World) -> None:
    await world.plexlink()
    world.plex.fail(ServerError(503), calls="user", times=None)
    token = world.approve()
    await world.advance(6)
    assert "Asking Plex who you are" in world.card().text
    await forget(world)
    world.plex.heal()
    await world.advance(60)
    assert not world.plex.is_alive(token)
    assert "Deleted" in world.card().text
    assert mentions(world, world.alice.id) == {"plexlink_audit": 1}


async def test_who_deletes_everything_again_and_again_gets_no_more_codes_for_it(world: World) -> None:
    for _ in range(5):
        assert "Too many tries" not in Card((await world.plexlink()).response).text
        await forget(world)
        await world.advance(1)
    assert "Too many tries" in Card((await world.plexlink()).response).text
    assert len(world.plex.pins) == 5
    await world.advance(601)
    assert "Too many tries" not in Card((await world.plexlink()).response).text


async def test_what_a_forgotten_member_did_to_another_stays_in_that_ones_list(world: World) -> None:
    bob = await moved_to_bob(world)
    response = (await bob.slash(world.channel, "plexprivacy")).response
    question = await bob.click(response, label="Delete everything")
    await bob.click(question.response, label="Delete everything")
    await world.advance(6)
    assert mentions(world, bob.id) == {"plexlink_audit": 1}
    assert not [row for row in world.rows("audit") if row["actor_id"] == bob.id and row["deed"] != "forgotten"]
    await world.alice.click(await privacy(world), label="Export")
    entries = [(entry["who"], entry["did"]) for entry in exported(world, world.messages()[-1])["audit"]]
    assert entries == [("you", "linked"), ("another member", "moved")]


async def test_a_waiting_sign_out_goes_when_it_is_done(world: World) -> None:
    token = await world.link()
    world.plex.fail(ServerError(503), times=None)
    await forget(world)
    assert set(mentions(world, world.alice.id)) == {"plexlink_audit", "plexlink_sign_outs", "plexlink_notices"}
    world.plex.heal()
    await world.advance(120)
    assert not world.plex.is_alive(token)
    assert set(mentions(world, world.alice.id)) == {"plexlink_audit"}


async def test_who_is_unknown_leaves_nothing_behind_by_asking(world: World) -> None:
    result = await forget(world)
    assert "Nothing is stored" in Card(result.response).text
    assert mentions(world, world.alice.id) == {}


async def test_a_restart_in_between_still_deletes_the_attempts(world: World) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=500, times=None)
    await forget(world)
    await world.stop()
    world.open_dms()
    await world.start()
    await world.advance(310)
    assert "Deleted" in world.card().text
    assert not world.rows("attempts")


async def test_who_links_again_after_that_starts_afresh(world: World) -> None:
    await world.link()
    await forget(world)
    await world.advance(5)
    await world.press("Link again")
    token = world.approve()
    await world.advance(6)
    assert await world.stored_token() == token


async def test_the_export_comes_by_direct_message_and_holds_everything_but_credentials(world: World) -> None:
    token = await world.link()
    await world.env.bot.get_cog("PlexLink").token_for(world.alice.id, purpose="watchlist")
    result = await world.alice.click(await privacy(world), label="Export")
    assert "I sent you a file" in Card(result.followups[0]).text
    export = exported(world, world.messages()[-1])
    assert export["discord_user_id"] == str(world.alice.id)
    assert export["link"]["plex_account_name"] == "alice"
    assert [attempt["state"] for attempt in export["attempts"]] == ["linked"]
    assert [(entry["who"], entry["did"], entry["detail"]) for entry in export["audit"]] == [
        ("you", "linked", None),
        ("the bot", "used", "watchlist"),
    ]
    for secret in (token, world.pin().client_identifier, str(world.pin().id), world.pin().code):
        assert secret not in json.dumps(export)
    assert [row["deed"] for row in world.rows("audit")] == ["linked", "used", "exported"]


async def test_a_very_large_export_comes_packed(world: World) -> None:
    await world.link()
    many = 60_000
    world.write(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO plexlink_audit "
        "(at, deed, user_id, detail) SELECT '2026-01-01T00:00:00.000000+00:00', 'used', ?, 'watchlist' FROM n",
        *(many, world.alice.id),
    )
    await world.alice.click(await privacy(world), label="Export")
    (attachment,) = world.messages()[-1].attachments
    assert attachment["filename"] == "plexlink-export.json.gz"
    packed = world.env.backend.cdn.get(attachment["url"])
    assert len(packed) < 2**20
    assert len(json.loads(gzip.decompress(packed))["audit"]) == many + 1


async def test_the_export_is_an_answer_of_its_own_where_messages_are_closed(world: World) -> None:
    await world.link()
    response = await privacy(world)
    world.close_dms()
    result = await world.alice.click(response, label="Export")
    (answer,) = result.followups
    assert answer.ephemeral
    assert exported(world, answer)["link"]["plex_account_name"] == "alice"


async def test_the_export_of_who_is_unknown_is_empty(world: World) -> None:
    await world.alice.click(await privacy(world), label="Export")
    export = exported(world, world.messages()[-1])
    assert export["link"] is None
    assert export["attempts"] == export["audit"] == export["waiting_sign_outs"] == []
    assert not world.rows("audit")


async def test_the_export_does_not_name_the_other_member_of_a_move(world: World) -> None:
    bob = await moved_to_bob(world)
    await world.alice.click(await privacy(world), label="Export")
    export = exported(world, world.messages()[-1])
    assert str(bob.id) not in json.dumps(export)
    assert ("another member", "moved", "you") in [
        (entry["who"], entry["did"], entry["to"]) for entry in export["audit"]
    ]


SECTIONS = {
    "attempts": "attempts",
    "links": "link",
    "sign_outs": "waiting_sign_outs",
    "leftovers": "given_up_codes",
    "notices": "notices",
    "audit": "audit",
    "members": "servers",
    "withdrawals": "withdrawn_roles",
    "access": "plex_server_members",
}
"""Where in the export the rows of a table are."""


HELD_BACK = {
    "account_lookup": "a keyed hash of the account's number, which is there",
    "signature": "of the row",
    "attempt_id": "the attempt is there",
    "id": "of the row",
    "user_id": "at the top",
}


NOT_THEIRS = {
    "guilds": "of a server; who has chosen last (`chosen_by`) finds it among those that they set up",
    "numbers": "of nobody",
    "processes": "of nobody",
    "tenure": "of nobody",
    "keys": "of nobody",
}


EXPORTED_AS = {
    "guild_id": "discord_server_id",
    "device_name": "device_name_at_plex",
    "deadline_at": "ends_at",
    "shown_state": "shown_to_you",
    "shown": "shown_to_you",
    "is_held": "is_held_back",
    "answer_message_id": "answer_id",
    "answer_at": "answered_at",
    "verdict": "believed_to_be",
    "finding": "check_result",
    "rejected_at": "refused_since",
    "actor_id": "who",
    "is_wanted": "is_to_be_yours",
    "cause": "because",
    "consent": "is_name_shown_to_server_owners",
    "deed": "did",
    "has_access": "is_member_of_its_plex_server",
}


def names_of(export: dict[str, Any], section: str) -> set[str]:
    """What is told of each row of a section, of which there must be one."""
    content = export[section]
    rows = content if isinstance(content, list) else [content]
    return set().union(*(set(row) for row in rows if row is not None))


async def test_the_export_holds_every_column_of_every_table_that_is_about_a_member(world: World) -> None:
    """A new column is exported, or it is said above why not."""
    plexlink: Any = world.env.bot.get_cog("PlexLink")
    await set_up(world, make_role(world))
    share(world, account_of("host"), owned=True)
    await world.link(world.owner, account_of("host"))
    await reserve(world)
    await world.link()
    await withdraw(world)
    exports = [await plexlink._desk.links.export(world.alice.id)]
    world.plex.fail(ServerError(503), calls="sign_out", times=None)
    response = (await world.alice.slash(world.channel, "plexunlink")).response
    await world.alice.click(response, label="Unlink")
    await world.plexlink()
    await world.press("Cancel")
    exports.append(await plexlink._desk.links.export(world.alice.id))
    tables_by_name = {name.removeprefix("plexlink_"): table for name, table in tables.metadata.tables.items()}
    assert tables_by_name.keys() - NOT_THEIRS.keys() == SECTIONS.keys()
    for name, section in SECTIONS.items():
        columns = {column.name for column in tables_by_name[name].c if not column.name.endswith("_envelope")}
        told = set().union(*(names_of(export, section) for export in exports))
        assert {EXPORTED_AS.get(column, column) for column in columns - HELD_BACK.keys()} - told == set(), section
    owners = await plexlink._desk.links.export(world.owner.id)
    assert owners["servers_set_up_by_you"] == [str(world.guild.id)]


async def test_what_waits_to_be_told_says_of_which_server_it_is(world: World) -> None:
    await set_up(world, make_role(world))
    await world.link()
    world.close_dms()
    await withdraw(world)
    (notice,) = (await world.env.bot.get_cog("PlexLink")._desk.links.export(world.alice.id))["notices"]
    assert (notice["topic"], notice["discord_server_id"]) == ("role_withdrawn", str(world.guild.id))
