"""For members of which Plex server a server's role is, and who is one."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns, and create the table."""
    op.add_column("plexlink_guilds", sa.Column("plex_server_id_envelope", sa.Text))
    op.add_column("plexlink_guilds", sa.Column("plex_server_name_envelope", sa.Text))
    op.add_column("plexlink_guilds", sa.Column("losses_believed_at", sa.String(32)))
    op.create_table(
        "plexlink_access",
        sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("has_access", sa.Boolean, nullable=False),
        sa.Column("checked_at", sa.String(32), nullable=False),
        sa.Column("lost_at", sa.String(32)),
        sa.Column("is_held", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_index("plexlink_access_by_user", "plexlink_access", ["user_id"])
