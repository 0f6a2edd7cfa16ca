"""How the plugin is: what a health check asks and a graph shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .errors import SettingError, StoreError, VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .clock import Clock
    from .plex import Pace
    from .store import Store

STUCK_AFTER_SECONDS = 60.0
"""A timer that should have gone off so long ago will not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What is due and waits for its turn, by kind; and for how long nobody has looked though it was time to."""

    waiting: Mapping[str, int]
    overdue_seconds: float


NO_JOBS = Jobs(waiting={}, overdue_seconds=0.0)
"""In a process that does not do the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the work is at, if it is done here, and how often plex.tv may be asked at present."""

    is_here: bool
    jobs: Jobs
    requests_per_second: float
    pause_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What the database holds: attempts, links by health, sign-outs that wait, and whether its keys are backed up."""

    open_attempts: int
    links: Mapping[str, int]
    sign_outs: int
    oldest_sign_out_seconds: float
    are_keys_backed_up: bool


class Working(Protocol):
    """What does the work, in this process or in another one; see `work.worker.Worker` and `keeper.Keeper`."""

    @property
    def works(self) -> bool:
        """Whether this process does it."""
        ...

    def has_worker(self) -> bool:
        """Tell whether any process does it."""
        ...

    def jobs(self) -> Jobs:
        """Return what waits for its turn here."""
        ...


class Vitals:
    """Look how the plugin is; `folder` is where the database lies, if this machine has it."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        pace: Pace,
        working: Working,
        check_keys: Callable[[], None],
        are_keys_backed_up: Callable[[Mapping[str, float]], bool],
        folder: Path | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pace = pace
        self._working = working
        self._check_keys = check_keys
        self._are_keys_backed_up = are_keys_backed_up
        self.folder = folder

    def work(self) -> Work:
        """Return what the work is at."""
        return Work(
            is_here=self._working.works,
            jobs=self._working.jobs(),
            requests_per_second=self._pace.rate,
            pause_seconds=max(0.0, self._pace.paused_until() - self._clock.monotonic()),
        )

    async def stock(self) -> Stock:
        """Return what the database holds. Raises StoreError where it cannot be used."""
        async with self._store.transaction() as tx:
            waiting_since = await tx.sign_outs.waiting_since()
            return Stock(
                open_attempts=await tx.attempts.open_count(),
                links=await tx.links.by_health(),
                sign_outs=len(waiting_since),
                oldest_sign_out_seconds=(
                    (self._clock.now() - min(waiting_since)).total_seconds() if waiting_since else 0.0
                ),
                are_keys_backed_up=self._are_keys_backed_up(await tx.numbers.all()),
            )

    def is_stuck(self) -> bool:
        """Tell whether work is due that will not be done any more."""
        return self._working.jobs().overdue_seconds > STUCK_AFTER_SECONDS

    async def ailments(self) -> list[str]:
        """Return in a word each what keeps members from linking: "database", "keys", or "work" that nobody does."""
        found = []
        try:
            await self._store.check()
        except StoreError:
            found.append("database")
        try:
            self._check_keys()
        except (VaultError, SettingError):
            found.append("keys")
        if not self._working.has_worker():
            found.append("work")
        return found
