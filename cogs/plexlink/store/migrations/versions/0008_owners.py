"""How far a server's audit was told and whether its channel takes it; who is there, and whom owners refuse the role."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns, and create the table."""
    op.add_column("plexlink_guilds", sa.Column("telling_to", sa.Integer, nullable=False, server_default="0"))
    op.add_column("plexlink_guilds", sa.Column("closed_at", sa.String(32)))
    op.add_column("plexlink_members", sa.Column("is_seen", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "plexlink_withdrawals",
        sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(32), nullable=False),
    )
    op.create_index("plexlink_withdrawals_by_user", "plexlink_withdrawals", ["user_id"])
