"""The documents are true: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plexlink.store import tables

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
TEST = re.compile(r"`(test_\w+)`")
DEFINITION = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
TARGET = re.compile(r"`make (\w+)")


def written(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_test_that_a_document_names_exists(name: str) -> None:
    files = [*(ROOT / "tests").rglob("test_*.py")]
    defined = {found for path in files for found in DEFINITION.findall(path.read_text(encoding="utf-8"))}
    assert set(TEST.findall(written(name))) - {path.stem for path in files} <= defined


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_a_document_links_to_exists(name: str) -> None:
    assert [target for target in LINK.findall(written(name)) if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_a_document_names_exists(name: str) -> None:
    targets = set(re.findall(r"^(\w+):", written("Makefile"), re.MULTILINE))
    assert set(TARGET.findall(written(name))) <= targets


def test_the_threat_model_names_a_test_beside_each_claim() -> None:
    tables = re.findall(r"^\|.*\| shown by \|\n\|[-|]+\n((?:\|.*\n)+)", written("SECURITY.md"), re.MULTILINE)
    claims = [claim for table in tables for claim in table.splitlines()]
    assert len(claims) > 20
    assert [claim for claim in claims if not TEST.search(claim.rsplit(" | ", 1)[1])] == []


def test_the_privacy_document_names_every_column_and_whether_it_is_encrypted() -> None:
    described = re.findall(r"^\| `(plexlink_\w+)` \| (.*) \| (.*) ?\|$", written("PRIVACY.md"), re.MULTILINE)
    columns = {name: [re.findall(r"`(\w+)`", half) for half in halves] for name, *halves in described}
    assert columns == {
        table.name: [
            [column.name for column in table.c if column.name.endswith("_envelope") is is_sealed]
            for is_sealed in (False, True)
        ]
        for table in tables.metadata.tables.values()
    }
