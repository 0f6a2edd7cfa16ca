"""What the bell tells between processes, as words: ids only, for whoever listens at the database reads along.

A row is named and looked up where it is heard. What is in no row, and somebody waits for, is sealed: whose Plex servers
are whose, and through which press a message can be drawn.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from .audit import SOMEBODY
from .community import ServerTouched
from .errors import VaultError
from .events import (
    AccessWanted,
    CardPressed,
    Checked,
    CheckWanted,
    Linked,
    PlexServersTold,
    PlexServersWanted,
    Pressed,
    TokenDead,
    Unlinked,
    Unsure,
)
from .models import Answer, Attempt, Finding, GivenUp, Notice, PlexServer, SignOut
from .secret import Cell, Secret

if TYPE_CHECKING:
    from .bell import Happened
    from .events import LinkEvent
    from .store import Sealer, Transaction

_FOR_ALL = (Checked, PlexServersTold, Linked, Unlinked, TokenDead)
"""What whoever asked waits for, in whichever process, and what other code hears of in each."""

_WORDS_FOR_ALL = {"checked", "plex_servers_told", "linked", "unlinked", "token_dead"}

_LONGEST = 7000
"""PostgreSQL carries less than 8,000 bytes, https://www.postgresql.org/docs/current/sql-notify.html."""

_SILENT = "-"

_SOMEBODY_ELSE = Secret("somebody else's")
"""Whoever waits chooses among their own; whose the others are stays behind."""


def is_for_all(happened: Happened) -> bool:
    """Tell whether all processes are to hear something, and not only the one that works."""
    return isinstance(happened, _FOR_ALL)


def are_for_all(words: str) -> bool:
    """Tell the same of words."""
    return words.partition(" ")[0] in _WORDS_FOR_ALL


def written(happened: Happened, vault: Sealer) -> str:  # noqa: C901, PLR0911, PLR0912 - one a kind
    """Return something that happened as words."""
    match happened:
        case Attempt():
            return f"attempt {happened.id}"
        case Pressed(attempt):
            return f"pressed {attempt.id}"
        case CardPressed(answer):
            return f"card_pressed {answer.message_id} {answer.at.isoformat()} {_sealed_token(answer, vault)}"
        case Notice():
            return f"notice {happened.id}"
        case GivenUp():
            return f"given_up {happened.id}"
        case SignOut():
            return f"sign_out {happened.id}"
        case CheckWanted(link_id):
            return f"check {link_id}"
        case Checked(link_id, finding):
            return f"checked {link_id} {finding}"
        case AccessWanted(link_id, is_waited_for):
            return f"access {link_id} {int(is_waited_for)}"
        case PlexServersWanted(link_id):
            return f"plex_servers {link_id}"
        case PlexServersTold(link_id, servers):
            return f"plex_servers_told {link_id} {_sealed(link_id, servers, vault)}"
        case ServerTouched(guild_id):
            return f"server {guild_id}"
        case Linked():
            return f"linked {happened.user_id} {happened.link_id} {happened.at.isoformat()}"
        case Unlinked():
            return f"unlinked {happened.user_id} {happened.link_id} {happened.at.isoformat()} {happened.reason}"
        case TokenDead():
            return f"token_dead {happened.user_id} {happened.link_id} {happened.at.isoformat()}"
        case Unsure():
            return "unsure"


async def read(words: str, tx: Transaction, vault: Sealer) -> Happened | None:  # noqa: C901, PLR0911, PLR0912 - one a kind
    """Return what words tell, with its row as it is now; nothing where that is gone, or a newer release wrote them.

    Raises:
        StoreError: the database cannot be used.

    """
    match words.split(" "):
        case ["attempt", attempt_id]:
            return await tx.attempts.get(attempt_id)
        case ["pressed", attempt_id]:
            attempt = await tx.attempts.get(attempt_id)
            return None if attempt is None else Pressed(attempt)
        case ["card_pressed", message_id, at, sealed]:
            return _card_pressed(int(message_id), datetime.fromisoformat(at), sealed, vault)
        case ["notice", notice_id]:
            return await tx.notices.get(notice_id)
        case ["given_up", row_id]:
            return await tx.given_up.get(row_id)
        case ["sign_out", row_id]:
            return await tx.sign_outs.get(row_id)
        case ["check", link_id]:
            return CheckWanted(link_id)
        case ["checked", link_id, finding] if finding in set(Finding):
            return Checked(link_id, Finding(finding))
        case ["access", link_id, is_waited_for]:
            return AccessWanted(link_id, is_waited_for=is_waited_for == "1")
        case ["plex_servers", link_id]:
            return PlexServersWanted(link_id)
        case ["plex_servers_told", link_id, sealed]:
            return PlexServersTold(link_id, _opened(link_id, sealed, vault))
        case ["server", guild_id]:
            return ServerTouched(int(guild_id))
        case ["linked" | "unlinked" | "token_dead" as what, user_id, link_id, at, *rest]:
            return await _of_link(what, int(user_id), link_id, datetime.fromisoformat(at), *rest, tx=tx)
        case ["unsure"]:
            return Unsure()
        case _:
            return None


async def _of_link(
    what: str, user_id: int, link_id: str, at: datetime, reason: str = "", *, tx: Transaction
) -> LinkEvent | None:
    """Return what became of a link, if its row says the same: whoever may connect to the database may tell anything."""
    link = await tx.links.get(link_id)
    is_theirs = link is not None and link.user_id == user_id and link.trouble is None
    if what == "unlinked":
        return Unlinked(user_id=user_id, link_id=link_id, at=at, reason=reason) if link is None else None
    if link is None or not is_theirs:
        return None
    if what == "linked":
        return Linked(user_id=user_id, link_id=link_id, at=at)
    return TokenDead(user_id=user_id, link_id=link_id, at=at) if link.is_dead else None


def _cell_of_press(message_id: int) -> Cell:
    return Cell("bell", "press", str(message_id), SOMEBODY)


def _sealed_token(answer: Answer, vault: Sealer) -> str:
    return vault.encrypt(answer.token, _cell_of_press(answer.message_id))


def _card_pressed(message_id: int, at: datetime, sealed: str, vault: Sealer) -> CardPressed | None:
    try:
        token = vault.decrypt(sealed, _cell_of_press(message_id))
    except VaultError:
        return None
    return CardPressed(Answer(message_id=message_id, token=token, at=at))


def _cell(link_id: str) -> Cell:
    return Cell("bell", "plex_servers", link_id, SOMEBODY)


def _sealed(link_id: str, servers: tuple[PlexServer, ...] | None, vault: Sealer) -> str:
    """Seal what plex.tv said; of more than can be carried, it is as if plex.tv had been silent."""
    if servers is None:
        return _SILENT
    plain = json.dumps([[each.id.reveal(), each.name.reveal(), each.is_owned] for each in servers])
    sealed = vault.encrypt(Secret(plain), _cell(link_id))
    return sealed if len(sealed) <= _LONGEST else _SILENT


def _opened(link_id: str, sealed: str, vault: Sealer) -> tuple[PlexServer, ...] | None:
    if sealed == _SILENT:
        return None
    try:
        plain = json.loads(vault.decrypt(sealed, _cell(link_id)).reveal())
    except VaultError:
        return None
    return tuple(
        PlexServer(id=Secret(key), name=Secret(name), owner_id=None if is_owned else _SOMEBODY_ELSE)
        for key, name, is_owned in plain
    )
