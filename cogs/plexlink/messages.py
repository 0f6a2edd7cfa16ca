"""Every sentence that a member reads."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from discord.utils import format_dt

from .models import Note, Reason

if TYPE_CHECKING:
    from datetime import datetime

_LONGEST_NAME = 64
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")

OPEN_PLEX = "Open Plex"
CHECK_NOW = "I've approved it"
NEW_CODE = "New code"
CANCEL = "Cancel"
UNDO = "Not me: undo"
START_AGAIN = "Start again"
TRY_AGAIN = "Try again"
LINK_AGAIN = "Link again"
LINK_ANOTHER = "Link another account"
GO_TO_MESSAGE = "Go to the message"

PICTURE = "QR code that opens Plex's link page with the code filled in"

COMMAND = "Link your Plex account to your Discord account"

APPROVED = "## Approved\nAsking Plex who you are…"
CANCELLED = "## Cancelled\nNothing was stored."
EXPIRED = "## The code ran out\nNothing was stored. Get a new one whenever you are ready."
UNSURE = (
    "## The code ran out\n"
    "Plex does not answer at the moment, so I cannot tell yet whether you approved it in time. I keep asking; "
    "if you did, this card will say so. You need not wait: a new code works too."
)
UNDONE = (
    "## Undone\n"
    "The link is erased here, and I am signing out at Plex. If Plex does not answer, I keep trying for 24 hours. "
    "You can always look yourself: [authorized devices](https://app.plex.tv/desktop/#!/settings/devices)."
)
REPLACED = "## Replaced\nYou have linked another Plex account since. This one was signed out at Plex."
RETIRED = "-# This card has moved to your newest /plexlink."
SENT = "I sent you a direct message with your code."
STILL_OPEN = "You have a code already, on your newest card."
NOT_YOURS = "This card belongs to somebody else. Use /plexlink to get your own."
GONE = "This card is too old, I no longer know it. Use /plexlink to start again."
CLOSED_DM = (
    "-# Discord did not let me send you a direct message, most likely because of your privacy settings, "
    "so the card is here. Only you can see it."
)
WARNING = "If somebody sent you a code and asked you to enter it, don't: it would give them your account."

REFUSED = {
    Reason.MANAGED: (
        "## This profile cannot be linked\n"
        "You approved with a managed Plex Home profile, which has no sign-in of its own. "
        "Switch to a full Plex account and try again. I am signing out at Plex; nothing was stored."
    ),
    Reason.TAKEN: (
        "## This Plex account is linked already\n"
        "Another member here has linked it, and an account belongs to one member. Approve with another Plex account, "
        "or have the other member undo their link first. I am signing out at Plex; nothing was stored."
    ),
    Reason.REVOKED: (
        "## Plex ended the sign-in\n"
        "You approved, but Plex took it back before I could ask who you are. Nothing was stored."
    ),
}
FAILED = {
    Reason.PLEX_REFUSED: "## Plex said no\nPlex refused to go on with this code. Nothing was stored.",
    Reason.PLEX_SILENT: "## Plex does not answer\nI could not get a code from Plex. Nothing was stored. "
    "Try again in a few minutes.",
}
BROKEN = "## Something broke\nI can no longer read what I stored for this code. Please start again."


def name(text: str) -> str:
    """Return a stranger's text so that it can do no harm in ours: every mark escaped, length capped.

    Discord's Markdown takes a backslash before any mark as "this is plain text", links and mentions included.
    Control and format characters, which could turn the line around, are left out.
    """
    visible = "".join(each for each in text if each.isspace() or unicodedata.category(each) not in _INVISIBLE)
    line = " ".join(visible.split())
    short = line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"
    return _PUNCTUATION.sub(r"\\\1", short)


def when(instant: datetime) -> str:
    """Return a countdown that the member's Discord keeps current."""
    return format_dt(instant, "R")


def waiting(*, user_code: str, deadline_at: datetime, is_short: bool, product: str) -> str:
    """Return the waiting card's upper text."""
    check = "this code" if is_short else f"“{name(product)}”"
    filled_in = " The code is filled in." if is_short else ""
    code = f"Your code: **`{user_code}`** · ends" if is_short else "Your link ends"
    warned = (
        ""
        if is_short
        else "\n-# Plex may show a security alert with another place: that is where this bot runs, not you."
    )
    return (
        "## Link your Plex account\n"
        f"{code} {when(deadline_at)}\n"
        f"1. Press **{OPEN_PLEX}**, or scan the picture.{filled_in}\n"
        f"2. Check that the page shows {check}, and approve.{warned}"
    )


def small_print(*, origin: str | None, device_name: str) -> str:
    """Return the waiting card's lower text; `origin` is the server's name."""
    place = "a direct message" if origin is None else f"*{name(origin) or 'a server'}*"
    return (
        f"-# You asked for this with /plexlink in {place}. {WARNING} "
        f"Plex may mail you about a new device called “{name(device_name)}”: that is this bot."
    )


def note(kind: Note, now: datetime) -> str:
    """Return the passing line after a press of "I've approved it"."""
    return {
        Note.NOT_YET: f"**Plex has not seen your approval yet** (asked {when(now)}). Approve first, then press again.",
        Note.PLEX_SILENT: f"**Plex did not answer** (asked {when(now)}). I keep asking by myself.",
        Note.UNSAVED: "**You approved, but I cannot save it at the moment.** I keep trying, and this card will say "
        "when it is done.",
        Note.SLOWED: "**Plex wants fewer questions at the moment.** I ask as soon as I may; you need not press again.",
    }[kind]


def queued(ready_at: datetime, note: Note | None) -> str:
    """Return the card of a member who waits for a code."""
    if note is Note.UNSAVED:
        return (
            "## I cannot save anything at the moment\n"
            "I keep trying for a few minutes. Your code will appear here, or by direct message, by itself."
        )
    if note is not None:
        return (
            "## Plex does not answer yet\n"
            "I keep asking for your code for a few minutes. It will appear here, or by direct message, by itself."
        )
    return (
        "## You are in line\n"
        f"Many people are linking right now. Your code comes by itself, I expect it {when(ready_at)}."
    )


def linked(account_name: str) -> str:
    """Return the card of a member who has just linked."""
    return (
        f"## Linked as {name(account_name) or 'somebody'} ✓\n"
        f"Your Plex account is connected. Not yours? Press **{UNDO}**."
    )


def already_linked(account_name: str, linked_at: datetime) -> str:
    """Return the answer to a member who is linked."""
    return f"## Linked as {name(account_name) or 'somebody'} ✓\nSince {format_dt(linked_at, 'D')}."


def too_many_starts(retry_at: datetime) -> str:
    """Return the answer to a member who asked for too many codes."""
    return f"## Too many tries\nYou asked for many codes in a short time. Come back {when(retry_at)}."


def too_busy(retry_at: datetime) -> str:
    """Return the answer while too many members are linking."""
    return f"## Many people are linking right now\nPlease try again {when(retry_at)}."


def not_saved(reference: str) -> str:
    """Return the answer to a member whose wish could not be saved; the reference stands in the log too."""
    return (
        "## I could not save that\n"
        "My database cannot be used at the moment, so nothing has changed. Please try again in a few minutes; "
        f"if it goes on, tell the bot's host this reference: `{reference}`"
    )


def something_broke(reference: str) -> str:
    """Return the answer to a member whom we failed; the reference stands in the log too."""
    return (
        "## Something broke\n"
        f"It is not your fault, and nothing was lost. Please try again; if it happens again, "
        f"tell the bot's host this reference: `{reference}`"
    )
