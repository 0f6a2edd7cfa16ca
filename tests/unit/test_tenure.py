"""Who of several processes works, as values: what a beat means for who holds the tenure and for who does not."""

from __future__ import annotations

import pytest

from plexlink.tenure import LEASE_SECONDS, MARGIN_SECONDS, Beat, Step, Tenure, next_step

RENEWED = Beat(is_renewed=True, is_vacant=False, was_away=False)
VACANT = Beat(is_renewed=False, is_vacant=True, was_away=False)
ANOTHERS = Beat(is_renewed=False, is_vacant=False, was_away=False)
JUST_NOW, LATE, TOO_LATE = 100.0, 100.0 + LEASE_SECONDS - MARGIN_SECONDS - 0.1, 100.0 + LEASE_SECONDS - MARGIN_SECONDS
HELD = Tenure(7, JUST_NOW)


@pytest.mark.parametrize(
    ("held", "beat", "at", "step"),
    [
        (HELD, RENEWED, JUST_NOW, Step.WORK_ON),
        (HELD, None, LATE, Step.WORK_ON),  # the database was silent, but the lease has not run out
        (HELD, None, TOO_LATE, Step.STOP),  # others may begin a moment later
        (HELD, RENEWED, TOO_LATE, Step.STOP),  # the answer came so late that it may be outdated
        (HELD, ANOTHERS, JUST_NOW, Step.STOP),
        (HELD, VACANT, JUST_NOW, Step.STOP),
        (None, VACANT, JUST_NOW, Step.CLAIM),
        (None, ANOTHERS, JUST_NOW, Step.STAND_BY),
        (None, None, JUST_NOW, Step.STAND_BY),  # who does not know must not begin
    ],
)
def test_a_beat_decides_who_works(held: Tenure | None, beat: Beat | None, at: float, step: Step) -> None:
    assert next_step(held, beat, at) is step


def test_a_holder_stops_by_its_own_clock_before_anybody_else_may_begin() -> None:
    assert HELD.is_good(LATE)
    assert not HELD.is_good(TOO_LATE)
    assert TOO_LATE < JUST_NOW + LEASE_SECONDS
