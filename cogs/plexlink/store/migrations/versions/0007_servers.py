"""What the owners of servers choose, which role linked members have there, and who changed what in which server."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables, and let lines of the audit belong to a server."""
    op.create_table(
        "plexlink_guilds",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("role_id", sa.BigInteger),
        sa.Column("audit_channel_id", sa.BigInteger),
        sa.Column("panel_channel_id", sa.BigInteger),
        sa.Column("panel_message_id", sa.BigInteger),
        sa.Column("objection", sa.String(16)),
        sa.Column("audited_to", sa.Integer, nullable=False),
        sa.Column("reconciled_at", sa.String(32)),
        sa.Column("left_at", sa.String(32)),
        sa.Column("chosen_by", sa.BigInteger),
    )
    op.create_table(
        "plexlink_members",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("role_id", sa.BigInteger, nullable=False),
        sa.Column("is_wanted", sa.Boolean, nullable=False),
        sa.Column("standing", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
    )
    op.create_index("plexlink_members_one_role", "plexlink_members", ["guild_id", "role_id", "user_id"], unique=True)
    op.create_index("plexlink_members_by_user", "plexlink_members", ["user_id"])
    op.create_index("plexlink_members_due", "plexlink_members", ["guild_id", "standing", "at"])
    op.add_column("plexlink_links", sa.Column("is_name_shown", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("plexlink_notices", sa.Column("guild_id", sa.BigInteger))
    op.add_column("plexlink_audit", sa.Column("guild_id", sa.BigInteger))
    op.create_index("plexlink_audit_by_guild", "plexlink_audit", ["guild_id", "id"])
