"""The sandbox's Discord, without a browser."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import markdown_it
import pytest

from harness import Card
from plexlink_bot.sandbox.app import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PATIENCE_SECONDS = 30.0


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


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - messages are silent
            await asyncio.sleep(0.05)


@dataclass
class Page:
    """A page of the sandbox's Discord, as a browser uses it."""

    client: aiohttp.ClientSession
    root: str
    state: dict[str, Any]
    actions: int = 0

    @property
    def texts(self) -> str:
        """All messages that it shows."""
        return json.dumps(self.state["messages"])

    @property
    def viewer(self) -> str:
        names = {person["id"]: person["name"] for person in self.state["viewers"]}
        return str(names[self.state["viewerId"]])

    async def reload(self) -> None:
        self.state = await self._get("state")

    async def until(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text not in self.texts:
                await asyncio.sleep(0.05)
                await self.reload()

    async def act(self, kind: str, **body: Any) -> None:
        """Act on what the page knows, which may be old."""
        self.actions += 1
        envelope = {
            "protocol_version": 3,
            "sequence": self.actions,
            "request_id": str(self.actions),
            "generation": self.state["context"]["generation"],
            "bot_generation": self.state["botGeneration"],
            "published_revision": self.state["publishedRevision"],
        }
        async with self.client.post(
            f"{self.root}api/action", json={**envelope, "kind": kind, **body}, headers=self._context
        ) as answer:
            result = await answer.json()
            assert (result["rejected"], result["settlement"]) == (False, "settled"), result
        await self.reload()

    async def say(self, command: str) -> None:
        """Use a slash command."""
        entries = (await self._get("commands"))["entries"]
        (entry,) = (entry for entry in entries if entry["invocation"] == command)
        names = {"command_id": entry["commandId"], "path": entry["path"]}
        await self.act("run_command", **names, schema_fingerprint=entry["schemaFingerprint"], options={})

    async def become(self, name: str) -> None:
        (viewer,) = (person["id"] for person in self.state["viewers"] if person["name"] == name)
        await self.act("viewer", viewer_id=viewer)

    @property
    def _context(self) -> dict[str, str]:
        return {"X-Simcord-Context": self.state["context"]["id"]}

    async def _get(self, what: str) -> Any:
        async with self.client.get(f"{self.root}api/{what}", headers=self._context) as answer:
            assert answer.status == 200
            return await answer.json()


@asynccontextmanager
async def a_page(sandbox: Sandbox, address: str) -> AsyncIterator[Page]:
    root, _, key = sandbox.addresses[address].partition("#")
    headers = {"X-Simcord-Capability": key}
    async with aiohttp.ClientSession(headers=headers) as client, client.post(f"{root}api/pages", json={}) as answer:
        assert answer.status == 200
        yield Page(client, root, await answer.json())


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tmp_path / "sandbox", plex_rate=50) as sandbox:
        yield sandbox


def channel(sandbox: Sandbox, name: str) -> discord.TextChannel:
    (server,) = sandbox.bot.guilds
    return next(channel for channel in server.text_channels if channel.name == name)


async def shown(sandbox: Sandbox) -> str:
    """Return what a new page of the conversation is given."""
    async with a_page(sandbox, "discord") as page:
        return page.texts


async def test_the_owner_sees_a_channel_of_the_server_and_is_answered_there(sandbox: Sandbox) -> None:
    async with a_page(sandbox, "owner") as page:
        assert (page.state["channel"]["name"], page.viewer) == ("lounge", "jamie")
        await page.say("plexstatus")
        await page.until("Not linked")
        await page.say("plexlink")
        await page.until("Your code:")
        await channel(sandbox, "lounge").send("Good evening")
        await page.until("Good evening")


async def test_the_member_sees_the_channel_but_no_answer_to_the_owner(sandbox: Sandbox) -> None:
    async with a_page(sandbox, "owner") as page:
        await page.say("plexstatus")
        await page.until("Not linked")
        await channel(sandbox, "lounge").send("Good evening")
        await page.until("Good evening")
        await page.become("robin")
        assert page.viewer == "robin"
        assert "Not linked" not in page.texts
        assert "Good evening" in page.texts
        await channel(sandbox, "lounge").send("It begins")
        await page.until("It begins")
        await page.say("plexlink")
        await page.until("I sent you a direct message")
    assert "Your code:" in await shown(sandbox)


async def test_the_owner_reads_in_a_page_of_its_own_what_is_written_for_them(sandbox: Sandbox) -> None:
    owner, lounge, log = sandbox.room.owner, sandbox.room._server.lounge, sandbox.room._server.log
    async with a_page(sandbox, "log") as page:
        assert (page.state["channel"]["name"], page.viewer) == ("plex-log", "jamie")
        assert [person["name"] for person in page.state["viewers"]] == ["jamie"]
        setup = await owner.slash(lounge, "plexadmin setup")
        await until(lambda: "Apply" in Card(setup.response).buttons)
        select = next(each for each in Card(setup.response).parts if ":channel:" in each.get("custom_id", ""))
        await owner.select(setup.response, [log], custom_id=select["custom_id"])
        await until(lambda: f"written into <#{log.id}>" in Card(setup.response).text)
        await owner.click(setup.response, label="Apply")
        await page.until("for the audit")


async def test_the_pages_of_the_server_lead_to_each_other_and_say_what_to_type(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as client:
        for address, other in {"owner": "log", "log": "owner"}.items():
            root, _, _ = sandbox.addresses[address].partition("#")
            page = await (await client.get(root)).text()
            there, _, key = sandbox.addresses[other].partition("#")
            assert f'<a id="beside" href="{there}">' in page
            assert key not in page
            assert "/plexadmin setup" in page
        conversation = await (await client.get(sandbox.addresses["discord"].partition("#")[0])).text()
        assert "Type /plexlink" in conversation
        assert 'id="beside"' not in conversation


async def test_the_conversation_is_the_members_alone(sandbox: Sandbox) -> None:
    async with a_page(sandbox, "discord") as page:
        assert [person["name"] for person in page.state["viewers"]] == ["robin"]
        assert page.state["channel"]["recipient"]["name"] == "PlexLink"
        assert page.state["channel"]["guildId"] is None


async def test_whoever_takes_no_direct_messages_still_sees_the_channel(sandbox: Sandbox) -> None:
    members = [await sandbox.bot.fetch_user(user_id) for user_id in sandbox.room.members]
    owner = members.pop(0)
    assert (owner.name, [member.name for member in members]) == ("jamie", ["robin", "sam"])
    for change, are_open in ((None, True), (sandbox.room.close, False), (sandbox.room.open, True)):
        if change is not None:
            change()
        assert sandbox.room.are_open is are_open
        for member in (owner, *members):
            refused = pytest.raises(discord.Forbidden) if member is owner or not are_open else nullcontext()
            with refused:
                await member.send("Hello")
        await channel(sandbox, "lounge").send("Hello")


async def test_the_bot_may_give_the_roles_below_its_own_and_one_of_them_is_dangerous(sandbox: Sandbox) -> None:
    (server,) = sandbox.bot.guilds
    assert server.owner_id == sandbox.room.owner.id
    _, *roles, own = server.roles
    assert (own.name, own.managed, own.permissions) == ("PlexLink", True, discord.Permissions(manage_roles=True))
    assert [role.name for role in roles] == ["Movie night", "Plex", "Moderators"]
    assert all(role.is_assignable() for role in roles)
    assert [role.name for role in roles if role.permissions.ban_members] == ["Moderators"]
    log = channel(sandbox, "plex-log")
    assert log.permissions_for(server.me).send_messages
    assert not log.permissions_for(server.default_role).view_channel


async def test_a_kept_folder_finds_the_same_server_again(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with Sandbox(tmp_path / "kept") as sandbox:
            (server,) = sandbox.bot.guilds
            things = (server, *server.text_channels, *(role for role in server.roles if not role.managed))
            seen.append({thing.id: thing.name for thing in things})
    assert seen[0] == seen[1]


async def test_a_choice_from_a_list_that_has_moved_counts(sandbox: Sandbox) -> None:
    chosen = asyncio.Queue[str]()

    class Setup(discord.ui.LayoutView):
        def __init__(self, *above: str) -> None:
            super().__init__()
            for text in above:
                self.add_item(discord.ui.TextDisplay(text))
            row = discord.ui.ActionRow[Setup]()
            self.add_item(row)
            select = discord.ui.RoleSelect[Setup](custom_id="the-role")
            select.callback = self.choose  # type: ignore[method-assign]
            self.select = select
            row.add_item(select)

        async def choose(self, interaction: discord.Interaction) -> None:
            await interaction.response.defer()
            chosen.put_nowait(self.select.values[0].name)

    message = await channel(sandbox, "lounge").send(view=Setup())
    async with a_page(sandbox, "owner") as page:
        (place,) = page.state["candidates"]
        roles = page.state["candidates"][place]["entries"]
        (plex,) = (role["id"] for role in roles if role["name"] == "Plex")
        await message.edit(view=Setup("News", "More news"))
        await page.act("select", target_id=str(message.id), control_key=place, values=[plex])
        assert await asyncio.wait_for(chosen.get(), PATIENCE_SECONDS) == "Plex"
