"""What was committed is told to whoever works on it, so that nobody who changes something need know who does.

It only saves time: what nobody hears, because the process ended just then, is found in the rows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from .community import ServerTouched
from .events import (
    AccessWanted,
    CardPressed,
    Checked,
    CheckWanted,
    LinkEvent,
    PlexServersTold,
    PlexServersWanted,
    Pressed,
    Unsure,
)
from .models import Attempt, GivenUp, Notice, SignOut

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

Happened = (
    Attempt
    | SignOut
    | GivenUp
    | Notice
    | Pressed
    | CardPressed
    | Unsure
    | CheckWanted
    | Checked
    | AccessWanted
    | PlexServersWanted
    | PlexServersTold
    | LinkEvent
    | ServerTouched
)
"""A row as it was committed, what a member wants or may know at once, or what other code hears of."""


class Carrier(Protocol):
    """What brings to other processes what is told in this one; see `keeper.Keeper`."""

    def words(self, happened: Happened, /) -> str | None:
        """Return in words what others are to hear of something, if they are."""
        ...

    def carry(self, happened: Happened, /) -> None:
        """Let others hear it, if they are to."""
        ...


class Bell:
    """Pass on what happened."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Happened], None]] = []
        self._carrier: Carrier | None = None

    def listen(self, hear: Callable[[Happened], None]) -> Callable[[], None]:
        """Let `hear` be called with everything from now on; return how to stop that."""
        self._listeners.append(hear)
        return lambda: self._listeners.remove(hear)

    def carry_with(self, carrier: Carrier | None) -> None:
        """Let something bring to other processes what is told here."""
        self._carrier = carrier

    def words(self, *happened: Happened) -> list[str]:
        """Return in words what other processes are to hear, for whoever commits it to tell it with the commit."""
        if self._carrier is None:
            return []
        return [words for each in happened if (words := self._carrier.words(each)) is not None]

    def ring(self, *happened: Happened) -> None:
        """Tell all who listen, here and elsewhere. Never raise: it has happened, whoever stumbles over it."""
        self.ring_here(*happened)
        if self._carrier is not None:
            for each in happened:
                _told(self._carrier.carry, each)

    def ring_here(self, *happened: Happened) -> None:
        """Tell all who listen in this process."""
        for each in happened:
            for hear in tuple(self._listeners):
                _told(hear, each)


def _told(hear: Callable[[Happened], None], happened: Happened) -> None:
    try:
        hear(happened)
    except Exception:  # noqa: BLE001 - logged; what was not planned now, the sweep plans
        _log.exception("bell.not_heard happened=%s", type(happened).__name__)
