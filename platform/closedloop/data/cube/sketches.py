"""Mergeable sketches: HyperLogLog for distinct users, logarithmic bins for latency quantiles.

Spark writes HLL sketches in the Apache DataSketches format (``hll_sketch_agg``). Cells with few
users hold a list of coupons and are all but exact; full ones hold 2^16 registers. Merging those
register by register in one array operation is some forty times faster than one call a sketch.

Latencies are counted in bins whose borders grow by a constant factor, so that a quantile read
from them is within `LATENCY_ERROR` of the true value, whatever the distribution, and bins of
different cells simply add.

References
----------
Flajolet, P. et al. (2007). HyperLogLog. AofA.  Apache DataSketches, HLL sketch specification.
Masson, C., Rim, J. E., Lee, H. K. (2019). DDSketch. PVLDB 12(12), arXiv:1908.10693.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LG_REGISTERS = 16
USERS_ERROR = 1.96 * 1.04 / math.sqrt(1 << LG_REGISTERS)  # 95 %, of merged sketches
LATENCY_ERROR = 0.01
_GAMMA = (1 + LATENCY_ERROR) / (1 - LATENCY_ERROR)
_MIN_LATENCY_MS = 1e-3  # anything below counts as that

# Layout of a full HLL_8 sketch: 40 bytes of header, then one byte a register.
_HEADER_BYTES = 40
_MODE_BYTE, _FLAGS_BYTE = 7, 5
_FULL_HLL_8 = 0b1010  # low two bits: HLL mode; next two: 8 bits a register
_OUT_OF_ORDER = 0b10000
_INVERSE_POWERS = 2.0 ** -np.arange(256, dtype=np.float64)


def count_users(sketches: Sequence[bytes]) -> float:
    """Return the distinct count of the union of HLL sketches.

    Examples
    --------
    >>> from datasketches import hll_sketch, tgt_hll_type
    >>> one, two = hll_sketch(16, tgt_hll_type.HLL_8), hll_sketch(16, tgt_hll_type.HLL_8)
    >>> for user in range(100):
    ...     one.update(user); two.update(user + 50)
    >>> round(count_users([one.serialize_compact(), two.serialize_compact()]))
    150
    """
    from datasketches import hll_sketch, hll_union

    full: npt.NDArray[np.uint8] | None = None
    header = b""
    rest: list[bytes] = []
    for sketch in sketches:
        if _is_full(sketch):
            registers = np.frombuffer(sketch, dtype=np.uint8, offset=_HEADER_BYTES)
            if full is None:
                header, full = sketch[:_HEADER_BYTES], registers.copy()
            else:
                np.maximum(full, registers, out=full)
        else:
            rest.append(sketch)
    if full is not None:
        rest.append(_pack(header, full))
    if len(rest) == 1:
        return float(hll_sketch.deserialize(rest[0]).get_estimate())
    union = hll_union(LG_REGISTERS)
    for sketch in rest:
        union.update(hll_sketch.deserialize(sketch))
    return float(union.get_estimate())


def latency_bin(milliseconds: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """Return the bin of each latency; `LATENCY_BIN_SQL` does the same in Spark."""
    bounded = np.maximum(milliseconds, _MIN_LATENCY_MS)
    return np.ceil(np.log(bounded) / math.log(_GAMMA)).astype(np.int32)


LATENCY_BIN_SQL = (
    f"CAST(ceil(ln(greatest(latency_ms, {_MIN_LATENCY_MS!r}D)) / {math.log(_GAMMA)!r}D) AS INT)"
)


def quantile(bins: npt.NDArray[Any], counts: npt.NDArray[Any], q: float) -> float | None:
    """Return the latency in ms at quantile ``q`` of binned counts; None without any.

    Parameters
    ----------
    bins, counts : ndarray, shape (n,)
        Bin numbers in any order, and how many latencies each has.

    Examples
    --------
    >>> values = np.arange(1.0, 1001.0)
    >>> found = quantile(latency_bin(values), np.ones(1000, dtype=np.int64), 0.5)
    >>> abs(found - 500) / 500 <= LATENCY_ERROR
    True
    """
    if not len(bins):
        return None
    order = np.argsort(bins)
    reached = np.cumsum(counts[order])
    rank = max(1, math.ceil(q * int(reached[-1])))
    found = int(bins[order][np.searchsorted(reached, rank)])
    return float(2 * _GAMMA**found / (_GAMMA + 1))


def _is_full(sketch: bytes) -> bool:
    return len(sketch) == _HEADER_BYTES + (1 << LG_REGISTERS) and (sketch[_MODE_BYTE] & 0b1111) in (
        _FULL_HLL_8,
    )


def _pack(header: bytes, registers: npt.NDArray[np.uint8]) -> bytes:
    """Return a full sketch with these registers; the header's sums are worked out anew."""
    spread = np.bincount(registers, minlength=256)
    weights = spread * _INVERSE_POWERS
    fixed = bytearray(header)
    fixed[_FLAGS_BYTE] |= _OUT_OF_ORDER  # the estimate may not lean on the order of updates
    fixed[6] = 0  # lowest register value
    struct.pack_into("<d", fixed, 16, float(weights[:32].sum()))
    struct.pack_into("<d", fixed, 24, float(weights[32:].sum()))
    struct.pack_into("<I", fixed, 32, int(spread[0]))
    return bytes(fixed) + registers.tobytes()
