"""The values that PlexLink's parts hand to each other."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta


class Secret:
    """A text that is only seen where it is asked for by name."""

    __slots__ = ("__weakref__", "_value")

    on_creation: ClassVar[Callable[[Secret], object] | None] = None
    """Told of every new secret: how the process keeps them out of its log. In other people's bots nobody sets it."""

    def __init__(self, value: str) -> None:
        self._value = value
        if Secret.on_creation is not None:
            Secret.on_creation(self)

    def reveal(self) -> str:
        """Return the text; for plex.tv, an envelope, the member's own card, and callers of `token_for`."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(****)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


class Cell(NamedTuple):
    """The place of one stored secret; an envelope opens in its own cell only."""

    table: str
    column: str
    row_id: str
    user_id: int


class State(StrEnum):
    """Where a link attempt stands; the last five are its ends."""

    REQUESTED = "requested"
    PENDING = "pending"
    APPROVED = "approved"
    LINKED = "linked"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Reason(StrEnum):
    """Why an attempt ended as it did, or what became of its link."""

    MANAGED = "managed"
    TAKEN = "taken"
    REVOKED = "revoked"
    PLEX_REFUSED = "plex_refused"
    PLEX_SILENT = "plex_silent"
    UNREADABLE = "unreadable"
    UNDONE = "undone"
    REPLACED = "replaced"


class Card(StrEnum):
    """What the member sees of an attempt."""

    QUEUED = "queued"
    WAITING = "waiting"
    UNSURE = "unsure"
    APPROVED = "approved"
    LINKED = "linked"
    UNDONE = "undone"
    REPLACED = "replaced"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Note(StrEnum):
    """One passing line on a card of a member who waits."""

    NOT_YET = "not_yet"
    PLEX_SILENT = "plex_silent"
    SLOWED = "slowed"
    UNSAVED = "unsaved"


class Lane(StrEnum):
    """The way a card reaches its member."""

    DM = "dm"
    ANSWER = "answer"


class Trouble(StrEnum):
    """Why a row's secrets cannot be read."""

    BROKEN = "broken"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a card is: nowhere yet, in a direct message, or in the ephemeral answer."""

    lane: Lane | None = None
    channel_id: int | None = None
    message_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An interaction that can still be answered, for 15 minutes from `at` (Discord's clock)."""

    message_id: int
    token: Secret
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of the device flow, from `/plexlink` to its end."""

    id: str
    user_id: int
    guild_id: int | None
    device_name: str
    state: State
    requested_at: datetime
    reason: Reason | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    client_identifier: Secret | None = None
    pin_id: Secret | None = None
    user_code: Secret | None = None
    token: Secret | None = None
    shown_state: Card | None = None
    place: Place = field(default_factory=Place)
    answer: Answer | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A member's lasting connection to a Plex account."""

    id: str
    user_id: int
    attempt_id: str
    account_id: Secret
    account_name: Secret
    client_identifier: Secret
    token: Secret
    linked_at: datetime
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """A credential that plex.tv is still to be told to forget."""

    id: str
    user_id: int
    client_identifier: Secret
    token: Secret
    requested_at: datetime
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A code that its member gave up, and that can be approved until it runs out; named by its attempt."""

    id: str
    user_id: int
    client_identifier: Secret
    pin_id: Secret
    deadline_at: datetime
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A fresh PIN of plex.tv."""

    id: Secret
    code: Secret
    expires_in: timedelta


@dataclass(frozen=True, slots=True)
class Pending:
    """Nobody has approved the code yet; `expires_in` is what plex.tv says is left now, if it says so."""

    expires_in: timedelta | None


@dataclass(frozen=True, slots=True)
class Approved:
    """The code was approved; here is the token."""

    token: Secret


@dataclass(frozen=True, slots=True)
class Expired:
    """plex.tv does not know the code any more."""


PinAnswer = Pending | Approved | Expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The Plex account behind a token."""

    id: Secret
    name: Secret
    is_managed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """A card and all that is written on it."""

    attempt: Attempt
    card: Card
    account_name: Secret | None = None
    note: Note | None = None
    ready_at: datetime | None = None
