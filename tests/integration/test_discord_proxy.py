"""What is said of Discord behind a proxy, by what really goes wrong there."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import pytest

from harness import bot_settings
from plexlink.secret import Secret
from plexlink_bot import app
from plexlink_bot.client import PlexLinkBot
from small_proxy import SmallProxy

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "planted-proxy-password"


async def said_of(folder: Path, proxy_url: str) -> str:
    """Return what is said when the bot logs in through a proxy that does not let it."""
    settings = bot_settings(folder, "http://127.0.0.1:9", discord_proxy=Secret(proxy_url))
    async with PlexLinkBot(settings) as bot:
        with pytest.raises(aiohttp.ClientError) as raised:
            await bot.login("no-token")
        return app._unreachable(bot, "API", raised.value)


@pytest.mark.parametrize(
    ("user_info", "refusal", "said"),
    [
        ("me:another", None, "The proxy of PLEXLINK_DISCORD_PROXY does not accept its user and password"),
        (
            f"me:{PASSWORD}",
            HTTPStatus.FORBIDDEN,
            "Discord's API cannot be reached through PLEXLINK_DISCORD_PROXY (ClientHttpProxyError 403)",
        ),
    ],
)
async def test_proxy_that_refuses_discord_is_told_from_one_that_refuses_us(
    tmp_path: Path, user_info: str, refusal: HTTPStatus | None, said: str
) -> None:
    async with SmallProxy(user_info=user_info, refuses_with=refusal) as proxy:
        sentence = await said_of(tmp_path, f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}")
    assert sentence == f"bot.unreachable {said}"
    assert proxy.asked == ["CONNECT discord.com:443"]


@pytest.mark.parametrize("host", ["127.0.0.1:9", "nowhere.invalid:3128"])
async def test_proxy_that_is_not_there_is_told_without_its_password(tmp_path: Path, host: str) -> None:
    sentence = await said_of(tmp_path, f"http://me:{PASSWORD}@{host}")
    assert sentence.startswith("bot.unreachable The proxy of PLEXLINK_DISCORD_PROXY cannot be reached (")
    assert PASSWORD not in sentence
