"""Every sentence that the owner of a server reads about its members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord.utils import format_dt

from ..community import Standing
from ..models import Finding, Trouble, Verdict
from . import admin_messages, audit_lines, messages

if TYPE_CHECKING:
    from datetime import datetime

    from ..members import Examined, Found, Record, Roster, Stats
    from ..models import Entry

LIST_COMMAND = "Members of this server who have linked a Plex account"
FIND_COMMAND = "How the link of a member of this server is"
UNLINK_COMMAND = "Take this server's role away from a member; the link itself stays theirs"
CHECK_COMMAND = "Ask Plex now whether a member's link works"
AUDIT_COMMAND = "What happened in this server"
STATS_COMMAND = "Linking in this server, in numbers"
MEMBER_OPTION = "A member of this server"

EARLIER = "‹"  # noqa: RUF001 - what Discord's own pages have, and no "less than"
LATER = "›"  # noqa: RUF001
WITHDRAW = "Take the role away"
GIVE_BACK = "Give the role back"
KEEP = "Leave it"
CHECK = "Check now"

NOT_KNOWN = (
    "No link is known of this member here. Who links with /plexlink is known as soon as I have seen them in this "
    "server."
)
NO_ROLE = "No role is chosen for this server, so there is none to take. Choose one with /plexadmin setup."
NOBODY = "Nobody here has linked yet. Members come up here when they have linked with /plexlink."
NOT_SET_UP = "Until you have chosen something with /plexadmin setup, I do not look who is here."
NOTHING = "Nothing has happened yet. What you choose with /plexadmin setup, and who links then, stands here."


_UNREADABLE = {
    Trouble.BROKEN: "I can no longer read this link: the member has to link again.",
    Trouble.UNAVAILABLE: "I cannot read this link at the moment, which only the bot's host can mend.",
}
_FINDINGS = {
    Finding.ALIVE: "Asked Plex just now: it works ✓",
    Finding.REJECTED: "Plex refused it just now. I ask again in a few minutes to be sure.",
    Finding.SILENT: "Plex did not answer just now. That says nothing about the link.",
    None: "I am asking Plex. That takes longer than usual; look again in a minute.",
}


def mention(user_id: int) -> str:
    """Return a member's mention, which notifies nobody."""
    return f"<@{user_id}>"


def roster(roster: Roster) -> str:
    """Return a page of the linked members."""
    if not roster.total:
        return f"## Linked members\n{NOBODY}" + ("" if roster.is_set_up else f" {NOT_SET_UP}")
    return "\n".join([f"## Linked members: {roster.total:,}", *map(_entry_line, roster.entries)])


def _entry_line(entry: Entry) -> str:
    return f"{mention(entry.user_id)}{_name(entry)} · {_state(entry)} · since {format_dt(entry.linked_at, 'D')}"


def _name(entry: Entry) -> str:
    name = "" if entry.account_name is None else messages.name(entry.account_name.reveal())
    return f" (*{name}* at Plex)" if name else ""


def _state(entry: Entry) -> str:
    if entry.is_dead:
        return "stopped working"
    if entry.withdrawn_at is not None:
        return "linked, role taken away"
    return "linked, waits for the role" if entry.standing is Standing.OWED else "linked ✓"


def footer(number: int, pages: int) -> str:
    """Return which page this is."""
    return f"-# Page {number + 1} of {pages}"


def found(found: Found) -> str:
    """Return a member of a server as its owners may know them."""
    entry = found.entry
    return "\n".join(
        [
            f"## Link of {mention(entry.user_id)}",
            f"Linked since {format_dt(entry.linked_at, 'D')}{_name(entry)}.",
            _health(entry),
            _role(found),
        ]
    )


def _health(entry: Entry) -> str:
    if entry.is_dead:
        return "**It stopped working**: Plex ended the sign-in. Only the member can link again."
    if entry.health.verdict is not Verdict.ALIVE:
        return "Plex did not accept it once. I ask again to be sure."
    checked_at = entry.health.checked_at
    return "It works." if checked_at is None else f"It works, as far as is known (asked {messages.when(checked_at)})."


def _role(found: Found) -> str:
    entry, server = found.entry, found.server
    role = None if server.setup.role_id is None else f"<@&{server.setup.role_id}>"
    if entry.withdrawn_at is not None:
        taken = f"The owners of this server took the role away {messages.when(entry.withdrawn_at)}."
        return f"{taken} Discord is still to be told." if found.is_losing else taken
    if role is None:
        return "No role is chosen for this server."
    if entry.is_dead and found.is_losing:
        return f"{role} goes as soon as Discord lets me."
    is_about_plex_server = server.is_for_plex_members and not entry.is_dead
    return (_access(found, role) if is_about_plex_server else None) or _standing(found, role)


def _standing(found: Found, role: str) -> str:
    """Return how far a role has come."""
    entry, server = found.entry, found.server
    if server.objection is not None and entry.standing is Standing.OWED:
        return f"{role} is not given yet.\n{admin_messages.objection(server.objection, role)}"
    if entry.standing is Standing.OWED:
        return f"{role} is on its way."
    return (
        f"{role} is given ✓" if entry.role_id is not None else f"{role} is not given until there is a link that works."
    )


def _access(found: Found, role: str) -> str | None:
    """Return what becomes of a role that is for members of a Plex server; nothing where the member is one."""
    access = found.access
    if access is None:
        return f"{role} is for members of the Plex server. Plex has not told yet whether this member is one."
    if not access.has_access:
        losing = " It goes as soon as Discord lets me." if found.is_losing else ""
        return f"{role} is not theirs: this member is not a member of the Plex server.{losing}"
    if access.lost_at is None:
        return None
    since = messages.when(access.lost_at)
    next_step = (
        "So it is with many at once, so they keep the role; /plexadmin setup says more."
        if access.is_held
        else "They keep the role for an hour, and then I ask again."
    )
    return f"Plex said {since} that this member is not a member of the Plex server. {next_step}"


def ask(found: Found) -> str:
    """Return the question before a role is taken away."""
    return (
        f"## Take the role away from {mention(found.entry.user_id)}?\n"
        f"They lose <@&{found.server.setup.role_id}> here and are told so. Their link to Plex is theirs and stays. "
        "A new link does not bring the role back: you do, with /plexadmin find. "
        "Only who has everything about them deleted begins anew."
    )


def examined(examined: Examined) -> str:
    """Return what Plex said just now."""
    return f"**{_finding(examined)}**"


def _finding(examined: Examined) -> str:
    if examined.trouble is not None:
        return _UNREADABLE[examined.trouble]
    if examined.found.entry.is_dead:
        return "Plex does not accept it any more."
    return _FINDINGS[examined.finding]


def too_many_checks(retry_at: datetime) -> str:
    """Return the answer where owners asked Plex often."""
    again = f"This server may ask again {messages.when(retry_at)}."
    return f"## Too many checks\nThe owners of this server asked Plex often in a short time. {again}"


def record(record: Record) -> str:
    """Return a page of the audit."""
    if not record.total:
        return f"## What happened here\n{NOTHING}"
    lines = (f"{messages.when(entry.at)} {audit_lines.line(entry)}" for entry in record.entries)
    return "\n".join(["## What happened here", *lines])


def stats(stats: Stats, trouble: str | None) -> str:
    """Return a server in numbers; `trouble` is why its role cannot be given."""
    counts, setup = stats.counts, stats.server.setup
    role = "none" if setup.role_id is None else f"<@&{setup.role_id}>"
    channel = "none" if setup.audit_channel_id is None else f"<#{setup.audit_channel_id}>"
    lines = [
        "## Linking in this server",
        f"Linked: **{counts.linked:,}**, of them this week **{counts.new:,}**",
        f"Waiting for the role: **{counts.waiting:,}**",
        f"Stopped working: **{counts.dead:,}**",
        f"Role taken away by you: **{counts.withdrawn:,}**",
        f"Role for linked members: {role}",
        f"Channel for the audit: {channel}",
    ]
    return "\n".join(lines if trouble is None else [*lines, trouble])
