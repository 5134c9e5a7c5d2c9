"""Files of dialogue logs: CSV, JSON Lines or Parquet in, rows or refusals out.

Reading streams: memory does not grow with the file. A row that cannot be used becomes a
`Refused` with its line number and reason, and reading goes on behind it; a file that cannot
be read at all (missing column, not this format, another encoding) is a `LogFileError` before
the first row.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

from closedloop.core.errors import LogFileError, first_line

MAX_LINE_BYTES = 1 << 20
MAX_QUOTED_LINES = 200  # an open quote that runs on for longer is a mistake, not a text
KEPT_CHARS = 65_536  # of a refused row, kept to be looked at and replayed
HIDDEN_USER = "<USER>"
_MAX_PLAIN_CHARS = 100_000  # below the csv module's own limit of a field
_SAMPLE_BYTES = 1 << 18
_FORMATS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FIELDS = ("text", "label", "ts", "tenant", "channel", "dialogue_id", "turn", "user_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One usable row; ``values`` has the mapped fields, ``extra`` the file's other columns."""

    line: int
    values: dict[str, Any]
    extra: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """One row that cannot be used, with its place, the reason and its beginning."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFile:
    """A file of logs and how its columns map to fields.

    Parameters
    ----------
    path : Path
        The file.
    mapping : mapping of field → column
        ``text`` is required unless a column has that name; a field whose name is a column of
        the file maps to it by itself.
    encoding : str
        Of CSV and JSON Lines; a byte-order mark is dropped.

    Examples
    --------
    >>> log = LogFile(path=Path("train.csv"), mapping={"label": "category"})
    >>> [row.values["text"] for row in log.rows()]  # doctest: +SKIP
    """

    path: Path
    mapping: Mapping[str, str]
    encoding: str = "utf-8"

    @property
    def format(self) -> str:
        """``csv``, ``jsonl`` or ``parquet``, by the file's ending."""
        kind = _FORMATS.get(self.path.suffix.lower())
        if kind is None:
            raise LogFileError(
                f"{self.path}: the ending {self.path.suffix!r} is not one of a log file.",
                remedy=f"Use one of {', '.join(_FORMATS)}.",
            )
        return kind

    @property
    def size_bytes(self) -> int:
        """The file's size, for progress."""
        return self.path.stat().st_size

    @property
    def user_column(self) -> str:
        """The column or key that holds the user's identity, if there is one."""
        return self.mapping.get("user_id", "user_id")

    def rows(self) -> Iterator[Row | Refused]:
        """Yield every row in order.

        Raises
        ------
        LogFileError
            The file cannot be read at all; nothing has been yielded then.
        """
        self._check()
        try:
            yield from {"csv": self._csv, "jsonl": self._jsonl, "parquet": self._parquet}[
                self.format
            ]()
        except OSError as error:
            raise LogFileError(
                f"{self.path}: reading failed: {error.strerror or error}.",
                remedy="Check the file and its permissions.",
            ) from error

    def check(self) -> None:
        """Raise what `rows` would raise before its first row."""
        next(self.rows(), None)

    def _check(self) -> None:
        unknown = [name for name in self.mapping if name not in FIELDS]
        if unknown:
            raise LogFileError(
                f"--map {unknown[0]}=…: there is no field {unknown[0]!r}.",
                remedy=f"The fields are {', '.join(FIELDS)}.",
            )
        if not self.path.exists():
            raise LogFileError(f"{self.path}: no such file.", remedy="Check the path.")
        if self.path.is_dir():
            raise LogFileError(
                f"{self.path} is a directory.", remedy="Name one file of logs in it."
            )
        if self.format != "parquet" and self.size_bytes == 0:
            raise LogFileError(f"{self.path}: the file is empty.", remedy="Export the logs again.")
        if self.format != "parquet":
            self._check_encoding()

    def _check_encoding(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise LogFileError(
                f"--encoding {self.encoding}: no such encoding.",
                remedy="Try utf-8, gb18030 or utf-16.",
            ) from error
        with self.path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
        if _decodes(sample, self.encoding):
            return
        others = [name for name in ("gb18030", "utf-16", "cp1252") if _decodes(sample, name)]
        if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
            others = ["utf-16"]
        hint = f"It looks like {others[0]}: add --encoding {others[0]}" if others else "Convert it"
        raise LogFileError(
            f"{self.path}: the text is not {self.encoding}.",
            remedy=f"{hint}, or convert it with iconv to UTF-8.",
        )

    def _columns(self, columns: list[str]) -> dict[str, str]:
        """Return column → field, or say which column is missing."""
        chosen = {name: name for name in FIELDS if name in columns}
        chosen |= self.mapping
        if "text" not in chosen:
            raise LogFileError(
                f"{self.path}: there is no column 'text'; the columns are {_named(columns)}.",
                remedy="Say which one holds the text: --map text=COLUMN.",
            )
        for name, column in chosen.items():
            if column not in columns:
                close = difflib.get_close_matches(column, columns, n=1)
                hint = f"Did you mean {close[0]!r}? " if close else ""
                raise LogFileError(
                    f"{self.path}: there is no column {column!r} (--map {name}={column}); "
                    f"the columns are {_named(columns)}.",
                    remedy=f"{hint}Correct the --map.",
                )
        return {column: name for name, column in chosen.items()}

    def _csv(self) -> Iterator[Row | Refused]:
        lines = self._lines()
        first = next(lines, None)
        if first is None or isinstance(first[1], Refused):
            raise LogFileError(
                f"{self.path}: the first line is not a CSV header.",
                remedy="The first line must name the columns.",
            )
        header = next(csv.reader([first[1]]), [])
        columns = self._columns(header)
        fields = [(place, columns[c]) for place, c in enumerate(header) if c in columns]
        others = [(place, c) for place, c in enumerate(header) if c not in columns]
        none = True
        for number, record in _csv_records(lines):
            none = False
            if isinstance(record, Refused):
                raw = _hide_user_fields(record.raw.split(","), header, columns)
                yield replace(record, raw=_clip(raw))
            elif len(record) != len(header):
                reason = f"{len(record)} fields where the header has {len(header)}"
                raw = _hide_user_fields(record, header, columns)
                yield Refused(line=number, reason=reason, raw=_clip(raw))
            else:
                yield Row(
                    line=number,
                    values={name: record[place] for place, name in fields},
                    extra={name: record[place] for place, name in others},
                )
        if none:
            raise LogFileError(
                f"{self.path}: there is a header and no row.", remedy="Export the logs again."
            )

    def _jsonl(self) -> Iterator[Row | Refused]:
        user_key = self.user_column
        for number, line in self._lines():
            if isinstance(line, Refused):
                yield replace(line, raw=_hide_user_value(line.raw, user_key))
                continue
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raw = _clip(_hide_user_value(line, user_key))
                yield Refused(line=number, reason=f"not JSON: {error}", raw=raw)
                continue
            if not isinstance(record, dict):
                raw = _clip(_hide_user_value(line, user_key))
                yield Refused(line=number, reason="not a JSON object", raw=raw)
                continue
            wanted = self.mapping.get("text", "text")
            if wanted not in record:
                reason = f"no key {wanted!r}; the keys are {_named(list(record))}"
                if number == 1:
                    raise LogFileError(
                        f"{self.path}: line 1 has {reason}.",
                        remedy="Say which key holds the text: --map text=KEY.",
                    )
                yield Refused(line=number, reason=reason, raw=line.strip())
                continue
            columns = {name: name for name in FIELDS} | {
                column: name for name, column in self.mapping.items()
            }
            yield _row(number, record, columns)

    def _parquet(self) -> Iterator[Row | Refused]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise LogFileError(
                f"{self.path}: not a whole Parquet file ({first_line(error)}).",
                remedy="It may be truncated: copy or export it again.",
            ) from error
        with file:
            columns = self._columns(file.schema_arrow.names)
            if file.metadata.num_rows == 0:
                raise LogFileError(
                    f"{self.path}: the file has no row.", remedy="Export the logs again."
                )
            number = 0
            for group in range(file.num_row_groups):
                try:
                    batches = file.iter_batches(batch_size=4_096, row_groups=[group])
                    for batch in batches:
                        for record in batch.to_pylist():
                            number += 1
                            yield _row(number, record, columns)
                except (pa.ArrowException, OSError) as error:
                    reason = f"row group {group} cannot be read: {first_line(error)}"
                    yield Refused(line=number + 1, reason=reason, raw="")

    def _lines(self) -> Iterator[tuple[int, str | Refused]]:
        """Yield numbered lines; one that is too long or not in the encoding is refused."""
        with self.path.open("rb") as raw:
            file = _utf8_lines(raw, self.encoding)
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
                    size_bytes = len(line)
                    while rest := file.readline(MAX_LINE_BYTES):
                        size_bytes += len(rest)
                        if rest.endswith(b"\n"):
                            break
                    reason = f"line of {size_bytes:,} bytes; the limit is {MAX_LINE_BYTES:,}"
                    kept = _clip(line[: KEPT_CHARS * 4].decode("utf-8", errors="replace"))
                    yield number, Refused(line=number, reason=reason, raw=kept)
                    continue
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                try:
                    yield number, line.decode("utf-8")
                except UnicodeDecodeError as error:
                    reason = f"byte {error.start + 1} is not {self.encoding}"
                    kept = _clip(line.decode("utf-8", errors="replace"))
                    yield number, Refused(line=number, reason=reason, raw=kept)


def _csv_records(
    lines: Iterator[tuple[int, str | Refused]],
) -> Iterator[tuple[int, list[str] | Refused]]:
    """Parse CSV records, which may span lines, so that one bad record costs only itself.

    A quote that is never closed would make the csv module swallow the rest of the file. Here
    the record's first line is refused instead, and parsing goes on with its second line.
    """
    waiting: list[tuple[int, str | Refused]] = []
    while True:
        entry = waiting.pop(0) if waiting else next(lines, None)
        if entry is None:
            return
        number, line = entry
        if isinstance(line, Refused):
            yield number, line
            continue
        if not line.strip():
            continue
        # Most lines hold no quote, and then a comma is a comma.
        plain = line.removesuffix("\n").removesuffix("\r")
        if '"' not in plain and "\r" not in plain and len(plain) < _MAX_PLAIN_CHARS:
            yield number, plain.split(",")
            continue
        taken: list[tuple[int, str | Refused]] = []
        record = _parse([line])
        while record is None and len(taken) < MAX_QUOTED_LINES:
            following = waiting.pop(0) if waiting else next(lines, None)
            if following is None:
                break
            taken.append(following)
            if isinstance(following[1], Refused):
                break
            if '"' in following[1]:  # only a quote can close what is open
                record = _parse([line, *(str(text) for _, text in taken)])
        if record is None:
            waiting = taken + waiting
            record = Refused(line=number, reason="a quote is not closed", raw=_clip(line))
        yield number, record


def _parse(lines: list[str]) -> list[str] | Refused | None:
    """Return one record, or None where a quote is still open at the end."""
    try:
        return next(csv.reader(lines, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
        # Stray characters behind a quote: read it as leniently as spreadsheets do.
        try:
            return next(csv.reader(lines))
        except csv.Error as lenient:
            return Refused(line=0, reason=f"not CSV: {lenient}", raw=_clip("".join(lines)))


def _row(line: int, record: dict[str, Any], columns: Mapping[str, str]) -> Row:
    values = {columns[c]: v for c, v in record.items() if c in columns}
    extra = {c: v for c, v in record.items() if c not in columns}
    return Row(line=line, values=values, extra=extra)


def _hide_user_fields(fields: list[str], header: list[str], columns: Mapping[str, str]) -> str:
    """Return a malformed record without the user's identity.

    A record with some fields too many or too few holds it at most that many places from where
    the header says.
    """
    place = next((i for i, column in enumerate(header) if columns.get(column) == "user_id"), None)
    if place is not None:
        shift = abs(len(fields) - len(header))
        hidden = range(place - shift, place + shift + 1)
        fields = [HIDDEN_USER if i in hidden else field for i, field in enumerate(fields)]
    return ",".join(fields)


def _hide_user_value(line: str, user_key: str) -> str:
    """Return a line that is no JSON object without the value that stands behind the user's key."""
    value = r"""("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}\]]+)"""
    pattern = rf"""(["']?{re.escape(user_key)}["']?\s*[:=]\s*){value}"""
    return re.sub(pattern, rf'\g<1>"{HIDDEN_USER}"', line)


def _utf8_lines(raw: IO[bytes], encoding: str) -> _Lines:
    """Return the bytes as UTF-8 lines, whatever encoding they come in."""
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig", "ascii"):
        return raw
    return _Recoder(io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline=""))


class _Lines(Protocol):
    def readline(self, size: int = -1, /) -> bytes: ...


class _Recoder:
    """Reads text of another encoding as UTF-8; undecodable bytes stay undecodable."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def readline(self, size: int = -1, /) -> bytes:
        line = self._text.readline(size)
        return line.encode("utf-8", errors="surrogateescape")


def _decodes(sample: bytes, encoding: str) -> bool:
    """Tell whether a file's beginning is in ``encoding``, but for a few bad lines."""
    text = sample.decode(encoding, errors="replace").rstrip("�")  # cut mid-character
    return "\x00" not in text and text.count("�") <= len(text) // 200


def _named(columns: list[str]) -> str:
    shown = ", ".join(repr(c) for c in columns[:12])
    return shown + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")


def _clip(text: str) -> str:
    return text[:KEPT_CHARS].rstrip("\r\n")
