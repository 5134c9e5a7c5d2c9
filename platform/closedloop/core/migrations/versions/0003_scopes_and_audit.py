"""What API keys may do, their rotation and last use; the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NEW_COLUMNS = ("actions", "models", "former_hash", "former_until", "last_used_at")


def upgrade() -> None:
    """Add the columns and tables; keys that are there go on doing what they could: everything."""
    for name in ("actions", "models"):
        op.add_column("api_key", sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("api_key", sa.Column("former_hash", sa.String(length=64), nullable=True))
    op.add_column("api_key", sa.Column("former_until", sa.Float(), nullable=True))
    op.add_column("api_key", sa.Column("last_used_at", sa.Float(), nullable=True))
    op.execute("""UPDATE api_key SET actions = '["*"]', models = '["*"]'""")
    op.create_table(
        "audit",
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_index("audit_at", "audit", ["at"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    """Drop them; keys then do everything again, and the audit trail is lost."""
    op.drop_table("audit_head")
    op.drop_index("audit_at", table_name="audit")
    op.drop_table("audit")
    for name in _NEW_COLUMNS:
        op.drop_column("api_key", name)
