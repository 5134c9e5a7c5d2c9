"""Drawing distinct texts from a stream of rows, in memory that does not grow with the stream.

Each row gets a *key*: the logarithm of a uniform number that a hash of its text and the seed
makes, divided by its weight; the sample is the texts with the largest keys. With equal weights
that is a uniform sample of distinct texts (a bottom-k sketch); with others it is sampling
without replacement in proportion to weight. Largest keys of parts make largest keys of the
whole, so a pool of ``count`` rows a stratum is all that is held between one part and the next,
and neither the order nor the size of the parts changes the sample.

References
----------
Efraimidis, P., Spirakis, P. (2006). Weighted random sampling with a reservoir. Information
Processing Letters 97.
Cohen, E., Kaplan, H. (2007). Summarizing data using bottom-k sketches. PODC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from closedloop.core.errors import InputError

FOLDED = "folded"
_KEY = "key"
_STRATUM = "stratum"
WEIGHT = "weight"
_MAX_COUNT = 100_000
_MAX_STRATA = 1_000
_LEAST_WEIGHT = 0.02
_COMPLAINTS = ("rephrased", "handover", "abandoned", "low_confidence")


class Weight(StrEnum):
    """What makes a text likelier to be drawn."""

    EQUAL = "equal"
    UNSURE = "unsure"  # low confidence of the answer
    BAD = "bad"  # signs that the answer was wrong: thumbs down, said again, gave up …
    FREQUENT = "frequent"  # asked often


class Shares(StrEnum):
    """How many each stratum gets."""

    EQUAL = "equal"
    PROPORTIONAL = "proportional"  # to its turns


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to draw.

    Raises
    ------
    InputError
        The count is not from 1 to 100,000.

    Examples
    --------
    >>> Sampling(count=200, by="intent", shares=Shares.PROPORTIONAL).label
    'stratified by intent, proportional shares'
    """

    count: int
    weight: Weight = Weight.EQUAL
    by: str = ""  # the dimension whose values are the strata; empty for one of all
    shares: Shares = Shares.EQUAL
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= _MAX_COUNT:
            raise InputError(
                f"{self.count:,} texts cannot be drawn.", remedy=f"Ask for 1 to {_MAX_COUNT:,}."
            )

    @property
    def label(self) -> str:
        """The way of drawing in a few words, for people who meet its tasks."""
        weighted = {
            Weight.EQUAL: "",
            Weight.UNSURE: "unsure answers first",
            Weight.BAD: "bad turns first",
            Weight.FREQUENT: "often asked first",
        }[self.weight]
        strata = f"stratified by {self.by}, {self.shares} shares" if self.by else ""
        return "; ".join(part for part in (strata, weighted) if part) or "uniform"


def folded_text(column: str = "text") -> pl.Expr:
    """Return the expression under which two texts are the same: case and spacing aside."""
    text = pl.col(column).str.replace_all(r"\s+", " ").str.strip_chars(" ")
    return text.str.to_lowercase().alias(FOLDED)


class Pool:
    """The best rows so far, at most ``count`` a stratum.

    Parameters
    ----------
    sampling : Sampling
    known : iterable of str
        Folded texts that are not drawn; those met are counted.

    Examples
    --------
    >>> rows = pl.LazyFrame({"event_id": ["a", "b"], "ts": [1, 2], "text": ["Hi", "hi "]})
    >>> pool = Pool(Sampling(count=5), known=())
    >>> pool.take_in(rows)
    >>> [row["event_id"] for row in pool.drawn()]
    ['b']
    """

    def __init__(self, sampling: Sampling, known: Sequence[str]) -> None:
        self._sampling = sampling
        self._known = pl.Series(FOLDED, sorted(set(known)), dtype=pl.String)
        self._met: set[str] = set()
        self._turns: Counter[object] = Counter()
        self._rows: pl.DataFrame | None = None

    @property
    def turns(self) -> int:
        """Rows with a text that were taken in."""
        return self._turns.total()

    @property
    def known(self) -> int:
        """Distinct texts that were left out because they are known."""
        return len(self._met)

    def take_in(self, rows: pl.LazyFrame) -> None:
        """Take in a part of the rows.

        Parameters
        ----------
        rows : LazyFrame
            With event_id, ts and text; confidence, feedback and the signals where weights ask
            for them, and the stratum's column.

        Raises
        ------
        InputError
            There are more than 1,000 strata.
        """
        by = self._sampling.by
        stratum = pl.col(by) if by else pl.lit(None, dtype=pl.String)
        keyed = (
            rows.with_columns(folded_text(), stratum.alias(_STRATUM))
            .filter(pl.col(FOLDED).str.len_bytes() > 0)
            .with_columns(_weight(self._sampling.weight).alias(WEIGHT))
            .with_columns(self._keys().alias(_KEY))
            .collect()
        )
        for value, count in keyed.group_by(_STRATUM).agg(pl.len()).iter_rows():
            self._turns[value] += count
        if len(self._turns) > _MAX_STRATA:
            raise InputError(
                f"{by} has more than {_MAX_STRATA:,} values here; that are too many strata.",
                remedy="Stratify by a dimension with fewer values, or narrow the slice.",
            )
        known = keyed[FOLDED].is_in(self._known.implode())
        self._met.update(keyed.filter(known)[FOLDED].unique())
        fresh = keyed.filter(~known)
        if self._rows is not None:
            fresh = pl.concat([self._rows, self._hopeful(fresh, self._rows)])
        self._rows = self._best(fresh)

    def drawn(self) -> list[dict[str, object]]:
        """Return the sample's rows, those with the largest keys first."""
        if self._rows is None:
            return []
        pools = {
            stratum: frame.to_dicts()
            for (stratum,), frame in self._rows.group_by(_STRATUM, maintain_order=True)
        }
        taken: dict[str, dict[str, object]] = {}
        for stratum, quota in _quotas(self._sampling, self._turns, pools).items():
            free = [row for row in pools[stratum] if row[FOLDED] not in taken]
            taken |= {row[FOLDED]: row for row in free[:quota]}
        # A text that lies in two strata is drawn once; the next best take the places it leaves.
        rest = (row for rows in pools.values() for row in rows if row[FOLDED] not in taken)
        for row in sorted(rest, key=_order, reverse=True):
            if len(taken) >= self._sampling.count:
                break
            taken.setdefault(row[FOLDED], row)
        return sorted(taken.values(), key=_order, reverse=True)

    def _keys(self) -> pl.Expr:
        # Rows of a frequent text get a number each, and the largest of them counts: that is a
        # weight of as many as there are. Polars' hash is the same in every process and machine.
        source = "event_id" if self._sampling.weight is Weight.FREQUENT else FOLDED
        bits = pl.col(source).hash(self._sampling.seed % 2**64) // 2**11
        return ((bits.cast(pl.Float64) + 0.5) / 2.0**53).log() / pl.col(WEIGHT)

    def _hopeful(self, rows: pl.DataFrame, pool: pl.DataFrame) -> pl.DataFrame:
        """Return the rows whose key could still enter their stratum's pool."""
        full = pool.group_by(_STRATUM).agg(pl.len(), pl.col(_KEY).min().alias("least"))
        full = full.filter(pl.col("len") == self._sampling.count).drop("len")
        joined = rows.join(full, on=_STRATUM, how="left", nulls_equal=True)
        entering = pl.col("least").is_null() | (pl.col(_KEY) >= pl.col("least"))
        return joined.filter(entering).drop("least")

    def _best(self, rows: pl.DataFrame) -> pl.DataFrame:
        # Where a text has several rows, the one with the largest key stands for it; the latest
        # of equal ones.
        return (
            rows.sort([_KEY, "ts", "event_id"], descending=True)
            .unique([FOLDED, _STRATUM], keep="first", maintain_order=True)
            .filter(pl.int_range(pl.len()).over(_STRATUM) < self._sampling.count)
        )


def _weight(weight: Weight) -> pl.Expr:
    match weight:
        case Weight.UNSURE:
            return (1.0 - pl.col("confidence").fill_null(0.0)).clip(_LEAST_WEIGHT, 1.0)
        case Weight.BAD:
            signs = [(pl.col("feedback") == "down").fill_null(False), *map(pl.col, _COMPLAINTS)]
            found = pl.sum_horizontal(sign.cast(pl.Float64) for sign in signs)
            return (found / len(signs)).clip(_LEAST_WEIGHT, 1.0)
    return pl.lit(1.0)


def _quotas(
    sampling: Sampling, turns: Counter[object], pools: dict[object, list[dict[str, object]]]
) -> dict[object, int]:
    """Share the count among the strata; what one lacks goes to the others."""
    quotas = dict.fromkeys(sorted(pools, key=lambda s: (-turns[s], str(s))), 0)
    left = sampling.count
    while left:
        open_ = [s for s in quotas if quotas[s] < len(pools[s])]
        if not open_:
            break
        weights = [turns[s] if sampling.shares is Shares.PROPORTIONAL else 1 for s in open_]
        exact = [left * weight / sum(weights) for weight in weights]
        given = 0
        for stratum, share in zip(open_, exact, strict=True):
            more = min(int(share), len(pools[stratum]) - quotas[stratum])
            quotas[stratum] += more
            given += more
        if not given:  # less than one each: the largest remainders
            by_share = sorted(zip(exact, open_, strict=True), key=lambda pair: -pair[0])
            for _, stratum in by_share[:left]:
                quotas[stratum] += 1
                given += 1
        left -= given
    return quotas


def _order(row: dict[str, object]) -> tuple[float, str]:
    return float(str(row[_KEY])), str(row["event_id"])
