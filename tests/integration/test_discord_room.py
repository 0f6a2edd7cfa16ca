"""The sandbox's Discord, without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import markdown_it

from plexlink_bot.sandbox.app import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_page_reads_every_text_with_the_same_few_parsers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    class Counted(markdown_it.MarkdownIt):
        def __init__(self, *args: object, **options: object) -> None:
            nonlocal made
            made += 1
            super().__init__(*args, **options)  # type: ignore[arg-type]

    async with Sandbox(tmp_path / "sandbox") as sandbox:
        member = await sandbox.bot.fetch_user(sandbox.room.member.id)
        await member.send("Hello, <@100000000000000001>")
        assert "robin" in await shown(sandbox)
        monkeypatch.setattr(markdown_it, "MarkdownIt", Counted)
        await member.send("Hello again")
        assert "Hello again" in await shown(sandbox)
    assert made == 0


async def shown(sandbox: Sandbox) -> str:
    """Return what a new page of the conversation is given."""
    root, _, key = sandbox.addresses["discord"].partition("#")
    headers = {"X-Simcord-Capability": key}
    async with aiohttp.ClientSession(headers=headers) as client, client.post(f"{root}api/pages", json={}) as answer:
        return await answer.text()
