"""Virtual time for asyncio: it passes only by jumping to the next timer, when nothing else is to be done."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by jumping to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 1000.0
        self.late_by = 0.0
        """How late timers go off, as they do on a real clock."""

    def time(self) -> float:
        return self._virtual

    def armed(self) -> list[float]:
        """Return when the timers go off that are not cancelled."""
        return sorted(handle.when() for handle in self._scheduled if not handle.cancelled())  # type: ignore[attr-defined]

    def _next(self) -> float:
        """Return when the next timer goes off; the heap's first one, unless it is cancelled."""
        first = self._scheduled[0] if self._scheduled else None  # type: ignore[attr-defined]
        if first is not None and not first.cancelled():
            return float(first.when())
        armed = self.armed()
        if not armed and not self._stopping:  # type: ignore[attr-defined]
            raise AssertionError("everything waits, and nothing will wake it")
        return armed[0] if armed else self._virtual

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            self._virtual = max(self._virtual, self._next() + self.late_by)
        super()._run_once()  # type: ignore[misc]


def play(scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a scenario to its end, in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario())


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        play(lambda: test(*args, **kwargs))

    return run


def armed() -> list[float]:
    """Return when the timers of the running loop go off."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.armed()
