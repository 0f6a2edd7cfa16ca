"""The first tables: attempts, links, sign-outs, keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "plexlink_attempts",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("guild_id", sa.BigInteger),
        sa.Column("device_name", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(16)),
        sa.Column("requested_at", sa.String(32), nullable=False),
        sa.Column("deadline_at", sa.String(32)),
        sa.Column("ended_at", sa.String(32)),
        sa.Column("client_identifier_envelope", sa.Text),
        sa.Column("pin_id_envelope", sa.Text),
        sa.Column("user_code_envelope", sa.Text),
        sa.Column("token_envelope", sa.Text),
        sa.Column("shown_state", sa.String(16)),
        sa.Column("lane", sa.String(8)),
        sa.Column("channel_id", sa.BigInteger),
        sa.Column("message_id", sa.BigInteger),
        sa.Column("answer_token_envelope", sa.Text),
        sa.Column("answer_message_id", sa.BigInteger),
        sa.Column("answer_at", sa.String(32)),
    )
    op.create_index("plexlink_attempts_by_user", "plexlink_attempts", ["user_id", "requested_at"])
    op.create_index(
        "plexlink_attempts_one_open",
        "plexlink_attempts",
        ["user_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "plexlink_links",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False, unique=True),
        sa.Column("attempt_id", sa.String(22), nullable=False, unique=True),
        sa.Column("account_lookup", sa.String(64), nullable=False, unique=True),
        sa.Column("account_id_envelope", sa.Text, nullable=False),
        sa.Column("account_name_envelope", sa.Text, nullable=False),
        sa.Column("client_identifier_envelope", sa.Text, nullable=False),
        sa.Column("token_envelope", sa.Text, nullable=False),
        sa.Column("linked_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "plexlink_sign_outs",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("client_identifier_envelope", sa.Text, nullable=False),
        sa.Column("token_envelope", sa.Text, nullable=False),
        sa.Column("requested_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "plexlink_keys",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
