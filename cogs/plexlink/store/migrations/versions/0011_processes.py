"""Which processes there are on one database, and which of them works."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "plexlink_processes",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("host", sa.String(64), nullable=False),
        sa.Column("shards", sa.String(256), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "plexlink_tenure",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String(22), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
    )
