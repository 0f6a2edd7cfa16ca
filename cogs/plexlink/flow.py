"""The link attempt as a state machine: pure functions.

::

    REQUESTED ──▶ PENDING ──▶ APPROVED ──▶ LINKED
        │            │          │   └────▶ REFUSED
        │            │          └ contested (reason TAKEN): the member decides ─▶ claimed (reason MOVING), or REFUSED;
        │            │                                      the other's token is dead ─▶ APPROVED, looked at anew
        │            ├───────────────────▶ EXPIRED
        ├────────────┼──────────┴────────▶ CANCELLED
        └────────────┴───────────────────▶ FAILED

`advance` returns what the attempt becomes; it does nothing. Ends hold no secrets.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from .errors import IllegalTransitionError
from .models import Answer, Attempt, Place, Reason, State
from .secret import Secret

if TYPE_CHECKING:
    from datetime import datetime

OPEN = frozenset({State.REQUESTED, State.PENDING, State.APPROVED})

NEEDS = {
    State.REQUESTED: ("client_identifier",),
    State.PENDING: ("client_identifier", "pin_id", "user_code"),
    State.APPROVED: ("client_identifier", "token"),
}
"""The secrets that plex.tv cannot be asked without, by state."""

GRACE = timedelta(hours=1)
"""How long after its deadline plex.tv is still asked while it gives no answer."""

TIME_FOR_KEY = timedelta(days=1)
"""How long a token that cannot be read waits for its key to come back."""

TIME_TO_DECIDE = timedelta(minutes=10)
"""How long a member has to say whether an account that another member linked is to be moved."""


class Call(Enum):
    """The one thing that an open attempt wants from plex.tv."""

    CREATE_PIN = auto()
    ASK = auto()
    READ_ACCOUNT = auto()
    DECIDE = auto()
    """Nothing but the member's decision, which is not waited for for ever."""


@dataclass(frozen=True, slots=True)
class PinCreated:
    """plex.tv made a PIN."""

    pin_id: Secret
    user_code: Secret
    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class Granted:
    """plex.tv answered with a token."""

    token: Secret


@dataclass(frozen=True, slots=True)
class Accepted:
    """The account may be linked."""


@dataclass(frozen=True, slots=True)
class Contested:
    """Another member has linked the account; this one may move it until then."""

    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """The member wants the account moved."""


@dataclass(frozen=True, slots=True)
class Reconsidered:
    """The other member's sign-in has turned out to be dead: the account may be free."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The account may not be linked."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class RanOut:
    """The code is over."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The member gave up, or asked for a new code."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no way on."""

    reason: Reason


Event = PinCreated | Granted | Accepted | Contested | Claimed | Reconsidered | Rejected | RanOut | Cancelled | Failed


def begin(
    *,
    user_id: int,
    guild_id: int | None,
    device_name: str,
    place: Place,
    answer: Answer | None,
    now: datetime,
) -> Attempt:
    """Return a new attempt in REQUESTED, with an id and a client identifier of its own."""
    return Attempt(
        id=secrets.token_urlsafe(16),
        user_id=user_id,
        guild_id=guild_id,
        device_name=device_name,
        state=State.REQUESTED,
        requested_at=now,
        client_identifier=Secret(str(uuid.uuid4())),
        place=place,
        answer=answer,
    )


def advance(attempt: Attempt, event: Event, now: datetime) -> Attempt:  # noqa: PLR0911 - one line a transition
    """Return the attempt after `event`.

    Raises:
        IllegalTransitionError: the event does not fit the attempt's state.

    """
    match attempt.state, event:
        case State.REQUESTED, PinCreated(pin_id, user_code, deadline_at):
            return replace(attempt, state=State.PENDING, pin_id=pin_id, user_code=user_code, deadline_at=deadline_at)
        case State.PENDING, Granted(token):
            return replace(attempt, state=State.APPROVED, token=token, pin_id=None, user_code=None)
        case State.APPROVED, Accepted():
            return _end(attempt, State.LINKED, None, now)
        case State.APPROVED, Contested(deadline_at):
            return replace(attempt, reason=Reason.TAKEN, deadline_at=deadline_at)
        case State.APPROVED, (Claimed() | Reconsidered()) if attempt.reason is Reason.TAKEN:
            return replace(attempt, reason=Reason.MOVING if isinstance(event, Claimed) else None)
        case State.APPROVED, Rejected(reason):
            return _end(attempt, State.REFUSED, reason, now)
        case State.PENDING, RanOut():
            return _end(attempt, State.EXPIRED, None, now)
        case ((State.REQUESTED | State.PENDING | State.APPROVED), Cancelled()):
            return _end(attempt, State.CANCELLED, None, now)
        case ((State.REQUESTED | State.PENDING), Failed(reason)):
            return _end(attempt, State.FAILED, reason, now)
        case _:
            raise IllegalTransitionError(f"{type(event).__name__} does not fit {attempt.state.name}")


def _end(attempt: Attempt, state: State, reason: Reason | None, now: datetime) -> Attempt:
    return replace(
        attempt,
        state=state,
        reason=reason,
        ended_at=now,
        client_identifier=None,
        pin_id=None,
        user_code=None,
        token=None,
        trouble=None,  # there is nothing left that could not be read: its member can be told
    )


def is_whole(attempt: Attempt) -> bool:
    """Tell whether an attempt holds the secrets that it needs in its state."""
    return None not in {getattr(attempt, name) for name in NEEDS.get(attempt.state, ())}


def is_contested(attempt: Attempt) -> bool:
    """Tell whether the member is to decide if the account is moved."""
    return attempt.state is State.APPROVED and attempt.reason is Reason.TAKEN


def is_over(attempt: Attempt) -> bool:
    """Tell whether the attempt has ended."""
    return attempt.state not in OPEN


def left(attempt: Attempt, now: datetime) -> timedelta:
    """Return how much of the attempt's time is left by the clock; less than nothing once it is over."""
    return timedelta(0) if attempt.deadline_at is None else attempt.deadline_at - now


def is_lost(attempt: Attempt, now: datetime) -> bool:
    """Tell whether an attempt that cannot be read has waited for its key for so long that it is given up."""
    if attempt.state is State.APPROVED:
        return now >= attempt.requested_at + TIME_FOR_KEY
    return now >= (attempt.deadline_at or attempt.requested_at) + GRACE


def next_call(attempt: Attempt) -> Call | None:
    """Return what the attempt wants from plex.tv; nothing once it is over, or while it cannot be read."""
    if attempt.trouble is not None:
        return None
    if is_contested(attempt):
        return Call.DECIDE
    return {
        State.REQUESTED: Call.CREATE_PIN,
        State.PENDING: Call.ASK,
        State.APPROVED: Call.READ_ACCOUNT,
    }.get(attempt.state)
