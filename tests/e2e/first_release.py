"""The database that the first release left, with a row in every state and the keys that open it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from small_discord_model import User

if TYPE_CHECKING:
    from processes import Deployment

FIRST_RELEASE = (Path(__file__).parents[1] / "data" / "databases" / "0001.sql").read_text()
KEYS = "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
THEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
INSTANT = re.compile(r"2026-11-23T[\d:.]+\+00:00")
MEMBERS = range(1, 19)


def plant(place: Deployment) -> None:
    """Put the first release's database there, as if it had been stopped just now, and its people around it."""
    ago = place.discord.now() - THEN - timedelta(minutes=5)

    def moved(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) + ago).isoformat(timespec="microseconds")

    script = INSTANT.sub(moved, FIRST_RELEASE)
    place.data_dir.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database:
        database.executescript(script)
    for number in MEMBERS:
        place.discord.users[number] = User(id=number, name=f"member{number}")
