"""The values that PlexLink's parts hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from .community import Membership, Standing
    from .secret import Secret


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
    UNTOLD = "untold"
    PLEX_REFUSED = "plex_refused"
    PLEX_SILENT = "plex_silent"
    UNREADABLE = "unreadable"
    KEY_MISSING = "key_missing"
    UNDONE = "undone"
    UNLINKED = "unlinked"
    REPLACED = "replaced"
    MOVING = "moving"
    MOVED = "moved"
    FORGOTTEN = "forgotten"


class Card(StrEnum):
    """What the member sees of an attempt."""

    QUEUED = "queued"
    WAITING = "waiting"
    UNSURE = "unsure"
    APPROVED = "approved"
    CONTESTED = "contested"
    LINKED = "linked"
    UNDONE = "undone"
    UNLINKED = "unlinked"
    REPLACED = "replaced"
    MOVED = "moved"
    FORGOTTEN = "forgotten"
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


class Finding(StrEnum):
    """What a check of a link's token brought."""

    ALIVE = "alive"
    REJECTED = "rejected"
    SILENT = "silent"


class Verdict(StrEnum):
    """What is believed of a link's token; one refusal alone makes it only suspect."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"


class Origin(StrEnum):
    """Where an interaction came from."""

    COMMAND = "command"
    CARD = "card"
    """Our card in a direct message: the card is the answer."""
    ANSWER = "answer"
    """Our card in an ephemeral answer, which the interaction lets us edit for 15 minutes more."""
    MESSAGE = "message"
    """Some other message with a button of ours, which everybody may read: the answer is one of its own."""

    @property
    def is_card(self) -> bool:
        """Tell whether a button of a card of ours was pressed, of which there is but one."""
        return self in {Origin.CARD, Origin.ANSWER}


class Phase(StrEnum):
    """How far an unlinking has come that its member is told about; the last five are its ends."""

    SIGNING_OUT = "signing_out"
    DELAYED = "delayed"
    CHECKING = "checking"
    UNCHECKED = "unchecked"
    SIGNED_OUT = "signed_out"
    DEAD_ALREADY = "dead_already"
    DEVICE_REMOVED = "device_removed"
    GIVEN_UP = "given_up"
    UNREADABLE = "unreadable"


class Topic(StrEnum):
    """What a notice is about."""

    UNLINKING = "unlinking"
    RETIRED = "retired"
    SETUP_BROKEN = "setup_broken"
    LOSSES_HELD = "losses_held"
    ROLE_WITHDRAWN = "role_withdrawn"
    LINK_DEAD = "link_dead"
    LINK_MOVED = "link_moved"
    SIGNED_OUT = "signed_out"
    NOT_SIGNED_OUT = "not_signed_out"


FOR_OWNERS = frozenset({Topic.SETUP_BROKEN, Topic.LOSSES_HELD})
"""What somebody is told because they answer for a server: whoever chose last there, or its owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a card is: nowhere yet, in a direct message, or in the ephemeral answer.

    Of an answer that an earlier release filled, the message is not known.
    """

    lane: Lane | None = None
    channel_id: int | None = None
    message_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An interaction that can still be answered, for 15 minutes from `at` (Discord's clock)."""

    message_id: int
    token: Secret
    at: datetime

    @property
    def place(self) -> Place:
        """Return where a card is that fills this answer."""
        return Place(lane=Lane.ANSWER, message_id=self.message_id)


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
class Health:
    """What is known of a link's token: the last check, the first refusal of a row of them, and whom that was told.

    `is_held` keeps a refusal from being believed and told, because too many links were refused at the same time.
    """

    verdict: Verdict = Verdict.ALIVE
    finding: Finding | None = None
    checked_at: datetime | None = None
    rejected_at: datetime | None = None
    next_check_at: datetime | None = None
    told_at: datetime | None = None
    is_held: bool = False


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
    health: Health = field(default_factory=Health)
    is_name_shown: bool = False
    """Whether owners of servers may read the account's name, which its member has allowed."""
    trouble: Trouble | None = None

    @property
    def is_dead(self) -> bool:
        """Tell whether Plex has ended the sign-in, as far as anybody may be told."""
        return self.health.verdict is Verdict.DEAD and not self.health.is_held


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the owners of a server may know of a linked member who is there; nothing in it opens anything.

    `account_name` is there only where its member has allowed it; `withdrawn_at` is since when the owners have taken the
    role away. `role_id` is what is to be theirs.
    """

    user_id: int
    linked_at: datetime
    health: Health
    role_id: int | None
    standing: Standing
    withdrawn_at: datetime | None = None
    account_name: Secret | None = None

    @property
    def is_dead(self) -> bool:
        """Tell whether Plex has ended the sign-in; see `Link.is_dead`."""
        return self.health.verdict is Verdict.DEAD and not self.health.is_held


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
class Notice:
    """What a member is told besides the card of an attempt.

    One with a place is drawn there: how an unlinking goes (`reason` and `phase`; it has the id of the sign-out that it
    tells about), and that a card has moved. Others are sent by direct message; `is_held` where those are closed, for
    the next answer. Until it is known which owner of a server is to be told, that is nobody (`audit.SOMEBODY`).
    """

    id: str
    user_id: int
    topic: Topic
    at: datetime
    reason: Reason | None = None
    phase: Phase | None = None
    shown: Phase | None = None
    place: Place = field(default_factory=Place)
    answer: Answer | None = None
    is_held: bool = False
    guild_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
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
class PlexServer:
    """A Plex Media Server that an account can reach; `id` is its machine identifier.

    `owner_id` is the account that shares it; nothing where it is the account's own.
    """

    id: Secret
    name: Secret
    owner_id: Secret | None = None

    @property
    def is_owned(self) -> bool:
        """Tell whether it is the account's own."""
        return self.owner_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """A role that is not for a member, because they are not a member of the Plex server of this name."""

    guild_id: int
    role_id: int
    plex_server: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCard:
    """An attempt's card and all that is written on it; `news` stands in front where it is an answer."""

    attempt: Attempt
    card: Card
    account_name: Secret | None = None
    note: Note | None = None
    ready_at: datetime | None = None
    news: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Pointer:
    """The way to a card in a direct message."""

    to: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What is to be brought to a member, and how.

    It is drawn at `place`, which may be `answer`. Where it is nowhere yet, or its place is gone, it is sent as a direct
    message with `nonce`; without one it is not. `prefers_answer` keeps what is nowhere yet in the answer, if Discord
    lets us: it is no reason to open a conversation. `is_perhaps_out`: a message may have been sent of which we were
    not told. `roles` come or go with the link that is told of; `reserved` is the one that does not.
    """

    user_id: int
    content: AttemptCard | Notice | Pointer
    place: Place
    answer: Answer | None = None
    nonce: str | None = None
    prefers_answer: bool = False
    is_perhaps_out: bool = False
    roles: tuple[Membership, ...] = ()
    reserved: Reserved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An interaction: who asks, from where, and how it can be answered.

    `place` is where the pressed card is, if it is a direct message.
    """

    user_id: int
    guild_id: int | None
    device_name: str
    origin: Origin
    answer: Answer
    place: Place = field(default_factory=Place)

    @property
    def owed(self) -> Answer | None:
        """Return the answer that a card may have; who pressed a direct message has its card already."""
        return None if self.origin is Origin.CARD else self.answer

    @property
    def card(self) -> Place:
        """Return where a card is drawn that answers this wish."""
        return self.place if self.origin is Origin.CARD else self.answer.place
