"""The process: connect, serve, and stop cleanly."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import discord
import yarl
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from plexlink.errors import DatabaseInUseError, PlexLinkError, SettingError, StoreUnavailableError
from plexlink.operator import check

from .client import PlexLinkBot
from .systemd import told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .settings import BotSettings

_log = logging.getLogger(__name__)

GIVES_UP_AFTER_SECONDS = 600.0
PREDECESSOR_STOPS_WITHIN_SECONDS = 60.0

_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 60.0
_BAD_TOKEN_CLOSE_CODE = 4004
_UNREACHABLE = (
    OSError,
    TimeoutError,
    aiohttp.ClientError,
    discord.HTTPException,
    discord.GatewayNotFound,
    discord.RateLimited,
)


class Exit(IntEnum):
    """Exit statuses for supervisors, after BSD's sysexits: 69 is worth a restart, 78 is not."""

    OK = 0
    UNAVAILABLE = 69
    CONFIGURATION = 78


class UnavailableError(Exception):
    """Discord cannot be used at present; a supervisor may try again."""


def serve(settings: BotSettings) -> Exit:
    """Run the bot until it is told to stop.

    Raises:
        PlexLinkError: one sentence says what is wrong with the settings, the keys or the database.

    """
    _redirect(settings)
    _say_what_is_passed_over(settings)
    try:
        asyncio.run(_serve(settings))
    except (UnavailableError, StoreUnavailableError, DatabaseInUseError) as error:
        _log.error("bot.gave_up %s", error)
        return Exit.UNAVAILABLE
    return Exit.OK


def _redirect(settings: BotSettings) -> None:
    """Send all REST traffic to the configured address; the gateway is the one that it answers."""
    if settings.discord_api_url is not None:
        Route.BASE = settings.discord_api_url


def _say_what_is_passed_over(settings: BotSettings) -> None:
    """Name the proxy variables that other programs follow, where somebody may have hoped that we do too."""
    if settings.passed_over and (settings.plexlink.proxy is None or settings.discord_proxy is None):
        _log.warning(
            "bot.proxy_passed_over Not used: %s; set PLEXLINK_PROXY for plex.tv and PLEXLINK_DISCORD_PROXY for Discord",
            ", ".join(settings.passed_over),
        )


async def _serve(settings: BotSettings) -> None:
    stop = stop_event()
    async with AsyncExitStack() as resources:
        bot = await resources.enter_async_context(_watched(settings) if settings.web_port else PlexLinkBot(settings))
        await resources.enter_async_context(told(bot, os.environ))
        running = asyncio.create_task(_run(bot, settings), name="plexlink-bot")
        ends = [asyncio.create_task(event.wait(), name="plexlink-stop") for event in (stop, bot.is_replaced)]
        await asyncio.wait({running, *ends}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if stop.is_set() or bot.is_replaced.is_set():
            _log.info("bot.stopping")
            await bot.close()
            running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            pass
        except Exception:
            if bot.replacement is None:  # else it was cut short while it started
                raise
    _log.info("bot.stopped")
    if bot.replacement is not None and not stop.is_set():
        raise bot.replacement


@asynccontextmanager
async def _watched(settings: BotSettings) -> AsyncIterator[PlexLinkBot]:
    """Give the bot, and pages on which it is looked at while it starts, runs and stops."""
    from .metrics import Metrics  # noqa: PLC0415 - who does not look need not load them
    from .web import WebPages  # noqa: PLC0415

    metrics = Metrics()
    bot = PlexLinkBot(settings, observe=metrics.observe)
    async with WebPages(bot=bot, metrics=metrics, host=settings.web_host, port=settings.web_port), bot:
        yield bot


def stop_event(*more: signal.Signals) -> asyncio.Event:
    """Return an event that Ctrl-C, SIGTERM and `more` signals set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, *more):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop.set)
    return stop


async def _run(bot: PlexLinkBot, settings: BotSettings) -> None:
    try:
        async with asyncio.timeout(GIVES_UP_AFTER_SECONDS):
            await _find_database(settings)
            await _log_in(bot, settings)
            if settings.shards.are_none:
                connecting = asyncio.create_task(_stand_by(bot), name="plexlink-standing-by")
            else:
                await _find_gateway(bot)
                connecting = asyncio.create_task(_connect(bot), name="plexlink-gateway")
                await _until_ready(bot, connecting)
            # What is there by now stays: a collection that went through all of it would hold the event loop for 80 ms.
            gc.freeze()
    except TimeoutError:
        raise UnavailableError("the bot could not start for ten minutes; the lines above say why") from None
    try:
        await connecting
    except discord.PrivilegedIntentsRequired:
        raise SettingError(
            "Discord does not tell this bot who joins: turn on the Server Members Intent in the developer portal "
            "(Bot, Privileged Gateway Intents), or PLEXLINK_MEMBERS_INTENT off."
        ) from None
    except discord.ConnectionClosed as error:
        if error.code == _BAD_TOKEN_CLOSE_CODE:
            raise _bad_token() from None
        raise UnavailableError(f"Discord closed the gateway with code {error.code}") from None
    finally:
        connecting.cancel()


async def _find_database(settings: BotSettings) -> None:
    """Try the database before the plugin does: discord.py forgets the classes of a plugin that it could not load."""
    delay, began = _FIRST_RETRY_SECONDS, time.monotonic()
    while True:
        try:
            await check(settings.plexlink, settings.shards)
        except DatabaseInUseError as error:  # mostly the process before us, which is about to stop
            if time.monotonic() >= began + PREDECESSOR_STOPS_WITHIN_SECONDS:
                raise
            delay = await _wait(delay, f"bot.waiting {str(error).rstrip('.')}")
        except StoreUnavailableError as error:
            delay = await _wait(delay, f"bot.not_started {str(error).rstrip('.')}")
        else:
            return


async def _log_in(bot: PlexLinkBot, settings: BotSettings) -> None:
    """Log in and load the plugin, again and again while Discord's API cannot be reached."""
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            await bot.login(settings.discord_token.reveal())
        except discord.LoginFailure:
            raise _bad_token() from None
        except commands.ExtensionFailed as error:
            raise own_cause(error) from None
        except _UNREACHABLE as error:
            await bot.http.close()
            bot.http.connector = discord.utils.MISSING  # closed with its session; discord.py would use it again
            delay = await _wait(delay, _unreachable(bot, "API", error))
        else:
            return


async def _find_gateway(bot: PlexLinkBot) -> None:
    """Try the gateway before discord.py does: its own first attempt retries by recursion, with a traceback each."""
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            _, url, _ = await bot.http.get_bot_gateway()
            await (await bot.http.ws_connect(url)).close()
        except _UNREACHABLE as error:
            delay = await _wait(delay, _unreachable(bot, "gateway", error))
        else:
            # A fresh session after an invalidated one goes here, not to what /gateway/bot answered.
            DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url).with_query(None)
            return


async def _connect(bot: PlexLinkBot) -> None:
    """Connect and stay connected; discord.py asks for the gateway's address once more, but does not try twice."""
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            await bot.connect()
        except _UNREACHABLE as error:
            if bot.is_closed():
                raise
            delay = await _wait(delay, _unreachable(bot, "gateway", error))
        else:
            return


async def _stand_by(bot: PlexLinkBot) -> None:
    """Be there for the work alone, without a gateway, until the bot is stopped."""
    bot.stand_by()
    await asyncio.Event().wait()


def _unreachable(bot: PlexLinkBot, what: str, error: Exception) -> str:
    """Say what is in the way. The error's own text may hold addresses, so none of it is repeated."""
    kind, status = type(error).__name__, getattr(error, "status", None)
    if bot.http.proxy is None:
        return f"bot.unreachable Discord's {what} cannot be reached ({kind})"
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return "bot.unreachable The proxy of PLEXLINK_DISCORD_PROXY does not accept its user and password"
    # Behind a proxy, nothing else is looked up or connected to.
    if isinstance(error, aiohttp.ClientConnectorError) and error.host == yarl.URL(bot.http.proxy).host:
        return f"bot.unreachable The proxy of PLEXLINK_DISCORD_PROXY cannot be reached ({kind})"
    answer = kind if status is None else f"{kind} {status}"
    return f"bot.unreachable Discord's {what} cannot be reached through PLEXLINK_DISCORD_PROXY ({answer})"


async def _wait(delay: float, reason: str) -> float:
    _log.warning("%s, trying again in %.0f s", reason, delay)
    await asyncio.sleep(delay)
    return min(delay * 2, _LONGEST_RETRY_SECONDS)


async def _until_ready(bot: PlexLinkBot, connecting: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(bot.wait_until_ready(), name="plexlink-ready")
    try:
        await asyncio.wait({ready, connecting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()


def _bad_token() -> SettingError:
    return SettingError("Discord does not accept DISCORD_TOKEN; copy the bot's token anew from the developer portal.")


def own_cause(error: commands.ExtensionFailed) -> Exception:
    """Return what PlexLink itself said when its plugin could not be loaded, or the error where it said nothing."""
    original = error.original
    while not isinstance(original, PlexLinkError) and original.__cause__ is not None:
        original = original.__cause__  # type: ignore[assignment] # a cause of an Exception here is one too
    return original if isinstance(original, PlexLinkError) else error
