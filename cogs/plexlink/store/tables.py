"""The tables. Columns that end in `_envelope` hold sealed secrets; instants are UTC.

A column here needs a migration: `tests/integration/test_store.py` compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect

metadata = MetaData()


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant, kept as ISO text with microseconds, so that it sorts as text."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002 - the library's signature
        """Refuse naive instants: they would be somebody's local time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant must be aware")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002 - the library's signature
        """Return an aware instant."""
        return None if value is None else datetime.fromisoformat(value)


attempts = Table(
    "plexlink_attempts",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("guild_id", BigInteger),
    Column("device_name", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(16)),
    Column("requested_at", Instant, nullable=False),
    Column("deadline_at", Instant),
    Column("ended_at", Instant),
    Column("client_identifier_envelope", Text),
    Column("pin_id_envelope", Text),
    Column("user_code_envelope", Text),
    Column("token_envelope", Text),
    Column("shown_state", String(16)),
    Column("lane", String(8)),
    Column("channel_id", BigInteger),
    Column("message_id", BigInteger),
    Column("answer_token_envelope", Text),
    Column("answer_message_id", BigInteger),
    Column("answer_at", Instant),
    Column("signature", String(64)),
)
Index("plexlink_attempts_by_user", attempts.c.user_id, attempts.c.requested_at)
Index(
    "plexlink_attempts_one_open",
    attempts.c.user_id,
    unique=True,
    # For PostgreSQL the migration alone says the same: merely naming `postgresql_where` imports that dialect, a tenth
    # of the time that a start takes.
    sqlite_where=attempts.c.ended_at.is_(None),
)

links = Table(
    "plexlink_links",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("user_id", BigInteger, nullable=False, unique=True),
    Column("attempt_id", String(22), nullable=False, unique=True),
    Column("account_lookup", String(64), nullable=False, unique=True),
    Column("account_id_envelope", Text, nullable=False),
    Column("account_name_envelope", Text, nullable=False),
    Column("client_identifier_envelope", Text, nullable=False),
    Column("token_envelope", Text, nullable=False),
    Column("linked_at", Instant, nullable=False),
    Column("verdict", String(16), nullable=False, server_default="alive"),
    Column("finding", String(16)),
    Column("checked_at", Instant),
    Column("rejected_at", Instant),
    Column("next_check_at", Instant),
    Column("told_at", Instant),
    Column("is_held", Boolean, nullable=False, server_default=false()),
    Column("signature", String(64)),
    Column("consent", String(64)),
)
Index("plexlink_links_by_next_check", links.c.next_check_at)

sign_outs = Table(
    "plexlink_sign_outs",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("client_identifier_envelope", Text, nullable=False),
    Column("token_envelope", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
)

notices = Table(
    "plexlink_notices",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("topic", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", String(16)),
    Column("phase", String(16)),
    Column("shown", String(16)),
    Column("is_held", Boolean, nullable=False, server_default=false()),
    Column("lane", String(8)),
    Column("channel_id", BigInteger),
    Column("message_id", BigInteger),
    Column("answer_token_envelope", Text),
    Column("answer_message_id", BigInteger),
    Column("answer_at", Instant),
    Column("signature", String(64)),
    Column("guild_id", BigInteger),
)
Index("plexlink_notices_by_user", notices.c.user_id)

audit = Table(
    "plexlink_audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor_id", BigInteger),
    Column("deed", String(16), nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("detail", String(32)),
    Column("guild_id", BigInteger),
    sqlite_autoincrement=True,
)
Index("plexlink_audit_by_user", audit.c.user_id, audit.c.id)
Index("plexlink_audit_by_guild", audit.c.guild_id, audit.c.id)
Index("plexlink_audit_by_time", audit.c.at)

given_up_codes = Table(
    "plexlink_leftovers",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("client_identifier_envelope", Text, nullable=False),
    Column("pin_id_envelope", Text, nullable=False),
    Column("deadline_at", Instant, nullable=False),
)

servers = Table(
    "plexlink_guilds",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("role_id", BigInteger),
    Column("audit_channel_id", BigInteger),
    Column("panel_channel_id", BigInteger),
    Column("panel_message_id", BigInteger),
    Column("objection", String(16)),
    Column("audited_to", Integer, nullable=False),
    Column("reconciled_at", Instant),
    Column("left_at", Instant),
    Column("chosen_by", BigInteger),
    Column("telling_to", Integer, nullable=False, server_default="0"),
    Column("closed_at", Instant),
    Column("plex_server_id_envelope", Text),
    Column("plex_server_name_envelope", Text),
    Column("losses_believed_at", Instant),
    Column("plex_server_owner", String(64)),
)

memberships = Table(
    "plexlink_members",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("role_id", BigInteger, nullable=False),
    Column("is_wanted", Boolean, nullable=False),
    Column("standing", String(16), nullable=False),
    Column("cause", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("is_seen", Boolean, nullable=False, server_default=false()),
)
Index(
    "plexlink_members_one_role",
    memberships.c.guild_id,
    memberships.c.role_id,
    memberships.c.user_id,
    unique=True,
)
Index("plexlink_members_by_user", memberships.c.user_id)
Index("plexlink_members_due", memberships.c.guild_id, memberships.c.standing, memberships.c.at)

withdrawals = Table(
    "plexlink_withdrawals",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
)
Index("plexlink_withdrawals_by_user", withdrawals.c.user_id)

access = Table(
    "plexlink_access",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("has_access", Boolean, nullable=False),
    Column("checked_at", Instant, nullable=False),
    Column("lost_at", Instant),
    Column("is_held", Boolean, nullable=False, server_default=false()),
)
Index("plexlink_access_by_user", access.c.user_id)

numbers = Table(
    "plexlink_numbers",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Float, nullable=False),
)

# Instants by the clock of the database's server, in which all processes believe; no file has rows in these two.
processes = Table(
    "plexlink_processes",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("host", String(64), nullable=False),
    Column("shards", String(256), nullable=False),
    Column("version", String(32), nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)

tenure = Table(
    "plexlink_tenure",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(22), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("leased_until", DateTime(timezone=True), nullable=False),
)

keys = Table(
    "plexlink_keys",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", Text, nullable=False),
)
