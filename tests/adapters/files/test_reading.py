"""Whatever is delivered, the answer is a table or a refusal in one sentence."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftloop.adapters.files import reading
from liftloop.adapters.importers import Imported, read_delivery
from liftloop.core.errors import RefusedFile

HEAD = "date,segment,channel,spend,impressions,clicks,conversions,revenue\n"
ROW = "2026-09-01,DE,meta,1.50,100,3,0.5,9\n"
GOOD = (HEAD + ROW * 50).encode()


def _parquet() -> bytes:
    sink = io.BytesIO()
    pd.DataFrame({"date": ["2026-09-01"] * 50, "segment": "DE"}).to_parquet(sink)
    return sink.getvalue()


def _noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)


UNREADABLE: dict[str, bytes] = {
    "an empty file": b"",
    "blanks alone": b" \r\n\n\t",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "NUL bytes alone": b"\x00" * 100,
    "a header alone": HEAD.encode(),
    "a header without a line end": HEAD.strip().encode(),
    "latin-1": (HEAD + ROW.replace("DE", "Zürich")).encode("latin-1"),
    "two encodings in one file": GOOD + "2026-09-01,Zürich".encode("cp1252") + b",x,1,1,1,1,1\n",
    "noise": _noise(5000),
    "noise that begins as UTF-16": b"\xff\xfe" + _noise(4999),
    "a NUL byte in a line": GOOD.replace(b"meta", b"me\x00ta", 1),
    "a line of 10 MB": GOOD + b"x" * 10_000_000 + b"\n",
    "a cell of 10 MB": GOOD + b'2026-09-01,"' + b"x" * 10_000_000 + b'",meta,1,1,1,1,1\n',
    "a header of 10 MB": b"a," * 5_000_000,
    "3000 columns": (",".join(f"c{i}" for i in range(3000)) + "\n" + ROW).encode(),
    "a zip archive or workbook": b"PK\x03\x04" + _noise(400),
    "an old workbook": b"\xd0\xcf\x11\xe0" + _noise(400),
    "a PDF": b"%PDF-1.7\n" + _noise(400),
    "a login page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "bzip2": b"BZh91AY" + _noise(100),
    "a cut gzip stream": gzip.compress(GOOD)[:-12],
    "a damaged gzip stream": gzip.compress(_noise(3000))[:40] + _noise(3000),
    "gzip with rubbish behind": gzip.compress(GOOD) + b"rubbish",
    "a gzip header alone": gzip.compress(GOOD)[:9],
    "cut Parquet": _parquet()[:-40],
    "Parquet without its middle": _parquet()[:60] + _parquet()[-60:],
    "Parquet's mark alone": b"PAR1",
    "Parquet with a lying footer": b"PAR1" + b"x" * 50 + struct.pack("<I", 2**31) + b"PAR1",
    "cut JSON": b'{"data": [{"date": "2026-09-01", "segment"',
    "JSON without a record": b"[]",
    "JSON of numbers": b"[1, 2, 3]",
    "a JSON object without rows": b'{"error": {"message": "token expired", "code": 190}}',
    "JSON nested 100,000 deep": b"[" * 100_000,
    "JSON objects nested deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "columns of no feed": b"a,b,c\n1,2,3\n",
    "one column": b"hello\nworld\n",
    "rows that all miss the header": HEAD.encode() + b"1,2\n" * 5,
    "quotes alone": b'"""""""""\n"""\n',
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("name", ["x.csv", "performance.csv"])
def test_what_cannot_be_read_is_refused_in_one_sentence(
    what: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(UNREADABLE[what])
    with pytest.raises(RefusedFile) as refusal:
        read_delivery(path)
    assert refusal.value.file == name
    assert refusal.value.fix
    assert len(str(refusal.value)) < 1500


def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(UNREADABLE["latin-1"])
    with pytest.raises(RefusedFile, match=r"byte 0xfc at offset \d+ \(line 2\)"):
        read_delivery(path)


def _link(path: Path) -> None:
    target = path.parent / "secret.csv"
    target.write_bytes(GOOD)
    path.symlink_to(target)


def _unreadable(path: Path) -> None:
    path.symlink_to(path)  # a link to itself can never be opened


@pytest.mark.parametrize(
    "make",
    [lambda path: path.mkdir(), _link, _unreadable, os.mkfifo, lambda path: None],
    ids=["a folder", "a link", "a link to itself", "a pipe", "nothing"],
)
def test_what_is_no_plain_file_is_refused_and_not_waited_for(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "performance.csv"
    make(path)
    with pytest.raises(RefusedFile):
        read_delivery(path)


@pytest.mark.parametrize(
    "name", ["a\nb.csv", "\x1b[31mred.csv", "\u202evsc.csv", "-rf.csv", "..csv"]
)
def test_a_tricky_name_is_shown_harmlessly(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(RefusedFile) as refusal:
        read_delivery(path)
    assert refusal.value.file.isprintable()


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile):
        read_delivery(tmp_path / "a\x00b.csv")


def test_a_compression_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b"\x20" * 2**24) for _ in range(16)) + packer.flush()
    path = tmp_path / "x.csv.gz"
    path.write_bytes(bomb)
    with pytest.raises(RefusedFile, match="bomb"):
        read_delivery(path)


def test_a_bomb_in_many_small_streams_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "RATIO_FROM", 1024**2)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"\x20" * 2**20) * 8)
    with pytest.raises(RefusedFile, match="bomb"):
        read_delivery(path)


def test_a_file_over_the_limit_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    path = tmp_path / "x.csv"
    path.write_bytes(GOOD)
    with pytest.raises(RefusedFile, match="limit 1,000"):
        read_delivery(path)


def test_an_unclosed_quote_in_a_table_of_one_column_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('name\na\n"b\nc\n', encoding="utf-8")
    raw = reading.read_table(path)
    assert (raw.rows, list(raw.broken)) == (3, [1])


def test_gzip_in_several_streams_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "performance.csv.gz"
    path.write_bytes(gzip.compress(HEAD.encode()) + gzip.compress(ROW.encode()))
    assert read_delivery(path).rows_read == 1


_ANYTHING = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_ANYTHING
@given(at=st.integers(0, len(GOOD) - 1), junk=st.binary(min_size=1, max_size=6))
def test_a_good_file_damaged_anywhere_is_read_or_refused(
    at: int, junk: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "performance.csv"
    path.write_bytes(GOOD[:at] + junk + GOOD[at + 2 :])
    _read_or_refused(path)


@_ANYTHING
@given(text=st.text(alphabet='ab",;\n\r\t 0{}[]:\\', max_size=200))
def test_any_text_is_read_or_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("date,segment,orders,revenue\n" + text, encoding="utf-8", newline="")
    got = _read_or_refused(path)
    if got is not None:
        assert len(got.frame) == got.rows_read


@_ANYTHING
@given(
    found=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    )
)
def test_any_json_is_read_or_refused(found: object, tmp_path: Path) -> None:
    path = tmp_path / "sales.json"
    row = {"date": "2026-09-01", "segment": found, "orders": found, "revenue": 1}
    path.write_text(json.dumps([row, row]), encoding="utf-8")
    _read_or_refused(path)


@_ANYTHING
@given(
    cells=st.lists(
        st.lists(st.text(alphabet='ab",\n é', max_size=6), min_size=4, max_size=4).filter(any),
        min_size=1,
        max_size=8,
    )
)
def test_what_a_csv_writer_writes_comes_back(cells: list[list[str]], tmp_path: Path) -> None:
    import csv

    path = tmp_path / "units.csv"
    columns = ["experiment", "unit_id", "segment", "channel"]
    others = ["arm", "assigned_on", "converted", "conversions", "revenue"]
    rest = ["control", "2026-09-01", "0", "0", "0"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns + others)
        writer.writerows([*row, *rest] for row in cells)
    frame = read_delivery(path).frame
    assert "_broken" not in frame
    back = [[None if pd.isna(x) else x for x in row] for row in frame[columns].to_numpy().tolist()]
    assert back == [[cell.strip() or None for cell in row] for row in cells]


def _read_or_refused(path: Path) -> Imported | None:
    try:
        return read_delivery(path)
    except RefusedFile as refusal:
        assert str(refusal)
        return None
