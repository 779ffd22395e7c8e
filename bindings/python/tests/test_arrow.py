"""Columns of Arrow: whatever their layout, what is sealed opens to what it was, and each value is a record of its own."""

from __future__ import annotations

import random

import pytest

pa = pytest.importorskip("pyarrow")

from envelope_sdk import Envelope  # noqa: E402
from envelope_sdk import arrow  # noqa: E402
from envelope_sdk.errors import NotAuthenticError  # noqa: E402
from scale_world import World  # noqa: E402


@pytest.fixture(scope="module")
def envelope(tmp_path_factory: pytest.TempPathFactory) -> Envelope:
    return World(tmp_path_factory.mktemp("arrow")).envelope


@pytest.fixture(scope="module")
def key(envelope):
    return envelope.new_data_key()[0]


VALUES = [b"", b"one", None, b"x" * 5000, b"\x00\xff", None, b"last"]
TEXTS = ["", "one", None, "x" * 5000, "žluťoučký", None, "last"]


def cut(array):
    """The same rows, but not from the beginning of their buffers: neither offsets nor bits of validity begin at 0."""
    padding = pa.array(["padding"] * 11).cast(array.type)
    return pa.concat_arrays([padding, array, padding]).slice(11, len(array))


def with_bytes_under_nulls(array):
    """The same rows, whose nulls have bytes in their slots, as Arrow allows."""
    full = pa.array([b"under null" if value is None else value for value in array.to_pylist()], array.type)
    _, offsets, data = full.buffers()
    validity = pa.array([value is not None for value in array.to_pylist()]).buffers()[1]
    return pa.Array.from_buffers(array.type, len(array), [validity, offsets, data])


LAYOUTS = {
    "binary": lambda: pa.array(VALUES, pa.binary()),
    "large binary": lambda: pa.array(VALUES, pa.large_binary()),
    "string": lambda: pa.array(TEXTS, pa.string()),
    "large string": lambda: pa.array(TEXTS, pa.large_string()),
    "binary view": lambda: pa.array(VALUES, pa.binary_view()),
    "string view": lambda: pa.array(TEXTS, pa.string_view()),
    "fixed size": lambda: pa.array([b"12345678", None, b"abcdefgh"], pa.binary(8)),
    "dictionary": lambda: pa.array(["a", "b", None, "a"]).dictionary_encode(),
    "no nulls": lambda: pa.array([b"a", b"bc"], pa.binary()),
    "nulls alone": lambda: pa.nulls(3, pa.binary()),
    "empty": lambda: pa.array([], pa.binary()),
    "empty, without offsets": lambda: pa.Array.from_buffers(pa.binary(), 0, [None, pa.py_buffer(b""), pa.py_buffer(b"")]),
    "cut": lambda: cut(pa.array(VALUES, pa.binary())),
    "cut, large": lambda: cut(pa.array(VALUES, pa.large_binary())),
    "cut to nothing": lambda: pa.array(VALUES, pa.binary()).slice(3, 0),
    "bytes under nulls": lambda: with_bytes_under_nulls(pa.array(VALUES, pa.binary())),
    "bytes under nulls, cut": lambda: with_bytes_under_nulls(pa.array(VALUES, pa.binary())).slice(1, 5),
    "chunks": lambda: pa.chunked_array([VALUES, [], VALUES[2:]], pa.binary()),
    "one chunk": lambda: pa.chunked_array([cut(pa.array(VALUES, pa.binary()))]),
    "no chunks": lambda: pa.chunked_array([], pa.binary()),
}


def as_bytes(column):
    return [value.encode() if isinstance(value, str) else value for value in column.to_pylist()]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("has_row", [False, True])
def test_what_is_sealed_opens_to_what_it_was_whatever_its_layout(key, layout, has_row) -> None:
    column = LAYOUTS[layout]()
    row = ("id", cut(pa.array([f"row-{index}" for index in range(len(column))], pa.string()))) if has_row else None
    sealed = arrow.encrypt_column(key, column, context={"table": "t"}, row=row)
    sealed.validate(full=True)
    assert isinstance(sealed, type(column)) or isinstance(column, pa.lib.Array)
    assert isinstance(sealed, pa.ChunkedArray) == isinstance(column, pa.ChunkedArray)
    wide = "large" in layout
    assert sealed.type == (pa.large_binary() if wide else pa.binary())
    lengths = [None if value is None else len(value) + 40 for value in as_bytes(column)]
    assert [None if value is None else len(value) for value in sealed.to_pylist()] == lengths
    opened = arrow.decrypt_column(key, sealed, context={"table": "t"}, row=row)
    opened.validate(full=True)
    assert opened.type == sealed.type
    assert opened.to_pylist() == as_bytes(column)


def test_each_value_is_the_record_that_the_data_key_makes_by_itself(key) -> None:
    ids = pa.array([7, 8, 9])
    sealed = arrow.encrypt_column(key, pa.array([b"a", None, b"c"]), context={"table": "t"}, row=("id", ids))
    assert key.open(sealed[0].as_py(), context={"table": "t", "id": "7"}) == b"a"
    assert key.open(sealed[2].as_py(), context={"table": "t", "id": "9"}) == b"c"
    own = pa.array([key.seal(b"own", context={"table": "t", "id": "7"})])
    assert arrow.decrypt_column(key, own, context={"table": "t"}, row=("id", ids[:1])).to_pylist() == [b"own"]


def test_chunks_need_not_be_those_of_the_other_columns(key) -> None:
    column = pa.chunked_array([[b"a", b"b", b"c"], [b"d", None]])
    ids = pa.chunked_array([["1"], ["2", "3", "4", None]])
    sealed = arrow.encrypt_column(key, column, row=("id", ids))
    assert arrow.decrypt_column(key, sealed.combine_chunks(), row=("id", ids)).to_pylist() == column.to_pylist()


def test_many_tenants_each_row_under_its_own_data_key(envelope) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    keys = {tenant: envelope.new_data_key({"tenant": tenant})[0] for tenant in "abc"}
    asked = []

    def of(tenant):
        asked.append(tenant)
        return keys[tenant]

    tenants = [chance.choice("abc") for _ in range(500)] + [None]
    values = [chance.choice([None, b"", chance.randbytes(20)]) for _ in range(500)] + [None]
    ids = pa.array(range(501))
    for by in (pa.array(tenants), pa.array(tenants).dictionary_encode(), cut(pa.array(tenants))):
        asked.clear()
        sealed = arrow.encrypt_column_by(of, by, pa.array(values, pa.binary()), row=("id", ids))
        sealed.validate(full=True)
        assert sorted(asked) == ["a", "b", "c"], f"seed {seed}: once each"
        opened = arrow.decrypt_column_by(of, by, sealed, row=("id", ids))
        assert opened.to_pylist() == values, f"seed {seed}"
        for index, (tenant, record) in enumerate(zip(tenants, sealed.to_pylist())):
            if record is not None:
                assert keys[tenant].open(record, context={"id": str(index)}) == values[index], f"seed {seed}, row {index}"


def test_a_record_in_another_row_is_not_authentic_and_says_which(key) -> None:
    ids = pa.array(["1", "2", "3"])
    sealed = arrow.encrypt_column(key, pa.array([b"a", b"b", b"c"]), row=("id", ids)).to_pylist()
    swapped = pa.array([sealed[0], sealed[2], sealed[1]])
    with pytest.raises(NotAuthenticError) as caught:
        arrow.decrypt_column(key, swapped, row=("id", ids))
    assert caught.value.row == 1


def test_a_record_of_another_tenant_is_not_authentic_and_says_which_row_it_is(envelope) -> None:
    keys = {tenant: envelope.new_data_key()[0] for tenant in "ab"}
    by = pa.array(["b", "a", None, "b", "a"])
    values = pa.array([b"0", b"1", None, b"3", b"4"])
    sealed = arrow.encrypt_column_by(keys.__getitem__, by, values).to_pylist()
    sealed[3] = sealed[4]
    with pytest.raises(NotAuthenticError, match="^row 3: ") as caught:
        arrow.decrypt_column_by(keys.__getitem__, by, pa.array(sealed))
    assert caught.value.row == 3


def test_a_changed_byte_is_not_authentic(key) -> None:
    sealed = arrow.encrypt_column(key, pa.array([b"a", b"b"])).to_pylist()
    changed = bytearray(sealed[1])
    changed[30] ^= 1
    with pytest.raises(NotAuthenticError) as caught:
        arrow.decrypt_column(key, pa.array([sealed[0], bytes(changed)]))
    assert caught.value.row == 1


def test_a_value_in_the_place_of_a_null_is_not_authentic(key) -> None:
    sealed = arrow.encrypt_column(key, pa.array([b"a", None], pa.binary())).to_pylist()
    with pytest.raises(NotAuthenticError):
        arrow.decrypt_column(key, pa.array([sealed[0], b""]))


def test_text_is_given_back_as_text_and_checked(key) -> None:
    for kind in (pa.string(), pa.large_string()):
        column = pa.array(TEXTS, kind)
        opened = arrow.decrypt_column(key, arrow.encrypt_column(key, column), text=True)
        assert opened.type == kind
        assert opened.to_pylist() == TEXTS
    with pytest.raises(ValueError, match="UTF8|utf-8|UTF-8"):
        arrow.decrypt_column(key, arrow.encrypt_column(key, pa.array([b"\xff"])), text=True)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda key: arrow.encrypt_column(key, pa.array([1, 2])), TypeError, "the column is int64"),
        (lambda key: arrow.decrypt_column(key, pa.array(["a"])), TypeError, "records are binary"),
        (lambda key: arrow.encrypt_column(key, pa.array([b"a"]), row=("id", pa.array([1.5]))), TypeError, "text or whole"),
        (lambda key: arrow.encrypt_column(key, pa.array([b"a"]), row=("id", pa.array(["1", "2"]))), ValueError, r"\[1, 2\] rows"),
        (
            lambda key: arrow.encrypt_column(key, pa.array([b"a", b"b"]), row=("id", pa.array(["1", None]))),
            ValueError,
            "'id' is null",
        ),
        (
            lambda key: arrow.encrypt_column_by(lambda _: key, pa.array(["t", None]), pa.array([b"a", b"b"])),
            ValueError,
            "tenants is null",
        ),
    ],
)
def test_what_cannot_be_is_refused(key, call, error, says) -> None:
    with pytest.raises(error, match=says):
        call(key)


def test_a_null_of_the_rows_entry_where_there_is_no_value_is_no_error(key) -> None:
    ids = pa.array(["1", None])
    sealed = arrow.encrypt_column(key, pa.array([b"a", None], pa.binary()), row=("id", ids))
    assert arrow.decrypt_column(key, sealed, row=("id", ids)).to_pylist() == [b"a", None]
