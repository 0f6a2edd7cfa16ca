"""What a thousand members cost who are owed a role at once: the bot as a process, beside a small Discord."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

from process import PATIENCE_SECONDS, cpu_seconds, fresh_deployment, ready_bot

MEMBERS = 1000


async def measure() -> dict[str, float]:
    """Return the time, the CPU and the requests of a thousand members who get a role, and of looking at them again."""
    async with fresh_deployment() as place:
        members = [place.join(f"member{number}") for number in range(MEMBERS)]
        bot = await ready_bot(place)
        await bot.terminate()
        place.choose_role()
        role_id, at = place.guild.member_role.id, datetime.now(UTC).isoformat(timespec="microseconds")
        with closing(sqlite3.connect(place.data_dir / "plexlink.sqlite3")) as database, database:
            database.execute("UPDATE plexlink_guilds SET reconciled_at = ?", (at,))
            database.executemany(
                "INSERT INTO plexlink_members (guild_id, user_id, role_id, is_wanted, standing, cause, at, is_seen) "
                "VALUES (?, ?, ?, 1, 'owed', 'linked', ?, 1)",
                [(place.guild.id, member.id, role_id, at) for member in members],
            )
        asked = len(place.discord.requests)
        bot = await ready_bot(place)
        began, cpu = time.perf_counter(), cpu_seconds(bot.pid)
        await place.discord.until(
            lambda: all(role_id in place.guild.roles_of[member.id] for member in members),
            what="a role for everybody",
            timeout=10 * PATIENCE_SECONDS,
        )
        took, used = time.perf_counter() - began, cpu_seconds(bot.pid) - cpu
        calls = Counter(call.method for call in place.discord.requests[asked:] if "/members/" in call.path)
    return {"seconds": took, "cpu_ms": used / MEMBERS * 1000, "looks": calls["GET"], "grants": calls["PUT"]}
