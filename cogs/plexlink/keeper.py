"""One process among several: it says that it is there, carries the bell, and begins and ends the work with its tenure.

But for the start, nothing waits here: a timer starts a short task every few seconds, and what is to be carried goes
when there is some.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Protocol

from . import carrying
from . import tenure as clocks
from .errors import DatabaseInUseError, NewerRowError, PlexLinkError, StoreError
from .events import Unsure
from .models import Attempt, State
from .tenure import RENEWED_EVERY_SECONDS, SEEN_WITHIN_SECONDS, Fence, Process, Step, Tenure, next_step
from .vitals import NO_JOBS, STUCK_AFTER_SECONDS, Jobs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from .bell import Bell, Happened
    from .reach import Reach
    from .shards import Shards
    from .store import Sealer, Store
    from .store.line import Line

_log = logging.getLogger(__name__)

_VACANT = "vacant"
_MOST_WAITING = 10_000
"""Rings that wait to be carried while the database is silent."""

_LEAVES_IT_SECONDS = 60.0
_CARRIES_WITHIN_SECONDS = 2.0
_BEGINS_WITHIN = timedelta(seconds=5)


class Work(Protocol):
    """What exactly one process does; see `work.worker.Worker`."""

    def resume(self) -> None:
        """Let everything that is unfinished be planned."""
        ...

    def jobs(self) -> Jobs:
        """Return what waits for its turn."""
        ...


async def refuse_collision(line: Line, shards: Shards) -> None:
    """Raise DatabaseInUseError where another process that was there before runs some of the same shards."""
    _refuse(await line.earlier(), shards)


def _refuse(others: list[Process], shards: Shards) -> None:
    for other in others:
        if shards.collide_with(other.shards):
            raise DatabaseInUseError(
                f"Another bot on this database, on {other.host} for {other.up_seconds:.0f} s, runs shards "
                f"{other.shards}, and this one would run {shards}; stop one of them, or see PLEXLINK_SHARDS."
            )


class Keeper:
    """Keep one process among the others; `begin` is the work, which it enters with a tenure and leaves without.

    `rest` is what it does when its work has ended, and now and then while another one works; `learn` is told of
    Discord's time, by what others tell. `replaced` is told when this process was away for so long that another one
    was let run the same shards.
    """

    def __init__(
        self,
        *,
        line: Line,
        store: Store,
        bell: Bell,
        vault: Sealer,
        shards: Shards,
        reach: Reach,
        begin: Callable[[Fence], AbstractAsyncContextManager[Work]],
        rest: Callable[[], Awaitable[None]],
        learn: Callable[[datetime], None],
        replaced: Callable[[DatabaseInUseError], None],
    ) -> None:
        self._line = line
        self._shards = shards
        self._reach = reach
        self._leaves_it_until = -inf
        self._store = store
        self._bell = bell
        self._vault = vault
        self._begin = begin
        self._rest = rest
        self._learn = learn
        self._replaced = replaced
        self._seen_at = clocks.now()
        self._looks_out_until = -inf
        self._held: Tenure | None = None
        self._last = Tenure(0, -inf)
        self._is_fenced = False
        self._worker: Work | None = None
        self._work = AsyncExitStack()
        self._is_wanted = False
        self._has_missed_some = False
        self._others_work = False
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._looks_again = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._to_carry: list[str] = []
        self._carrying: asyncio.Task[None] | None = None
        self._is_closed = False
        line.listen(self.hear, self.missed)

    @property
    def works(self) -> bool:
        """Whether this process does the work."""
        return self._worker is not None

    def has_worker(self) -> bool:
        """Whether any process does the work, as far as this one has heard."""
        return self.works or self._others_work

    def may_work(self) -> bool:
        """Tell whether no other process may have begun to work, by a clock that runs while this one sleeps."""
        return self._held is not None and not self.is_overtaken()

    def is_overtaken(self) -> bool:
        """Tell whether another process may have begun to work since this one did, which may be ending its work."""
        return self._is_fenced or not self._last.is_good(clocks.now())

    def fenced(self) -> None:
        """Take note that another process works, as a commit has found: begin nothing more, whatever the clock says."""
        self._is_fenced = True
        self._start(self._beat())

    def jobs(self) -> Jobs:
        """Return what waits for its turn, where the work is this process's."""
        return NO_JOBS if self._worker is None else self._worker.jobs()

    def resume(self) -> None:
        """Let this process work, or go on with what is unfinished: Discord can be reached."""
        self._is_wanted = True
        if self._worker is not None:
            self._worker.resume()
        elif self._timer is not None:
            self._start(self._beat())

    async def start(self) -> None:
        """Be there, and work if this process may and nobody else does.

        Raises:
            DatabaseInUseError: another process runs the same shards.
            StoreError: the database cannot be used.

        """
        await self._line.beat(0)  # of two that start at once, the later one sees the other
        await self._wait_for_predecessor()
        self._seen_at = clocks.now()
        self._bell.carry_with(self)
        await self._look()
        self._arm()

    async def _wait_for_predecessor(self) -> None:
        """Give one that has just crashed the time in which the others forget it."""
        until = clocks.now() + SEEN_WITHIN_SECONDS + 1
        while True:
            try:
                return await refuse_collision(self._line, self._shards)
            except DatabaseInUseError:
                if clocks.now() > until:
                    raise
            await asyncio.sleep(1.0)
            await self._line.beat(0)

    async def stop(self) -> None:
        """Give back what this process holds, and leave; another one works within a second."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        async with self._turn:
            held = self._held
            try:
                await self._end_work()
                if held is not None:
                    await self._line.release(held.epoch)
                    await self._line.ring(f"{self._line.id} {_VACANT}")
            except PlexLinkError as error:
                _log.info("tenure.not_given_back: %s", error)
        self._bell.carry_with(None)
        if self._tasks:  # what is on its way to the others
            await asyncio.wait(self._tasks, timeout=_CARRIES_WITHIN_SECONDS)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._line.close()

    def missed(self) -> None:
        """Take note that rings may have been missed."""
        self._has_missed_some = True

    def hear(self, words: str) -> None:
        """Take what another process has told."""
        if self._is_closed:
            return
        if words == _VACANT:
            self._start(self._beat())
        elif self.works or carrying.are_for_all(words):
            self._start(self._take(words))

    async def _take(self, words: str) -> None:
        try:
            async with self._store.transaction(must_last=False) as tx:
                happened = await carrying.read(words, tx, self._vault)
        except (NewerRowError, ValueError):
            return
        except StoreError:
            happened = Unsure()
        if isinstance(happened, Attempt) and _is_new(happened):
            self._learn(happened.requested_at)  # a moment ago, by Discord's clock
        if happened is not None:
            self._bell.ring_here(happened)

    def words(self, happened: Happened) -> str | None:
        """Return what the others are to hear of something: the one that works everything, the rest what is for all."""
        is_mine = self.works and self.may_work()  # one that has slept may not know yet that another one works
        if is_mine and not carrying.is_for_all(happened):
            return None
        return f"{self._line.id} {carrying.written(happened, self._vault)}"

    def carry(self, happened: Happened) -> None:
        """Let the others hear what is told without a commit."""
        words = self.words(happened)
        if words is not None and len(self._to_carry) < _MOST_WAITING:
            self._to_carry.append(words)
            if self._carrying is None or self._carrying.done():
                self._carrying = self._start(self._carry_all())

    async def _carry_all(self) -> None:
        while self._to_carry:
            words = self._to_carry.pop(0)
            try:
                await self._line.ring(words)
            except PlexLinkError:
                self._to_carry.clear()  # whoever waits for it is told that nothing came

    def _arm(self) -> None:
        if not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(RENEWED_EVERY_SECONDS, self._tick)

    def _tick(self) -> None:
        self._arm()
        self._start(self._beat())

    def _start(self, doing: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(doing, name="plexlink-keeper")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _beat(self) -> None:
        """Look once what there is to do; while another looks, let it be looked once more."""
        if self._is_closed or self._turn.locked():
            self._looks_again = True
            return
        self._looks_again = False
        try:
            await self._look()
        except PlexLinkError as error:
            _log.warning("tenure.not_begun: %s", error)
        except Exception:  # noqa: BLE001 - logged; the next beat tries again
            _log.exception("tenure.failed")
        if self._looks_again and not self._is_closed:
            self._start(self._beat())

    async def _look(self) -> None:
        async with self._turn:
            asked_at, was_fenced = clocks.now(), self._is_fenced
            epoch = 0 if self._held is None else self._held.epoch
            try:
                beat = await self._line.beat(epoch)
            except StoreError:
                beat = None
            if self._held is not None and beat is not None and beat.is_renewed:
                self._held = self._last = Tenure(epoch, asked_at)
                self._is_fenced &= not was_fenced  # the database has forgotten the other one's tenure since
                self._has_missed_some |= was_fenced
            self._others_work = beat is not None and not beat.is_vacant
            if beat is not None:
                await self._make_way(asked_at, was_away=beat.was_away)
            match next_step(self._held, beat, clocks.now()):
                case Step.STOP:
                    _log.warning("tenure.lost epoch=%d: another process works, or the database is silent", epoch)
                    await self._end_work()
                    self.carry(Unsure())  # what members did here of late may have been told to nobody
                    if beat is not None and beat.is_renewed:  # too late to believe it, and nobody else need wait
                        await self._line.release(epoch)
                case Step.CLAIM if self._is_wanted and asked_at >= self._leaves_it_until:
                    await self._rest()
                    await self._claim()
                case Step.WORK_ON if self._is_in_vain() and await self._is_with_others():
                    await self._leave_it(epoch, asked_at)
                case Step.WORK_ON if self._worker is not None and self._has_missed_some:
                    self._has_missed_some = False
                    self._worker.resume()
                case Step.STAND_BY if beat is not None:
                    await self._rest()
                case _:
                    pass

    async def _make_way(self, asked_at: float, *, was_away: bool) -> None:
        """For a while after the others had forgotten this process, see whether another one has taken its shards.

        That one came later. It may have been away as well, and is seen again a few seconds after this one. The database
        says only once that this one was away, in an answer that may have been lost; it shows by its own clock too.
        """
        now = clocks.now()
        if was_away or asked_at > self._seen_at + SEEN_WITHIN_SECONDS:
            self._looks_out_until = now + SEEN_WITHIN_SECONDS
        self._seen_at = asked_at
        if now >= self._looks_out_until:
            return
        try:
            _refuse(await self._line.later(), self._shards)
        except DatabaseInUseError as error:
            self._looks_out_until = -inf
            _log.error("tenure.replaced: %s", error)
            self._replaced(error)
        except StoreError:
            self._looks_out_until = now + SEEN_WITHIN_SECONDS

    async def _claim(self) -> None:
        asked_at = clocks.now()
        epoch = await self._line.claim()
        if epoch is None:
            return
        self._held = self._last = Tenure(epoch, asked_at)
        self._is_fenced = False
        if self._is_closed:  # whoever stops this process gives it back
            return
        _log.info("tenure.begun epoch=%d: this process works", epoch)
        try:
            self._worker = await self._work.enter_async_context(self._begin(Fence(self._line.id, epoch)))
        except BaseException:
            self._held = None
            await self._line.release(epoch)
            raise
        self._has_missed_some = False
        self._worker.resume()

    def _is_in_vain(self) -> bool:
        """Tell whether the work does not get through, or is stuck."""
        return self._reach.is_cut_off() or self.jobs().overdue_seconds > STUCK_AFTER_SECONDS

    async def _is_with_others(self) -> bool:
        try:
            return bool(await self._line.others())
        except StoreError:
            return False

    async def _leave_it(self, epoch: int, now: float) -> None:
        """Let another process try what this one does not get through to; after a minute it tries again itself."""
        _log.warning("tenure.given_back epoch=%d: it does not get through to plex.tv or Discord, or is stuck", epoch)
        self._leaves_it_until = now + _LEAVES_IT_SECONDS
        self._reach.give_way()
        await self._end_work()
        await self._line.release(epoch)
        await self._line.ring(f"{self._line.id} {_VACANT}")

    async def _end_work(self) -> None:
        self._held = None
        self._worker = None
        work, self._work = self._work, AsyncExitStack()
        try:
            await work.aclose()
        finally:
            self._reach.forget()
            try:
                await self._rest()
            except StoreError as error:
                _log.info("tenure.not_put_down: %s", error)


def _is_new(attempt: Attempt) -> bool:
    """Tell whether an attempt has just begun: nothing is shown of it, and it was not asked for a second time."""
    is_first = attempt.answer is not None and attempt.answer.at - attempt.requested_at < _BEGINS_WITHIN
    return attempt.state is State.REQUESTED and attempt.shown_state is None and is_first
