"""Rising issues: what the stream says of them, and what people did."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "issue",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("standing", sa.JSON(), nullable=False),
        sa.Column("sighting", sa.JSON(), nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("issue_state", "issue", ["state"])
    op.create_index("issue_sequence", "issue", ["sequence"])
    op.create_table(
        "issue_cluster",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("cluster", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "cluster"),
    )
    op.create_index("issue_cluster_issue", "issue_cluster", ["issue_id"])
    op.create_table(
        "issue_act",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=120), nullable=False),
        sa.Column("what", sa.String(length=60), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("issue_act_issue", "issue_act", ["issue_id", "id"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("issue_act", "issue_cluster", "issue"):
        op.drop_table(table)
