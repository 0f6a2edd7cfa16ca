"""Which linked member is to have which role in which server: written in the transaction that changes the link.

Nobody knows in which servers a member is until Discord is asked, so a link is owed its role in each of them; the work
makes it true, and learns where the member is. Each function returns the ids of the servers that are owed something.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .audit import SOMEBODY, AuditEntry, Deed
from .community import Cause, Standing

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from .community import Access, Server
    from .store import Transaction

_MOST_AT_ONCE = 1000
"""So many ids fit into one statement of any database."""

_DEEDS = {Cause.UNLINKED: Deed.UNLINKED, Cause.FORGOTTEN: Deed.UNLINKED, Cause.MOVED: Deed.MOVED}
"""What is told of the link itself; that one has died was told when its member was."""


async def entitle(
    tx: Transaction, user_id: int, now: datetime, *, cause: Cause = Cause.LINKED, seen_in: int | None = None
) -> list[int]:
    """Let a member who has linked have the role of every server; in one they were seen just now."""
    withdrawn = await tx.withdrawals.of(user_id)
    roles = {server.id: await _role_for(tx, server, user_id, withdrawn) for server in await tx.servers.present()}
    owed = await tx.memberships.want_in(user_id, roles, cause, now)
    if seen_in is not None:
        await tx.memberships.see(seen_in, user_id)
    return owed


async def _role_for(tx: Transaction, server: Server, user_id: int, withdrawn: Collection[int]) -> int | None:
    """Return the role that a linked member is to have in a server, if any.

    Where it is for members of a Plex server and nobody knows yet whether they are one, they keep what they have.
    """
    if server.id in withdrawn:
        return None
    if not server.is_for_plex_members:
        return server.setup.role_id
    access = await tx.access.get(server.id, user_id)
    has_role = any(each.is_wanted and each.role_id for each in await tx.memberships.of_in(user_id, server.id))
    return server.setup.role_id if is_admitted(access, has_role=has_role) else None


def is_admitted(access: Access | None, *, has_role: bool) -> bool:
    """Tell whether a role that is for members of a Plex server is for a member; who was not asked about keeps it."""
    return has_role if access is None else access.has_access


async def disentitle(tx: Transaction, user_id: int, cause: Cause, now: datetime) -> list[int]:
    """Let a member lose every role that came with the link."""
    there = sorted({each.guild_id for each in await tx.memberships.of(user_id) if each.is_wanted and each.is_there})
    await tx.memberships.unwant(user_id, cause, now)
    if cause is Cause.DEAD:
        for guild_id in there:
            await tx.memberships.want(guild_id, [user_id], None, cause, now)
    if cause in _DEEDS:
        about = SOMEBODY if cause is Cause.FORGOTTEN else user_id
        await note(tx, there, _DEEDS[cause], about, now)
    return there


async def entitle_all(tx: Transaction, server: Server, user_ids: Collection[int], now: datetime) -> None:
    """Let linked members have a server's role, and lose what was its role before.

    Its owners may have refused some, or all who are not members of a Plex server.
    """
    holders = await tx.memberships.holders(server.id)
    await tx.memberships.unwant_others(server.id, server.setup.role_id, now)
    withdrawn = await tx.withdrawals.in_server(server.id)
    admitted = set(user_ids) - withdrawn
    if server.is_for_plex_members:
        known = await tx.access.in_server(server.id)
        admitted = {each for each in admitted if is_admitted(known.get(each), has_role=each in holders)}
    refused = [user_id for user_id in user_ids if user_id not in admitted]
    for user_id in holders.intersection(refused) - withdrawn:
        await tx.memberships.unwant_in(server.id, user_id, Cause.NO_ACCESS, now)
    entitled = [user_id for user_id in user_ids if user_id in admitted]
    for role_id, left in ((server.setup.role_id, entitled), (None, refused)):
        for start in range(0, len(left), _MOST_AT_ONCE):
            some = left[start : start + _MOST_AT_ONCE]
            await tx.memberships.want(server.id, some, role_id, Cause.SETUP, now)


async def admit(tx: Transaction, server: Server, user_id: int, now: datetime, *, has_access: bool) -> None:
    """Let a member have a server's role, or lose it, by what is known of a Plex server; owners may have refused it."""
    if server.id in await tx.withdrawals.of(user_id):
        return
    if has_access:
        await tx.memberships.want(server.id, [user_id], server.setup.role_id, Cause.ACCESS, now)
    else:
        await tx.memberships.unwant_in(server.id, user_id, Cause.NO_ACCESS, now)
        await tx.memberships.want(server.id, [user_id], None, Cause.NO_ACCESS, now)


async def withdraw(tx: Transaction, server: Server, user_id: int, now: datetime) -> bool:
    """Take a server's role from a member until `give_back`; tell whether that is new. The link stays."""
    if not await tx.withdrawals.add(server.id, user_id, now):
        return False
    await tx.memberships.unwant_in(server.id, user_id, Cause.WITHDRAWN, now)
    await tx.memberships.want(server.id, [user_id], None, Cause.WITHDRAWN, now)
    return True


async def give_back(tx: Transaction, server: Server, user_id: int, now: datetime, *, is_dead: bool) -> bool:
    """Let a member have a server's role again, where the link is not dead; tell whether it had been taken."""
    if not await tx.withdrawals.lift(server.id, user_id):
        return False
    if not is_dead:
        role_id = await _role_for(tx, server, user_id, ())
        await tx.memberships.want(server.id, [user_id], role_id, Cause.GIVEN_BACK, now)
    return True


async def meet(tx: Transaction, server: Server, user_id: int, role_ids: Collection[int], now: datetime) -> bool:
    """Compare a member who was seen in a server with what is to be; tell whether the server is owed something.

    Whoever was not there before, or has lost the role, gets it. Who has it without a link keeps it: that is noted once.
    """
    role_id = server.setup.role_id
    link = await tx.links.of(user_id)
    known = [each for each in await tx.memberships.of_in(user_id, server.id) if each.role_id == role_id]
    if link is not None:
        has_lost = link.is_dead and not (known and known[0].is_wanted)  # a new link brings it back, or a check
        owed = None if has_lost else await _role_for(tx, server, user_id, await tx.withdrawals.of(user_id))
        setup = replace(server.setup, role_id=owed)
        return await _meet_linked(tx, replace(server, setup=setup), user_id, role_ids, now)
    if known and known[0].standing is Standing.FOUND and role_id not in role_ids:
        await tx.memberships.remove(known[0])
    if role_id is None or role_id not in role_ids or known:
        return False
    await tx.memberships.find(server.id, user_id, role_id, now)
    await note(tx, [server.id], Deed.ROLE_FOUND, user_id, now)
    return True


async def strangers(tx: Transaction, guild_id: int, role_id: int, holders: Collection[int]) -> set[int]:
    """Return who of those with a role is not known to have it; what was found is forgotten of whoever has lost it."""
    known = await tx.memberships.with_role(guild_id, role_id)
    for each in known:
        if each.standing is Standing.FOUND and each.user_id not in holders:
            await tx.memberships.remove(each)
    return set(holders).difference(each.user_id for each in known)


async def _meet_linked(tx: Transaction, server: Server, user_id: int, role_ids: Collection[int], now: datetime) -> bool:
    role_id, is_owed = server.setup.role_id, False
    known = [each for each in await tx.memberships.of_in(user_id, server.id) if each.role_id == role_id]
    if not known or not known[0].is_wanted:
        is_owed = bool(await tx.memberships.want(server.id, [user_id], role_id, Cause.SEEN, now))
    elif known[0].standing is Standing.SETTLED and role_id is not None and role_id not in role_ids:
        is_owed = await tx.memberships.settle(known[0], Standing.DOUBTED, now)
    await tx.memberships.see(server.id, user_id)
    return is_owed


async def note(
    tx: Transaction,
    guild_ids: Collection[int],
    deed: Deed,
    user_id: int,
    now: datetime,
    *,
    actor_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Write a line into the audit of servers."""
    if guild_ids:
        await tx.audit.add(
            *(
                AuditEntry(at=now, actor_id=actor_id, deed=deed, user_id=user_id, detail=detail, guild_id=guild_id)
                for guild_id in guild_ids
            )
        )
