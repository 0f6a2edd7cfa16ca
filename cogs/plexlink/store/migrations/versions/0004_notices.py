"""Everything that members are told besides the cards of their attempts waits in one table."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table, move what waits into it, and drop those it replaces.

    The interactions of reports stay behind: they are sealed for their old table, and close within 15 minutes. Whoever
    cannot be told on such a card is told by direct message.
    """
    op.create_table(
        "plexlink_notices",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("topic", sa.String(16), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(16)),
        sa.Column("phase", sa.String(16)),
        sa.Column("shown", sa.String(16)),
        sa.Column("is_held", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("lane", sa.String(8)),
        sa.Column("channel_id", sa.BigInteger),
        sa.Column("message_id", sa.BigInteger),
        sa.Column("answer_token_envelope", sa.Text),
        sa.Column("answer_message_id", sa.BigInteger),
        sa.Column("answer_at", sa.String(32)),
    )
    op.create_index("plexlink_notices_by_user", "plexlink_notices", ["user_id"])
    op.execute(
        "INSERT INTO plexlink_notices (id, user_id, topic, at, is_held) "
        "SELECT id, user_id, topic, at, is_held FROM plexlink_news"
    )
    op.execute(
        "INSERT INTO plexlink_notices"
        " (id, user_id, topic, at, reason, phase, shown, is_held, lane, channel_id, message_id)"
        " SELECT id, user_id, 'unlinking', requested_at, reason, phase, shown, false, COALESCE(lane, 'answer'),"
        " channel_id, message_id FROM plexlink_reports"
    )
    op.drop_table("plexlink_news")
    op.drop_table("plexlink_reports")
