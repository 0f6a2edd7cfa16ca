"""plex.tv: the calls that PlexLink makes, and the pages it sends members to."""

from .client import PlexClient
from .names import device_name, header_text
from .pace import Pace
from .pages import OFFICIAL, PinStyle, verification_url

__all__ = ["OFFICIAL", "Pace", "PinStyle", "PlexClient", "device_name", "header_text", "verification_url"]
