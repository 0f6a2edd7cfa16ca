from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import zxingcpp
from PIL import Image

from harness import Card, a_world
from plexlink_bot.sandbox.plex_tv import ALICE, BOB, KID

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World


async def test_a_member_links_from_the_command_to_the_stored_token(world: World) -> None:
    result = await world.plexlink()
    waiting = world.card()
    answer = Card(result.response)
    assert result.deferred or result.acknowledged
    assert result.ephemeral
    assert f"`{world.pin().code}`" in waiting.text
    assert answer.text == "I sent you a direct message with your code."
    assert answer.buttons["Go to the message"].endswith(f"/{waiting.id}")
    (row,) = world.rows("attempts")
    assert row["answer_token_envelope"] is None

    token = world.approve()
    await world.advance(4)

    assert "Linked as alice" in world.card().text
    assert await world.stored_token() == token
    (row,) = world.rows("attempts")
    assert (row["state"], row["shown_state"]) == ("linked", "linked")


async def test_the_waiting_card_says_what_it_must(world: World) -> None:
    await world.plexlink()
    card = world.card()
    pin = world.pin()
    assert f"<t:{int(pin.expires_at.timestamp())}:R>" in card.text
    assert r"/plexlink in *Home \*Cinema\**" in card.text
    assert "If somebody sent you a code" in card.text
    assert f"“{pin.device_name}”" in card.text.replace("\\", "")
    assert list(card.buttons) == ["Open Plex", "I've approved it", "New code", "Cancel"]
    assert card.buttons["Open Plex"] == f"{world.plex.url}/link/?pin={pin.code}"
    assert card.colour == 0xE5A00D


async def test_the_device_name_names_the_member_by_the_unique_name(world: World) -> None:
    phisher = world.guild.add_member(world.env.create_user("mallory", global_name="Plex Support"))
    await world.plexlink(phisher)
    assert world.pin().device_name == "Discord: mallory via TestBot"


async def test_plexlink_works_in_the_bots_direct_messages(world: World) -> None:
    user = world.env.create_user("dora")
    await user.slash("plexlink")
    assert "in a direct message" in world.card(user).text
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in world.card(user).text


async def test_a_strong_code_leads_to_the_auth_app(tmp_path: Path) -> None:
    async with a_world(tmp_path, pin_style="strong") as world:
        await world.plexlink()
        card = world.card()
        assert f"code={world.pin().code}" in card.buttons["Open Plex"]
        assert "security alert" in card.text
        assert _picture(world, card) == card.buttons["Open Plex"]
        world.approve()
        await world.advance(4)
        assert "Linked as alice" in world.card().text


async def test_the_code_runs_out_with_a_way_on(world: World) -> None:
    await world.plexlink()
    await world.advance(898)
    assert "ends <t:" in world.card().text
    await world.advance(4)
    expired = world.card()
    assert "The code ran out" in expired.text
    assert expired.attachments == []
    assert list(expired.buttons) == ["New code"]
    asked = world.asked()
    await world.advance(60)
    assert world.asked() == asked

    await world.press("New code")
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in world.card().text


async def test_an_approval_in_the_last_second_is_found(world: World) -> None:
    await world.plexlink()
    await world.advance(896)
    await world.advance(2.5)
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in world.card().text


async def test_fresh_attempts_are_asked_about_often_and_old_ones_rarely(world: World) -> None:
    await world.plexlink()
    await world.advance(60)
    fresh = world.asked()
    await world.advance(240)
    before = world.asked()
    await world.advance(60)
    assert 25 <= fresh <= 30
    assert 3 <= world.asked() - before <= 7


async def test_a_managed_profile_is_refused_and_signed_out(world: World) -> None:
    await world.plexlink()
    token = world.approve(KID)
    await world.advance(6)
    card = world.card()
    assert "This profile cannot be linked" in card.text
    assert list(card.buttons) == ["Try again"]
    assert not world.plex.is_alive(token)
    assert world.rows("links") == []
    assert world.rows("sign_outs") == []


async def test_a_linked_member_is_told_so_and_can_link_another_account(world: World) -> None:
    await world.plexlink()
    old = world.approve(ALICE)
    await world.advance(6)

    result = await world.plexlink()
    status = Card(result.response)
    assert "Linked as alice" in status.text
    await world.alice.click(result.response, label="Link another account")
    new = world.approve(BOB)
    await world.advance(6)

    first, second = (Card(message) for message in world.messages())
    assert "Linked as bob" in second.text
    assert "You have linked a Plex account anew since" in first.text
    assert await world.stored_token() == new
    assert not world.plex.is_alive(old)
    assert world.plex.is_alive(new)


async def test_the_old_link_stays_when_the_new_account_is_refused(world: World) -> None:
    await world.plexlink()
    old = world.approve(ALICE)
    await world.advance(6)
    result = await world.plexlink()
    await world.alice.click(result.response, label="Link another account")
    world.approve(KID)
    await world.advance(6)
    assert await world.stored_token() == old
    assert world.plex.is_alive(old)


async def test_an_account_name_can_do_no_harm_on_a_card(world: World) -> None:
    nasty = type(ALICE)(id=66, uuid="f" * 16, username="@everyone [click](https://evil.example) **x**", email="x@y.z")
    await world.plexlink()
    world.approve(nasty)
    await world.advance(6)
    shown = world.card().text.splitlines()[0]
    assert r"\@everyone \[click\]\(https\:\/\/evil\.example\) \*\*x\*\*" in shown


async def test_commands_are_synchronised_only_when_they_changed(world: World, tmp_path: Path) -> None:
    await world.restart()
    syncs = [call for call in world.env.http_requests if call.method == "PUT" and call.path.endswith("/commands")]
    assert len(syncs) == 1
    assert (tmp_path / "commands.json").exists()


async def test_the_invite_link_asks_for_commands_and_no_permission(world: World) -> None:
    url = world.env.bot.invite_url()
    assert "permissions=0" in url
    assert "scope=bot+applications.commands" in url


async def test_the_invite_link_asks_for_roles_where_the_host_wants_them(tmp_path: Path) -> None:
    async with a_world(tmp_path, roles=True) as world:
        assert f"permissions={1 << 28}" in world.env.bot.invite_url()


def _picture(world: World, card: Card) -> str:
    cdn: Any = world.env.backend.cdn
    attachment = card.attachments[0]
    url = attachment["url"] if isinstance(attachment, dict) else attachment.url
    image = Image.open(io.BytesIO(cdn.get(url)))
    return zxingcpp.read_barcodes(image)[0].text
