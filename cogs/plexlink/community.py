"""The values about servers: what their owners have set, and which role a linked member has there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Objection(StrEnum):
    """Why a role cannot be given to members, or not by this bot, or not for this owner."""

    NO_PERMISSION = "no_permission"
    TOO_HIGH = "too_high"
    ABOVE_CALLER = "above_caller"
    EVERYONE = "everyone"
    MANAGED = "managed"
    DANGEROUS = "dangerous"
    GONE = "gone"


class Standing(StrEnum):
    """How a membership at Discord compares with what it is to be."""

    OWED = "owed"
    """Discord is still to be told."""
    DOUBTED = "doubted"
    """It was as it is to be, and is looked at again."""
    SETTLED = "settled"
    FOUND = "found"
    """Somebody who has not linked has the role, from other hands: that is told once, and left alone."""


class Cause(StrEnum):
    """Why a role comes or goes."""

    LINKED = "linked"
    UNLINKED = "unlinked"
    MOVED = "moved"
    FORGOTTEN = "forgotten"
    DEAD = "dead"
    SEEN = "seen"
    """Somebody who had linked before was seen in the server, or their link works again."""
    SETUP = "setup"
    WITHDRAWN = "withdrawn"
    GIVEN_BACK = "given_back"
    ACCESS = "access"
    NO_ACCESS = "no_access"


class Kept(StrEnum):
    """What came of seeing to it that a member has a role, or has it not."""

    CHANGED = "changed"
    AS_IT_WAS = "as_it_was"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the owners of a server choose; nothing is chosen at first."""

    role_id: int | None = None
    audit_channel_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server whose owners have used `/plexadmin`.

    `objection` is why its role cannot be given at present, as its owners were told. `audited_to` is the last line of
    the audit that its channel has shown, `telling_to` the last one of the message that is on its way there, and
    `closed_at` when Discord last refused such a message. A panel that is gone leaves the channel in which it was.
    Whoever has chosen last (`chosen_by`) is told by direct message, once, where something of it does not work any more,
    or waits for an owner to decide; where they may not manage the server any more, whose it is.

    `is_for_plex_members` tells that the role is only for members of a Plex server, which is kept apart;
    `losses_believed_at`, when its owners took it for true that many of them are not members of it any more.
    """

    id: int
    setup: Setup = Setup()
    panel_channel_id: int | None = None
    panel_message_id: int | None = None
    objection: Objection | None = None
    audited_to: int = 0
    telling_to: int = 0
    closed_at: datetime | None = None
    reconciled_at: datetime | None = None
    left_at: datetime | None = None
    chosen_by: int | None = None
    losses_believed_at: datetime | None = None
    is_for_plex_members: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A linked member in a server, and the role that is to be theirs there, or not any more.

    Without a role it only tells whether the member is there; `is_seen`, whether they were when that was last learned,
    though the role may still be owed.
    """

    id: int
    guild_id: int
    user_id: int
    role_id: int | None
    is_wanted: bool
    standing: Standing
    cause: Cause
    at: datetime
    is_seen: bool = False

    @property
    def is_there(self) -> bool:
        """Tell whether the member was seen in the server when Discord was last asked."""
        return self.is_seen or self.standing in {Standing.SETTLED, Standing.DOUBTED, Standing.FOUND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whether a linked member is a member of the Plex server that a server's role is for; asked at `checked_at`.

    Who had access keeps it for an hour after plex.tv first said otherwise (`lost_at`), or for as long as that is
    held, because too many lost it at the same time.
    """

    guild_id: int
    user_id: int
    has_access: bool
    checked_at: datetime
    lost_at: datetime | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class ServerTouched:
    """Something is owed to the members of a server, or its audit has a new line."""

    guild_id: int
