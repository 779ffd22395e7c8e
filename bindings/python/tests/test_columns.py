"""Columns: the buffers of an Arrow array in, those of another out."""

from __future__ import annotations

import random
import struct
from typing import Literal

import pytest

from envelope_sdk import RECORD_OVERHEAD, DataKey, Envelope, errors

Width = Literal[4, 8]


def column(values: list[bytes], width: Width = 4, before: bytes = b"", behind: bytes = b"") -> tuple[bytes, bytes, Width]:
    """Data and offsets of an array that is a slice of a longer one."""
    ends = [len(before)]
    for value in values:
        ends.append(ends[-1] + len(value))
    return before + b"".join(values) + behind, struct.pack(f"<{len(ends)}{'i' if width == 4 else 'q'}", *ends), width


def values(data: bytes, offsets: bytes, width: Width) -> list[bytes]:
    ends = struct.unpack(f"<{len(offsets) // width}{'i' if width == 4 else 'q'}", offsets)
    return [data[start:end] for start, end in zip(ends, ends[1:])]


@pytest.fixture
def key(env: Envelope) -> DataKey:
    return env.new_data_key()[0]


@pytest.mark.parametrize("width", [4, 8])
def test_a_column_is_its_records(key: DataKey, width: Width) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    plain = [chance.randbytes(chance.choice([0, 1, 7, 1024, 5000])) for _ in range(200)]
    context = {"column": "mail"}
    for before, behind in ((b"", b""), (b"before", b"and behind")):
        data, offsets = key.seal_column(*column(plain, width, before, behind), context=context)
        records = values(data, offsets, width)
        assert [len(record) for record in records] == [len(value) + RECORD_OVERHEAD for value in plain]
        # Each is a record like any other, and the reverse.
        assert [key.open(record, context) for record in records] == plain
        assert values(*key.open_column(data, offsets, width, context=context), width) == plain
        assert struct.unpack_from("<i", offsets) == (0,)
        single = [key.seal(value, context) for value in plain]
        opened = key.open_column(*column(single, width, before, behind), context=context)
        assert values(*opened, width) == plain


def test_a_context_goes_by_row(key: DataKey) -> None:
    plain, rows = [b"a", b"", b"ccc"], [b"1", b"22", "é".encode()]
    by = ("row", *column(rows, 8, b"x"))
    data, offsets = key.seal_column(*column(plain), context={"table": "t"}, by=by)
    records = values(data, offsets, 4)
    for record, row, value in zip(records, rows, plain):
        assert key.open(record, {"table": "t", "row": row.decode()}) == value
    assert values(*key.open_column(data, offsets, 4, context={"table": "t"}, by=by), 4) == plain
    swapped = ("row", *column([rows[1], rows[0], rows[2]]))
    with pytest.raises(errors.NotAuthenticError, match="row 0") as caught:
        key.open_column(data, offsets, 4, context={"table": "t"}, by=swapped)
    assert caught.value.row == 0
    with pytest.raises(errors.UsageError, match="2 rows, and the column has 3"):
        key.seal_column(*column(plain), by=("row", *column(rows[:2])))
    with pytest.raises(errors.UsageError, match="given twice"):
        key.seal_column(*column(plain), context={"row": "1"}, by=by)
    with pytest.raises(errors.UsageError, match="UTF-8") as usage:
        key.seal_column(*column(plain), by=("row", *column([b"1", b"\xff", b"3"])))
    assert usage.value.row == 1


def test_nulls_stay_empty_in_either_direction(key: DataKey) -> None:
    plain = [b"a", b"garbage under a null", b"", b"d", b"e"]
    # Rows 1 and 3 are null, from bit 6 on.
    bits = sum(1 << (6 + row) for row in (0, 2, 4)).to_bytes(2, "little")
    data, offsets = key.seal_column(*column(plain), validity=bits, validity_offset=6)
    sealed = values(data, offsets, 4)
    assert [len(record) for record in sealed] == [41, 0, 40, 0, 41]
    opened = key.open_column(data, offsets, 4, validity=bits, validity_offset=6)
    assert values(*opened, 4) == [b"a", b"", b"", b"", b"e"]
    with pytest.raises(errors.NotAuthenticError) as caught:
        key.open_column(data, offsets, 4)
    assert caught.value.row == 1
    with pytest.raises(errors.UsageError, match="too few bits"):
        key.seal_column(*column(plain), validity=b"\xff", validity_offset=6)


def test_columns_without_rows(key: DataKey) -> None:
    for data, offsets in ((b"", b""), (b"", bytes(4)), (b"xy", struct.pack("<i", 2))):
        assert key.seal_column(data, offsets, 4) == (b"", bytes(4))
        assert key.open_column(data, offsets, 4) == (b"", bytes(4))
    assert key.seal_column(b"", b"", 8) == (b"", bytes(8))


def test_a_changed_record_names_its_row(key: DataKey) -> None:
    data, offsets = key.seal_column(*column([b"a", b"bb", b"ccc"]))
    changed = bytearray(data)
    changed[-1] ^= 1
    with pytest.raises(errors.NotAuthenticError, match="row 2") as caught:
        key.open_column(changed, offsets, 4)
    assert caught.value.row == 2
    short = column([b"x" * 39])
    with pytest.raises(errors.NotAuthenticError, match="row 0"):
        key.open_column(*short)


def test_buffers_that_do_not_fit_are_refused(key: DataKey) -> None:
    for data, offsets, width, said in (
        (b"abc", struct.pack("<2i", 0, 4), 4, "end before byte 4"),
        (b"abc", struct.pack("<3i", 0, 2, 1), 4, "offset 2"),
        (b"abc", struct.pack("<2i", -1, 1), 4, "offset 0"),
        (b"abc", struct.pack("<2q", 0, -1), 8, "offset 1"),
        (b"abc", struct.pack("<2q", 0, 2**62), 8, "end before byte"),
        (b"abc", b"\0\0\0", 4, "multiple of 4"),
        (b"abc", bytes(4), 5, "4 or 8"),
    ):
        with pytest.raises(errors.UsageError, match=said):
            key.seal_column(data, offsets, width)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes-like"):
        key.seal_column("abc", bytes(8), 4)  # type: ignore[arg-type]


def test_more_than_offsets_of_four_bytes_hold_is_refused(key: DataKey) -> None:
    # What is too much is said before any value is looked at.
    offsets = struct.pack("<2i", 0, 2**31 - RECORD_OVERHEAD)
    with pytest.raises(errors.UsageError, match="too many for offsets of 4 bytes") as caught:
        key.seal_column(b"", offsets, 4)
    assert caught.value.hint and "width 8" in caught.value.hint


def test_every_view_of_a_buffer_is_taken(key: DataKey) -> None:
    data, offsets, _ = column([b"a", b"bb"])
    ints = memoryview(offsets).cast("i")
    wide = memoryview(bytearray(b"x" + data))[1:]
    sealed = key.seal_column(wide, ints, 4)
    assert values(*key.open_column(*map(memoryview, sealed), 4), 4) == [b"a", b"bb"]
