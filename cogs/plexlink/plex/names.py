"""What plex.tv shows of us: names that are safe in an HTTP header and fixed in form."""

from __future__ import annotations

_LONGEST = 64


def header_text(text: str) -> str:
    """Return printable ASCII of at most 64 characters; plex.tv reads other bytes in two ways, so none are sent."""
    kept = "".join(character if " " <= character <= "~" else " " for character in text)
    return " ".join(kept.split())[:_LONGEST].rstrip()


def device_name(user_name: str, bot_name: str) -> str:
    """Return what the member's device list at Plex says.

    It names the Discord user by the unique user name, never by a nickname that a phisher could choose.
    """
    return header_text(f"Discord: {user_name} via {header_text(bot_name) or 'PlexLink'}")
