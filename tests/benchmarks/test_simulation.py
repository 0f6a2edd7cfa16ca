"""A quick version of the comparison in RESULTS.md: the same on every machine, for neither chance nor time is real."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orders import CASES, LOADS, Case, compare
from real_run import run_for_real
from scenes import SCENES, Scene, play_scene
from simulation import FIXED, Scenario, by_gain, simulate

SEEDS = (2, 3, 4, 5, 6)

OUT_OF_REACH = {
    "three times slower": 0.85,
    "three times slower, 200 approvals later": 0.85,
    "70 % press two to four seconds after": 0.67,
}
"""Where RESULTS.md says why the goal is missed: what is reached shall not be lost."""

EXPECTED, *UNEXPECTED = CASES


@pytest.mark.parametrize("load", LOADS)
def test_approval_is_noticed_in_half_the_time_of_a_fixed_interval(load: int) -> None:
    found = compare(EXPECTED, load, SEEDS)
    assert found.share <= EXPECTED.goals[LOADS.index(load)]
    assert found.worst_share <= 1.0


@pytest.mark.parametrize("case", UNEXPECTED, ids=lambda case: case.name)
def test_people_who_are_not_as_expected_do_not_wait_longer(case: Case) -> None:
    case = replace(case, scenario=replace(case.scenario, hours=1.0))
    found = compare(case, 6, SEEDS[:2])
    assert found.share <= OUT_OF_REACH.get(case.name, case.goals[1])
    assert found.worst_share <= 2.0


def test_nobody_waits_more_than_ninety_seconds_for_a_question() -> None:
    outcome = simulate(Scenario(2), by_gain, 1)
    assert 20 < outcome.longest_wait <= 90


@pytest.mark.parametrize("load", LOADS)
def test_no_approval_is_missed(load: int) -> None:
    crowd = Scenario(load, median_seconds=120, hours=1.0)
    outcomes = [simulate(crowd, plan, 1) for plan in (by_gain, FIXED)]
    assert [outcome.missed for outcome in outcomes] == [0, 0]
    assert len(outcomes[0].delays) == len(outcomes[1].delays)


def test_plugin_on_a_socket_does_what_the_simulation_says() -> None:
    scenario = Scenario(6, hours=0.25)
    simulated, real = simulate(scenario, by_gain, 1), run_for_real(scenario, 1)
    assert len(real.delays) == len(simulated.delays)
    assert real.mean == pytest.approx(simulated.mean, rel=0.15)
    assert real.questions == pytest.approx(simulated.questions, rel=0.05)


LONGEST_FOR_A_CODE = {"sixty who hold a code": 20.0, "fifty who come at once": 75.0}
LONGEST_TO_A_LINK = {"sixty who hold a code": 45.0, "fifty who come at once": 90.0}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_everybody_gets_on_whoever_else_eats_of_the_budget(scene: Scene) -> None:
    waits = play_scene(scene)
    assert len(waits.code) == len(waits.link) == len(scene.newcomers_at)
    assert max(waits.code) <= LONGEST_FOR_A_CODE.get(scene.name, 3.0)
    assert max(waits.link) <= LONGEST_TO_A_LINK.get(scene.name, 6.0)
    assert len(waits.sign_out) == len(scene.sign_outs_at)
    assert max(waits.sign_out) <= 30
    assert len(waits.looked_before_end) == len(scene.given_up_end_at)
    assert max(waits.looked_before_end) <= 1.0
