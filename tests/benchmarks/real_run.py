"""The same members, but met by the whole plugin: its asker and database, and plex.tv's stand-in on a socket.

Time is virtual here too. It stands while a job of the agenda runs, which waits for a socket or the database, and
jumps to the next timer when none does.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plexlink.models import Attempt
from plexlink_bot.sandbox.plex_tv import Account, PlexTV
from plugin import plugin, start, worker_of
from simulation import LIFE_SECONDS, Outcome, members
from virtual_time import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation import Member, Scenario

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class JumpingLoop(VirtualLoop):
    """A loop whose time stands while something is under way, and jumps when nothing is."""

    def __init__(self) -> None:
        super().__init__()
        self.is_under_way: Callable[[], bool] = lambda: True

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time())

    def _next(self) -> float:
        return self.time() if self.is_under_way() else super()._next()


class RealRun:
    """Members who start, approve and press at the instants that the scenario says."""

    def __init__(self, desk: Any, plex: PlexTV, crowd: list[Member], loop: JumpingLoop) -> None:
        self.outcome = Outcome()
        self._desk = desk
        self._worker: Any = worker_of(desk)
        self._seen: set[tuple[str, str]] = set()
        self._plex = plex
        self._loop = loop
        self._crowd = {number + 1: member for number, member in enumerate(crowd)}
        self._tasks: set[asyncio.Task[None]] = set()

    async def play(self) -> Outcome:
        agenda, bell = self._worker._agenda, self._worker._ledger._bell
        self._loop.is_under_way = lambda: bool(agenda._running or self._tasks)
        bell.listen(self._hear)
        began = self._loop.time()
        for user_id, member in self._crowd.items():
            self._loop.call_at(began + member.starts_at, self._do, start(self._desk, user_id))
        await asyncio.sleep(max(member.starts_at for member in self._crowd.values()) + 2 * LIFE_SECONDS)
        self.outcome.questions = sum(1 for call in self._plex.requests if call.operation == "get_pin")
        return self.outcome

    def _do(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hear(self, happened: Any) -> None:
        if isinstance(happened, Attempt) and (happened.id, happened.state) not in self._seen:
            self._seen.add((happened.id, happened.state))
            self._advanced(happened)

    def _advanced(self, attempt: Attempt) -> None:
        member = self._crowd[attempt.user_id]
        if attempt.state == "pending" and attempt.user_code is not None:
            member.shown_at = self._loop.time()
            if member.approves_after < LIFE_SECONDS - 2:
                code = attempt.user_code.reveal()
                self._loop.call_at(member.approved_at, self._approve, attempt.user_id, code)
                if member.presses_after < math.inf:
                    self._loop.call_at(member.approved_at + member.presses_after, self._press, attempt.id)
        elif attempt.state == "approved":
            self.outcome.delays.append(self._loop.time() - member.approved_at)

    def _approve(self, user_id: int, code: str) -> None:
        self._plex.approve(code, Account(id=user_id, uuid=f"{user_id:016x}", username=f"u{user_id}", email="u@x.y"))

    def _press(self, attempt_id: str) -> None:
        attempt = self._worker._asker._memory_of(attempt_id).asked_about
        if attempt is not None:
            self._worker._asker.press(attempt)


def run_for_real(scenario: Scenario, seed: int, *, rate: float = 1.0) -> Outcome:
    """Return what the plugin makes of a scenario."""
    loop = JumpingLoop()

    async def scene() -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            async with PlexTV(now=loop.now) as plex, plugin(Path(folder), plex.url, rate=rate, now=loop.now) as desk:
                outcome = await RealRun(desk, plex, members(scenario, seed), loop).play()
                loop.is_under_way = lambda: True
                return outcome

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scene())
