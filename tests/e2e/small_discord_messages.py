"""What may stand in a message: creating and editing, and the rules by which Discord refuses.

The limits are those of Discord's API description (openapi.json: MessageCreateRequest and the schemas of the
components). In one thing this is stricter than Discord: a file that no component of a Components V2 message
shows is refused, where Discord stores a file that nobody sees.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from small_discord_model import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    NONCE_REMEMBERED,
    Attachment,
    ComponentType,
    DiscordError,
    Json,
    Message,
    content_type,
    media_in,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from small_discord_model import Channel, Interaction, World

MOST_COMPONENTS = 40
MOST_TEXT = 4000
MOST_CONTENT = 2000
MOST_BUTTONS = 5
MOST_MEDIA = 10
LONGEST_NONCE = 25
LONGEST_ALT_TEXT = 1024
LONGEST = {"custom_id": 100, "label": 80, "url": 512}
LINK_BUTTON = 5
SUPPRESS_EMBEDS = 1 << 2
SUPPRESS_NOTIFICATIONS = 1 << 12
EDITABLE_FLAGS = SUPPRESS_EMBEDS | COMPONENTS_V2
DEFAULTS: dict[int, Json] = {
    ComponentType.BUTTON: {"disabled": False},
    ComponentType.THUMBNAIL: {"description": None, "spoiler": False},
    ComponentType.MEDIA_GALLERY: {"description": None, "spoiler": False},
    ComponentType.FILE: {"spoiler": False},
    ComponentType.SEPARATOR: {"spacing": 1, "divider": True},
    ComponentType.CONTAINER: {"accent_color": None, "spoiler": False},
}
ONLY_IN_V2 = {
    ComponentType.SECTION,
    ComponentType.TEXT_DISPLAY,
    ComponentType.THUMBNAIL,
    ComponentType.MEDIA_GALLERY,
    ComponentType.FILE,
    ComponentType.SEPARATOR,
    ComponentType.CONTAINER,
}


@dataclass
class Upload:
    """A file as it came in the request."""

    filename: str
    content: bytes = field(repr=False)


@dataclass
class Body:
    """What a request brought: the JSON and the files by their index."""

    payload: Any = field(default_factory=dict, repr=False)  # what a client sends may be anything
    files: dict[int, Upload] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    """The names of a form's fields, without `payload_json`."""


def invalid(where: str, code: str, message: str) -> DiscordError:
    """Return the refusal of a form whose field `where` (dotted) is wrong."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for name in reversed(where.split(".")):
        errors = {name: errors}
    return DiscordError(400, 50035, "Invalid Form Body", errors)


def create(world: World, channel: Channel, body: Body, *, interaction: Interaction | None = None) -> Message:
    """Store the bot's new message; with an interaction it is an answer, which may be ephemeral.

    Raises:
        DiscordError: it breaks a rule; nothing is stored.
    """
    flags = body.payload.get("flags") or 0
    allowed = EDITABLE_FLAGS | SUPPRESS_NOTIFICATIONS | (EPHEMERAL if interaction else 0)
    message = Message(
        id=world.snowflake(),
        channel_id=channel.id,
        author_id=world.bot_user.id,
        created_at=world.now(),
        flags=flags & allowed,
        nonce=_nonce(body.payload),
        ephemeral_for=interaction.user.id if interaction and flags & EPHEMERAL else None,
        interaction=interaction,
    )
    _apply(world, message, body)
    world.post(message)
    return message


def create_loading(world: World, interaction: Interaction, *, ephemeral: bool) -> Message:
    """Store the "is thinking" that a deferred answer shows."""
    message = Message(
        id=world.snowflake(),
        channel_id=interaction.channel.id,
        author_id=world.bot_user.id,
        created_at=world.now(),
        flags=LOADING | (EPHEMERAL if ephemeral else 0),
        ephemeral_for=interaction.user.id if ephemeral else None,
        interaction=interaction,
    )
    world.post(message)
    return message


def edit(world: World, message: Message, body: Body) -> None:
    """Change a message as asked: what the form does not name stays.

    Raises:
        DiscordError: the result would break a rule; nothing is changed.
    """
    before = replace(message, earlier=[])
    _apply(world, message, body)
    message.earlier.append(before)
    message.edits += 1
    message.edited_at = world.now()


def sent_before(world: World, channel: Channel, payload: Json) -> Message | None:
    """Return the message that this one repeats, by `nonce` and `enforce_nonce`."""
    nonce = _nonce(payload)
    if nonce is None or not payload.get("enforce_nonce"):
        return None
    since = world.now() - NONCE_REMEMBERED
    for message in world.lasting(channel.id):
        if message.nonce == nonce and message.author_id == world.bot_user.id and message.created_at >= since:
            return message
    return None


def _nonce(payload: Json) -> str | int | None:
    nonce: str | int | None = payload.get("nonce")
    if nonce is not None and len(str(nonce)) > LONGEST_NONCE:
        raise invalid("nonce", "BASE_TYPE_MAX_LENGTH", f"Must be {LONGEST_NONCE} or fewer in length.")
    return nonce


def _apply(world: World, message: Message, body: Body) -> None:
    """Compose what the message becomes, check it, and only then change the message."""
    payload = body.payload
    draft = replace(message, flags=(message.flags | (payload.get("flags") or 0) & EDITABLE_FLAGS) & ~LOADING)
    if "content" in payload:
        draft.content = payload["content"] or ""
    if "embeds" in payload:
        draft.embeds = payload["embeds"] or []
    uploaded = _uploaded(world, message, body)
    draft.attachments = _kept(message, body) + uploaded
    if "components" in payload:
        draft.components = copy.deepcopy(payload["components"] or [])
        _complete(draft.components)
    _resolve_media(world, draft)
    _check(draft, uploaded)
    for name in ("flags", "content", "embeds", "attachments", "components"):
        setattr(message, name, getattr(draft, name))


def _kept(message: Message, body: Body) -> list[Attachment]:
    """Return the old attachments that stay: all, unless the form lists which."""
    listed = body.payload.get("attachments")
    if listed is None:
        return message.attachments
    ids = {int(entry["id"]) for entry in listed} - set(body.files)
    kept = [attachment for attachment in message.attachments if attachment.id in ids]
    if len(kept) < len(ids):
        raise invalid("attachments", "ATTACHMENT_NOT_FOUND", "An attachment that is to be kept does not exist.")
    return kept


def _uploaded(world: World, message: Message, body: Body) -> list[Attachment]:
    described = {int(entry["id"]): entry for entry in body.payload.get("attachments") or ()}
    uploaded = []
    for index, upload in sorted(body.files.items()):
        entry = described.get(index, {})
        filename = entry.get("filename") or upload.filename
        uploaded.append(_attach(world, message, replace(upload, filename=filename), entry.get("description")))
    return uploaded


def _attach(world: World, message: Message, upload: Upload, description: str | None) -> Attachment:
    attachment_id = world.snowflake()
    url = f"{world.origin}/attachments/{message.channel_id}/{attachment_id}/{quote(upload.filename)}"
    return Attachment(attachment_id, upload.filename, upload.content, url, description)


def _complete(components: list[Json]) -> None:
    """Give every component the number and the defaults that Discord would give it."""
    taken = {component["id"] for component in walk(components) if component.get("id")}
    free = (number for number in range(1, 10_000) if number not in taken)
    for component in walk(components):
        component["id"] = component.get("id") or next(free)
        for described in component.get("items") or (component,):
            for name, value in DEFAULTS.get(component["type"], {}).items():
                described.setdefault(name, value)


def _resolve_media(world: World, draft: Message) -> None:
    """Put the file's address in the place of each `attachment://name`."""
    by_name = {f"attachment://{attachment.filename}": attachment for attachment in draft.attachments}
    by_url = {attachment.url: attachment for attachment in draft.attachments}
    for media in media_in(draft.components):
        attachment = (by_name | by_url).get(media["url"])
        if attachment is not None:
            media |= {"url": attachment.url, "attachment_id": str(attachment.id)}
        elif media["url"].startswith("attachment://") or "attachment_id" in media:
            code = "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND"
            raise invalid("components", code, f"The referenced attachment was not found: {media['url']}")
        media.setdefault("id", str(world.snowflake()))
        media |= {"proxy_url": media["url"], "content_type": content_type(media["url"]), "flags": 0}


def _check(draft: Message, uploaded: list[Attachment]) -> None:
    """Raise the first rule that the message breaks."""
    for rule in (_content_rules, _component_rules, _button_rules, _media_rules):
        for refusal in rule(draft):
            raise refusal
    if draft.flags & COMPONENTS_V2:
        shown = {media.get("attachment_id") for media in media_in(draft.components)}
        for attachment in uploaded:
            if str(attachment.id) not in shown:
                raise invalid("attachments", "ATTACHMENT_NOT_SHOWN", f"No component shows {attachment.filename}.")


def _content_rules(draft: Message) -> Iterator[DiscordError]:
    if draft.flags & COMPONENTS_V2:
        for name in ("content", "embeds"):
            if getattr(draft, name):
                code = "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"
                yield invalid(name, code, f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2")
    if len(draft.content) > MOST_CONTENT:
        yield invalid("content", "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_CONTENT} or fewer in length.")
    if not (draft.content or draft.embeds or draft.components or draft.attachments):
        yield DiscordError(400, 50006, "Cannot send an empty message")


def _component_rules(draft: Message) -> Iterator[DiscordError]:
    parts = list(walk(draft.components))
    if len(parts) > MOST_COMPONENTS:
        yield invalid("components", "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_COMPONENTS} or fewer in length.")
    if not draft.flags & COMPONENTS_V2 and any(part["type"] in ONLY_IN_V2 for part in parts):
        yield invalid("components", "UNION_TYPE_CHOICES", "This component needs MessageFlags.IS_COMPONENTS_V2.")
    if sum(len(part["content"]) for part in parts if part["type"] == ComponentType.TEXT_DISPLAY) > MOST_TEXT:
        yield invalid("components", "COMPONENT_TEXT_TOO_LONG", f"All texts together exceed {MOST_TEXT} characters.")
    for part in parts:
        limit = {ComponentType.ACTION_ROW: MOST_BUTTONS, ComponentType.SECTION: 3}.get(part["type"], MOST_COMPONENTS)
        if "components" in part and not 1 <= len(part["components"]) <= limit:
            yield invalid("components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {limit} in length.")


def _button_rules(draft: Message) -> Iterator[DiscordError]:
    for name, count in Counter(part.get("custom_id") for part in walk(draft.components)).items():
        if name is not None and count > 1:
            yield invalid("components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
    for button in draft.button_parts():
        for name, limit in LONGEST.items():
            if len(button.get(name) or "") > limit:
                yield invalid(f"components.{name}", "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
        address = "url" if button["style"] == LINK_BUTTON else "custom_id"
        if not button.get(address):
            yield invalid("components", "BASE_TYPE_REQUIRED", f"A button of this style needs a {address}.")
        if not (button.get("label") or button.get("emoji")):
            yield invalid("components", "BUTTON_COMPONENT_INVALID", "A button needs a label or an emoji.")


def _media_rules(draft: Message) -> Iterator[DiscordError]:
    for part in walk(draft.components):
        if part["type"] == ComponentType.MEDIA_GALLERY and not 1 <= len(part["items"]) <= MOST_MEDIA:
            yield invalid("components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MOST_MEDIA} in length.")
        for described in (part, *part.get("items", ())):
            if len(described.get("description") or "") > LONGEST_ALT_TEXT:
                yield invalid("components", "BASE_TYPE_MAX_LENGTH", f"Must be {LONGEST_ALT_TEXT} or fewer in length.")
