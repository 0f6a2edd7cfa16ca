"""Fixtures that most tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harness import World, a_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world
