"""What the plugin tells of itself, in Prometheus' words.

Names are `plexlink_<noun>_<unit or total>`, labels come from closed sets; nobody's id, name or secret is in them.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from math import nan
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from plexlink.models import State
from plexlink.observations import ApprovalShown, Asked, Call, CardDrawn, Committed, Drawing, Ended, Outcome
from plexlink.work.agenda import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from plexlink.observations import Observation
    from plexlink.vitals import Stock, Work

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ENDS = (State.LINKED, State.REFUSED, State.EXPIRED, State.CANCELLED, State.FAILED)
_CARD_SECONDS = (1, 2, 4, 8, 15, 30, 60, 120, 300, 900)
_COMMIT_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Metrics:
    """Count what happens, and show it together with how things are."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # half of the page, and of no use
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("plexlink", "The release", registry=registry).info({"version": version("plexlink")})
        self._attempts = Counter(
            "plexlink_attempts", "Link attempts that have ended, by their end", ["end"], registry=registry
        )
        self._approvals = Histogram(
            "plexlink_approval_to_card_seconds",
            'Time from the last question before an approval to the card that says "Linked"',
            buckets=_CARD_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "plexlink_plex_requests", "Calls to plex.tv, by what came of them", ["call", "outcome"], registry=registry
        )
        self._cards = Counter(
            "plexlink_cards", "Cards that were drawn or not, by their lane", ["lane", "result"], registry=registry
        )
        self._commits = Histogram(
            "plexlink_commit_seconds",
            "Time that a commit of a change took",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        gauges = {
            "plexlink_ready": "Whether members can link: 1 or 0",
            "plexlink_gateway_up": "Whether the connection to Discord stands: 1 or 0",
            "plexlink_commands_missing": "In how many places Discord does not have our commands",
            "plexlink_plex_requests_per_second": "How often plex.tv may be asked at present",
            "plexlink_plex_pause_seconds": "For how long plex.tv still wants to be left alone",
            "plexlink_works": "Whether this process does the work, of which exactly one has to: 1 or 0",
            "plexlink_work_overdue_seconds": "For how long no job was begun though it was time to",
            "plexlink_attempts_open": "Link attempts that are under way",
            "plexlink_sign_outs_waiting": "Credentials that plex.tv is still to be told to forget",
            "plexlink_sign_out_oldest_seconds": "For how long the oldest of them has waited",
            "plexlink_keys_backed_up": "Whether the keys are backed up as they are now: 1 or 0",
            "plexlink_disk_free_bytes": "Room where the database lies",
            "plexlink_disk_size_bytes": "The size of the file system that it lies on",
        }
        self._gauges = {name: Gauge(name, text, registry=registry) for name, text in gauges.items()}
        for gauge in self._gauges.values():
            gauge.set(nan)  # nobody has looked yet
        self._jobs = Gauge(
            "plexlink_jobs_waiting", "Jobs that are due and wait for their turn", ["kind"], registry=registry
        )
        self._links = Gauge("plexlink_links", "Links, by what is known of their tokens", ["health"], registry=registry)
        self._show_zeros()

    def _show_zeros(self) -> None:
        """Show what has not happened yet as 0: the first time is then a rise, not a beginning."""
        for end in _ENDS:
            self._attempts.labels(end)
        for call in Call:
            for outcome in Outcome:
                self._requests.labels(call, outcome)
        for lane in ("none", "dm", "answer"):
            for drawing in Drawing:
                self._cards.labels(lane, drawing)

    def observe(self, observation: Observation) -> None:
        """Count what happened."""
        match observation:
            case Asked(call, outcome):
                self._requests.labels(call, outcome).inc()
            case Ended(state):
                self._attempts.labels(state).inc()
            case ApprovalShown(seconds):
                self._approvals.observe(seconds)
            case CardDrawn(lane, drawing):
                self._cards.labels(lane, drawing).inc()
            case Committed(seconds):
                self._commits.observe(seconds)

    def render(
        self,
        *,
        is_ready: bool,
        is_connected: bool,
        commands_missing: int,
        work: Work | None,
        stock: Stock | None,
        folder: Path | None,
    ) -> bytes:
        """Return everything in Prometheus' text format; of what cannot be looked at, how it was last."""
        self._gauges["plexlink_ready"].set(is_ready)
        self._gauges["plexlink_gateway_up"].set(is_connected)
        self._gauges["plexlink_commands_missing"].set(commands_missing)
        if work is not None:
            self._show_work(work)
        if stock is not None:
            self._show_stock(stock)
        if folder is not None:
            self._show_disk(folder)
        return generate_latest(self._registry)

    def _show_work(self, work: Work) -> None:
        self._gauges["plexlink_plex_requests_per_second"].set(work.requests_per_second)
        self._gauges["plexlink_plex_pause_seconds"].set(work.pause_seconds)
        self._gauges["plexlink_works"].set(work.is_here)
        self._gauges["plexlink_work_overdue_seconds"].set(work.jobs.overdue_seconds)
        for kind in Kind:
            self._jobs.labels(kind).set(work.jobs.waiting.get(kind, 0))

    def _show_stock(self, stock: Stock) -> None:
        self._gauges["plexlink_attempts_open"].set(stock.open_attempts)
        self._gauges["plexlink_sign_outs_waiting"].set(stock.sign_outs)
        self._gauges["plexlink_sign_out_oldest_seconds"].set(stock.oldest_sign_out_seconds)
        self._gauges["plexlink_keys_backed_up"].set(stock.are_keys_backed_up)
        for health, count in stock.links.items():
            self._links.labels(health).set(count)

    def _show_disk(self, folder: Path) -> None:
        try:
            disk = shutil.disk_usage(folder)
        except OSError:
            return
        self._gauges["plexlink_disk_free_bytes"].set(disk.free)
        self._gauges["plexlink_disk_size_bytes"].set(disk.total)
