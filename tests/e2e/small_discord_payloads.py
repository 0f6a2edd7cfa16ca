"""How Discord describes its things in JSON, to the API's users and to the gateway's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from small_discord_model import EPHEMERAL, LOADING, Interaction, InteractionType, Role, content_type, media_in

if TYPE_CHECKING:
    from datetime import datetime

    from small_discord_model import Attachment, Channel, Guild, Json, Message, User, World

ALL_PERMISSIONS = str((1 << 53) - 1)
TEXT_CHANNEL, PRIVATE_CHANNEL = 0, 1
IN_GUILD, IN_BOT_DM = 0, 1


def instant(moment: datetime | None) -> str | None:
    """Return a moment in the form that Discord writes."""
    return None if moment is None else moment.isoformat(timespec="microseconds")


def user_json(user: User) -> Json:
    """Describe a user to others."""
    return {
        "id": str(user.id),
        "username": user.name,
        "global_name": None,
        "discriminator": "0000" if user.is_bot else "0",
        "avatar": None,
        "bot": user.is_bot,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }


def own_user_json(user: User) -> Json:
    """Describe the bot to itself."""
    return user_json(user) | {"verified": True, "mfa_enabled": True, "locale": user.locale, "email": None}


def application_json(world: World) -> Json:
    """Describe the application to its bot."""
    return {
        "id": str(world.application_id),
        "name": world.bot_user.name,
        "icon": None,
        "description": "",
        "type": None,
        "summary": "",
        "bot": user_json(world.bot_user),
        "bot_public": True,
        "bot_require_code_grant": False,
        "integration_types_config": {"0": {}},
        "verify_key": "00" * 32,
        "flags": 0,
        "flags_new": "0",
        "hook": True,
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "owner": user_json(world.bot_user),
        "approximate_guild_count": len(world.guilds),
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": [],
    }


def member_json(guild: Guild, user: User) -> Json:
    """Describe a guild's member."""
    return {
        "user": user_json(user),
        "nick": None,
        "avatar": None,
        "banner": None,
        "roles": [str(role_id) for role_id in sorted(guild.roles_of[user.id])],
        "joined_at": instant(guild.created_at),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
    }


def channel_json(channel: Channel) -> Json:
    """Describe a text channel or a DM."""
    if channel.recipient is not None:
        return {
            "id": str(channel.id),
            "type": PRIVATE_CHANNEL,
            "flags": 0,
            "last_message_id": None,
            "recipients": [user_json(channel.recipient)],
        }
    return {
        "id": str(channel.id),
        "type": TEXT_CHANNEL,
        "flags": 0,
        "guild_id": str(channel.guild_id),
        "name": channel.name,
        "position": 0,
        "permission_overwrites": [],
        "parent_id": None,
        "topic": None,
        "nsfw": False,
        "rate_limit_per_user": 0,
        "last_message_id": None,
    }


def guild_json(guild: Guild, bot_user: User) -> Json:
    """Describe a guild as GUILD_CREATE does, with the one member whom the bot may know: itself."""
    return {
        **_own_json(guild),
        "unavailable": False,
        "large": False,
        "member_count": len(guild.members) + 1,
        "joined_at": instant(guild.created_at),
        "channels": [channel_json(guild.channel)],
        "members": [member_json(guild, bot_user)],
        **{
            name: []
            for name in (
                "threads",
                "presences",
                "voice_states",
                "stage_instances",
                "guild_scheduled_events",
                "soundboard_sounds",
            )
        },
    }


def fetched_guild_json(guild: Guild) -> Json:
    """Describe a guild as the REST API does: without members and channels."""
    names = ("description", "splash", "discovery_splash", "banner", "vanity_url_code", "application_id")
    return {
        **_own_json(guild),
        **dict.fromkeys((*names, "safety_alerts_channel_id", "widget_channel_id", "incidents_data")),
        "home_header": None,
        "region": "deprecated",
        "widget_enabled": False,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "nsfw": False,
    }


def _own_json(guild: Guild) -> Json:
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon": None,
        "owner_id": str(guild.owner_id),
        "preferred_locale": "en-US",
        "features": [],
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "afk_channel_id": None,
        "afk_timeout": 300,
        "roles": [everyone_json(guild), *(role_json(role) for role in (guild.member_role, guild.bot_role))],
        "emojis": [],
        "stickers": [],
    }


def everyone_json(guild: Guild) -> Json:
    """Describe the role that every member has."""
    return role_json(Role(guild.id, "@everyone", position=0, permissions=int(ALL_PERMISSIONS)))


def role_json(role: Role) -> Json:
    """Describe a role."""
    return {
        "id": str(role.id),
        "name": role.name,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": role.position,
        "permissions": str(role.permissions),
        "managed": False,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def attachment_json(attachment: Attachment, *, ephemeral: bool) -> Json:
    """Describe an uploaded file."""
    described = {} if attachment.description is None else {"description": attachment.description}
    return described | {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "size": len(attachment.content),
        "url": attachment.url,
        "proxy_url": attachment.url,
        "content_type": content_type(attachment.filename),
        "ephemeral": ephemeral,
    }


def attachments_json(message: Message) -> list[Json]:
    """Describe the files that no component shows: Discord leaves the others out (discord-api-docs #8277)."""
    shown = {media.get("attachment_id") for media in media_in(message.components)}
    ephemeral = message.ephemeral_for is not None
    return [
        attachment_json(attachment, ephemeral=ephemeral)
        for attachment in message.attachments
        if str(attachment.id) not in shown
    ]


def message_json(world: World, message: Message) -> Json:
    """Describe a message."""
    body: Json = {
        "id": str(message.id),
        "type": 0,
        "channel_id": str(message.channel_id),
        "author": user_json(world.users[message.author_id]),
        "content": message.content,
        "timestamp": instant(message.created_at),
        "edited_timestamp": instant(message.edited_at),
        "flags": message.flags,
        "components": message.components,
        "embeds": message.embeds,
        "attachments": attachments_json(message),
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": False,
        "pinned": False,
        "tts": False,
    }
    if message.nonce is not None:
        body["nonce"] = message.nonce
    if message.interaction is not None:
        body |= _origin_json(world, message.interaction)
    return body


def _origin_json(world: World, interaction: Interaction) -> Json:
    """Describe where an interaction's answer comes from."""
    metadata: Json = {
        "id": str(interaction.id),
        "type": interaction.type,
        "user": user_json(interaction.user),
        "authorizing_integration_owners": _installed_by(interaction),
    }
    if interaction.message is not None:
        metadata["interacted_message_id"] = str(interaction.message.id)
    return {
        "type": 20 if interaction.type is InteractionType.COMMAND else 0,
        "webhook_id": str(world.application_id),
        "application_id": str(world.application_id),
        "interaction_metadata": metadata,
    }


def _installed_by(interaction: Interaction) -> Json:
    """Say through whom the application came there: a guild's id, or 0 in the bot's DM."""
    return {"0": str(interaction.guild.id) if interaction.guild else "0"}


def interaction_json(world: World, interaction: Interaction, data: Json) -> Json:
    """Describe what a member did to the bot, as INTERACTION_CREATE does."""
    body: Json = {
        "id": str(interaction.id),
        "application_id": str(world.application_id),
        "type": interaction.type,
        "token": interaction.token,
        "version": 1,
        "data": data,
        "channel": channel_json(interaction.channel) | {"permissions": ALL_PERMISSIONS},
        "channel_id": str(interaction.channel.id),
        "locale": interaction.user.locale,
        "app_permissions": ALL_PERMISSIONS,
        "authorizing_integration_owners": _installed_by(interaction),
        "context": IN_GUILD if interaction.guild else IN_BOT_DM,
        "entitlements": [],
        "attachment_size_limit": 10 << 20,
    }
    if interaction.message is not None:
        body["message"] = message_json(world, interaction.message)
    return body | _who_json(interaction)


def _who_json(interaction: Interaction) -> Json:
    guild = interaction.guild
    if guild is None:
        return {"user": user_json(interaction.user)}
    return {
        "guild_id": str(guild.id),
        "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
        "guild_locale": "en-US",
        "member": member_json(guild, interaction.user) | {"permissions": ALL_PERMISSIONS},
    }


def callback_json(interaction: Interaction) -> Json:
    """Describe what the acknowledgement did (openapi.json: InteractionCallbackResponse)."""
    about: Json = {"id": str(interaction.id), "type": interaction.type, "channel_id": str(interaction.channel.id)}
    if interaction.guild is not None:
        about["guild_id"] = str(interaction.guild.id)
    message = interaction.response
    if message is not None:
        about |= {
            "response_message_id": str(message.id),
            "response_message_loading": bool(message.flags & LOADING),
            "response_message_ephemeral": bool(message.flags & EPHEMERAL),
        }
    return {"interaction": about}
