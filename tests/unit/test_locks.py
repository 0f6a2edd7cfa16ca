"""The locks are whole: nothing that an index offers newer can find its way in."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([\w.-]+(?:\[[\w, -]+\])?)==(\S+)(.*)$", re.MULTILINE)
WANTS = {
    "requirements.lock": ({"bot"}, {"build"}),
    "requirements-sandbox.lock": ({"bot", "sandbox"}, {"build"}),
    "requirements-dev.lock": ({"bot", "sandbox"}, {"dev"}),
    "requirements-lowest.lock": ({"bot", "sandbox"}, {"dev"}),
    "requirements-installer.lock": (set(), {"installer"}),
}
"""The extras of the project and the dependency groups that each lock is made of."""


def locked(name: str) -> dict[str, set[str]]:
    """Return the packages that a lock pins, with the extras that stand beside them."""
    pins = [Requirement(found[0]) for found in PIN.findall((ROOT / name).read_text())]
    return {canonicalize_name(pin.name): pin.extras for pin in pins}


def versions(name: str) -> Iterator[tuple[str, str]]:
    """Give each package that a file pins, and its version; what it pins twice, for two Pythons, comes twice."""
    return ((Requirement(found[0]).name, found[1]) for found in PIN.findall((ROOT / name).read_text()))


def wanted_by(package: str, extras: set[str]) -> Iterator[Requirement]:
    """Give what an installed package wants on this machine; a package of other machines is not installed."""
    try:
        wanted = [Requirement(text) for text in requires(package) or ()]
    except PackageNotFoundError:
        return
    for one in wanted:
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield one


def wanted_by_groups(names: set[str]) -> Iterator[Requirement]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for name in names:
        for one in groups[name]:
            if isinstance(one, str):
                yield Requirement(one)
            else:
                yield from wanted_by_groups({one["include-group"]})


@pytest.mark.parametrize("name", WANTS)
def test_extras_stand_in_the_lock_wherever_anything_asks_for_them(name: str) -> None:
    pins, (extras, groups) = locked(name), WANTS[name]
    wanted = [*wanted_by_groups(groups), *(wanted_by("plexlink", extras) if extras else ())]
    wanted += [one for package, extras in pins.items() for one in wanted_by(package, extras)]
    assert wanted
    assert [
        f"{one}: the lock has {pins.get(canonicalize_name(one.name))}"
        for one in wanted
        if not one.extras <= pins.get(canonicalize_name(one.name), set())
    ] == []


@pytest.mark.parametrize("name", WANTS)
def test_all_that_a_lock_names_is_pinned_with_hashes(name: str) -> None:
    entries = re.split(r"^(?=[\w])", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if "==" not in entry.splitlines()[0] or "--hash=sha256:" not in entry] == []


def test_every_lock_is_known_here() -> None:
    assert {path.name for path in ROOT.glob("*.lock")} == WANTS.keys()


def test_the_lowest_lock_has_each_bound_that_we_declare_and_all_that_red_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [Requirement(one) for one in (*project["dependencies"], *project["optional-dependencies"]["bot"])]
    bounds = {
        canonicalize_name(one.name): Version(bound.version)
        for one in declared
        for bound in one.specifier
        if bound.operator == ">="
    }
    red = {canonicalize_name(name): Version(version) for name, version in versions(".ci/red.txt")}
    pins = {canonicalize_name(name): Version(version) for name, version in versions("requirements-lowest.lock")}
    assert len(bounds) == len(declared)
    assert [one for one in (bounds | red).items() if one not in pins.items()] == []
    assert [one for one in bounds.items() if one[0] in red and one not in red.items()] == []
