"""What `make pictures` takes pictures of, without taking them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

from pictures import SHEETS, outcomes
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
