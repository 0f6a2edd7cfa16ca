"""What is told to whoever measures: values without a secret, an id or a name, as things happen.

A host that wants them sets `bot.plexlink_observe` to a function before it loads the extension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Call(StrEnum):
    """A method of the plex.tv client."""

    CREATE_PIN = "create_pin"
    ASK = "ask"
    ACCOUNT = "account"
    PING = "ping"
    SERVERS = "servers"
    DEVICE_OF = "device_of"
    REMOVE_DEVICE = "remove_device"
    SIGN_OUT = "sign_out"


class Outcome(StrEnum):
    """What came of a call to plex.tv."""

    ANSWERED = "answered"
    REFUSED = "refused"
    REJECTED = "token_rejected"
    SLOWED = "slowed_down"
    SILENT = "no_answer"


class Drawing(StrEnum):
    """What came of drawing a card."""

    DRAWN = "drawn"
    REFUSED = "refused"
    FAILED = "failed"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Asked:
    """plex.tv was called."""

    call: Call
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A link attempt has ended, in one of the states that are ends."""

    state: str


@dataclass(frozen=True, slots=True)
class ApprovalShown:
    """A card says "Linked"; the approval came at most so many seconds before, counted from the question before it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CardDrawn:
    """A card was brought to its member, or not; `lane` is "dm", "answer", or "none" before there is one."""

    lane: str
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class Committed:
    """Something was changed in the database, and the commit took so long."""

    seconds: float


Observation = Asked | Ended | ApprovalShown | CardDrawn | Committed
Observe = Callable[[Observation], None]


def unobserved(_: Observation) -> None:
    """Tell nobody."""
