"""What `make` does for the environment that the commands run in: the Makefile, with a small project and a small uv."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
PIP = importlib.util.find_spec("pip")
QUICK_PYTHON = """#!/bin/sh
[ "$1" = -m ] || exec {python} "$@"
{python} -m venv --without-pip .venv && ln -s {pip} .venv/lib/python*/site-packages && touch .venv/bin/pip
"""
"""Python, but what takes long of making an environment is a link to the pip that there is."""

MADE = ["Installing the installer", "Installing what the bot needs", "Installing the bot"]


def make_uv(folder: Path) -> str:
    """Pack a uv that does nothing, and return the line of a lock that pins it."""
    path = folder / "uv-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write("/bin/true", "uv-1.data/scripts/uv")  # executable, and pip leaves it so
        wheel.writestr("uv-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 1\n")
        wheel.writestr("uv-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("uv-1.dist-info/RECORD", "")
    return f"uv==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    assert PIP is not None
    assert PIP.origin is not None
    checkout = tmp_path / "check out"
    for folder in ("bot", "cogs"):
        (checkout / folder).mkdir(parents=True)
    shutil.copy(MAKEFILE, checkout)
    (checkout / "pyproject.toml").touch()
    (checkout / "requirements.lock").touch()
    (checkout / "requirements-installer.lock").write_text(make_uv(tmp_path))
    python = tmp_path / "quick-python"
    python.write_text(QUICK_PYTHON.format(python=sys.executable, pip=Path(PIP.origin).parent))
    python.chmod(0o755)
    return checkout


def steps(checkout: Path, **environment: str) -> list[str]:
    """Run make as `make run` does, and return what it says it does."""
    scratch = checkout.parent
    ours = {"PATH": os.environ["PATH"], "HOME": str(scratch), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(scratch)}
    done = subprocess.run(  # noqa: S603  our own Makefile
        ["make", "--no-print-directory", f"PYTHON={scratch / 'quick-python'}", ".venv/run.stamp"],  # noqa: S607  whichever
        cwd=checkout,
        env=ours | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return re.findall(r"(.+?) … \d+ s\n", done.stdout)


def test_environment_that_was_copied_or_has_lost_its_python_is_made_anew(checkout: Path) -> None:
    assert steps(checkout) == ["Making .venv", *MADE]
    assert steps(checkout) == []
    copy = checkout.with_name("copy")
    shutil.copytree(checkout, copy, symlinks=True)
    assert steps(copy) == ["Making .venv anew: it was made in another folder", *MADE]
    assert steps(copy) == steps(checkout) == []
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/gone/python3")
    assert steps(checkout) == ["Making .venv anew: its Python is gone or another one", *MADE]


def test_what_the_user_set_for_other_programs_does_not_reach_in(checkout: Path) -> None:
    elsewhere = str(checkout.parent / "elsewhere")
    settings = checkout.parent / ".config/pip/pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[install]\nuser = true\ntarget = {elsewhere}\nprefix = {elsewhere}\n")
    theirs = dict.fromkeys(["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH"], elsewhere)
    assert steps(checkout, PIP_USER="1", PIP_REQUIRE_VIRTUALENV="1", **theirs) == ["Making .venv", *MADE]
    assert (checkout / ".venv/installer/bin/uv").exists()
    assert not Path(elsewhere).exists()
