"""Which card of an attempt is true now, and whether its member sees that one: pure functions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from . import flow
from .models import Card, Lane, Reason, State

if TYPE_CHECKING:
    from datetime import datetime

    from .models import Answer, Attempt, Place

ANSWER_CLOSES = timedelta(minutes=14, seconds=20)
"""An ephemeral card ends itself before Discord forbids editing it, 15 minutes after the interaction."""

LATE = timedelta(seconds=15)
"""How long after its deadline an attempt may still look as if it were waiting: one question's time."""

OF_ENDS: tuple[tuple[State | None, Reason | None, Card], ...] = (
    (None, Reason.FORGOTTEN, Card.FORGOTTEN),
    (State.LINKED, Reason.UNDONE, Card.UNDONE),
    (State.LINKED, Reason.UNLINKED, Card.UNLINKED),
    (State.LINKED, Reason.REPLACED, Card.REPLACED),
    (State.LINKED, Reason.MOVED, Card.MOVED),
    (State.LINKED, None, Card.LINKED),
    (State.REFUSED, None, Card.REFUSED),
    (State.EXPIRED, None, Card.EXPIRED),
    (State.CANCELLED, None, Card.CANCELLED),
    (State.FAILED, None, Card.FAILED),
)
"""The cards of attempts that have ended: the first whose state and reason fit, where nothing fits all. The store makes
of it the question which cards are behind."""

ENDS = frozenset(card for _, _, card in OF_ENDS)


def card_for(attempt: Attempt, now: datetime) -> Card:
    """Return the card that is true now."""
    match attempt.state:
        case State.REQUESTED:
            return Card.QUEUED
        case State.PENDING:
            return _card_while_pending(attempt, now)
        case State.APPROVED:
            return Card.CONTESTED if flow.is_contested(attempt) else Card.APPROVED
        case _:
            return _card_of_end(attempt.state, attempt.reason)


def _card_while_pending(attempt: Attempt, now: datetime) -> Card:
    if attempt.place.lane is Lane.ANSWER and is_answer_closed(attempt.answer, now):
        return Card.EXPIRED
    if attempt.deadline_at is not None and now >= attempt.deadline_at + LATE:
        return Card.UNSURE
    return Card.WAITING


def _card_of_end(state: State, reason: Reason | None) -> Card:
    return next(card for ended, why, card in OF_ENDS if ended in {None, state} and why in {None, reason})


def is_answer_closed(answer: Answer | None, now: datetime) -> bool:
    """Tell whether there is no ephemeral answer, or it is too old to carry a card."""
    return answer is None or now >= answer.at + ANSWER_CLOSES


def changes_at(attempt: Attempt, now: datetime) -> datetime | None:
    """Return when the card becomes untrue by itself, though nothing happens to the attempt."""
    moments = []
    if attempt.state is State.PENDING and attempt.deadline_at is not None:
        moments.append(attempt.deadline_at + LATE)
    if attempt.state is State.PENDING and attempt.place.lane is Lane.ANSWER and attempt.answer is not None:
        moments.append(attempt.answer.at + ANSWER_CLOSES)
    return min((moment for moment in moments if moment > now), default=None)


def message_at(place: Place, answer: Answer | None) -> int | None:
    """Return the id of the message that is drawn on, if there is one."""
    return place.message_id or (answer.message_id if answer else None)


def has_left(attempt: Attempt) -> bool:
    """Tell whether an end was told and nothing is known of its card any more.

    Either something else has the card by now, or it was an answer of which nothing was kept.
    """
    is_nowhere = attempt.place.lane is None and attempt.answer is None
    return flow.is_over(attempt) and is_nowhere and attempt.shown_state in ENDS


def needs_showing(attempt: Attempt, now: datetime) -> bool:
    """Tell whether the member sees less than what is true, or still waits for the command's answer.

    An attempt that cannot be read has nothing to show: its key comes back, or it is ended, or somebody else wrote it.
    What becomes of a link is not told where another attempt has the card.
    """
    if has_left(attempt) or attempt.trouble is not None:
        return False
    is_answer_owed = attempt.place.lane is Lane.DM and attempt.answer is not None
    return is_answer_owed or attempt.shown_state != card_for(attempt, now)


def is_settled(attempt: Attempt) -> bool:
    """Tell whether nothing is left to do: the attempt is over and its member knows."""
    return flow.is_over(attempt) and not needs_showing(attempt, attempt.requested_at)
