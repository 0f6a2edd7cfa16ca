"""Whether this process gets through to plex.tv, by what it observes of its own calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .observations import Asked, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from .observations import Observation, Observe

CUT_OFF_AFTER_SECONDS = 60.0


class Reach:
    """Watch what comes of calls, and pass on what is observed."""

    def __init__(self, *, observe: Observe, monotonic: Callable[[], float]) -> None:
        self._observe = observe
        self._monotonic = monotonic
        self._in_vain: list[float] = []

    def observe(self, observation: Observation) -> None:
        """Take note of a call that brought an answer, or none."""
        if isinstance(observation, Asked):
            first = self._in_vain[:1]
            self._in_vain = [*first, self._monotonic()] if observation.outcome is Outcome.SILENT else []
        self._observe(observation)

    def is_cut_off(self) -> bool:
        """Tell whether plex.tv has answered no call for a minute, and has been called of late."""
        now, calls = self._monotonic(), self._in_vain
        return bool(calls) and calls[0] <= now - CUT_OFF_AFTER_SECONDS < calls[-1]

    def forget(self) -> None:
        """Begin anew: what happened while another process worked is not known here."""
        self._in_vain.clear()
