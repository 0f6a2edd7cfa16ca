"""The unit for systemd, in systemd's own judgement."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from plexlink_bot.app import Exit

UNIT = Path(__file__).parents[2] / "deploy/systemd/plexlink.service"
MOST_EXPOSURE = 2.0
ANALYZE = shutil.which("systemd-analyze")

needs_systemd = pytest.mark.skipif(
    ANALYZE is None,
    reason="the unit for systemd was not looked at, because there is no systemd-analyze here (Debian: systemd)",
)


def analyze(*arguments: str | Path) -> tuple[int, str]:
    command = (str(ANALYZE), "--no-pager", *arguments)
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    return done.returncode, done.stdout


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text, count = re.subn(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text())  # what need not be here
    assert count == 1
    (unit := tmp_path / UNIT.name).write_text(text)
    assert analyze("verify", unit) == (0, "")


@needs_systemd
def test_systemd_finds_the_service_hardly_exposed() -> None:
    _, said = analyze("security", "--offline=true", UNIT)
    found = re.search(r"Overall exposure level for plexlink\.service: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSURE, said


def test_service_starts_again_unless_something_needs_mending() -> None:
    settings = dict(re.findall(r"(?m)^(\w+)=(.*)$", UNIT.read_text()))
    assert settings["Restart"] == "on-failure"  # after every status but 0
    assert settings["RestartPreventExitStatus"] == str(Exit.CONFIGURATION)
