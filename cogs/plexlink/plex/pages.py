"""The page on which a member approves a code."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from ..secret import Secret

OFFICIAL = "https://plex.tv"
_OFFICIAL_AUTH_APP = "https://app.plex.tv/auth"


class PinStyle(StrEnum):
    """The two kinds of code; neither page takes the other's."""

    SHORT = "short"
    STRONG = "strong"


def verification_url(
    *, base_url: str, style: PinStyle, user_code: Secret, client_identifier: Secret, product: str
) -> str:
    """Return the address of the page with the code filled in.

    Source: developer.plex.tv, "plex.tv/link/?pin=" for 4-character codes, the auth app's fragment for strong ones.
    """
    if style is PinStyle.SHORT:
        return f"{base_url}/link/?{urlencode({'pin': user_code.reveal()})}"
    auth_app = _OFFICIAL_AUTH_APP if base_url == OFFICIAL else f"{base_url}/auth"
    parameters = {
        "clientID": client_identifier.reveal(),
        "code": user_code.reveal(),
        "context[device][product]": product,
    }
    return f"{auth_app}#?{urlencode(parameters, quote_via=quote)}"
