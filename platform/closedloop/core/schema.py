"""Tables of the metadata store; alembic revisions in ``migrations/`` follow them.

Times are UTC in Unix seconds (float), so that SQLite and PostgreSQL compare them alike.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
VERSION_TABLE = "closedloop_schema_version"  # MLflow owns the name alembic_version

user = sa.Table(
    "app_user",
    metadata,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False, default=False),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),  # public half of the key
    sa.Column("client", sa.String(120), nullable=False),
    sa.Column("tenant", sa.String(120), nullable=False),  # '*' reaches every tenant
    sa.Column("secret_hash", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    # Lists, '*' for all; who forgets to fill them makes a key that may do nothing.
    sa.Column("actions", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("models", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("former_hash", sa.String(64)),  # of the secret before the last rotation
    sa.Column("former_until", sa.Float),
    sa.Column("last_used_at", sa.Float),
)

# Only grows; core/audit.py says how its hashes hang together.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("target", sa.String(200), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("audit_at", "at"),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # 1: there is one
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

task = sa.Table(
    "task",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("queue", sa.String(200), nullable=False),  # the model reference it feeds
    sa.Column("sample_id", sa.String(64), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("reason", sa.String(300), nullable=False, default=""),
    sa.Column("suggestion", sa.String(200)),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("priority", sa.Float, nullable=False, default=0.0),
    sa.Column("votes_needed", sa.Integer, nullable=False, default=1),
    sa.Column("votes", sa.Integer, nullable=False, default=0),
    sa.Column("skips", sa.Integer, nullable=False, default=0),
    sa.Column("state", sa.String(12), nullable=False, default="open"),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.UniqueConstraint("queue", "sample_id"),
    sa.Index("task_next", "queue", "state", "priority"),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("token", sa.String(32), primary_key=True),
    sa.Column("task_id", sa.ForeignKey("task.id", ondelete="CASCADE"), nullable=False),
    sa.Column("annotator", sa.String(120), nullable=False),
    sa.Column("leased_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.UniqueConstraint("task_id", "annotator"),
    sa.Index("lease_annotator", "annotator", "expires_at"),
)

vote = sa.Table(
    "vote",
    metadata,
    sa.Column("token", sa.String(32), primary_key=True),  # the lease it answers: idempotency key
    sa.Column("task_id", sa.ForeignKey("task.id", ondelete="CASCADE"), nullable=False),
    sa.Column("annotator", sa.String(120), nullable=False),
    sa.Column("label", sa.String(200)),  # NULL: skipped
    sa.Column("simulated", sa.Boolean, nullable=False, default=False),
    sa.Column("submitted_at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.UniqueConstraint("task_id", "annotator"),
    sa.Index("vote_annotator", "annotator", "submitted_at"),
)

run = sa.Table(
    "workflow_run",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("workflow", sa.String(40), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("summary", sa.JSON, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)

stage = sa.Table(
    "workflow_stage",
    metadata,
    sa.Column("run_id", sa.ForeignKey("workflow_run.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(60), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False, default=0),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)

saved_slice = sa.Table(
    "slice",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(120), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.Column("filter", sa.JSON, nullable=False),  # data/cube/filters.py, to_json
    sa.Column("saved_by", sa.String(120), nullable=False, default=""),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)

rule_change = sa.Table(
    "rule_change",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rule_id", sa.String(36), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("what", sa.String(12), nullable=False),
    sa.Column("content", sa.JSON, nullable=False),  # defence/rules/rule_book.py
    sa.Column("retired", sa.Text),  # why; NULL where it applies
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.String(120), nullable=False),
    sa.UniqueConstraint("rule_id", "revision"),
)

issue = sa.Table(
    "issue",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant", sa.String(120), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("standing", sa.JSON, nullable=False),  # defence/issues/issue.py
    sa.Column("sighting", sa.JSON, nullable=False),  # defence/issues/sighting.py, without samples
    sa.Column("samples", sa.JSON, nullable=False),
    sa.Column("parts", sa.JSON, nullable=False),  # micro-clusters that a person set apart
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),  # of the last change of anything
    sa.Index("issue_state", "state"),
    sa.Index("issue_sequence", "sequence"),
)

issue_cluster = sa.Table(
    "issue_cluster",
    metadata,
    sa.Column("tenant", sa.String(120), primary_key=True),
    sa.Column("cluster", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("issue_id", sa.ForeignKey("issue.id", ondelete="CASCADE"), nullable=False),
    sa.Index("issue_cluster_issue", "issue_id"),
)

issue_act = sa.Table(
    "issue_act",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("issue_id", sa.ForeignKey("issue.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.String(120), nullable=False),  # empty: the stream
    sa.Column("what", sa.String(60), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("before", sa.JSON),  # what taking it back restores; NULL: it changed nothing
    sa.Column("undone", sa.Boolean, nullable=False, default=False),
    sa.Index("issue_act_issue", "issue_id", "id"),
)

# An outbox: what is to be told, to whom, and how far that is (defence/alerts/alert_book.py).
alert = sa.Table(
    "alert",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # the same in each attempt
    sa.Column("issue_id", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("occasion", sa.String(24), nullable=False),
    sa.Column("sink", sa.String(60), nullable=False),
    sa.Column("tenant", sa.String(120), nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),  # of the next attempt
    sa.Column("lease", sa.String(32)),  # whose attempt is under way
    sa.Column("leased_until", sa.Float),
    sa.Column("problem", sa.Text),  # of the last attempt
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.UniqueConstraint("issue_id", "kind", "occasion", "sink"),
    sa.Index("alert_due", "state", "due_at"),
)

clusterer = sa.Table(
    "clusterer",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # 1: there is one
    sa.Column("epoch", sa.Integer, nullable=False),  # grows whenever its shards are dealt anew
    sa.Column("shards", sa.Integer, nullable=False),
    sa.Column("first_id", sa.BigInteger, nullable=False),  # of clusters, since the last rebuild
    sa.Column("changed_at", sa.Float, nullable=False),
)

clusterer_shard = sa.Table(
    "clusterer_shard",
    metadata,
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("holder", sa.String(32), nullable=False),  # the process that has its place
    sa.Column("figures", sa.JSON, nullable=False),  # defence/shard_figures.py
    sa.Column("reported_at", sa.Float, nullable=False),
)
