"""Discord's interactions: where one came from, and that it is acknowledged and answered whatever Discord says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import discord

from ..models import Lane, Origin, Place
from . import messages, views
from .calls import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable

_log = logging.getLogger(__name__)

_ALREADY_ACKNOWLEDGED = 40060


def origin_of(interaction: discord.Interaction[Any]) -> Origin:
    """Tell where an interaction came from."""
    message = interaction.message
    if message is None:
        return Origin.COMMAND
    if message.flags.ephemeral:
        return Origin.ANSWER
    is_between_us = interaction.guild_id is None and not interaction.context.private_channel
    return Origin.CARD if is_between_us else Origin.MESSAGE


def place_of(interaction: discord.Interaction[Any], origin: Origin) -> Place:
    """Return where the pressed card is, if it is a direct message."""
    message = interaction.message
    if message is None or origin is not Origin.CARD:
        return Place()
    return Place(lane=Lane.DM, channel_id=message.channel.id, message_id=message.id)


async def acknowledge(interaction: discord.Interaction[Any], origin: Origin) -> int:
    """Defer, and return the id of the message that the answer goes to: the pressed card, or an answer of its own."""
    response = None
    try:
        if not interaction.response.is_done():
            response = await persist(
                lambda: interaction.response.defer(ephemeral=True, thinking=not origin.is_card), is_acknowledged=False
            )
    except (discord.HTTPException, discord.InteractionResponded) as error:
        # Discord took an earlier try and lost its answer, or the host was faster: neither may cost the member theirs.
        if isinstance(error, discord.HTTPException) and error.code != _ALREADY_ACKNOWLEDGED:
            raise
    if interaction.message is not None and origin.is_card:
        return interaction.message.id
    if response is not None and response.message_id is not None:
        return response.message_id
    return await _join(interaction)


async def _join(interaction: discord.Interaction[Any]) -> int:
    """Go on with a command that was acknowledged already; what everybody could read is not for us to fill."""
    original = await persist(interaction.original_response)
    if original.flags.loading and original.flags.ephemeral:
        return original.id
    if original.flags.loading:
        await persist(lambda: interaction.edit_original_response(view=views.saying(messages.PRIVATE)))
    view = views.saying(messages.ONE_MOMENT)
    return (await persist(lambda: interaction.followup.send(view=view, ephemeral=True, wait=True))).id


async def deliver(interaction: discord.Interaction[Any], answering: Awaitable[object]) -> bool:
    """Wait for an answer to be given, and tell whether it was."""
    try:
        await answering
    except Exception as error:  # noqa: BLE001 - logged; nothing may escape to the host
        _log.warning("interaction.not_answered id=%s: %s", interaction.id, type(error).__name__)
        return False
    return True
