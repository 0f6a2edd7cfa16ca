"""The scenarios of the comparison, its goals, and the table that comes of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulation import FIXED, ROUND_ROBIN, Knowing, Outcome, Scenario, by_gain, learned, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

LOADS = (2, 6, 12)
"""Starts a minute."""


@dataclass(frozen=True, slots=True)
class Case:
    """What members do, with which way PlexLink's order is compared, and what share of its mean time is the goal."""

    name: str
    scenario: Scenario
    goals: tuple[float, float, float]
    beside_round_robin: bool = False
    approvals_before: int = 0
    """From how many approvals it has learned when it begins."""


CASES = (
    Case("as expected, median 30 s", Scenario(0), (0.52, 0.48, 0.40)),
    Case("three times quicker", Scenario(0, median_seconds=10), (0.7, 0.7, 0.7)),
    Case("three times slower", Scenario(0, median_seconds=90), (0.7, 0.7, 0.7)),
    Case("three times quicker, 200 approvals later", Scenario(0, median_seconds=10), (0.55,) * 3, approvals_before=200),
    Case("three times slower, 200 approvals later", Scenario(0, median_seconds=90), (0.55,) * 3, approvals_before=200),
    Case("four times slower, beside round robin", Scenario(0, median_seconds=120), (1.15, 1.15, 1.15), True),  # noqa: FBT003
    Case("70 % press two to four seconds after", Scenario(0, presses=0.7), (0.5, 0.5, 0.5)),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Means over seeds: seconds from approval to notice, shares of the other way's, and requests."""

    ours: float
    theirs: float
    share: float
    told_share: float
    spread: float
    worst_share: float
    longest_wait: float
    requests_share: float


def compare(case: Case, load: float, seeds: Sequence[int]) -> Comparison:
    """Play the same members with PlexLink's order and with the other one."""
    scenario = replace(case.scenario, starts_a_minute=load)
    other = ROUND_ROBIN if case.beside_round_robin else FIXED
    pairs = [(_ours(case, scenario, seed), simulate(scenario, other, seed)) for seed in seeds]
    shares = [ours.mean / theirs.mean for ours, theirs in pairs]
    ours, theirs = (statistics.fmean(outcome.mean for outcome in side) for side in zip(*pairs, strict=True))
    return Comparison(
        ours=ours,
        theirs=theirs,
        share=ours / theirs,
        told_share=statistics.fmean(
            simulate(scenario, by_gain, seed, people=Knowing(scenario=scenario)).mean / theirs.mean
            for seed, (_, theirs) in zip(seeds, pairs, strict=True)
        ),
        spread=statistics.stdev(shares) if len(shares) > 1 else 0.0,
        worst_share=statistics.fmean(ours.worst_percent / theirs.worst_percent for ours, theirs in pairs),
        longest_wait=max(ours.longest_wait for ours, _ in pairs),
        requests_share=statistics.fmean(ours.questions / theirs.questions for ours, theirs in pairs),
    )


def _ours(case: Case, scenario: Scenario, seed: int) -> Outcome:
    people = learned(scenario, case.approvals_before, -seed) if case.approvals_before else None
    return simulate(scenario, by_gain, seed, people=people)


def table(seeds: Sequence[int]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| members | starts a minute | PlexLink | beside | share | goal | told | 99th percentile | questions |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        for load, goal in zip(LOADS, case.goals, strict=True):
            found = compare(case, load, seeds)
            lines.append(
                f"| {case.name} | {load} | {found.ours:.2f} s | {found.theirs:.2f} s "
                f"| {found.share:.2f} ± {found.spread:.2f} | {goal:.2f} | {found.told_share:.2f} "
                f"| {found.worst_share:.2f} | {found.requests_share:.2f} |"
            )
    return lines
