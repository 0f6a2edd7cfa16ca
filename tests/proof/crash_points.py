"""The places where the bot is stopped: with one request in flight, or at one commit.

A point names a member's goal, the step at which the trap is set, and the request that is caught: in the small
Discord or in the stand-in of plex.tv, before or after its work is done.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from busy_members import Goal, Step
from plexlink_bot.sandbox.plex_requests import operation_of
from plexlink_bot.sandbox.plex_tv import Exchange, Operation, PlexTV
from small_discord import NotPossibleError

if TYPE_CHECKING:
    from pathlib import Path

    from small_discord import SmallDiscord, User
    from small_discord_model import Hold


@dataclass(frozen=True)
class Point:
    """A request of a member's story that is in flight when the bot is stopped."""

    goal: Goal
    step: Step
    request: str
    """A method and a path of Discord's, or an operation of plex.tv's."""
    is_done: bool
    """Whether the work is done and only the answer is on the way."""
    then: str | None = None
    """What the card says after the next start, before the member does anything more."""
    closed: bool = False
    """Whether the member takes no direct messages."""

    @property
    def name(self) -> str:
        """How a failure is reported."""
        lane = "answer" if self.closed else "message"
        moment = "after" if self.is_done else "before"
        return f"{self.goal} by {lane}, from {self.step!r}: {moment} {self.request}"

    @property
    def is_noted(self) -> bool:
        """Whether the last command is committed by then, so that the next process owes its answer."""
        return self.then is not None and self.request != DEFER

    @property
    def is_about_role(self) -> bool:
        """Whether it keeps all others of the server waiting for their roles."""
        return self.request in {GIVE, TAKE}

    @property
    def is_at_plex(self) -> bool:
        """Whether plex.tv is the one that keeps the bot waiting."""
        return " " not in self.request


DEFER = "POST /interactions/*"
OPEN_DM = "POST /users/@me/channels"
SEND = "POST /channels/*/messages"
EDIT = "PATCH /channels/*/messages/*"
ANSWER = "PATCH /webhooks/*"
GIVE = "PUT /guilds/*/members/*/roles/*"
TAKE = "DELETE /guilds/*/members/*/roles/*"


def _both(
    goal: Goal, step: Step, *requests: str, then: str | None = None, closed: tuple[bool, ...] = (False,)
) -> list[Point]:
    return [
        Point(goal, step, request, is_done, then, lane)
        for request in requests
        for lane in closed
        for is_done in (False, True)
    ]


EITHER = (False, True)

POINTS = [
    *_both(Goal.LINK, Step.TYPE, DEFER),
    *_both(Goal.LINK, Step.TYPE, Operation.CREATE_PIN, then="pending"),
    *_both(Goal.LINK, Step.TYPE, OPEN_DM, SEND, then="pending"),
    *_both(Goal.LINK, Step.TYPE, SEND, then="pending", closed=(True,)),
    *_both(Goal.LINK, Step.TYPE, ANSWER, then="pending", closed=EITHER),
    *_both(Goal.LINK, Step.CHECK, DEFER, then="linked", closed=EITHER),
    *_both(Goal.LINK, Step.APPROVE, Operation.GET_PIN),
    *_both(Goal.LINK, Step.APPROVE, Operation.USER, EDIT, then="linked"),
    *_both(Goal.LINK, Step.APPROVE, GIVE, then="linked"),
    *_both(Goal.LINK, Step.APPROVE, ANSWER, then="linked", closed=(True,)),
    *_both(Goal.CANCEL, Step.CANCEL, DEFER),
    *_both(Goal.CANCEL, Step.CANCEL, EDIT, then="cancelled"),
    *_both(Goal.CANCEL, Step.CANCEL, ANSWER, then="cancelled", closed=(True,)),
    *_both(Goal.RENEW, Step.NEW, DEFER, Operation.CREATE_PIN, EDIT, then="pending"),
    *_both(Goal.RENEW, Step.NEW, ANSWER, then="pending", closed=(True,)),
    *_both(Goal.LET_EXPIRE, Step.EXPIRE, EDIT, then="expired"),
    *_both(Goal.ASK_TWICE, Step.TYPE_AGAIN, DEFER, then="pending"),
    *_both(Goal.ASK_TWICE, Step.TYPE_AGAIN, ANSWER, then="pending", closed=EITHER),
    *_both(Goal.UNDO, Step.UNDO, DEFER),
    *_both(Goal.UNDO, Step.UNDO, Operation.SIGN_OUT, EDIT, then="undone"),
    *_both(Goal.UNDO, Step.UNDO, ANSWER, then="undone", closed=(True,)),
    *_both(Goal.UNLINK, Step.ASK_TO_UNLINK, DEFER, ANSWER),
    *_both(Goal.UNLINK, Step.UNLINK, DEFER),
    *_both(Goal.UNLINK, Step.UNLINK, Operation.SIGN_OUT, Operation.USER, ANSWER, EDIT, then="unlinked"),
    *_both(Goal.UNLINK, Step.UNLINK, TAKE, then="unlinked"),
    *_both(Goal.REPLACE, Step.TYPE_AGAIN, DEFER, ANSWER),
    *_both(Goal.REPLACE, Step.ANOTHER, DEFER, SEND),
    *_both(Goal.REPLACE, Step.ANOTHER, Operation.SIGN_OUT, then="linked"),
    *_both(Goal.REFUSE, Step.APPROVE, Operation.SIGN_OUT, EDIT, then="refused"),
]


@dataclass(eq=False)
class _Gate:
    """Keeps one member's request to plex.tv."""

    operation: str
    is_done: bool
    has_caught: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class Gates:
    """All requests to plex.tv pass here; some are kept. Armed as a fault that meets every request."""

    def __init__(self, plex: PlexTV) -> None:
        self._gates: dict[str, _Gate] = {}
        self._names: dict[str, str] = {}
        plex.fail(self, times=None)

    def close(self, name: str, operation: str, *, is_done: bool) -> _Gate:
        """Keep the next request of an operation that is about a member."""
        gate = self._gates[name] = _Gate(operation, is_done)
        return gate

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Answer rightly, but perhaps late."""
        operation, _ = operation_of(exchange.request)
        name = self._name(exchange.request)
        gate = self._gates.get(name)
        if gate is None or gate.operation != operation:
            return (await exchange.right_answer()).response()
        del self._gates[name]
        if gate.is_done:
            await exchange.right_answer()
        gate.has_caught.set()
        await gate.released.wait()
        if exchange.is_abandoned():
            return web.Response()
        return (await exchange.right_answer()).response()

    def _name(self, request: web.Request) -> str:
        """Return the member whose PIN or token a request is about: a new PIN's device is called after them."""
        client_identifier = request.headers["X-Plex-Client-Identifier"]
        if found := re.match(r"Discord: (\S+) via", request.headers.get("X-Plex-Device-Name", "")):
            self._names[client_identifier] = found[1]
        return self._names[client_identifier]


class Trap:
    """Set at a step, it catches one request; until it is opened again, the bot waits for the answer."""

    def __init__(self, point: Point, *, discord: SmallDiscord, gates: Gates, user: User) -> None:
        self._point = point
        self._discord = discord
        self._gates = gates
        self._user = user
        self._held: _Gate | Hold | None = None
        self._is_set = asyncio.Event()

    def watch(self, step: Step) -> None:
        """Set the trap when its member comes to its step; from then on the member waits."""
        point = self._point
        if self._held is not None:
            self._wait(step)
            return
        if step is not point.step:
            return
        if point.is_at_plex:
            self._held = self._gates.close(self._user.name, point.request, is_done=point.is_done)
        else:
            method, path = point.request.split()
            self._held = self._discord.hold(method, path, before=not point.is_done, user=self._user)
        self._is_set.set()

    async def caught(self) -> None:
        """Wait until there is a request in it."""
        await self._is_set.wait()
        assert self._held is not None
        await self._held.has_caught.wait()

    def _wait(self, step: Step) -> None:
        """Let the member do what the request still needs, and nothing else."""
        is_needed = step is Step.CHECK or self._point.goal is Goal.REPLACE
        if self.has_caught or not is_needed:
            raise NotPossibleError("The member waits for what is in the trap")

    @property
    def has_caught(self) -> bool:
        """Whether there is a request in it."""
        return self._held is not None and self._held.has_caught.is_set()

    def open(self) -> None:
        """Let the request go on."""
        if self._held is not None:
            self._held.released.set()


PATIENT_RUN = (
    "-c",
    "from plexlink.surface import calls; calls._LONGEST_SECONDS = 3600; from plexlink_bot.cli import main; main()",
    "run",
)
"""A bot that does not give up what Discord keeps in a trap, however long it takes until all traps have caught."""

_KILLED_AT_A_COMMIT = """
import os, signal
from pathlib import Path
from sqlalchemy.engine.default import DefaultDialect

order, commit, changes = Path("die-at"), DefaultDialect.do_commit, {}

def die_if_due(moment):
    if order.read_text() == f"1 {moment}":
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)

def count_down():
    number, moment = order.read_text().split()
    order.write_text(f"{int(number) - 1} {moment}")

def watched(dialect, connection):
    driver = connection.driver_connection
    before, changes[driver] = changes.get(driver, 0), driver.total_changes
    is_counted = order.exists() and changes[driver] > before
    if is_counted:
        die_if_due("before")
    commit(dialect, connection)
    if is_counted:
        die_if_due("after")
        count_down()

DefaultDialect.do_commit = watched
from plexlink_bot.cli import main
main()
"""
"""A bot that kills itself right before or right after its n-th commit that changes anything, counted from the order."""

DYING_RUN = ("-c", _KILLED_AT_A_COMMIT, "run")


@dataclass(frozen=True)
class Order:
    """Tell a bot at which of its next commits to die."""

    folder: Path

    def give(self, number: int, moment: str) -> None:
        """Let it die before or after its `number`th commit from now on."""
        draft = self.folder / "order"
        draft.write_text(f"{number} {moment}")
        draft.replace(self._file)

    def withdraw(self) -> int:
        """Let it live; return how many commits were still to come."""
        number, _ = self._file.read_text().split()
        self._file.unlink()
        return int(number)

    @property
    def is_carried_out(self) -> bool:
        """Whether it has died of it."""
        return not self._file.exists()

    @property
    def _file(self) -> Path:
        return self.folder / "die-at"
