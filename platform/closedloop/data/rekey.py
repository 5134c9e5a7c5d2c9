"""Re-keying: what is stored under older key generations is carried over to the newest.

Row by row p becomes H(new key, p), so that equal users stay equal and distinct counts go on.
A pseudonym says its generation, which makes the work idempotent: after a crash, or when rows came
late, the same call does what is left and no more. One commit a table and day; readers see a
day before or after, never half.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.errors import EngineError
from closedloop.core.pseudonyms import KeyChain, generation_of
from closedloop.data.dead_letters import USER_FIELD, DeadLetter
from closedloop.data.lake import TABLES, Lake, named_failures

USER_TABLES = tuple(
    name for name, schema in TABLES.items() if {"tenant", "user_id"} <= set(schema.names)
)
_LETTERS = "dead_letters"
_ATTEMPTS = 5
_MERGED_ROWS = "num_target_rows_updated"
_RENEWED = pa.schema(
    [pa.field("tenant", pa.string()), pa.field("was", pa.string()), pa.field("is", pa.string())]
)

DayProgress = Callable[[int, int], None]  # called with (days done, days in all)


def rekey(
    lake: Lake, chain: KeyChain, *, progress: DayProgress = lambda _done, _days: None
) -> dict[str, int]:
    """Carry every stored pseudonym over to its tenant's newest key.

    Older versions of the tables, and the event log, hold the older pseudonyms until
    ``closedloop lake retain`` and ``closedloop events retain`` remove them.

    Parameters
    ----------
    lake : Lake
        Where.
    chain : KeyChain
        The keys.
    progress : callable
        Told about days of tables.

    Returns
    -------
    dict of str to int
        Rows changed, by table; tables without a change are left out.

    Raises
    ------
    EngineError
        The lake failed; call again to go on where it did.

    Examples
    --------
    >>> rekey(lake, load_pseudonyms(root).chain)  # doctest: +SKIP
    {'turns': 120000, 'predictions': 118000}
    """
    days = [(table, day) for table in USER_TABLES for day in _days(lake, table)]
    changed: dict[str, int] = {}
    for done, (table, day) in enumerate(days):
        if rows := _rekey_day(lake, table, day, chain):
            changed[table] = changed.get(table, 0) + rows
        progress(done + 1, len(days))
    if rows := _rekey_letters(lake, chain):
        changed[_LETTERS] = rows
    return changed


def stale_rows(lake: Lake, chain: KeyChain) -> dict[str, int]:
    """Return how many rows of each table are under an older key; 0 are left out."""
    found: dict[str, int] = {}
    for table in USER_TABLES:
        for day in _days(lake, table):
            users = _users(lake, table, day)
            counts = users.group_by(["tenant", "user_id"]).aggregate([([], "count_all")])
            rows = zip(
                counts["tenant"].to_pylist(),
                counts["user_id"].to_pylist(),
                counts["count_all"].to_pylist(),
                strict=True,
            )
            stale = sum(n for tenant, user, n in rows if _is_stale(chain, tenant, user))
            if stale:
                found[table] = found.get(table, 0) + stale
    return found


def _is_stale(chain: KeyChain, tenant: str, user: str) -> bool:
    return generation_of(user) < chain.generation(tenant)


def _days(lake: Lake, table: str) -> list[str]:
    opened = lake.open(table)
    if opened is None:
        return []
    with named_failures(f"reading the days of the lake table {table} in {lake.url}"):
        return sorted({str(part["date"]) for part in opened.partitions()})


def _users(lake: Lake, table: str, day: str) -> pa.Table:
    opened = lake.open(table)
    assert opened is not None
    with named_failures(f"reading users of the lake table {table} in {lake.url}"):
        rows = opened.to_pyarrow_table(filters=[("date", "=", day)], columns=["tenant", "user_id"])
    return rows.filter(pc.is_valid(rows["user_id"]))


def _rekey_day(lake: Lake, table: str, day: str, chain: KeyChain) -> int:
    users = _users(lake, table, day).group_by(["tenant", "user_id"]).aggregate([])
    pairs = zip(users["tenant"].to_pylist(), users["user_id"].to_pylist(), strict=True)
    renewed = [
        {"tenant": tenant, "was": user, "is": chain.renew(user, tenant=tenant)}
        for tenant, user in pairs
        if _is_stale(chain, tenant, user)
    ]
    if not renewed:
        return 0
    return _merge(
        lake,
        table,
        pa.Table.from_pylist(renewed, schema=_RENEWED),
        # The day comes from a partition's name; only its files are looked at and locked.
        f"kept.date = '{day}' AND kept.tenant = new.tenant AND kept.user_id = new.was",
        {"user_id": "new.is"},
    )


def _rekey_letters(lake: Lake, chain: KeyChain) -> int:
    letters = (DeadLetter(**row) for row in lake.read(_LETTERS).to_pylist())
    renewed = list(_renewed_letters(letters, chain))
    if not renewed:
        return 0
    names = pa.schema([pa.field("id", pa.string()), pa.field("raw", pa.string())])
    rows = pa.Table.from_pylist(renewed, schema=names)
    return _merge(lake, _LETTERS, rows, "kept.id = new.id", {"raw": "new.raw"})


def _renewed_letters(letters: Iterable[DeadLetter], chain: KeyChain) -> Iterable[dict[str, str]]:
    for letter in letters:
        row = letter.fields()
        user, tenant = row.get(USER_FIELD), str(row.get("tenant") or letter.tenant or "")
        if isinstance(user, str) and _is_stale(chain, tenant, user):
            row[USER_FIELD] = chain.renew(user, tenant=tenant)
            yield {"id": letter.id, "raw": json.dumps(row, ensure_ascii=False)}


def _merge(lake: Lake, table: str, rows: pa.Table, match: str, updates: dict[str, str]) -> int:
    from deltalake.exceptions import CommitFailedError

    with named_failures(f"re-keying the lake table {table} in {lake.url}"):
        for _ in range(_ATTEMPTS):
            opened = lake.open(table)
            assert opened is not None
            try:
                done = (
                    opened.merge(rows, predicate=match, source_alias="new", target_alias="kept")
                    .when_matched_update(updates)
                    .execute()
                )
            except CommitFailedError:  # rows were added meanwhile; they may be under old keys too
                continue
            return int(done[_MERGED_ROWS])
    raise EngineError(
        f"The lake table {table} in {lake.url} is being changed by somebody else all the time.",
        remedy="Run 'closedloop privacy rekey' again when less is written.",
    )
