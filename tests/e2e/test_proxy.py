"""Discord through an HTTP proxy: all that the bot sends goes there, and what is in the way is said."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certificates import a_certificate
from plexlink_bot.logs import MARK
from plexlink_bot.sandbox.plex_tv import PlexTV
from processes import Deployment, code_of
from small_discord import SmallDiscord
from small_proxy import SmallProxy

if TYPE_CHECKING:
    from pathlib import Path

    from processes import BotProcess

# Where the bot connects to, as Python itself tells it.
WATCHED = """
import sys
def watch(event, arguments):
    if event == "socket.connect":
        print("connects to", *arguments[1][:2], flush=True)
sys.addaudithook(watch)
from plexlink_bot.cli import main
main()
"""
USER_INFO = "proxy-user:planted-proxy-password"
# Not "unclosed": a process that stops does not wait for the far end to say good-bye to its TLS connections.
UNTIDY = ("Traceback", "never retrieved", " ERROR ")
SECRET = ("planted", base64.b64encode(USER_INFO.encode()).decode(), MARK)


def assert_tidy(bot: BotProcess) -> None:
    assert not [line for line in bot.log.splitlines() if any(word in line for word in UNTIDY + SECRET)], bot.log


async def link_through(proxy: SmallProxy, place: Deployment) -> BotProcess:
    """Link in the answer of a command: with the gateway, REST and webhooks, each way in which discord.py asks."""
    place.alice.dms_closed = 50007
    place.environment["PLEXLINK_DISCORD_PROXY"] = proxy.url
    bot = await place.start(arguments=("-c", WATCHED, "run"), PLEXLINK_LOG_LEVEL="DEBUG")
    command = await place.plexlink()
    card = await place.answer_saying(command, "Your code:")
    place.plex.approve(code_of(card))
    await place.press(card, "I've approved it")
    await place.answer_saying(command, "Linked as alice")
    assert await bot.terminate() == 0

    connected = {line for line in bot.log.splitlines() if line.startswith("connects to")}
    assert connected == {f"connects to 127.0.0.1 {port}" for port in (proxy.port, urlsplit(place.plex.url).port)}
    assert_tidy(bot)
    return bot


async def test_rest_and_gateway_go_through_the_proxy(tmp_path: Path) -> None:
    async with SmallDiscord() as discord, PlexTV() as plex, SmallProxy() as proxy:
        place = Deployment(discord=discord, plex=plex, folder=tmp_path)
        try:
            await link_through(proxy, place)
        finally:
            await place.end()
    assert any(one.startswith("GET ws://127.0.0.1") for one in proxy.asked)
    assert any("/webhooks/" in one for one in proxy.asked)
    assert place.leaks() == []


async def test_rest_and_gateway_go_over_tls_through_a_proxy_that_wants_a_password(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "127.0.0.1")
    async with (
        SmallDiscord(certificate=certificate) as discord,
        PlexTV() as plex,
        SmallProxy(user_info=USER_INFO) as proxy,
    ):
        place = Deployment(discord=discord, plex=plex, folder=tmp_path)
        place.environment["SSL_CERT_FILE"] = str(certificate)
        try:
            await link_through(proxy, place)
        finally:
            await place.end()
    assert set(proxy.asked) == {f"CONNECT {urlsplit(discord.origin).netloc}"}
    assert place.leaks() == []


async def test_proxy_that_is_away_or_refuses_at_the_start_is_named_and_waited_for(tmp_path: Path) -> None:
    async with SmallDiscord() as discord, PlexTV() as plex, SmallProxy(user_info=USER_INFO) as proxy:
        place = Deployment(discord=discord, plex=plex, folder=tmp_path)
        place.environment["PLEXLINK_DISCORD_PROXY"] = proxy.url
        await proxy.stop()
        proxy.user_info = "somebody:else"
        try:
            bot = await place.spawn()
            said = await bot.logged("bot.unreachable")
            await proxy.start()
            then = await bot.logged("bot.unreachable", times=2)
            proxy.user_info = USER_INFO
            await bot.logged("bot.ready")
            assert_tidy(bot)
            await proxy.stop()
            await bot.logged("Attempting a reconnect")
            await proxy.start()
            assert await bot.terminate() == 0
        finally:
            await place.end()
    reason = "The proxy of PLEXLINK_DISCORD_PROXY cannot be reached (ClientProxyConnectionError)"
    assert f"bot.unreachable {reason}, trying again in 2 s" in said
    assert "bot.unreachable The proxy of PLEXLINK_DISCORD_PROXY does not accept its user and password, trying" in then
    assert not [word for word in SECRET if word in bot.log]
