"""Whether this process gets through to plex.tv and to Discord, by what it observes of its own calls and cards."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from .observations import Asked, CardDrawn, Drawing, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from .observations import Observation, Observe

CUT_OFF_AFTER_SECONDS = 60.0
LONGEST_CUT_OFF_SECONDS = 960.0
_LONG_PAUSE_SECONDS = 2 * CUT_OFF_AFTER_SECONDS


class Reach:
    """Watch what comes of calls, and pass on what is observed."""

    def __init__(self, *, observe: Observe, monotonic: Callable[[], float]) -> None:
        self._observe = observe
        self._monotonic = monotonic
        self._in_vain: dict[type[Observation], tuple[float, float]] = {}
        self._patience: defaultdict[type[Observation], float] = defaultdict(lambda: CUT_OFF_AFTER_SECONDS)

    def observe(self, observation: Observation) -> None:
        """Take note of a call that brought an answer, or none, and of a card that was drawn, or not.

        A refusal is an answer: where one member's card is not taken, another process would do no better.
        """
        if isinstance(observation, Asked):
            self._note(Asked, is_vain=observation.outcome is Outcome.SILENT)
        elif isinstance(observation, CardDrawn):
            self._note(CardDrawn, is_vain=observation.drawing is Drawing.FAILED)
        self._observe(observation)

    def _note(self, kind: type[Observation], *, is_vain: bool) -> None:
        """Keep since when it has been in vain, and when it was last: without an answer, and without a long pause."""
        if not is_vain:
            self._in_vain.pop(kind, None)
            self._patience.pop(kind, None)
            return
        now = self._monotonic()
        first, last = self._in_vain.get(kind, (now, now))
        self._in_vain[kind] = (first if now - last < _LONG_PAUSE_SECONDS else now), now

    def is_cut_off(self) -> bool:
        """Tell whether one of the two has answered nothing for a minute, or for what `give_way` has made of it."""
        return bool(self._cut_off())

    def _cut_off(self) -> list[type[Observation]]:
        now = self._monotonic()
        return [
            kind
            for kind, (first, last) in self._in_vain.items()
            if first <= now - self._patience[kind] and last > now - CUT_OFF_AFTER_SECONDS
        ]

    def give_way(self) -> None:
        """Let another process try: what it does not get through to either is waited for twice as long the next time."""
        for kind in self._cut_off():
            self._patience[kind] = min(2 * self._patience[kind], LONGEST_CUT_OFF_SECONDS)

    def forget(self) -> None:
        """Begin anew: what happened while another process worked is not known here."""
        self._in_vain.clear()
