"""`plexlink backup` and `plexlink backup-keys`, as a host types them beside a running bot."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING

import aiohttp

from ports import free_port
from processes import PATIENCE_SECONDS, Deployment, code_of, deployment

if TYPE_CHECKING:
    from pathlib import Path


async def typed(place: Deployment, *arguments: str) -> str:
    command = await place.spawn(arguments=("-m", "plexlink_bot", *arguments))
    assert await command.wait() == 0, command.log
    return command.log


async def figure(place: Deployment) -> str:
    address = f"http://127.0.0.1:{place.environment['PLEXLINK_WEB_PORT']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        (line,) = re.findall(r"^plexlink_keys_backed_up (.*)$", await answer.text(), re.MULTILINE)
    return str(line)


async def figure_becomes(place: Deployment, expected: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await figure(place) != expected:  # noqa: ASYNC110 - another process says it
            await asyncio.sleep(0.1)


async def test_what_was_backed_up_beside_a_running_bot_is_restored_as_the_runbook_says(tmp_path: Path) -> None:
    backups, keys = tmp_path / "backups", tmp_path / "keys"
    keys.mkdir()
    async with deployment(tmp_path, PLEXLINK_WEB_PORT=str(free_port())) as place:
        bot = await place.start()
        place.plex.approve(code_of(await place.waiting_card()))
        await place.card_saying("Linked as alice")
        assert await figure(place) == "0.0"
        said = await typed(place, "backup", str(backups), "--keep", "3")
        (backup,) = backups.iterdir()
        assert re.fullmatch(r"plexlink-\d{8}T\d{6}Z\.sqlite3", backup.name)
        assert said == f"The database was copied to {backup} ({-(-backup.stat().st_size // 1000)} kB).\n"
        said = await typed(place, "backup-keys", str(keys))
        assert said == f"The keys are in {keys}/plexlink.key; keep it apart from the database.\n"
        assert [oct(path.stat().st_mode & 0o777) for path in (backups, backup, keys / "plexlink.key")] == [
            "0o700",
            "0o600",
            "0o600",
        ]
        assert await bot.terminate() == 0
        assert "store.put_back" not in bot.log

        shutil.rmtree(place.data_dir)
        place.data_dir.mkdir(mode=0o700)
        shutil.copy(backup, place.data_dir / "plexlink.sqlite3")
        shutil.copy(keys / "plexlink.key", place.data_dir)
        await place.start()
        status = await place.discord.slash(place.alice, "plexstatus", guild=place.guild)
        await place.answer_saying(status, "alice")
        assert await figure(place) == "0.0", "of that the backup, which is older, does not know"
        await typed(place, "backup-keys", str(keys))
        await figure_becomes(place, "1.0")
