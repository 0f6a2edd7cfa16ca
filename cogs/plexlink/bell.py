"""What was committed is told to whoever works on it, so that nobody who changes something need know who does.

It only saves time: what nobody hears, because the process ended just then, is found in the rows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .community import ServerTouched
from .models import (
    AccessWanted,
    Attempt,
    Checked,
    CheckWanted,
    GivenUp,
    LinkEvent,
    Notice,
    PlexServersTold,
    PlexServersWanted,
    Pressed,
    SignOut,
    Unsure,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

Happened = (
    Attempt
    | SignOut
    | GivenUp
    | Notice
    | Pressed
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


class Bell:
    """Pass on what happened."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Happened], None]] = []

    def listen(self, hear: Callable[[Happened], None]) -> Callable[[], None]:
        """Let `hear` be called with everything from now on; return how to stop that."""
        self._listeners.append(hear)
        return lambda: self._listeners.remove(hear)

    def ring(self, *happened: Happened) -> None:
        """Tell all who listen. Never raise: what has happened has happened, whoever stumbles over it."""
        for each in happened:
            for hear in tuple(self._listeners):
                try:
                    hear(each)
                except Exception:  # noqa: BLE001 - logged; what was not planned now, the sweep plans
                    _log.exception("bell.not_heard happened=%s", type(each).__name__)
