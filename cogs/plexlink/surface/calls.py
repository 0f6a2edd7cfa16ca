"""Calls to Discord: bounded in time, made again where that may help, and their errors without the library's text."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import discord

from ..errors import DiscordRefusedError, NotifyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")

_PAUSES_SECONDS = (0.5, 2)
"""Between the tries to acknowledge: Discord waits for three seconds."""

_LATER_PAUSES_SECONDS = (*_PAUSES_SECONDS, 5, 10, 20)
"""Between the tries of what follows: an answer is owed, and most of them nobody else will give."""

_LONGEST_SECONDS = 20.0
"""How long one card may be on its way before it is tried again; its nonce keeps a repetition from being a second."""

MISTAKES = (AssertionError, AttributeError, LookupError, TypeError)
"""They are ours, not Discord's, and their traceback is wanted."""

_CLIENT_ERROR, _TOO_MANY, _SERVER_ERROR = 400, 429, 500


def code_of(error: discord.HTTPException) -> int:
    """Return Discord's error code; what stands between us and Discord may write anything in its place."""
    return error.code if type(error.code) is int else 0


def is_final(error: discord.HTTPException) -> bool:
    """Tell whether Discord itself refuses, for whatever reason: its codes are many, and it adds new ones."""
    return _CLIENT_ERROR <= error.status < _SERVER_ERROR and error.status != _TOO_MANY and code_of(error) != 0


async def persist(call: Callable[[], Awaitable[T]], *, is_acknowledged: bool = True) -> T:
    """Make a call to Discord, and again if it did not come through; raise what the last one raised.

    Until an interaction is acknowledged there is little time; afterwards somebody looks at "thinking".
    discord.py repeats by itself after some errors, but neither where the connection broke nor after Cloudflare's 429.
    """
    for pause in _LATER_PAUSES_SECONDS if is_acknowledged else _PAUSES_SECONDS:
        try:
            return await call()
        except Exception as error:
            # HTTP libraries raise what they like; only a refusal of Discord's own is final.
            if _is_refusal(error):
                raise
        await asyncio.sleep(pause)
    return await call()


def _is_refusal(error: Exception) -> bool:
    """Tell whether trying again is in vain; what stands between us and Discord, and may refuse a while, is not it."""
    is_final_answer = isinstance(error, discord.HTTPException) and is_final(error)
    return is_final_answer or isinstance(error, discord.InteractionResponded)


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Bound what is asked of Discord, and say what failed without the library's text.

    That may hold the URL, and with it the interaction token. The time is bounded because discord.py waits as long as
    a 429 tells it to, and five minutes for an answer; the card would be untrue all the while.
    """
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            yield
    except NotifyError:
        raise
    except discord.HTTPException as error:
        kind = DiscordRefusedError if _is_refusal(error) else NotifyError
        raise kind(f"Discord answered HTTP {error.status}, code {code_of(error)}") from None
    except MISTAKES:
        raise
    except Exception as error:  # noqa: BLE001 - HTTP libraries raise what they like; all of it means: try again
        raise NotifyError(f"Discord cannot be reached: {type(error).__name__}") from None
