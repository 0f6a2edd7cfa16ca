"""What plex.tv shows of us: names that are safe in an HTTP header and fixed in form."""

from __future__ import annotations

import re
import unicodedata

from anyascii import anyascii

_LONGEST = 64
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
"""As German has them; the library only takes the dots off."""

_EMOJI = re.compile(r":\w+:", re.ASCII)
"""How the library writes them."""


def header_text(text: str) -> str:
    """Return printable ASCII of at most 64 characters; plex.tv reads other bytes in two ways, so none are sent.

    Letters of all alphabets are spelled with those of ASCII, emoji are left out.
    """
    spelled = "".join(map(_spelled, unicodedata.normalize("NFC", text).translate(_UMLAUTS)))
    if text.isupper():
        spelled = spelled.upper()  # "FÜR" is no "FUeR"
    kept = "".join(character if " " <= character <= "~" else " " for character in spelled)
    return " ".join(kept.split())[:_LONGEST].rstrip()


def _spelled(character: str) -> str:
    spelled = anyascii(character)
    return " " if character.isspace() or _EMOJI.fullmatch(spelled) else spelled


def device_name(user_name: str, bot_name: str) -> str:
    """Return what the member's device list at Plex says.

    It names the Discord user by the unique user name, never by a nickname that a phisher could choose.
    """
    return header_text(f"Discord: {user_name} via {header_text(bot_name) or 'PlexLink'}")
