"""Dead letters: rows that the door refused, kept with their reason until someone replays them.

What is kept passed the door's privacy too: texts are masked value by value, so that a row stays
readable JSON, and the user is a pseudonym under another name (`USER_FIELD`), so that a replay
does not hash it twice. What could not be read as a row is kept as masked text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.privacy import mask
from closedloop.core.pseudonyms import Pseudonyms
from closedloop.data.lake import DEAD_LETTER_SCHEMA, Lake
from closedloop.data.log_file import KEPT_CHARS, Refused

USER_FIELD = "user_pseudonym"
_TABLE = "dead_letters"
# Fields that hold no free text; a time in milliseconds must not be taken for an order number.
_PLAIN = frozenset({"ts", "turn", "tenant", "channel", "dialogue_id"})
_SHORTENED = "…"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One refused row, as it is kept."""

    id: str
    ts: datetime  # when it was refused first
    source: str  # the file's name, or what else sent it
    line: int
    reason: str
    raw: str | None
    tenant: str | None = None
    # When it went through the door after all, and as which event.
    replayed_at: datetime | None = None
    event_id: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return the row's values by name; empty where it could not be read as a row."""
        return _as_row(self.raw or "") or {}


def bury(
    lake: Lake,
    refused: Sequence[Refused],
    *,
    source: str,
    tenant: str,
    pseudonyms: Pseudonyms,
    at: datetime,
    user_key: str = "user_id",
) -> int:
    """Keep refused rows; those that are kept already, replayed or not, are left out.

    Parameters
    ----------
    lake : Lake
        Where.
    refused : sequence of Refused
        ``raw`` is a JSON object of the row's values, or the line as it came.
    source : str
        The file's name, or what else sent the rows.
    tenant : str
        Whose rows they are, where a row does not say so itself.
    pseudonyms : Pseudonyms
        Takes the place of users' identities.
    at : datetime
        Now.
    user_key : str
        The name under which a line of the source holds the user's identity.

    Returns
    -------
    int
        Rows added.
    """
    if not refused:
        return 0
    kept = [_presentable(row.raw, tenant, pseudonyms, {user_key, "user_id"}) for row in refused]
    table = pa.table(
        {
            # Of what came, not of what is kept: a rotated key must not make it another letter.
            "id": [
                hashlib.blake2b(
                    f"{source}\x1f{row.line}\x1f{row.reason}\x1f{row.raw}".encode(
                        "utf-8", "surrogatepass"
                    ),
                    digest_size=16,
                ).hexdigest()
                for row in refused
            ],
            "ts": [at] * len(refused),
            "source": [source] * len(refused),
            "line": [row.line for row in refused],
            "reason": [mask(row.reason) for row in refused],
            "raw": kept,
            "tenant": [tenant] * len(refused),
            "replayed_at": [None] * len(refused),
            "event_id": [None] * len(refused),
        },
        schema=DEAD_LETTER_SCHEMA,
    )
    known = lake.read(_TABLE, columns=["id"])["id"]
    fresh = table.filter(pc.invert(pc.is_in(table["id"], value_set=known.combine_chunks())))
    if fresh.num_rows:
        lake.append(_TABLE, fresh)
    return fresh.num_rows


def dead_letters(
    lake: Lake,
    *,
    ids: Iterable[str] = (),
    source: str | None = None,
    reason: str | None = None,
    replayed: bool = False,
) -> list[DeadLetter]:
    """Return the letters that wait, in the order of their sources and lines.

    Parameters
    ----------
    lake : Lake
        Where.
    ids : iterable of str
        Only these; the beginning of an id is enough.
    source, reason : str, optional
        Only of this source, or with this in their reason (both without regard to case).
    replayed : bool
        Those that were replayed instead of those that wait.

    Examples
    --------
    >>> [letter.reason for letter in dead_letters(lake)]  # doctest: +SKIP
    ['the text is empty']
    """
    wanted: list[Callable[[DeadLetter], bool]] = [lambda each: bool(each.replayed_at) == replayed]
    if starts := tuple(ids):
        wanted.append(lambda each: each.id.startswith(starts))
    if source:
        wanted.append(lambda each: each.source.casefold() == source.casefold())
    if reason:
        wanted.append(lambda each: reason.casefold() in each.reason.casefold())
    letters = (DeadLetter(**row) for row in lake.read(_TABLE).to_pylist())
    found = [each for each in letters if all(test(each) for test in wanted)]
    return sorted(found, key=lambda each: (each.source, each.line, each.ts, each.id))


def _presentable(raw: str, tenant: str, pseudonyms: Pseudonyms, user_keys: set[str]) -> str:
    """Return a row without personal data, still a row where it was one."""
    row = _as_row(raw)
    if row is None:
        return mask(raw[:KEPT_CHARS])
    user = next((row[key] for key in sorted(user_keys) if row.get(key) not in (None, "")), None)
    # A column that happens to have the pseudonym's name holds none.
    left_out = {*user_keys, USER_FIELD}
    safe = {k: v if k in _PLAIN else _masked(v) for k, v in row.items() if k not in left_out}
    owner = str(row.get("tenant") or tenant)
    if row.get("dialogue_id") not in (None, ""):
        safe["dialogue_id"] = pseudonyms.of_dialogue(str(row["dialogue_id"]), tenant=owner)
    if user is not None:
        safe[USER_FIELD] = pseudonyms.of(str(user), tenant=owner)
    return _fitted(safe)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(str(key)): _masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value)
        hidden = mask(text)
        return value if hidden == text else hidden
    return value


def _fitted(row: dict[str, Any]) -> str:
    """Return a row as JSON of at most `KEPT_CHARS`, its longest values shortened if need be."""
    text = json.dumps(row, ensure_ascii=False)
    while len(text) > KEPT_CHARS:
        longest = max(row, key=lambda key: len(json.dumps(row[key], ensure_ascii=False)))
        value = row[longest]
        whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        kept = min(len(whole) // 2, max(0, len(whole) - (len(text) - KEPT_CHARS) - 1))
        if not kept:  # a thousand columns
            return text[:KEPT_CHARS]
        row = {**row, longest: whole[:kept] + _SHORTENED}
        text = json.dumps(row, ensure_ascii=False)
    return text


def _as_row(raw: str) -> dict[str, Any] | None:
    if not raw.startswith("{"):
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
