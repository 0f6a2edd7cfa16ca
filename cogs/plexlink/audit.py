"""What the audit says: who did what to whom, and when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


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
    LOSSES_BELIEVED = "losses_believed"


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
