"""Which pending code is asked about next: the one where a request is likely to spare somebody the most waiting.

plex.tv grants about one request a second, so who is asked about too early costs somebody else. What a question is
worth is the waiting that it ends on average: the seconds since the approval, if there has been one since the last
question. That grows with the square of the time since then, and with the chance that somebody of this age approves.

Nobody knows how long people take, so the prior is a mixture: quick and slow people, and those who never approve. For
each code it is narrowed by the questions that brought nothing; for all of them it learns from how codes end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

K = TypeVar("K")

FIRST_AFTER_SECONDS = 3.0
"""Nobody has found the message, opened the page and approved by then; the quickest shall not wait any longer."""

AGAIN_AFTER_SECONDS = 2.0
"""Two questions about one code are at least this far apart, however little else there is to do."""

WORTH_SECONDS = 0.01
"""A request is sent for this much waiting that it ends on average: a second of it, if it is found once in a hundred."""

_AT_LATEST_SECONDS = 20.0
"""Requests that nobody else needs are spent on old codes: who approves late shall not wait for a minute."""

_LONGEST_WAIT_REQUESTS = 90.0
_CROWD = 30
_CROWDED_WAIT_REQUESTS = 10.0

_AHEAD_REQUESTS = 4.0
_RESERVE = 1.25
"""What else goes ahead meanwhile: a few requests at once, and one for every four questions."""

RANK_HOLDS_SECONDS = 0.9
"""Worth changes slowly. At one request a second every choice is made anew; a faster pace does not pay for that."""

_MEMORY = 200.0
"""So many people are remembered; what was long ago fades."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of one pending code; instants are monotonic.

    `asked_at` is when plex.tv was last asked in vain, `last_at` when it is asked for the last time that may help,
    `pressed_at` when the member pressed *I've approved it* and had not.
    """

    shown_at: float
    asked_at: float
    last_at: float = inf
    pressed_at: float = -inf


@dataclass(frozen=True, slots=True)
class People:
    """How many people of each sort there may be: what is expected of somebody of whom nothing is known.

    Approving takes three steps (find the message, open the page, approve), each as long as any other and of no typical
    length: an Erlang distribution. A sort is known by the mean length of its steps.
    """

    by_step_seconds: tuple[tuple[float, float], ...] = ((4.0, 2.0), (10.0, 4.0), (25.0, 1.5), (60.0, 0.5))
    never: float = 2.0

    def gain(self, asked: float, age: float) -> float:
        """Return the seconds of waiting that a question at `age` ends on average, after one in vain at `asked`."""
        waited = sum(
            count * (_pending(asked / step) * (age - asked) - step * (_to_come(asked / step) - _to_come(age / step)))
            for step, count in self.by_step_seconds
        )
        return waited / (self.never + sum(count * _pending(asked / step) for step, count in self.by_step_seconds))

    def numbers(self) -> dict[str, float]:
        """Return what was learned, by name, to be kept."""
        return {"people_never": self.never, **{f"people_step_{step:g}": count for step, count in self.by_step_seconds}}

    def recalling(self, numbers: Mapping[str, float]) -> People:
        """Return what was learned before; what was not kept whole, or cannot be a count, was not learned."""
        try:
            by_step = tuple((step, numbers[f"people_step_{step:g}"]) for step, _ in self.by_step_seconds)
            recalled = replace(self, by_step_seconds=by_step, never=numbers["people_never"])
        except KeyError:
            return self
        return recalled if all(0.0 < count <= _MEMORY for count in recalled.numbers().values()) else self

    def after_approval(self, asked: float, age: float) -> People:
        """Return what is expected after somebody has approved between two ages."""
        chances = [count * (_pending(asked / step) - _pending(age / step)) for step, count in self.by_step_seconds]
        return self._after(chances, 0.0)

    def after_silence(self, age: float) -> People:
        """Return what is expected after somebody has not approved until the code ran out at this age."""
        return self._after([count * _pending(age / step) for step, count in self.by_step_seconds], self.never)

    def _after(self, chances: list[float], never: float) -> People:
        """Count one person, in shares, and let what was long ago fade."""
        whole = sum(chances) + never
        if whole <= 0.0:
            return self
        counts = [count + chance / whole for (_, count), chance in zip(self.by_step_seconds, chances, strict=True)]
        nobody = self.never + never / whole
        fade = min(1.0, _MEMORY / (sum(counts) + nobody))
        steps = (step for step, _ in self.by_step_seconds)
        return replace(
            self,
            by_step_seconds=tuple((step, count * fade) for step, count in zip(steps, counts, strict=True)),
            never=nobody * fade,
        )


PRESSERS = People(((5.0, 2.0), (15.0, 2.0)), 1.0)
"""Who presses *I've approved it* and has not is at it: most approve within the next minute."""


def gain(people: People, question: Question, now: float) -> float:
    """Return the seconds of waiting that asking a question now ends on average."""
    by_age = people.gain(question.asked_at - question.shown_at, now - question.shown_at)
    if question.pressed_at == -inf:
        return by_age
    return max(by_age, PRESSERS.gain(question.asked_at - question.pressed_at, now - question.pressed_at))


def _pending(steps: float) -> float:
    """Return the share that has not approved after a time, given in mean lengths of a step."""
    return exp(-steps) * (1.0 + steps + steps * steps / 2.0)


def _to_come(steps: float) -> float:
    """Return the integral of `_pending` from a time on."""
    return exp(-steps) * (3.0 + 2.0 * steps + steps * steps / 2.0)


def due_at(people: People, question: Question) -> float:
    """Return from when on a question is worth its request."""
    if question.asked_at <= question.shown_at:
        return min(question.shown_at + FIRST_AFTER_SECONDS, question.last_at)
    wait = AGAIN_AFTER_SECONDS
    while wait < _AT_LATEST_SECONDS and gain(people, question, question.asked_at + wait) < WORTH_SECONDS:
        wait *= 1.2
    return min(question.asked_at + min(wait, _AT_LATEST_SECONDS), question.last_at)


def ranked(people: People, questions: Mapping[K, Question], now: float, *, crowd: int, rate: float) -> list[K]:
    """Return the questions that are due, the first last, with `crowd` codes out and so many requests a second.

    The one that is worth most comes first, unless somebody would then wait too long: 90 requests' time, in a crowd of
    more than 30 ten times as many requests as there are codes. Then it is the one that has waited longest.
    """
    if _is_pressing(questions.values(), now, crowd, rate):
        return sorted(questions, key=lambda key: -questions[key].asked_at)
    return sorted(questions, key=lambda key: gain(people, questions[key], now))


def _is_pressing(questions: Collection[Question], now: float, crowd: int, rate: float) -> bool:
    """Tell whether those who have waited longest can just be asked about in time, one after the other."""
    longest_wait = _LONGEST_WAIT_REQUESTS if crowd <= _CROWD else _CROWDED_WAIT_REQUESTS * crowd
    asked = sorted(question.asked_at for question in questions)
    return any(
        (now - at) * rate + _AHEAD_REQUESTS + place * _RESERVE >= longest_wait for place, at in enumerate(asked, 1)
    )
