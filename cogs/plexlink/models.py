"""The values that PlexLink's parts hand to each other."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from .community import Membership, Standing


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


class Deed(StrEnum):
    """What stands in the audit; a closed set."""

    LINKED = "linked"
    REPLACED = "replaced"
    MOVED = "moved"
    UNLINKED = "unlinked"
    UNDONE = "undone"
    USED = "used"
    DIED = "died"
    BELIEVED = "believed"
    EXPORTED = "exported"
    FORGOTTEN = "forgotten"
    ROLE_CHOSEN = "role_chosen"
    CHANNEL_CHOSEN = "channel_chosen"
    ROLE_GIVEN = "role_given"
    ROLE_TAKEN = "role_taken"
    ROLE_REFUSED = "role_refused"
    ROLE_FOUND = "role_found"
    PANEL_POSTED = "panel_posted"
    PANEL_GONE = "panel_gone"
    ROLE_WITHDRAWN = "role_withdrawn"
    ROLE_GIVEN_BACK = "role_given_back"
    CHECKED = "checked"
    PLEX_SERVER_CHOSEN = "plex_chosen"
    ACCESS_HELD = "access_held"


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
    the next answer.
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


SOMEBODY = 0
"""In the audit, whoever has had everything about them deleted, or nobody in particular; no id at Discord."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who (nobody is PlexLink itself) did what to whom, and when; `detail` is a purpose or a reason.

    What happens in a server is written for its owners, with `guild_id`. Ids grow; one that is not written yet has none.
    """

    at: datetime
    actor_id: int | None
    deed: Deed
    user_id: int
    detail: str | None = None
    guild_id: int | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """What a channel shows of the audit: one entry, or the first of so many of the same deed."""

    entry: AuditEntry
    times: int = 1


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
    """A Plex Media Server that an account can reach; `id` is its machine identifier."""

    id: Secret
    name: Secret
    is_owned: bool


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
        return self.place if self.origin is Origin.CARD else Place(lane=Lane.ANSWER)


@dataclass(frozen=True, slots=True)
class Pressed:
    """A member says that a code is approved."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Unsure:
    """Nobody knows whether a change was kept: the rows will tell."""


@dataclass(frozen=True, slots=True)
class CheckWanted:
    """A member wants to know how a link is."""

    link_id: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A link was checked."""

    link_id: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class AccessWanted:
    """Which Plex servers a link reaches is to be asked; `is_waited_for` by a member who has just linked."""

    link_id: str
    is_waited_for: bool = False


@dataclass(frozen=True, slots=True)
class PlexServersWanted:
    """An owner wants to choose among the Plex servers that a link reaches."""

    link_id: str


@dataclass(frozen=True, slots=True)
class PlexServersTold:
    """Which Plex servers a link reaches; nothing where plex.tv does not say. For whoever waits, and kept nowhere."""

    link_id: str
    servers: tuple[PlexServer, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """`plexlink_linked`: a member has a link, a first one or a newer one."""

    user_id: int
    link_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlinked:
    """`plexlink_unlinked`: a link is gone; `reason` is undone, unlinked, replaced, moved or forgotten."""

    user_id: int
    link_id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDead:
    """`plexlink_token_dead`: Plex has ended a link's sign-in, and its member is told."""

    user_id: int
    link_id: str
    at: datetime


LinkEvent = Linked | Unlinked | TokenDead
