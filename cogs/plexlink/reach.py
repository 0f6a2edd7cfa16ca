"""Whether this process gets through to plex.tv and to Discord, by what it observes of its own calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .observations import Asked, CardDrawn, Drawing, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from .observations import Observation, Observe

CUT_OFF_AFTER_SECONDS = 60.0


class Reach:
    """Watch what comes of calls, and pass on what is observed."""

    def __init__(self, *, observe: Observe, monotonic: Callable[[], float]) -> None:
        self._observe = observe
        self._monotonic = monotonic
        self._in_vain_since: dict[type[Observation], float] = {}

    def observe(self, observation: Observation) -> None:
        """Take note of a call that brought an answer, or none."""
        match observation:
            case Asked(outcome=outcome):
                self._note(Asked, is_in_vain=outcome is Outcome.SILENT)
            case CardDrawn(drawing=drawing):
                self._note(CardDrawn, is_in_vain=drawing is Drawing.FAILED)
            case _:
                pass
        self._observe(observation)

    def _note(self, kind: type[Observation], *, is_in_vain: bool) -> None:
        if is_in_vain:
            self._in_vain_since.setdefault(kind, self._monotonic())
        else:
            self._in_vain_since.pop(kind, None)

    def is_cut_off(self) -> bool:
        """Tell whether one of the two has not answered for a minute, though it was called."""
        before = self._monotonic() - CUT_OFF_AFTER_SECONDS
        return any(since <= before for since in self._in_vain_since.values())

    def forget(self) -> None:
        """Begin anew: what happened while another process worked is not known here."""
        self._in_vain_since.clear()
