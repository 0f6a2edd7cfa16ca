"""The settings of the process; the plugin's own are read beside them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plexlink.errors import SettingError
from plexlink.models import Secret
from plexlink.settings import PlexLinkSettings, SettingReader, parse_url

if TYPE_CHECKING:
    from environs import FileAwareEnv

_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR"}
_FORMATS = {"console", "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """What the process can be told."""

    discord_token: Secret
    plexlink: PlexLinkSettings
    discord_api_url: str | None = None
    log_format: str = "console"
    log_level: int = logging.INFO

    @classmethod
    def load(cls, env: FileAwareEnv) -> BotSettings:
        """Read all settings.

        Raises:
            SettingError: one of them is missing or malformed.

        """
        reader = SettingReader(env)
        token = reader.read("DISCORD_TOKEN", Secret, None, "a bot token")
        if token is None:
            raise SettingError(
                "DISCORD_TOKEN is missing: create a bot at https://discord.com/developers/applications "
                "and put its token into .env as DISCORD_TOKEN=…"
            )
        return cls(
            discord_token=token,
            plexlink=PlexLinkSettings.load(env),
            discord_api_url=reader.read("PLEXLINK_DISCORD_API_URL", _url, None, "an http:// or https:// address"),
            log_format=reader.read("PLEXLINK_LOG_FORMAT", _format, "console", "console or json"),
            log_level=reader.read("PLEXLINK_LOG_LEVEL", _level, logging.INFO, "DEBUG, INFO, WARNING or ERROR"),
        )


def _url(text: str) -> str:
    parse_url(text, schemes={"http", "https"})
    return text.rstrip("/")


def _format(text: str) -> str:
    if text.lower() not in _FORMATS:
        raise ValueError
    return text.lower()


def _level(text: str) -> int:
    if text.upper() not in _LEVELS:
        raise ValueError
    return logging.getLevelNamesMapping()[text.upper()]
