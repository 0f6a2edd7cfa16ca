"""The audit of a server in words: a line for what was done, or for how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..audit import SOMEBODY, Deed
from ..community import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..audit import AuditEntry, AuditLine

LINES = {
    Deed.LINKED: "✅ {who} linked",
    Deed.REPLACED: "🔁 {who} linked another account instead",
    Deed.MOVED: "🔀 {who}: the account was moved to another member",
    Deed.UNLINKED: "↩️ {who} unlinked",
    Deed.UNDONE: "↩️ {who} undid the link",
    Deed.DIED: "⚠️ {who}: the link has stopped working",
    Deed.ROLE_CHOSEN: "⚙️ {by} chose the role {role}",
    Deed.CHANNEL_CHOSEN: "⚙️ {by} chose {channel} for the audit",
    Deed.ROLE_GIVEN: "✅ {who}: role given",
    Deed.ROLE_TAKEN: "↩️ {who}: role taken away{why}",
    Deed.ROLE_REFUSED: "⚠️ The role cannot be given; /plexadmin setup says why",
    Deed.ROLE_WITHDRAWN: "⛔ {by} decided that {who} is not to have the role",
    Deed.ROLE_GIVEN_BACK: "⚙️ {by} decided that {who} may have the role again",
    Deed.CHECKED: "🔎 {by} let Plex be asked about the link of {who}",
    Deed.PLEX_SERVER_CHOSEN: "⚙️ {by} chose that the role is for members of a Plex server only",
    Deed.ACCESS_HELD: (
        "⚠️ Many members at once seem not to be members of the Plex server any more. They keep the role for now; "
        "/plexadmin setup says more"
    ),
    Deed.LOSSES_BELIEVED: (
        "⚙️ {by} decided that it is true: those members lose the role who are not members of the Plex server any more"
    ),
    Deed.ROLE_FOUND: "👀 {who} has the role without a link, from other hands; it stays",
    Deed.PANEL_POSTED: "📌 {by} posted the panel in {channel}",
    Deed.PANEL_GONE: "⚠️ The panel in {channel} is gone; /plexadmin panel posts a new one",
}
_NONE_CHOSEN = {
    Deed.ROLE_CHOSEN: "⚙️ {by} chose that no role is given",
    Deed.CHANNEL_CHOSEN: "⚙️ {by} chose that no channel has the audit",
    Deed.PLEX_SERVER_CHOSEN: "⚙️ {by} chose that the role is for everybody who has linked",
}
_WHY = {
    Cause.UNLINKED: " (unlinked)",
    Cause.FORGOTTEN: " (had everything deleted)",
    Cause.MOVED: " (the account was moved)",
    Cause.DEAD: " (the link has stopped working)",
    Cause.SETUP: " (another choice in the setup)",
    Cause.WITHDRAWN: " (as the owners decided)",
    Cause.NO_ACCESS: " (not a member of the Plex server)",
}
_WITH_ROLE = " · role given"

_SUMS = {
    Deed.LINKED: "✅ Linked",
    Deed.REPLACED: "🔁 Linked another account",
    Deed.MOVED: "🔀 Account moved to another member",
    Deed.UNLINKED: "↩️ Unlinked",
    Deed.UNDONE: "↩️ Link undone",
    Deed.DIED: "⚠️ Link has stopped working",
    Deed.ROLE_GIVEN: "✅ Role given",
    Deed.ROLE_TAKEN: "↩️ Role taken away",
    Deed.ROLE_FOUND: "👀 Role without a link, from other hands",
}
"""What happens to members; everything else is the owners' doing."""


def text(lines: Sequence[AuditLine]) -> str:
    """Return lines below each other; mentions notify nobody, if the message says so."""
    written: list[str] = []
    before: AuditEntry | None = None
    for each in lines:
        if each.times == 1 and before is not None and _goes_with(before, each.entry):
            written[-1] += _WITH_ROLE
        else:
            written.append(line(each.entry) if each.times == 1 else _sum(each))
        before = each.entry if each.times == 1 else None
    return "\n".join(written)


def line(entry: AuditEntry) -> str:
    """Return what was done once."""
    words = LINES.get(entry.deed, _plain(entry.deed) + ": {who}")
    if entry.detail is None:
        words = _NONE_CHOSEN.get(entry.deed, words)
    return words.format(
        who=_member(entry.user_id),
        by=_member(entry.actor_id),
        role=f"<@&{entry.detail}>",
        channel=f"<#{entry.detail}>",
        why=_WHY.get(Cause(entry.detail), "") if entry.detail in set(Cause) else "",
    )


def _goes_with(linked: AuditEntry, given: AuditEntry) -> bool:
    is_pair = linked.deed is Deed.LINKED and given.deed is Deed.ROLE_GIVEN
    return is_pair and linked.user_id == given.user_id


def _sum(summed: AuditLine) -> str:
    deed = summed.entry.deed
    return f"{_SUMS[deed]}: {summed.times} members" if deed in _SUMS else f"{_plain(deed)}: {summed.times} times"


def _plain(deed: Deed) -> str:
    return str(deed).replace("_", " ").capitalize()


def _member(user_id: int | None) -> str:
    return "somebody" if user_id in {None, SOMEBODY} else f"<@{user_id}>"
