"""What must be true of a bot that was stopped at any moment and started again.

A `Witness` stands beside a deployment, is told what members and the test do, and compares what members see and
plex.tv knows with what an operator can read who has the database and the key file.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plexlink.secret import Cell
from plexlink.vault import KeyRecords, Vault, read_key_file
from plexlink_bot.sandbox.plex_tv import Operation
from small_discord import InteractionState, InteractionType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from plexlink_bot.sandbox.plex_tv import Account, Pin
    from processes import BotProcess, Deployment
    from small_discord import Interaction, Message, User

Row = dict[str, Any]
Complaint = tuple[int, str]

QUIET_SECONDS = 180.0
MOST_OVERTAKING = 16
"""However slow the machine is, the bot commits things about in the order in which they come. What a process lost at its
end was overtaken by no more than two things of each of the eight members who are about."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)

CUSTOM_ID = re.compile(r"plexlink:(check|new|cancel|undo):(.+)")
CODE = re.compile(r"Your code: \*\*`([A-Z0-9]{4})`")
ENDS = {"linked", "refused", "expired", "cancelled", "failed"}
TABLES = ("attempts", "links", "sign_outs", "leftovers", "notices")

SAYS = {
    "requested": ("You are in line", "Plex does not answer yet"),
    "pending": ("Your code:",),
    "approved": ("## Approved",),
    "linked": ("## Linked as",),
    "undone": ("## Undone",),
    "unlinked": ("## Unlinked",),
    "replaced": ("## Replaced",),
    "refused": ("## This profile cannot be linked", "## Left where it is"),
    "expired": ("## The code ran out",),
    "cancelled": ("## Cancelled",),
    "failed": ("## Plex",),
}
"""How a card begins that tells of a state."""


def says(message: Message) -> str | None:
    """Return the state that a message tells of."""
    return next((state for state, texts in SAYS.items() if any(text in message.text for text in texts)), None)


def attempt_of(message: Message) -> str | None:
    """Return the id of the attempt that a message's buttons belong to."""
    found = (CUSTOM_ID.fullmatch(target) for _, target in message.buttons)
    return next((match[2] for match in found if match), None)


def code_on(message: Message) -> str | None:
    """Return the code that a message shows."""
    found = CODE.search(message.text)
    return found[1] if found else None


@dataclass(frozen=True)
class Books:
    """What the database holds at one moment, its secrets opened."""

    attempts: dict[str, Row]
    links: list[Row]
    sign_outs: list[Row]
    notices: list[Row]
    """Unlinkings whose end their members do not know yet."""
    given_up: set[str]
    """Attempts whose codes were given up and are asked about once more before they run out."""
    has_role: bool
    """Whether a role was chosen for linked members."""

    @classmethod
    def read(cls, place: Deployment) -> Books:
        """Read as any other program would, without changing a byte; what was never committed is not there."""
        if place.database is not None:
            tables = place.database.read("keys", "guilds", *TABLES)
            return cls._opened(place, tables) if tables.get("keys") else NOTHING
        path = place.data_dir / "plexlink.sqlite3"
        if not path.exists():
            return NOTHING
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            known = {row["name"] for row in database.execute("SELECT name FROM sqlite_master")}
            if "plexlink_keys" not in known:
                return NOTHING
            database.execute("BEGIN")
            tables = {
                name: [dict(row) for row in database.execute(f"SELECT * FROM plexlink_{name}")]  # noqa: S608 - fixed names
                for name in ("keys", "guilds", *TABLES)
            }
        return cls._opened(place, tables)

    @classmethod
    def _opened(cls, place: Deployment, rows: dict[str, list[Row]]) -> Books:
        records = {row["name"]: row["value"] for row in rows.pop("keys")}
        has_role = any(row["role_id"] for row in rows.pop("guilds"))
        given_up, notices = {row["id"] for row in rows.pop("leftovers")}, rows.pop("notices")
        for table, found in rows.items():
            _open(place, records, table, found)
        attempts = {row["id"]: row for row in rows["attempts"]}
        return cls(attempts, rows["links"], rows["sign_outs"], notices, given_up, has_role=has_role)

    def tokens(self) -> set[str]:
        """Return all tokens that are kept, wherever."""
        return {row["token"] for row in (*self.attempts.values(), *self.links, *self.sign_outs)} - {None}

    def answers(self) -> frozenset[int]:
        """Return the messages in which an answer is owed."""
        return frozenset(row["answer_message_id"] for row in self.attempts.values()) - {None}

    @cached_property
    def of_member(self) -> dict[int, list[Row]]:
        """Each member's attempts."""
        found = defaultdict(list)
        for row in self.attempts.values():
            found[row["user_id"]].append(row)
        return found

    @cached_property
    def linked(self) -> set[str]:
        """The attempts that led to a link."""
        return {link["attempt_id"] for link in self.links}


NOTHING = Books({}, [], [], [], set(), has_role=False)


def _without_secrets(row: Row) -> Row:
    secret = ("token", "identifier", "envelope")
    return {name: value for name, value in row.items() if value is not None and not name.endswith(secret)}


def told_of(row: Row) -> str:
    """Return what a card has to say of an attempt: see `SAYS`."""
    state: str = row["reason"] if row["reason"] in {"undone", "unlinked", "replaced"} else row["state"]
    return state


def _open(place: Deployment, records: dict[str, str], table: str, rows: list[Row]) -> None:
    """Put each row's credential beside its envelopes."""
    if not rows:
        return
    ring = read_key_file(place.data_dir / "plexlink.key")
    vault = Vault(ring=ring, records=KeyRecords(**records), reload=lambda: ring)
    for row in rows:
        for name in ("token", "client_identifier"):
            column = f"{name}_envelope"
            cell = Cell(f"plexlink_{table}", column, row["id"], row["user_id"])
            row[name] = None if row[column] is None else vault.decrypt(row[column], cell).reveal()


@dataclass(frozen=True)
class Approval:
    """A code that a member approved."""

    pin: Pin
    attempt_id: str
    account: Account


@dataclass(frozen=True)
class Stop:
    """The end of a process, and what was committed by then."""

    at: datetime
    answers: frozenset[int]
    """The messages in which an answer was owed."""
    lost: frozenset[str]
    """Tokens that plex.tv had handed out by then and that were not kept."""
    commands_at: tuple[datetime, ...]
    """When the commands were acknowledged that were committed, or answered."""


@dataclass
class Witness:
    """Remember what happened, and say what is wrong."""

    place: Deployment
    most_overtaking: float = MOST_OVERTAKING
    approvals: dict[str, Approval] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    """Attempts whose member pressed Cancel or New code."""
    fumbling: set[int] = field(default_factory=set)
    """Members who press everything at once: a late Cancel ends whatever code they have by then."""
    expired: set[str] = field(default_factory=set)
    """Codes that plex.tv forgot early."""
    stops: list[Stop] = field(default_factory=list)
    unanswered: dict[int, Interaction] = field(default_factory=dict)
    """Commands that think for ever, each explained by the end of a process soon after it was acknowledged."""

    def approve(self, card: Message, account: Account) -> None:
        """Approve the code on a card."""
        pin = self.place.plex.pin(code_on(card) or "")
        token = self.place.plex.approve(pin.code, account)
        self.approvals[token] = Approval(pin, attempt_of(card) or "", account)

    def stopped(self) -> None:
        """Look at what a process left behind; to be called before the next one is started."""
        books = Books.read(self.place)
        kept = books.tokens()
        lost = {
            token
            for token, approval in self.approvals.items()
            if approval.pin.token_reads and token not in kept and self.place.plex.is_alive(token)
        }
        at = datetime.now(UTC)
        asked_at = self._asked_at()
        read_at = {token: asked_at.get(approval.pin.id, LONG_AGO) for token, approval in self.approvals.items()}
        kept_at = [read_at[token] for token in kept & self.approvals.keys()]
        for token in lost - self.lost():
            later = _count_after(kept_at, read_at[token])
            assert later <= self.most_overtaking, f"a token was lost, and {later} were kept that came later"
        answers = books.answers()
        self.stops.append(Stop(at, answers, frozenset(lost), self._commands_at(answers)))

    def _asked_at(self) -> dict[int, datetime]:
        """Return when plex.tv was last asked about each PIN, by its id."""
        questions = (call for call in self.place.plex.requests if call.operation is Operation.GET_PIN)
        return {int(call.path.rpartition("/")[2]): call.at for call in questions}

    def _commands_at(self, answers: frozenset[int]) -> tuple[datetime, ...]:
        return tuple(
            one.response.created_at
            for one in self.place.discord.interactions
            if one.type is InteractionType.COMMAND and one.response is not None
            if one.state is InteractionState.ANSWERED or one.response.id in answers
        )

    async def kill(self, bot: BotProcess) -> None:
        """Kill a process and look at what it left behind."""
        await bot.kill()
        self.stopped()

    def lost(self) -> frozenset[str]:
        """Return the tokens that went under with a process, whether they were read again or not."""
        return frozenset().union(*(stop.lost for stop in self.stops))

    async def all_is_well(
        self, seconds: float = QUIET_SECONDS, *, besides: Collection[int] = ()
    ) -> dict[int, list[str]]:
        """Wait until nothing is wrong any more; return what no time will mend, by the member's id.

        What is wrong with the members `besides` does not count.
        """
        complaints: dict[int, list[str]] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while complaints := self.complaints(besides=besides):  # noqa: ASYNC110 - files change without an event
                    await asyncio.sleep(0.2)
        return complaints

    def complaints(self, *, besides: Collection[int] = ()) -> dict[int, list[str]]:
        """Say all that is wrong now, by the member's id; some of it may be on its way to be mended."""
        books = Books.read(self.place)
        found = defaultdict(list)
        for user_id, complaint in (
            *self._never(books),
            *self._attempts(books),
            *self._cards(books),
            *self._thinking(),
            *self._approvals(books),
            *self._tokens(books),
            *self._roles(books),
        ):
            if user_id not in besides:
                found[user_id].append(complaint)
        return dict(found)

    def _roles(self, books: Books) -> Iterator[tuple[int, str]]:
        """Say who has the server's role without a link, or has none with one, where its owner has chosen it."""
        guild = self.place.guild
        linked = {row["user_id"] for row in books.links}
        for user in guild.members if books.has_role else ():
            has_role = guild.member_role.id in guild.roles_of[user.id]
            if has_role is not (user.id in linked):
                yield user.id, "has the role without a link" if has_role else "is linked and has no role"

    def story(self, user_id: int) -> str:
        """Tell what is known of a member, for whoever has to find out why something is wrong."""
        books = Books.read(self.place)
        rows = [*books.attempts.values(), *books.links, *books.sign_outs, *books.notices]
        own = [_without_secrets(row) for row in rows if row["user_id"] == user_id]
        asked = [str(one.id) for one in self.place.discord.interactions if one.user.id == user_id]
        names = [str(user_id), *(row["id"] for row in own), *asked]
        steps = sorted([*self._seen_by(user_id), *((stop.at, "the process was killed") for stop in self.stops)])
        return "\n".join(
            [
                f"-- {user_id} --",
                *map(str, own),
                *(f"{at:%H:%M:%S.%f} {what}" for at, what in steps),
                *(line for line in self.place.log.splitlines() if any(name in line for name in names)),
            ]
        )

    def _seen_by(self, user_id: int) -> Iterator[tuple[datetime, str]]:
        for at in self._failures_for(self.place.discord.users[user_id]):
            yield at, "Discord failed to let them be answered"
        for one in self.place.discord.interactions:
            if one.user.id == user_id:
                yield one.created_at, f"{one.type.name} {one.id}, {one.state.name}"
        for message in self.place.discord.messages:
            recipient = self.place.discord.channels[message.channel_id].recipient
            is_theirs = user_id in {message.ephemeral_for, recipient and recipient.id}
            for one in (*message.earlier, message) if is_theirs else ():
                yield one.edited_at or one.created_at, f"message {message.id}: {says(one)}, {attempt_of(one)}"

    def never(self) -> list[str]:
        """Say what must not be so for a moment."""
        return [f"{user_id}: {complaint}" for user_id, complaint in self._never(Books.read(self.place))]

    def _never(self, books: Books) -> Iterator[Complaint]:
        open_attempts = Counter(row["user_id"] for row in books.attempts.values() if row["state"] not in ENDS)
        for user_id, count in open_attempts.items():
            if count > 1:
                yield user_id, f"{count} open attempts"
        for user in self.place.discord.users.values():
            messages = () if user.is_bot else self.place.discord.dm(user)
            # Where a message was lost, the nonce of its successor has three characters more.
            for attempt_id, count in Counter(str(message.nonce)[:22] for message in messages).items():
                if count > 1:
                    yield user.id, f"{count} direct messages for attempt {attempt_id}"

    def _messages(self) -> dict[str, list[tuple[int, Message]]]:
        """Return who sees, or saw, what in direct messages and answers, by the attempt that it shows."""
        found = defaultdict(list)
        for message in self.place.discord.messages:
            recipient = self.place.discord.channels[message.channel_id].recipient
            user_id = message.ephemeral_for or (recipient.id if recipient else 0)
            attempt_id = attempt_of(message)
            if attempt_id is not None:
                found[attempt_id].append((user_id, message))
        return found

    def _attempts(self, books: Books) -> Iterator[Complaint]:
        """What is neither waiting for its member nor over is being worked on."""
        for row in books.attempts.values():
            if row["state"] in {"requested", "approved"}:
                yield row["user_id"], f"attempt {row['id']} is still {row['state']}"
        for row in books.sign_outs:
            yield row["user_id"], f"sign-out {row['id']} is not done"
        for row in books.notices:
            if not row["is_held"]:
                told = f"{row['phase']}, shown as {row['shown']}"
                yield row["user_id"], f"{row['topic']} {row['reason'] or ''} is not told to its end: {told}"

    def _cards(self, books: Books) -> Iterator[Complaint]:
        """Every attempt has one message that shows it, and the message is true."""
        all_messages = self._messages()
        messages = {
            attempt_id: [(user_id, message) for user_id, message in shown if not message.deleted]
            for attempt_id, shown in all_messages.items()
        }
        for attempt_id, shown in messages.items():
            for user_id, message in shown:
                row = books.attempts.get(attempt_id)
                wrong = (
                    [f"attempt {attempt_id} is shown, but unknown"] if row is None else self._lies(books, row, message)
                )
                yield from ((user_id, complaint) for complaint in wrong)
        for row in books.attempts.values():
            ids = [message.id for _, message in messages.get(row["id"], ())]
            has_left = row["lane"] is None and row["state"] in ENDS and row["shown_state"] is not None
            may_be_lost = row["lane"] == "answer" and row["state"] in ENDS and _was_overtaken(books, row, all_messages)
            # A command that comes with the end is told of it too; both answers are true.
            may_be_twice = row["lane"] == "answer" and row["state"] in ENDS
            if len(ids) != 1 and not ((has_left or may_be_lost) and not ids) and not (may_be_twice and ids):
                yield row["user_id"], f"{len(ids)} messages show attempt {row['id']} ({row['state']}, in {row['lane']})"
            elif row["lane"] == "dm" and ids != [row["message_id"]]:
                yield row["user_id"], f"attempt {row['id']} is shown in another message than {row['message_id']}"

    def _lies(self, books: Books, row: Row, message: Message) -> Iterator[str]:
        state = told_of(row)
        if state in {"replaced", "unlinked"} and message.ephemeral_for and says(message) == "linked":
            return  # the interaction's token was erased when its story had ended: nobody can edit the answer any more
        if state == "pending" and message.ephemeral_for and says(message) == "expired" and not code_on(message):
            return  # an answer ends its card before Discord forbids that, and the code lives for a moment more
        if says(message) != state:
            yield f"the card of attempt {row['id']} says {says(message)}, but it is {state}"
        if state != "pending":
            if message.files or code_on(message):
                yield f"code or picture of attempt {row['id']} is still there, but it is {state}"
        elif not self._is_own_code(row, message):
            yield f"the card of attempt {row['id']} shows a code that does not lead to it"
        if state == "linked" and row["id"] not in books.linked:
            yield f"the card of attempt {row['id']} says linked, but there is no link"

    def _is_own_code(self, row: Row, message: Message) -> bool:
        code = code_on(message)
        pin = next((pin for pin in self.place.plex.pins.values() if pin.code == code), None)
        is_own = pin is not None and pin.client_identifier == row["client_identifier"]
        return is_own and pin is not None and not pin.is_expired(datetime.now(UTC))

    def _thinking(self) -> Iterator[Complaint]:
        """Every command has its answer, unless the process ended before it could know what it owed."""
        for one in self.place.discord.interactions:
            if one.type is not InteractionType.COMMAND or one.response is None:
                continue
            if one.state is not InteractionState.DEFERRED:
                self.unanswered.pop(one.id, None)
            elif one.id in self.unanswered or self._fell_between(one, one.response):
                self.unanswered[one.id] = one
            else:
                yield one.user.id, f"the answer to the command of {one.created_at:%H:%M:%S.%f} thinks for ever"

    def _fell_between(self, command: Interaction, answer: Message) -> bool:
        """Tell whether a process ended right after it acknowledged a command and before it committed anything.

        What cannot be committed is answered with an apology, which a process keeps in mind while Discord fails.
        """
        stop = next((stop for stop in self.stops if stop.at >= command.created_at), None)
        if stop is None or answer.id in stop.answers:
            return False
        if "plexunlink" in str(command.event):  # it only asks, and writes nothing that a restart could go by
            return True
        if any(command.created_at < at < stop.at for at in self._failures_for(command.user)):
            return True
        return _count_after(stop.commands_at, answer.created_at) <= self.most_overtaking

    def _failures_for(self, user: User) -> Iterator[datetime]:
        """Return when Discord failed to let a member be answered."""
        for request in self.place.discord.requests:
            is_answer = request.path.startswith(("/webhooks/", "/interactions/")) and request.user is user
            if is_answer and request.status in {0, HTTPStatus.INTERNAL_SERVER_ERROR} and request.at is not None:
                yield request.at

    def _approvals(self, books: Books) -> Iterator[Complaint]:
        """Whoever approved is linked, unless they gave the code up, may not be linked, or plex.tv forgot it."""
        for token, approval in self.approvals.items():
            row = books.attempts[approval.attempt_id]
            is_refused = row["state"] == "refused" and approval.account.restricted
            is_gone = row["state"] == "expired" and self._is_forgotten(token, approval)
            may_be_given_up = row["id"] in self.given_up or row["user_id"] in self.fumbling
            is_given_up = row["state"] == "cancelled" and may_be_given_up
            if not (row["state"] == "linked" or is_refused or is_gone or is_given_up):
                yield row["user_id"], f"attempt {row['id']} was approved, but it is {row['state']}"

    def _is_forgotten(self, token: str, approval: Approval) -> bool:
        """Tell whether plex.tv has good reason not to know a code any more."""
        was_read_once = self.place.plex.token_reads is not None and token in self.lost()
        return was_read_once or approval.pin.code in self.expired

    def _tokens(self, books: Books) -> Iterator[Complaint]:
        """Every token that the bot was given is a link's, or dead."""
        linked = {link["token"] for link in books.links}
        for token, approval in self.approvals.items():
            row = books.attempts[approval.attempt_id]
            is_alive = self.place.plex.is_alive(token)
            if token in linked and not is_alive:
                yield row["user_id"], f"the token of attempt {row['id']} is linked, but signed out"
            if token not in linked and is_alive and not self._may_live(token, approval, row, books):
                yield (
                    row["user_id"],
                    f"the token of attempt {row['id']} ({row['state']}) is neither kept nor signed out",
                )

    def _may_live(self, token: str, approval: Approval, row: Row, books: Books) -> bool:
        """Tell whether there is a reason why a token lives that no link holds."""
        will_be_asked_for = row["id"] in books.given_up
        is_out_of_reach = row["state"] == "expired" and self._is_forgotten(token, approval)
        return will_be_asked_for or is_out_of_reach


def _was_overtaken(books: Books, row: Row, messages: dict[str, list[tuple[int, Message]]]) -> bool:
    """Tell whether an end was shown in an answer until a press there began anew on top of it.

    An answer whose story has ended is not known to the bot any more.
    """
    later = (other["id"] for other in books.of_member[row["user_id"]] if other["requested_at"] > row["requested_at"])
    return any(
        attempt_of(one) == row["id"] and says(one) == told_of(row)
        for attempt_id in later
        for _, message in messages.get(attempt_id, ())
        for one in message.earlier
    )


def _count_after(instants: Iterable[datetime], instant: datetime) -> int:
    return sum(one > instant for one in instants)
