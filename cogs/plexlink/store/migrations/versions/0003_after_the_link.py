"""What a link needs in later life: its health, the reports of unlinkings, news for members, the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns and create the tables."""
    for column in (
        sa.Column("verdict", sa.String(16), nullable=False, server_default="alive"),
        sa.Column("finding", sa.String(16)),
        sa.Column("checked_at", sa.String(32)),
        sa.Column("rejected_at", sa.String(32)),
        sa.Column("next_check_at", sa.String(32)),
        sa.Column("told_at", sa.String(32)),
        sa.Column("is_held", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("plexlink_links", column)
    op.create_index("plexlink_links_by_next_check", "plexlink_links", ["next_check_at"])
    op.create_table(
        "plexlink_reports",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("requested_at", sa.String(32), nullable=False),
        sa.Column("shown", sa.String(16)),
        sa.Column("lane", sa.String(8)),
        sa.Column("channel_id", sa.BigInteger),
        sa.Column("message_id", sa.BigInteger),
        sa.Column("answer_token_envelope", sa.Text),
        sa.Column("answer_message_id", sa.BigInteger),
        sa.Column("answer_at", sa.String(32)),
    )
    op.create_table(
        "plexlink_news",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("topic", sa.String(16), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("is_held", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_index("plexlink_news_by_user", "plexlink_news", ["user_id"])
    op.create_table(
        "plexlink_audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor_id", sa.BigInteger),
        sa.Column("deed", sa.String(16), nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.String(32)),
        sqlite_autoincrement=True,
    )
    op.create_index("plexlink_audit_by_user", "plexlink_audit", ["user_id", "id"])
    op.create_index("plexlink_audit_by_time", "plexlink_audit", ["at"])
