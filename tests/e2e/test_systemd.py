"""systemd hears of the process when it is ready, that it lives, and when it stops."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from processes import PATIENCE_SECONDS, deployment

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_service_is_ready_when_commands_are_answered_and_lives_while_its_timer_goes_off(tmp_path: Path) -> None:
    async with deployment(tmp_path) as place:
        path = tmp_path / "notify"
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
            systemd.bind(str(path))
            systemd.setblocking(False)  # noqa: FBT003 - the library's

            async def heard() -> str:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return (await asyncio.get_running_loop().sock_recv(systemd, 100)).decode()

            place.discord.refuse_gateway = True
            bot = await place.spawn(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="300000")
            await bot.logged("bot.unreachable")
            place.discord.refuse_gateway = False
            assert await heard() == "READY=1"
            assert place.discord.connected == 1
            assert [await heard() for _ in range(3)] == ["WATCHDOG=1"] * 3
            assert await bot.terminate() == 0
            last = ""
            while last != "STOPPING=1":
                last = await heard()
