"""Every sentence that a member reads."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from discord.utils import format_dt

from ..models import Finding, Lane, Note, Phase, Reason, Topic, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..audit import AuditEntry
    from ..models import Link, Notice

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
LINK_YOURS = "Link your Plex account"
MOVE_HERE = "Move it here"
LEAVE_THERE = "Leave it there"
STATUS = "Status"
RECHECK = "Check now"
UNLINK = "Unlink"
KEEP = "Keep it"
PRIVACY = "Privacy"
LINK_PLEX = "Link Plex"
EXPORT = "Export"
FORGET = "Delete everything"
SHOW_NAME = "Show my Plex name to server owners"
HIDE_NAME = "Hide my Plex name"

PICTURE = "QR code that opens Plex's link page with the code filled in"

COMMAND = "Link your Plex account to your Discord account"
STATUS_COMMAND = "Show your link to Plex, and whether it works"
UNLINK_COMMAND = "End your link to Plex and sign out there"
PRIVACY_COMMAND = "See, export or delete what is stored about you"

DEVICES = "[authorized devices](https://app.plex.tv/desktop/#!/settings/devices)"

APPROVED = "## Approved\nAsking Plex who you are…"
CANCELLED = "## Cancelled\nNothing was stored."
EXPIRED = "## The code ran out\nNothing was stored. Get a new one whenever you are ready."
UNSURE = (
    "## The code ran out\n"
    "Plex does not answer at the moment, so I cannot tell yet whether you approved it in time. I keep asking; "
    "if you did, this card will say so. You need not wait: a new code works too."
)
UNDONE = "## Undone\nThis link is erased."
UNLINKED = "## Unlinked\nYou ended this link."
REPLACED = "## Replaced\nYou have linked a Plex account anew since. I sign out the sign-in that came from this card."
MOVED = "## Moved\nAnother member here has shown that this Plex account is theirs, and linked it."
FORGOTTEN = (
    "## Deleted\n"
    "Nothing is stored here any more but the line that says so. A code that is still out, and a sign-out at Plex under "
    "way, go when they are over."
)
PANEL = "## Link your Plex account\nPress the button: you get a private message with a code. Nothing is posted here."
PANEL_SMALL_PRINT = "-# You only ever approve on plex.tv; nobody here asks for your password."
NOT_LINKED = "## Not linked\nYou have no Plex account linked here."
ASK_UNLINK = (
    "## Unlink your Plex account?\n"
    "I erase your link here at once, sign out at Plex, and then erase the token. Features that use it stop working for "
    "you."
)
ASK_FORGET = (
    "## Delete everything about you?\n"
    "I erase your link and sign out at Plex, and delete your tries and the list of deeds. "
    "What stays is one line: that you had it deleted, and when."
)
UNREADABLE_LINK = "## Your link must be made anew\nI can no longer read your token. Link again; that takes a minute."
KEY_MISSING = (
    "## I cannot read your link at the moment\n"
    "The key for it is missing here, which only the bot's host can mend. Nothing has changed."
)
NEWER = (
    "## I cannot read your link at the moment\n"
    "A newer version of this bot wrote it, and only the bot's host can bring that back. Nothing has changed."
)
EXPORTED = "I sent you a file with everything that is stored about you, without the token."
EXPORT_HERE = "Here is everything that is stored about you, without the token."
SENT = "I sent you a direct message with your code."
STILL_OPEN = "You have a code already, on your newest card."
NOT_YOURS = "This card belongs to somebody else. Use /plexlink to get your own."
GONE = "This card is too old, I no longer know it. Use /plexlink to start again."
NO_DM = (
    "-# Discord did not let me send you a direct message (your privacy settings, or trouble of its own), "
    "so the card is here. Only you can see it."
)
ONE_MOMENT = "One moment…"
PRIVATE = "My answer is for whoever asked, and only they can see it."
WARNING = "If somebody sent you a code and asked you to enter it, don't: it would give them your account."

REFUSED = {
    Reason.MANAGED: (
        "## This profile cannot be linked\n"
        "You approved with a managed Plex Home profile, which has no sign-in of its own. "
        "Switch to a full Plex account and try again. I am signing out at Plex; nothing was stored."
    ),
    Reason.TAKEN: (
        "## Left where it is\n"
        "This Plex account stays linked to the other member. I am signing out at Plex; nothing was stored."
    ),
    Reason.UNTOLD: (
        "## Plex does not say who you are\n"
        "You approved, but for a day Plex has not told me whose account it is. "
        "I am signing out at Plex; nothing was stored."
    ),
    Reason.KEY_MISSING: (
        "## This cannot be linked at the moment\n"
        "A link that this one would replace is stored here, and the key for it is missing, which only the bot's host "
        "can mend. I am signing out at Plex; nothing has changed."
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
    return _PUNCTUATION.sub(r"\\\1", label(text))


def label(text: str) -> str:
    """Return a stranger's text where Discord takes no Markdown: in one line, without what is invisible, capped."""
    visible = "".join(each for each in text if each.isspace() or unicodedata.category(each) not in _INVISIBLE)
    line = " ".join(visible.split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"


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
    return f"## You are in line\nYour code comes by itself, I expect it {when(ready_at)}."


def contested(deadline_at: datetime) -> str:
    """Return the card of a member who approved with an account that another member has linked."""
    return (
        "## Another member here has linked this Plex account\n"
        "An account belongs to one member. You have just shown that it is yours: move it here, and the other "
        "member is told and loses the link. If Plex does not know the other member's sign-in any more, I do so myself "
        f"in a few minutes. Otherwise I sign out {when(deadline_at)}, and nothing changes."
    )


class RoleLine(NamedTuple):
    """A role that comes or goes with a link; `server` is named where the member does not see which one it is.

    One that is `only_for` the members of a Plex server does not come.
    """

    role: str
    server: str | None
    is_given: bool
    is_done: bool
    only_for: str | None = None


def linked(account_name: str, roles: Sequence[RoleLine] = ()) -> str:
    """Return the card of a member who has just linked."""
    return "\n".join(
        [
            f"## Linked as {name(account_name) or 'somebody'} ✓",
            f"Your Plex account is connected. Not yours? Press **{UNDO}**.",
            *map(_role_line, roles),
        ]
    )


def _role_line(line: RoleLine) -> str:
    role = f"*{name(line.role) or 'a role'}*"
    where = "" if line.server is None else f" in *{name(line.server) or 'a server'}*"
    if line.only_for is not None:
        return f"Role {role}: for members of the Plex server *{name(line.only_for)}* only"
    if line.is_given:
        return f"Role {role} added{where} ✓" if line.is_done else f"Role {role}{where}: on its way"
    return f"Role {role} removed{where} ✓" if line.is_done else f"Role {role}{where}: goes as soon as Discord lets me"


def status(link: Link, last_use: AuditEntry | None, finding: Finding | None, *, is_asking: bool) -> str:
    """Return the card of a member who has a link; `finding` is a check made just now, or one is under way."""
    if link.trouble is not None:
        return UNREADABLE_LINK if link.trouble is Trouble.BROKEN else KEY_MISSING
    who = name(link.account_name.reveal()) or "somebody"
    health = ASKING if is_asking and not link.is_dead else _health(link, finding)
    lines = [f"Since {format_dt(link.linked_at, 'D')}.", health]
    if last_use is None:
        lines.append("No feature of this bot has used it yet.")
    else:
        lines.append(f"Last used {when(last_use.at)} for *{name(last_use.detail or '')}*.")
    return "\n".join([f"## Linked as {who}{'' if link.is_dead else ' ✓'}", *lines])


def _health(link: Link, finding: Finding | None) -> str:
    health = link.health
    if link.is_dead:
        since = "" if health.rejected_at is None else f" It has refused it since {when(health.rejected_at)}."
        return f"**{LINK_DEAD}**{since} Link again to go on."
    if finding is Finding.SILENT:
        return "**Plex did not answer just now.** That says nothing about your link; I check it daily."
    if health.rejected_at is not None:
        since = "" if health.finding is Finding.REJECTED else " Since then it has not answered."
        return f"**Plex did not accept our sign-in** {when(health.rejected_at)}.{since} I ask again to be sure."
    if health.checked_at is None:
        return "Not checked yet; I do that once a day."
    if health.finding is Finding.SILENT:
        return f"Plex did not answer my check {when(health.checked_at)}. I ask again."
    return f"Checked {when(health.checked_at)}: it works."


def url_of(guild_id: int, channel_id: int, message_id: int) -> str:
    """Return the link to a message in a server."""
    return f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"


def notice(notice: Notice, roles: Sequence[RoleLine] = (), server: str | None = None) -> str:
    """Return what a member is told besides the card of an attempt; `server` is the name of the one it is about."""
    if notice.topic is Topic.RETIRED and notice.place.lane is Lane.DM:
        return "-# This card has moved to another message."
    if notice.topic is Topic.SETUP_BROKEN:
        return _setup_broken(server)
    if notice.topic is Topic.LOSSES_HELD:
        return _losses_held(server)
    if notice.topic is Topic.ROLE_WITHDRAWN:
        return _role_withdrawn(server)
    return _unlinking(notice, roles) if notice.topic is Topic.UNLINKING else _NOTICES[notice.topic]


def _setup_broken(server: str | None) -> str:
    where = "a server that you manage" if server is None else f"*{name(server) or 'a server'}*"
    return (
        f"## Linking in {where} needs a look\n"
        "Something that was chosen there does not work any more. Open /plexadmin setup in that server: it says what is "
        "wrong, and how to mend it. I tell you this once."
    )


def _losses_held(server: str | None) -> str:
    where = "a server that you manage" if server is None else f"*{name(server) or 'a server'}*"
    return (
        f"## Many in {where} seem to lose the role\n"
        "Plex says that they are not members of the Plex server any more: so many at once that I do not believe it. "
        "They keep the role. /plexadmin setup in that server says how many they are; if it is true, press **Apply** "
        "there. I tell you this once."
    )


def _role_withdrawn(server: str | None) -> str:
    where = "a server where you are" if server is None else f"*{name(server) or 'a server'}*"
    return (
        f"## Your role was taken away\nThe owners of {where} have taken your role away. "
        "Your link to Plex is yours and stays."
    )


def _unlinking(notice: Notice, roles: Sequence[RoleLine]) -> str:
    """Return the card of an unlinking, step by step; the token is kept, encrypted, for as long as it is signed out."""
    is_all = notice.reason is Reason.FORGOTTEN
    headline = "Undone" if notice.reason is Reason.UNDONE else "Deleted" if is_all else "Unlinked"
    erased = "Link erased here ✓"
    if is_all:
        erased = "Everything about you erased ✓" + (BUT_FOR_THAT if notice.phase in UNDER_WAY else "")
    return "\n".join([f"## {headline}", erased, *map(_role_line, roles), _STEPS[notice.phase or Phase.SIGNING_OUT]])


BUT_FOR_THAT = ", but for the token, with which I sign you out"

UNDER_WAY = {None, Phase.SIGNING_OUT, Phase.DELAYED, Phase.CHECKING, Phase.UNCHECKED}

_STEPS = {
    Phase.SIGNING_OUT: "Signing out at Plex…",
    Phase.CHECKING: "Signed out at Plex ✓\nAsking Plex whether it still accepts the token…",
    Phase.UNCHECKED: (
        "Signed out at Plex ✓\n"
        "**Plex does not tell yet whether it still accepts the token.** I keep it, encrypted, to ask again for "
        f"24 hours, and tell you by direct message how it ends. Or look yourself: your {DEVICES}."
    ),
    Phase.DELAYED: (
        "**You are not signed out at Plex yet: it does not do it at the moment.** I keep the token, encrypted, to try "
        "again for 24 hours, and tell you by direct message how it ends. You can do it yourself at any time: "
        f"remove this bot from your {DEVICES}."
    ),
    Phase.SIGNED_OUT: "Signed out at Plex ✓\nAsked Plex: it no longer accepts the token ✓\nToken erased here ✓",
    Phase.DEAD_ALREADY: "Plex does not know our sign-in any more ✓\nToken erased here ✓",
    Phase.DEVICE_REMOVED: (
        "Removed this bot from your devices at Plex ✓\nAsked Plex: it no longer accepts the token ✓\n"
        "Token erased here ✓"
    ),
    Phase.GIVEN_UP: (
        "Token erased here ✓\n"
        "**For 24 hours Plex has not said that I am signed out, and I gave up.** "
        f"Please remove this bot from your {DEVICES}."
    ),
    Phase.UNREADABLE: (
        "Token erased here ✓\n"
        "**I could not read the token any more, so I could not sign out at Plex.** "
        f"Please remove this bot from your {DEVICES}."
    ),
}


ASKING = f"**I am asking Plex.** That takes longer than usual; press **{RECHECK}** again in a minute."
LINK_DEAD = "Plex ended our sign-in, usually after a password change."

_NOTICES = {
    Topic.RETIRED: "-# This card has moved to your newest answer.",
    Topic.LINK_DEAD: f"## Your link to Plex stopped working\n{LINK_DEAD} Link again to go on.",
    Topic.LINK_MOVED: (
        "## Your Plex account was moved\n"
        "Another member has approved with the Plex account that you had linked here, and moved it to themselves. "
        "Your link is erased, and I sign it out. If that account is yours, link it again: then it moves back."
    ),
    Topic.SIGNED_OUT: "## Signed out at Plex ✓\nIt took a while, but Plex no longer accepts the token that I had.",
    Topic.NOT_SIGNED_OUT: (
        "## I could not sign out at Plex\n"
        f"The token is erased here, but Plex may still know it. Please remove this bot from your {DEVICES}."
    ),
}


def privacy(audit_days: int) -> str:
    """Return what is stored, why, for how long, and who can read it."""
    return (
        "## What is stored about you\n"
        "**While you are linked**: the token with which features of this bot reach Plex for you, and your Plex "
        "account's number and name, to show whose it is; all three encrypted. When the token was checked, and what "
        "came of it, so that I can tell you when it stops working.\n"
        "**Your tries to link**: when, where, how they ended, so that the buttons of their cards work. A day, or a "
        "week where I could not tell you the end; the one that led to your link stays with it. A code that you gave "
        "up: encrypted until it runs out, because it could still be approved.\n"
        f"**A list of deeds**: linked, unlinked, which feature used your token and when, so that you can see it. "
        f"{audit_days} days.\n"
        "**Servers**: where owners have set me up, that you are there, and which role is yours because of your link. "
        "They see that you have linked, since when, whether it works, which role you have because of it, and what "
        "became of both.\n"
        "**What I still have to tell you**: until you know it, 30 days at most.\n"
        "**After unlinking**: the encrypted token until Plex has signed it out, 24 hours at most.\n"
        "**Servers that give a role for linking**: whether you are there, which role is to be yours, and whether the "
        "owners took it away. As long as your link; what owners decided until they lift it, or you delete everything. "
        "Where the role is for members of one Plex server: that you are one, or not, which its owners see; never which "
        "others you have.\n"
        "**Who can read it**: this bot with its other features, and its host, who has the key. Owners of a server in "
        "which you are see what stands above under **Servers**; your Plex name only if you show it here. Nobody else. "
        "Your Plex password never comes here; you only ever give it to Plex."
    )


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
