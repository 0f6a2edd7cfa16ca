"""Every sentence that the owner of a server reads."""

from __future__ import annotations

from ..community import Objection
from .messages import url_of

ADMIN = "For the owners of this server: a role for who has linked a Plex account"
SETUP_COMMAND = "Choose the role for linked members, and where you see what happens"

PANEL_COMMAND = "Post a card with a button to link, for everybody in a channel"
PANEL_CHANNEL = "Where it is to stand; here, if you name none"

APPLY = "Apply"
UNDO = "Undo"
CHOOSE_ROLE = "No role: nothing is given or taken"
CHOOSE_CHANNEL = "No channel: nothing is written"

NOT_ALLOWED = "This is for members who may manage this server."
ONLY_IN_SERVERS = "This works in servers only."

ROLE_HEADLINE = "**Role for linked members**\n-# Members get it when they link, and lose it when they unlink."
CHANNEL_HEADLINE = (
    "**Channel for the audit**\n"
    "-# One line for what happens: linked, unlinked, stopped working, role given or taken. No Plex account is named."
)

OBJECTIONS = {
    Objection.NO_PERMISSION: (
        "I may not give roles here. Give my role the permission **Manage Roles**, in the server's settings under Roles."
    ),
    Objection.TOO_HIGH: (
        "I cannot give {role}: it is not below my own role. Drag my role above it, in the server's settings under "
        "Roles."
    ),
    Objection.ABOVE_CALLER: "I do not give {role} for you: it is not below your own highest role.",
    Objection.EVERYONE: "Everybody has {role} already. Choose, or make, a role for linked members.",
    Objection.MANAGED: "{role} belongs to another bot or to a subscription; Discord lets nobody give it.",
    Objection.DANGEROUS: (
        "I do not give {role}: it lets people manage or moderate this server. Choose a role without such permissions."
    ),
    Objection.GONE: "The role that you chose was deleted. Choose another one.",
}
NO_CHANNEL = "I may not write there. Let me see {channel} and send messages in it, or choose another channel."
WAS_CLOSED = "Discord did not let me write into {channel} the last time. Press **Apply**, and I try again at once."

PANEL_POSTED = "The panel is in {channel}. Post it again to move it: the former one is deleted."
PANEL_UNSURE = "Discord did not take the panel for {channel}, or did not tell me so. Look there, and try again."
NO_PANEL_HERE = "The panel needs a text channel. Name one: /plexadmin panel channel:…"


def setup(guild_name: str, *, is_saved: bool) -> str:
    """Return the headline of the card."""
    return f"## PlexLink in {guild_name}{' · saved ✓' if is_saved else ''}"


def preview(*, before: str | None, after: str | None, channel: str | None) -> str:
    """Return what will happen when the choice is applied; roles and channels are mentions, which notify nobody."""
    lines = []
    if after is None:
        lines.append("Nobody gets a role.")
    else:
        lines.append(f"Every member here who has linked a Plex account gets {after}, now and later.")
        lines.append(f"Who unlinks loses {after}; so does whoever's link has stopped working for long.")
    if before not in {None, after}:
        lines.append(f"Linked members lose {before}.")
    lines.append(
        "Nothing is written into a channel." if channel is None else f"What happens is written into {channel}."
    )
    return "**What this means**\n" + "\n".join(f"- {line}" for line in lines)


def panel(guild_id: int, channel_id: int | None, message_id: int | None) -> str:
    """Return where the panel is, or was."""
    if channel_id is None:
        return "**Panel**\nNone yet: /plexadmin panel posts a card with a **Link Plex** button for everybody."
    if message_id is None:
        return f"**Panel**\nIt was in <#{channel_id}>, and is gone: /plexadmin panel posts a new one."
    return f"**Panel**\nIn <#{channel_id}>: {url_of(guild_id, channel_id, message_id)}"


def objection(why: Objection, role: str) -> str:
    """Return why a role is not given, and what helps."""
    return "⚠️ " + OBJECTIONS[why].format(role=role)
