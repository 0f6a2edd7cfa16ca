"""Rows that decide where secrets go are signed, with a key that lies sealed in the database."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; the rows are signed as soon as the key is there, by `Database.sign_all`."""
    for table in ("plexlink_attempts", "plexlink_links", "plexlink_notices"):
        op.add_column(table, sa.Column("signature", sa.String(64)))
