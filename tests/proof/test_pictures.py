"""What `make pictures` takes pictures of, without taking them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from simcord.components import walk_components

from pictures import SHEETS, outcomes, setups
from plexlink.community import Objection
from plexlink.linking import Begun, PressOutcome, StartOutcome
from plexlink.links import Done, LinkOutcome
from plexlink.models import Card

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_every_card_has_its_picture() -> None:
    names = [shot.name for give in SHEETS.values() for shot in give(NOW, "https://plex.tv")]
    assert len(names) == len(set(names))
    for card in Card:
        assert any(name.startswith(card) for name in names)


def test_every_answer_beside_a_card_has_its_picture() -> None:
    shown_by_the_card = {Begun, Done}
    assert {type(outcome) for outcome in outcomes(NOW).values()} == (
        {*get_args(StartOutcome), *get_args(PressOutcome), *get_args(LinkOutcome)} - shown_by_the_card
    )


def apply_in(view: Any) -> dict[str, Any]:
    """The button of an owner's card that applies what is chosen."""
    return next(part for part in walk_components(view.to_components()) if ":apply:" in part.get("custom_id", ""))


@pytest.mark.parametrize("why", [*Objection, "closed"])
async def test_a_card_that_is_refused_is_pictured_with_nothing_to_press(why: str) -> None:
    pictured = {shot.name: shot.view for shot in setups(NOW, "https://plex.tv")}
    assert apply_in(pictured[f"setup-{why}"])["disabled"]
    assert not apply_in(pictured["setup-chosen"])["disabled"]
