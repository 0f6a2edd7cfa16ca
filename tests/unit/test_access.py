"""What is known of a member of a Plex server after an answer: a pure function of what was known and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plexlink.community import Access
from plexlink.entitlements import is_admitted
from plexlink.work.access import KEPT, told

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def known(*, has_access: bool = True, lost_at: datetime | None = None, is_held: bool = False) -> Access:
    return Access(guild_id=1, user_id=2, has_access=has_access, checked_at=NOW, lost_at=lost_at, is_held=is_held)


@pytest.mark.parametrize(
    "before", [known(), known(has_access=False), known(lost_at=NOW), known(lost_at=NOW, is_held=True)]
)
def test_a_yes_counts_at_once_and_wipes_out_every_no(before: Access) -> None:
    later = NOW + KEPT
    assert told(before, later, has_access=True) == Access(guild_id=1, user_id=2, has_access=True, checked_at=later)


def test_who_had_no_access_has_none_after_a_no_and_has_lost_nothing() -> None:
    after = told(known(has_access=False), NOW, has_access=False)
    assert (after.has_access, after.lost_at) == (False, None)


def test_the_first_no_takes_nothing_and_is_remembered_through_others() -> None:
    first = told(known(), NOW, has_access=False)
    assert (first.has_access, first.lost_at) == (True, NOW)
    second = told(first, NOW + KEPT - INSTANT, has_access=False)
    assert (second.has_access, second.lost_at, second.checked_at) == (True, NOW, NOW + KEPT - INSTANT)
    assert told(second, NOW + KEPT, has_access=False).has_access is False


def test_what_is_held_is_lost_by_no_answer_however_late() -> None:
    after = told(known(lost_at=NOW, is_held=True), NOW + timedelta(days=30), has_access=False)
    assert (after.has_access, after.lost_at, after.is_held) == (True, NOW, True)


@pytest.mark.parametrize("has_role", [True, False])
def test_who_was_not_asked_about_keeps_what_they_have(has_role: bool) -> None:  # noqa: FBT001 - a test's own parameter
    assert is_admitted(None, has_role=has_role) is has_role
    assert is_admitted(known(), has_role=has_role)
    assert not is_admitted(known(has_access=False), has_role=has_role)
