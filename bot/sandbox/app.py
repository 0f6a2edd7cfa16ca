"""The sandbox: the real bot between a Discord and a plex.tv of its own, all in one process and on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from discord.ext.commands import ExtensionFailed

from plexlink.errors import SettingError, StoreError
from plexlink.files import make_folder
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings

from ..app import own_cause, stop_event
from ..client import PlexLinkBot
from ..settings import BotSettings
from .clock import Clock
from .control import ControlPage
from .discord_room import DiscordRoom
from .plex_tv import ALICE, BOB, JAMIE, PlexTV, Server
from .site import OneTimeAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from .plex_tv import Pin

_MARK = "sandbox.txt"
_MARK_TEXT = "This folder belongs to `plexlink sandbox`. Nothing in it is real; delete it when you like.\n"
_AHEAD = "ahead.txt"
_REMEMBERED_REQUESTS = 1000
_TRIES = 5
_PATIENCE_SECONDS = 6.0
_LOOK_SECONDS = 0.1


class Sandbox:
    """Everything that runs in the sandbox.

    The pages take free ports, or `port` and the four after it. The keys in their addresses are new each time.
    `plex_rate`: how often a second the bot asks its plex.tv at most.
    """

    def __init__(self, data_dir: Path, *, port: int = 0, plex_rate: float = 1.0) -> None:
        self._key = secrets.token_urlsafe(16)
        self._ports = [port and port + offset for offset in range(5)]
        self._data_dir = data_dir
        self._plex_rate = plex_rate
        self._open = AsyncExitStack()
        self._clock = Clock()
        self.plex = PlexTV(
            now=self._clock.now,
            sleep=self._clock.sleep,
            key=self._key,
            port=self._ports[1],
            remembered_requests=_REMEMBERED_REQUESTS,
            keeps_connections=False,  # the bot would look after idle ones every 15 s of a day that passes in a moment
        )
        self.bot: PlexLinkBot
        self.room: DiscordRoom
        self.control: ControlPage

    async def __aenter__(self) -> Self:
        """Start. Raises PlexLinkError with one sentence about a folder or a port that cannot be used."""
        _claim(self._data_dir)
        self._clock.advance(_seconds_ahead(self._data_dir))
        try:
            await self._start()
        except BaseException as error:
            await self._open.aclose()
            explained = _explained(error, self._data_dir)
            if explained is error:
                raise
            raise explained from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses of the pages, which contain the key, by name; "once" leads to the first of them."""
        return {
            "discord": self.room.url,
            "owner": self.room.server_url,
            "log": self.room.log_url,
            "plex": f"{self.plex.url}/",
            "control": f"{self.control.url}/",
            "once": self._once.url,
        }

    async def _start(self) -> None:
        await self._open.enter_async_context(self.plex)
        for account, owner_id in ((JAMIE, None), (ALICE, JAMIE.id)):
            server = Server(
                name="Home Cinema",
                client_identifier="home-cinema",
                access_token=secrets.token_urlsafe(16),
                connections=(),
                owner_id=owner_id,
            )
            self.plex.share(server, account)
        settings = PlexLinkSettings(data_dir=self._data_dir, plex_url=self.plex.url, plex_rate=self._plex_rate)
        self.bot = PlexLinkBot(BotSettings(discord_token=Secret("sandbox"), plexlink=settings))
        room = DiscordRoom(self.bot, clock=self._clock, ports=(self._ports[0], self._ports[3], self._ports[4]))
        self.room = await self._open.enter_async_context(room)
        self.control = ControlPage(
            plex=self.plex,
            database=settings.database_file,
            direct_messages=self.room,
            members=self.room.members,
            links={
                "Discord": self.room.url,
                "Discord as the owner": self.room.server_url,
                "#plex-log": self.room.log_url,
                "plex.tv": f"{self.plex.url}/link/",
            },
            port=self._ports[2],
            key=self._key,
            now=self._clock.now,
            let_pass=self._let_pass,
        )
        await self._open.enter_async_context(self.control)
        self._once = await self._open.enter_async_context(OneTimeAddress(self.room.url))
        linking = asyncio.create_task(self._link_neighbour(), name="sandbox-neighbour")
        self._open.callback(linking.cancel)

    async def _let_pass(self, seconds: float) -> None:
        """Let time pass, and let a kept folder remember it: what lies there is of then."""
        try:
            await self.room.let_pass(seconds)
        finally:
            (self._data_dir / _AHEAD).write_text(str(self._clock.ahead_seconds))

    async def _link_neighbour(self) -> None:
        """Let the other member link one of the sample accounts, so that a person can meet that refusal.

        Where nothing comes of it, the neighbour has linked already, or has a code of an earlier run that must expire.
        """
        for _ in range(_TRIES):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self.room.neighbour.slash("plexlink")
                    while (pin := self._pin_of(self.room.neighbour.name)) is None:  # noqa: ASYNC110 - PINs are silent
                        await asyncio.sleep(_LOOK_SECONDS)
                    self.plex.approve(pin.code, BOB)
                    return

    def _pin_of(self, name: str) -> Pin | None:
        now = self._clock.now()
        pins = (pin for pin in self.plex.pins.values() if f" {name} " in pin.device_name)
        return next((pin for pin in pins if not pin.is_expired(now)), None)


def serve(data_dir: Path | None, *, port: int, started: Callable[[Mapping[str, str]], None]) -> None:
    """Run the sandbox until it is told to stop; without a folder everything is forgotten at the end.

    Raises:
        PlexLinkError: one sentence says which folder or port cannot be used.

    """
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plexlink-sandbox-")))
        asyncio.run(_serve(folder, port, started))


async def _serve(folder: Path, port: int, started: Callable[[Mapping[str, str]], None]) -> None:
    # A sandbox lives and dies with its terminal.
    stop = stop_event(signal.SIGHUP) if hasattr(signal, "SIGHUP") else stop_event()
    async with Sandbox(folder, port=port) as sandbox:
        if not stop.is_set():
            started(sandbox.addresses)
        await stop.wait()


def _claim(folder: Path) -> None:
    """Mark a folder as the sandbox's own. A real bot's folder is refused: the stand-in would answer for Plex there.

    Raises:
        SettingError: it is somebody else's, or cannot be written.

    """
    mark = folder / _MARK
    try:
        make_folder(folder)
        if not mark.exists() and any(folder.iterdir()):
            raise SettingError(f"{folder} holds other things; the sandbox wants a folder of its own.")
        mark.write_text(_MARK_TEXT)
    except OSError as error:
        raise SettingError(f"{folder} cannot be used: {error.strerror}.") from None


def _seconds_ahead(folder: Path) -> float:
    """Return how far the time of earlier runs was ahead of the machine's."""
    try:
        return float((folder / _AHEAD).read_text())
    except (OSError, ValueError):
        return 0.0


def _explained(error: BaseException, folder: Path) -> BaseException:
    """Return what to tell of an error of the start."""
    cause = own_cause(error) if isinstance(error, ExtensionFailed) else error
    if isinstance(cause, StoreError):
        return SettingError(f"The database in {folder} cannot be used: another sandbox runs on it, or it is damaged.")
    if isinstance(cause, OSError):
        return SettingError(f"The sandbox cannot listen: {cause.strerror}. Choose other ports with --port.")
    return cause
