"""What members want and what happens to links, as parts of a process and other code hear of it; see `bell`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from .models import Answer, Attempt, Finding, PlexServer


@dataclass(frozen=True, slots=True)
class Pressed:
    """A member says that a code is approved."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class CardPressed:
    """A button of a direct message was pressed, through which that message can be drawn for a while."""

    answer: Answer


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
