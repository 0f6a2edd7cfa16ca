"""What the pages say of a bot that is not well, and what is counted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from plexlink.models import State
from plexlink.observations import ApprovalShown, Asked, Call, CardDrawn, Committed, Drawing, Ended, Outcome
from plexlink.plex import Pace
from plexlink.vitals import Jobs, Vitals
from plexlink.work.agenda import Agenda, Key, Kind
from plexlink.work.shares import Purpose
from plexlink_bot.metrics import Metrics
from plexlink_bot.web import WebPages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Working:
    """The work, or a process that stands by."""

    waiting: dict[str, int]
    overdue_seconds: float
    works: bool = True

    def has_worker(self) -> bool:
        return self.works

    def jobs(self) -> Jobs:
        return Jobs(waiting=self.waiting, overdue_seconds=self.overdue_seconds)


@dataclass
class Bot:
    """A bot of which only the looks matter."""

    overdue_seconds: float = 0.0
    is_connected: bool = True
    lacks_commands: bool = False
    commands_missing: int = 0
    jobs: dict[str, int] = field(default_factory=dict)

    @property
    def vitals(self) -> Vitals:
        nothing: Any = None
        return Vitals(
            store=nothing,
            clock=nothing,
            pace=Pace(1.0),
            working=Working(self.jobs, self.overdue_seconds),
            check_keys=lambda: None,
            are_keys_backed_up=lambda _: True,
            folder=Path(),
        )


async def said(bot: Bot, page: str) -> tuple[int, str]:
    pages = WebPages(bot=bot, metrics=Metrics(), host="127.0.0.1", port=0)
    async with TestClient(TestServer(pages._runner.app)) as client:
        answer = await client.get(page)
        return answer.status, (await answer.text()).strip()


@asynccontextmanager
async def pages_of(bot: Bot) -> AsyncIterator[int]:
    """Serve the pages; give their port."""
    async with WebPages(bot=bot, metrics=Metrics(), host="127.0.0.1", port=0) as pages:
        yield pages._runner.addresses[0][1]


async def sent(port: int, request: bytes) -> list[str]:
    """Send some bytes; return the lines of all that is answered, once the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer.decode().splitlines()


@pytest.mark.parametrize(("overdue", "status"), [(0.0, 200), (59.0, 200), (61.0, 503), (inf, 503)])
async def test_a_bot_lives_while_its_timer_goes_off(overdue: float, status: int) -> None:
    assert (await said(Bot(overdue_seconds=overdue), "/livez"))[0] == status


HEAD = b" HTTP/1.1\r\nHost: x\r\n"
BODIES = [
    b"Content-Length: 10000000000\r\n\r\n",
    b"Content-Length: 1\r\n\r\nx",
    b"Transfer-Encoding: chunked\r\n\r\n100000\r\nxxxxx",
    b"Content-Length: 7\r\nContent-Encoding: gzip\r\n\r\nnot gzip",
    b"Content-Length: 10000000000\r\nExpect: 100-continue\r\n\r\n",
]


@pytest.mark.parametrize("line", [b"GET /livez", b"GET /metrics", b"POST /readyz", b"PUT /nowhere"])
@pytest.mark.parametrize("body", BODIES)
async def test_who_announces_a_body_is_refused_before_it_comes(line: bytes, body: bytes) -> None:
    async with pages_of(Bot()) as port, asyncio.timeout(5):
        answer = await sent(port, line + HEAD + body)
    assert "HTTP/1.1 413 Request Entity Too Large" in answer
    assert "Connection: close" in answer


async def test_who_announces_that_there_is_no_body_is_answered() -> None:
    async with pages_of(Bot()) as port:
        answer = await sent(port, b"GET /livez" + HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    assert (answer[0], answer[-1]) == ("HTTP/1.1 200 OK", "ok")


async def test_the_agenda_tells_what_is_due_and_whether_its_timer_is_armed() -> None:
    agenda = Agenda(pace=Pace(0.001))

    async def work(_: Key) -> None:
        pass

    agenda.start(work)
    assert agenda.jobs() == Jobs(waiting={}, overdue_seconds=0.0)
    for number in range(3):
        agenda.put(Key(Kind.ATTEMPT, f"{number}"), Purpose.CREATE)
    agenda.put(Key(Kind.SIGN_OUT, "later"), Purpose.BACKGROUND, 600.0)
    assert agenda.jobs() == Jobs(waiting={"attempt": 2}, overdue_seconds=0.0), "one has begun"
    assert agenda._timer is not None
    agenda._timer.cancel()
    agenda._timer = None
    assert agenda.jobs().overdue_seconds == inf
    await agenda.stop()


def test_what_happens_is_counted_by_closed_sets() -> None:
    metrics = Metrics()
    for observation in (
        Asked(Call.ASK, Outcome.SLOWED, 0.1),
        Ended(State.EXPIRED),
        ApprovalShown(3.0),
        CardDrawn("answer", Drawing.FAILED),
        Committed(0.002),
    ):
        metrics.observe(observation)
    text = metrics.render(
        is_ready=False, is_connected=False, commands_missing=1, work=None, stock=None, folder=None
    ).decode()
    for line in (
        'plexlink_plex_requests_total{call="ask",outcome="slowed_down"} 1.0',
        'plexlink_attempts_total{end="expired"} 1.0',
        'plexlink_approval_to_card_seconds_bucket{le="4.0"} 1.0',
        'plexlink_cards_total{lane="answer",result="failed"} 1.0',
        'plexlink_commit_seconds_bucket{le="0.003"} 1.0',
        "plexlink_ready 0.0",
        "plexlink_commands_missing 1.0",
        "plexlink_plex_requests_per_second NaN",
    ):
        assert line in text.splitlines()
