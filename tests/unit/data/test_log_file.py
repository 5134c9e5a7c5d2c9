import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import LogFileError
from closedloop.data.log_file import MAX_LINE_BYTES, LogFile, Refused, Row


def rows_of(path, *, encoding="utf-8", **mapping):
    return list(LogFile(path=path, mapping=mapping, encoding=encoding).rows())


def texts(rows):
    return [row.values["text"] for row in rows if isinstance(row, Row)]


def refusals(rows):
    return [(row.line, row.reason) for row in rows if isinstance(row, Refused)]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_maps_columns_and_keeps_the_rest(tmp_path):
    file = write(tmp_path / "a b 日志.csv", "id,message,intent\n7,where is it,track\n")
    (row,) = rows_of(file, text="message", label="intent")
    assert row.values == {"text": "where is it", "label": "track"}
    assert row.extra == {"id": "7"}
    assert row.line == 2


def test_a_column_named_like_a_field_maps_by_itself(tmp_path):
    file = write(tmp_path / "a.csv", "text,tenant\nhi,shop\n")
    (row,) = rows_of(file)
    assert row.values == {"text": "hi", "tenant": "shop"}


def test_byte_order_mark_is_dropped(tmp_path):
    assert texts(rows_of(write(tmp_path / "a.csv", b"\xef\xbb\xbftext\nhi\n"))) == ["hi"]


def test_quoted_fields_may_span_lines(tmp_path):
    file = write(tmp_path / "a.csv", 'text,label\n"one\ntwo, ""three""",a\nfour,b\n')
    assert texts(rows_of(file)) == ['one\ntwo, "three"', "four"]


def test_an_open_quote_costs_one_row_only(tmp_path):
    good = "".join(f"good {i},a\n" for i in range(400))
    file = write(tmp_path / "a.csv", f'text,label\nfine,a\n"never closed,a\n{good}')
    rows = rows_of(file)
    assert texts(rows) == ["fine", *(f"good {i}" for i in range(400))]
    assert refusals(rows) == [(3, "a quote is not closed")]


def test_a_row_with_other_fields_than_the_header_is_refused(tmp_path):
    rows = rows_of(write(tmp_path / "a.csv", "text,label\nhi,a\nhi,a,b\nho,b\n"))
    assert texts(rows) == ["hi", "ho"]
    assert refusals(rows) == [(3, "3 fields where the header has 2")]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_huge_line_is_refused_and_reading_goes_on(tmp_path, ending):
    huge = "x" * (10 * MAX_LINE_BYTES)
    if ending == "csv":
        content = f"text\nfirst\n{huge}\nlast\n"
    else:
        content = f'{{"text":"first"}}\n{{"text":"{huge}"}}\n{{"text":"last"}}\n'
    rows = rows_of(write(tmp_path / f"a.{ending}", content))
    assert texts(rows) == ["first", "last"]
    [refused] = [row for row in rows if isinstance(row, Refused)]
    assert "10,485,7" in refused.reason
    assert len(refused.raw) <= 65_536


def test_bad_json_lines_are_refused_one_by_one(tmp_path):
    content = '{"text":"a"}\n{"text":\n[1]\n\n{"message":"b"}\n{"text":"c"}\n'
    rows = rows_of(write(tmp_path / "a.jsonl", content))
    assert texts(rows) == ["a", "c"]
    assert [line for line, _ in refusals(rows)] == [2, 3, 5]


def test_a_few_undecodable_lines_are_refused(tmp_path):
    lines = [f"line {i}".encode() for i in range(500)]
    lines[250] = "坏".encode("gb18030")
    rows = rows_of(write(tmp_path / "a.csv", b"text\n" + b"\n".join(lines)))
    assert len(texts(rows)) == 499
    assert refusals(rows) == [(252, "byte 1 is not utf-8")]


def test_another_encoding_is_recognised_and_named(tmp_path):
    file = write(tmp_path / "a.csv", "text\n退款什么时候到账\n我要退货\n".encode("gb18030"))
    with pytest.raises(LogFileError, match="--encoding gb18030"):
        rows_of(file)
    assert texts(rows_of(file, encoding="gb18030")) == ["退款什么时候到账", "我要退货"]


def test_utf_16_is_recognised_and_read(tmp_path):
    file = write(tmp_path / "a.csv", "text\nhello\n你好\n".encode("utf-16"))
    with pytest.raises(LogFileError, match="utf-16"):
        rows_of(file)
    assert texts(rows_of(file, encoding="utf-16")) == ["hello", "你好"]


def test_parquet(tmp_path):
    pq.write_table(pa.table({"q": ["a", None, "c"], "n": [1, 2, 3]}), tmp_path / "a.parquet")
    rows = rows_of(tmp_path / "a.parquet", text="q")
    assert [row.values["text"] for row in rows] == ["a", None, "c"]
    assert [row.extra["n"] for row in rows] == [1, 2, 3]


def test_truncated_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LogFileError, match="not a whole Parquet file"):
        rows_of(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "text\n", "a header and no row"),
        ("a.csv", "message\nhi\n", "no column 'text'; the columns are 'message'"),
        ("a.jsonl", '{"message":"hi"}\n', "no key 'text'"),
        ("a.txt", "hi", "not one of a log file"),
    ],
)
def test_a_file_that_cannot_be_read_at_all(tmp_path, name, content, said):
    with pytest.raises(LogFileError, match=said):
        rows_of(write(tmp_path / name, content))


def test_a_missing_column_names_the_nearest(tmp_path):
    file = write(tmp_path / "a.csv", "text,category\nhi,a\n")
    with pytest.raises(LogFileError, match="Did you mean 'category'"):
        rows_of(file, label="catgory")


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(LogFileError, match="no such file"):
        rows_of(tmp_path / "none.csv")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(LogFileError, match="is a directory"):
        rows_of(folder)


def test_an_unknown_field_is_named(tmp_path):
    with pytest.raises(LogFileError, match="no field 'txt'"):
        rows_of(write(tmp_path / "a.csv", "text\nhi\n"), txt="text")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), min_size=1))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, values):
    import csv

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "n"])
        writer.writerows((value, i) for i, value in enumerate(values))
    rows = rows_of(path)
    assert refusals(rows) == []
    assert texts(rows) == values
