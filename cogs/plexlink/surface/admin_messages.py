"""Every sentence that the owner of a server reads."""

from __future__ import annotations

from ..community import Objection
from .messages import name, url_of

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
ONLY_PLEX_MEMBERS = "Only members of a Plex server…"
ANOTHER_PLEX_SERVER = "Another Plex server…"
EVERYBODY = "Everybody who has linked"
BACK = "Back"
ASK_AGAIN = "Ask Plex again"
CHOOSE_PLEX_SERVER = "Choose one of your Plex servers"

PLEX_CHOICES = (
    "## Whose members get the role?\n"
    "These are the Plex servers of your own Plex account. Who has linked then gets the role only if that server is "
    "shared with them, or theirs. I keep which one it is, encrypted, and of each member here that they are a member of "
    "it or not: never which other servers they have."
)
NEEDS_LINK = (
    "## Link your own Plex account first\n"
    "You show with it which Plex server is yours. Nothing else happens here with your link."
)
PLEX_SILENT = (
    "## Plex does not tell which servers are yours\n"
    "Nothing has changed. Try again in a minute; /plexstatus tells whether your link works."
)
NONE_OWNED = (
    "## No Plex server is yours\n"
    "Your Plex account owns none, as far as Plex tells. Only the owner of a Plex server can choose it: link the "
    "account that owns it, or let its owner do this, who needs Manage Server here."
)
NOT_THEIRS = (
    "## That is no Plex server of yours\n"
    "Nothing has changed. Only the owner of a Plex server can choose it, or bring it back: choose one of yours, or let "
    "its owner do this, who needs Manage Server here."
)
UNREADABLE_PLEX_SERVER = (
    "**Who gets it**\n"
    "Members of a Plex server that I cannot read any more. Nobody gets or loses the role until you choose it again."
)
HELD = (
    "⚠️ Plex says of **{count:,}** of your members that they are not members of the Plex server any more. That is so "
    "many at once that I do not believe it, and they keep the role. Is it true? Press **Apply**, and they lose it."
)

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
    Objection.ABOVE_CALLER: (
        "I do not give {role} for you: it is not below your own highest role. Choose a lower one, or let somebody do "
        "this whose highest role is above it."
    ),
    Objection.EVERYONE: "Everybody has {role} already. Choose, or make, a role for linked members.",
    Objection.MANAGED: (
        "{role} belongs to a bot or to a subscription; Discord lets nobody give it. Choose another role."
    ),
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


_NO_ROLE_YET = "No role is applied yet: it is for the one that you choose and apply next."


def setup(guild_name: str, *, is_saved: bool) -> str:
    """Return the headline of the card."""
    return f"## PlexLink in {guild_name}{' · saved ✓' if is_saved else ''}"


def who_gets_it(plex_server: str | None, *, is_saved: bool = False) -> str:
    """Return for whom the role is; a Plex server without a name cannot be read."""
    headline = f"**Who gets it**{' · saved ✓' if is_saved else ''}\n"
    if plex_server is None:
        return headline + "Everybody who has linked."
    if not plex_server:
        return UNREADABLE_PLEX_SERVER
    return headline + f"Only members of the Plex server *{name(plex_server)}* who have linked."


def preview(*, before: str | None, after: str | None, channel: str | None, plex_server: str | None = None) -> str:
    """Return what will happen when the choice is applied; roles and channels are mentions, which notify nobody."""
    lines = _rule(after, plex_server)
    if before not in {None, after}:
        lines.append(f"Linked members lose {before}.")
    lines.append(
        "Nothing is written into a channel." if channel is None else f"What happens is written into {channel}."
    )
    return _means(lines)


def rule_preview(*, role: str | None, plex_server: str | None) -> str:
    """Return what will happen when a role is for other members than before: of a Plex server, or all who have linked.

    The role is the one that is applied.
    """
    if plex_server is None:
        headline = "## The role for everybody who has linked?"
        more = ["Nobody loses it, and Plex is not asked any more who is a member of a Plex server."]
    else:
        headline = f"## The role for members of *{name(plex_server) or 'a Plex server'}* only?"
        more = [
            f"Whoever has {role} now and is not a member of that loses it too.",
            "Nobody loses it before Plex was asked about them, which begins at once.",
        ]
    lines = [_NO_ROLE_YET] if role is None else _rule(role, plex_server) + more
    return f"{headline}\n{_means(lines)}"


def _rule(role: str | None, plex_server: str | None) -> list[str]:
    """Return who gets a role, and who loses it and when."""
    if role is None:
        return ["Nobody gets a role."]
    lines = []
    if plex_server is None:
        lines.append(f"Every member here who has linked a Plex account gets {role}, now and later.")
    else:
        which = f"*{name(plex_server)}*" if plex_server else "that was chosen"
        lines.append(f"Who has linked and is a member of the Plex server {which} gets {role}, now and later.")
        lines.append(f"I ask Plex once a day. Who is not a member of it any more loses {role} an hour later.")
        lines.append("Where that is so of many at once, they keep it until you press **Apply** in /plexadmin setup.")
    lines.append(f"Who unlinks loses {role}; so does whoever's link has stopped working for long.")
    return lines


def _means(lines: list[str]) -> str:
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
