"""The codes that their members gave up, until they run out."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "plexlink_leftovers",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("client_identifier_envelope", sa.Text, nullable=False),
        sa.Column("pin_id_envelope", sa.Text, nullable=False),
        sa.Column("deadline_at", sa.String(32), nullable=False),
    )
