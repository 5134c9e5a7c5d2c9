"""Keyword rules: every change of every rule."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "rule_change",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rule_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(length=12), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("retired", sa.Text(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("rule_id", "revision"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("rule_change")
