"""How far a server's audit was told, and whether its channel takes it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("plexlink_guilds", sa.Column("telling_to", sa.Integer, nullable=False, server_default="0"))
    op.add_column("plexlink_guilds", sa.Column("closed_at", sa.String(32)))
