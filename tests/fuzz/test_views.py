"""Cards: whatever strangers call themselves, a card is one that Discord takes and says only what we wrote."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

import discord
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from plexlink.audit import AuditEntry, Deed
from plexlink.links import Status
from plexlink.models import Attempt, AttemptCard, Card, Lane, Link, Note, Place, Reason, State
from plexlink.plex import OFFICIAL, PinStyle, device_name, header_text, verification_url
from plexlink.secret import Secret
from plexlink.surface import messages, views

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

MARKS = ["*", "_", "~~", "||", "`", "```", "[", "](", ")", "<@1>", "@everyone", "<#1>", "<t:0:R>", "\\", "#", ">", "-#"]
ODD = ["\u200b", "\u202e", "\u2066", "\ud800", "\x00", "\n", "\u2028", "\ufeff", "\u0301", "\U0001f600", "\u3164", " "]
LINKS = ["https://planted.example", "discord.gg/x", "[a](https://planted.example)", "<https://planted.example>"]

strangers = (
    st.lists(st.sampled_from(MARKS + ODD + LINKS) | st.text(max_size=4), max_size=12).map("".join)
    | st.text()
    | st.sampled_from([each * 10_000 for each in [*MARKS, *ODD, "a"]])
)
codes = st.from_regex(r"[A-Za-z0-9]{1,64}", fullmatch=True)
attempt_ids = st.from_regex(r"[A-Za-z0-9_-]{22}", fullmatch=True)
instants = st.datetimes(timezones=st.just(UTC), max_value=datetime(2150, 1, 1), min_value=datetime(2015, 1, 1))  # noqa: DTZ001 - hypothesis adds the zone


# --- a stranger's text ---


@given(strangers)
@example("*" * 64 + "a")
@example("\\" * 65)
def test_nothing_of_a_name_is_more_than_letters(text: str) -> None:
    shown = messages.name(text)
    assert re.fullmatch(r"(?:[^!-/:-@\[-`{-~]|\\[!-/:-@\[-`{-~])*", shown), "every mark has its backslash"
    assert not any(unicodedata.category(each) in INVISIBLE for each in shown)
    assert len(shown) <= 2 * 64
    assert not re.search(r"\s\s|^\s|\s$|[^\S ]", shown.replace("\u3000", " "))
    shown.encode()


# --- cards ---


def attempts(card: Card) -> st.SearchStrategy[Attempt]:
    return st.builds(
        Attempt,
        id=attempt_ids,
        user_id=st.integers(1, 2**63 - 1),
        guild_id=st.none() | st.integers(1, 2**63 - 1),
        device_name=st.builds(device_name, strangers, strangers),
        state=st.sampled_from(State),
        requested_at=instants,
        reason=st.none() | st.sampled_from(Reason),
        deadline_at=instants,
        client_identifier=st.uuids().map(str).map(Secret) if card is Card.WAITING else st.none(),
        user_code=codes.map(Secret) if card is Card.WAITING else st.none(),
        shown_state=st.none() | st.sampled_from(Card),
        place=st.builds(Place, lane=st.none() | st.sampled_from(Lane)),
    )


def showings(card: Card) -> st.SearchStrategy[AttemptCard]:
    return st.builds(
        AttemptCard,
        attempt=attempts(card),
        card=st.just(card),
        account_name=st.none() | strangers.map(Secret),
        note=st.none() | st.sampled_from(Note),
        ready_at=st.none() | instants,
    )


def urls(base: str, attempt: Attempt, style: PinStyle, product: str) -> Secret | None:
    if attempt.user_code is None or attempt.client_identifier is None:
        return None
    url = verification_url(
        base_url=base,
        style=style,
        user_code=attempt.user_code,
        client_identifier=attempt.client_identifier,
        product=product,
    )
    return Secret(url)


def layout(
    showing: AttemptCard, *, product: str, origin: str | None, style: PinStyle, is_ephemeral: bool
) -> views.CardView:
    base = "https://" + "x" * (128 - len("https://"))
    surroundings = views.Surroundings(
        url=urls(base, showing.attempt, style, product),
        product=product,
        origin=origin,
        is_short=style is PinStyle.SHORT,
        is_ephemeral=is_ephemeral,
        now=NOW,
    )
    return views.card(showing, surroundings)


def parts_of(payload: object) -> Iterator[dict[str, object]]:
    if isinstance(payload, list):
        for each in payload:
            yield from parts_of(each)
    elif isinstance(payload, dict):
        if "type" in payload:
            yield payload
        for each in payload.values():
            yield from parts_of(each)


def is_taken_by_discord(view: views.CardView) -> bool:
    """Tell whether a layout keeps the limits of Discord's components."""
    payload = view.to_components()
    json.dumps(payload, ensure_ascii=False).encode()
    parts = list(parts_of(payload))
    texts = [str(part["content"]) for part in parts if part["type"] == discord.ComponentType.text_display.value]
    buttons = [part for part in parts if part["type"] == discord.ComponentType.button.value]
    rows = [part for part in parts if part["type"] == discord.ComponentType.action_row.value]
    return (
        len(parts) <= 40
        and sum(len(text) for text in texts) <= 4000
        and all(texts)
        and all(1 <= len(str(button["label"])) <= 80 for button in buttons)
        and all(len(str(button.get("url") or "")) <= 512 for button in buttons)
        and all(views.CUSTOM_ID.fullmatch(str(button["custom_id"])) for button in buttons if "custom_id" in button)
        and all(len(row["components"]) <= 5 for row in rows if isinstance(row["components"], list))
    )


def words(view: views.CardView) -> str:
    return "\n".join(item.content for item in view.walk_children() if isinstance(item, discord.ui.TextDisplay))


@pytest.mark.parametrize("cards", [[Card.WAITING], sorted(set(Card) - {Card.WAITING})], ids=["waiting", "others"])
@given(data=st.data())
def test_no_stranger_makes_a_card_that_discord_refuses_or_that_says_more_than_ours(
    cards: list[Card], data: st.DataObject
) -> None:
    showing = data.draw(st.sampled_from(cards).flatmap(showings))
    product = header_text(data.draw(strangers)) or "PlexLink"
    origin = data.draw(st.none() | strangers)
    style, is_ephemeral = data.draw(st.sampled_from(PinStyle)), data.draw(st.booleans())
    view = layout(showing, product=product, origin=origin, style=style, is_ephemeral=is_ephemeral)
    assert is_taken_by_discord(view)
    said = words(view)
    assert "planted.example" not in said, "a dot would have its backslash"
    assert set(re.findall(r"https?://[^\s)]+", said)) <= {"https://app.plex.tv/desktop/#!/settings/devices"}
    ours = re.sub(r"\\.", "x", said)
    assert "@" not in ours
    assert "**" not in re.sub(r"\*\*[^*\n]+\*\*", "", ours), "no mark of ours stands beside nothing"
    assert not re.search(r"“\s*”|## Linked as\s+✓", said), "nobody is called nothing"


@given(strangers, instants, st.integers(1, 2**63 - 1))
def test_no_stranger_spoils_the_answer_to_a_linked_member(account_name: str, linked_at: datetime, user_id: int) -> None:
    link = Link(
        id="link",
        user_id=user_id,
        attempt_id="attempt",
        account_id=Secret("1001"),
        account_name=Secret(account_name),
        client_identifier=Secret("client"),
        token=Secret("token"),
        linked_at=linked_at,
    )
    use = AuditEntry(at=linked_at, actor_id=None, deed=Deed.USED, user_id=user_id, detail="watch_list")
    view = views.status(Status(link=link, last_use=use))
    assert is_taken_by_discord(view)
    assert not re.search(r"## Linked as\s+✓", words(view))
    assert f"plexlink:another:{user_id}" in json.dumps(view.to_components())


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.none() | st.sampled_from(Lane))
def test_a_pointer_leads_to_a_message_and_nowhere_else(channel_id: int, message_id: int, lane: Lane | None) -> None:
    view = views.pointer(Place(lane=lane, channel_id=channel_id, message_id=message_id))
    assert is_taken_by_discord(view)
    links = re.findall(r"https?://[^\"\s]+", json.dumps(view.to_components()))
    assert links == ([f"https://discord.com/channels/@me/{channel_id}/{message_id}"] if lane is Lane.DM else [])


# --- pages and pictures ---


@example(code="7RQZ", client="c", product="a b+c&code=d#e[f]", style=PinStyle.STRONG)
@given(code=st.text(max_size=64), client=st.uuids().map(str), product=strangers, style=st.sampled_from(PinStyle))
def test_a_page_gets_the_code_and_nothing_is_put_beside_it(
    code: str, client: str, product: str, style: PinStyle
) -> None:
    assume(not any(unicodedata.category(each) == "Cs" for each in code))
    product = header_text(product)
    url = verification_url(
        base_url=OFFICIAL, style=style, user_code=Secret(code), client_identifier=Secret(client), product=product
    )
    parts = urlsplit(url)
    assert re.fullmatch(r"[!-~]+", url)
    asked = parse_qsl((parts.query or parts.fragment).removeprefix("?"), keep_blank_values=True)
    if style is PinStyle.SHORT:
        assert (parts.scheme, parts.netloc, parts.path) == ("https", "plex.tv", "/link/")
        assert asked == [("pin", code)]
        return
    assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("https", "app.plex.tv", "/auth", "")
    assert asked == [("clientID", client), ("code", code), ("context[device][product]", product)]
    assert url.endswith(quote(product, safe="")), "the page reads + as a plus"
