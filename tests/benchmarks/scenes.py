"""Who waits how long while others eat of the one budget: the real agenda in virtual time, at one request a second.

A scene has a crowd that holds codes, perhaps pressing all the time, and beside it what must go on all the same:
newcomers who want a code and approve it, a sign-out now and then, and codes that were given up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from plexlink.plex.pace import Pace
from plexlink.work.agenda import Agenda, Key, Kind
from plexlink.work.order import Question
from plexlink.work.shares import Presses, Purpose
from simulation import ANSWER_SECONDS, LAST_CHANCE_SECONDS, LIFE_SECONDS
from virtual_time import play

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS_BEFORE_SECONDS = 30.0
REQUESTS_OF_A_SIGN_OUT = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """How many hold codes and never approve, how often those press, and who comes beside them and when."""

    name: str
    holders: int = 0
    presses_every_seconds: float | None = None
    newcomers_at: tuple[float, ...] = (60.0, 300.0, 600.0)
    approves_after_seconds: float = 25.0
    sign_outs_at: tuple[float, ...] = (120.0, 400.0, 700.0)
    given_up_end_at: tuple[float, ...] = (500.0, 800.0)
    seconds: float = 1800.0


SCENES = (
    Scene("three who press every 2.5 s", holders=3, presses_every_seconds=2.5),
    Scene("twelve who hold a code", holders=12),
    Scene("sixty who hold a code", holders=60),
    Scene("fifty who come at once", newcomers_at=(60.0,) * 50),
    Scene("an honest evening", newcomers_at=tuple(60.0 + 45.0 * number for number in range(30))),
)


@dataclass(slots=True)
class Waits:
    """Seconds that each had to wait; what is not done at the end of the scene is not in here."""

    code: list[float] = field(default_factory=list)
    link: list[float] = field(default_factory=list)
    sign_out: list[float] = field(default_factory=list)
    looked_before_end: list[float] = field(default_factory=list)


class Stage:
    """What happens in a scene."""

    def __init__(self, scene: Scene) -> None:
        self.waits = Waits()
        self._scene = scene
        self._agenda = Agenda(pace=Pace(1.0))
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._jobs: dict[Key, Callable[[float], None]] = {}
        self._numbers = count()

    async def play(self) -> Waits:
        """Let the scene pass."""
        scene = self._scene
        self._agenda.start(self._work)
        for _ in range(scene.holders):
            self._hold()
        for at in scene.newcomers_at:
            self._at(at, self._come)
        for at in scene.sign_outs_at:
            self._at(at, self._sign_out)
        for at in scene.given_up_end_at:
            self._at(at - LIFE_SECONDS / 2, self._give_up)
        await asyncio.sleep(scene.seconds)
        await self._agenda.stop()
        return self.waits

    @property
    def _now(self) -> float:
        return self._loop.time() - self._began

    def _at(self, at: float, happens: Callable[[], None]) -> None:
        self._loop.call_at(self._began + at, happens)

    async def _work(self, key: Key) -> None:
        sent_at = self._loop.time()
        await asyncio.sleep(ANSWER_SECONDS)
        self._jobs[key](sent_at)

    def _new(self, kind: Kind) -> Key:
        return Key(kind, f"{next(self._numbers)}")

    def _want_code(self, key: Key, has_code: Callable[[float], None]) -> None:
        self._jobs[key] = has_code
        self._agenda.put(key, Purpose.CREATE)

    def _ask(self, key: Key, shown_at: float, asked_at: float) -> None:
        last_at = shown_at + LIFE_SECONDS - LAST_CHANCE_SECONDS
        self._agenda.put_question(key, Question(shown_at, asked_at, last_at))

    def _hold(self) -> None:
        """Hold a code until it runs out, then the next one; press all the while."""
        key, presses = self._new(Kind.ATTEMPT), Presses()

        def has_code(sent_at: float) -> None:
            def asked(asked_at: float) -> None:
                nonlocal presses
                if asked_at >= sent_at + LIFE_SECONDS - LAST_CHANCE_SECONDS:
                    self._hold()
                    return
                if is_pressed:
                    presses = presses.after(asked_at)
                    is_pressed.clear()
                self._ask(key, sent_at, asked_at)

            is_pressed: list[bool] = []

            def press() -> None:
                if self._loop.time() < sent_at + LIFE_SECONDS - LAST_CHANCE_SECONDS:
                    is_pressed.append(True)
                    self._agenda.put(key, Purpose.PRESSED, presses.next_at - self._loop.time())
                    self._loop.call_later(self._scene.presses_every_seconds or 0.0, press)

            self._jobs[key] = asked
            self._ask(key, sent_at, sent_at)
            if self._scene.presses_every_seconds:
                press()

        self._want_code(key, has_code)

    def _come(self) -> None:
        """Want a code, approve it, and wait for the link."""
        key, came_at = self._new(Kind.ATTEMPT), self._loop.time()

        def has_code(sent_at: float) -> None:
            self.waits.code.append(self._loop.time() - came_at)
            approved_at = self._loop.time() + self._scene.approves_after_seconds

            def linked(_: float) -> None:
                self.waits.link.append(self._loop.time() - approved_at)

            def asked(asked_at: float) -> None:
                if asked_at < approved_at:
                    self._ask(key, sent_at, asked_at)
                else:
                    self._jobs[key] = linked
                    self._agenda.put(key, Purpose.ACCOUNT)

            self._jobs[key] = asked
            self._ask(key, sent_at, sent_at)

        self._want_code(key, has_code)

    def _sign_out(self) -> None:
        key, began_at, left = self._new(Kind.SIGN_OUT), self._loop.time(), REQUESTS_OF_A_SIGN_OUT

        def step(_: float) -> None:
            nonlocal left
            left -= 1
            if left:
                self._agenda.put(key, Purpose.BACKGROUND)
            else:
                self.waits.sign_out.append(self._loop.time() - began_at)

        self._jobs[key] = step
        self._agenda.put(key, Purpose.BACKGROUND)

    def _give_up(self) -> None:
        """Give a code up half-way; it is looked at shortly before its end, and in its last second."""
        key, ends_at = self._new(Kind.GIVEN_UP), self._loop.time() + LIFE_SECONDS / 2

        def look(sent_at: float) -> None:
            left = ends_at - LAST_CHANCE_SECONDS - sent_at
            if left > 0:
                self._agenda.put(key, Purpose.BACKGROUND, left, last_chance_seconds=left)
            else:
                self.waits.looked_before_end.append(ends_at - sent_at)

        self._jobs[key] = look
        self._agenda.put(
            key,
            Purpose.BACKGROUND,
            LIFE_SECONDS / 2 - LOOKS_BEFORE_SECONDS,
            last_chance_seconds=LIFE_SECONDS / 2 - LAST_CHANCE_SECONDS,
        )


def play_scene(scene: Scene) -> Waits:
    """Return who waited how long."""

    async def scenes() -> Waits:
        return await Stage(scene).play()

    return play(scenes)


def table() -> list[str]:
    """Return the lines of the table: the longest wait of each sort, and how many got there at all."""
    lines = [
        "| scene | for a code | from approval to link | for a sign-out | last look at a given-up code |",
        "|---|---|---|---|---|",
    ]
    for scene in SCENES:
        waits = play_scene(scene)
        cells = [
            _longest(waits.code, len(scene.newcomers_at)),
            _longest(waits.link, len(scene.newcomers_at)),
            _longest(waits.sign_out, len(scene.sign_outs_at)),
            _longest(waits.looked_before_end, len(scene.given_up_end_at)) + " before its end",
        ]
        lines.append(f"| {' | '.join([scene.name, *cells])} |")
    return lines


def _longest(waits: list[float], of: int) -> str:
    if not waits:
        return f"never (0 of {of})"
    return f"{max(waits):.1f} s" + (f" ({len(waits)} of {of})" if len(waits) < of else "")


if __name__ == "__main__":
    print(*table(), sep="\n")  # noqa: T201 - a table is what it is for
