"""Columns of Arrow through a data key: an array in, an array out, and no loop over rows in Python.

A column is handed to the library as the buffers that it already is; what comes back are buffers, too. Needs ``pyarrow``
(``pip install "envelope-sdk[arrow]"``). Frames of pandas, Polars and Dask give Arrow arrays by themselves.

Each row is sealed as one record, 40 bytes longer than its value, under the record's context: ``context``, which is the same
for all rows, and, with ``row``, one more entry whose value is that row's of another column. Without ``row`` a record can be
moved to another row unseen, so give the primary key.

A null stays null: how many rows have a value, and how long each is, is not hidden.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, Union

import pyarrow as pa
import pyarrow.compute as pc

from . import DataKey, EnvelopeError

#: A column: one array, or one in chunks.
Column: TypeAlias = Union[pa.Array, pa.ChunkedArray]
#: The name of an entry of the context, and the column that has its value for each row: text, or whole numbers, which count as their
#: decimal digits.
Row: TypeAlias = tuple[str, Column]
#: The data key of a tenant, by the value of its column.
KeyOf: TypeAlias = Callable[[str], DataKey]


def encrypt_column(
    key: DataKey, column: Column, *, context: Mapping[str, str] | None = None, row: Row | None = None
) -> Column:
    """Seals each value of a column, as it is laid out: ``binary``, or ``large_binary`` where offsets have 64 bits.

    Args:
        key: A data key (:meth:`envelope_sdk.Envelope.new_data_key`).
        column: Of ``binary``, ``string`` (its UTF-8), their ``large_`` and ``_view`` forms, ``fixed_size_binary``, or a
            dictionary of these. Values of at most 16 MiB.
        context: Entries that hold for all rows.
        row: One more entry, with the value that its column has in the same row, which must not be null there.

    Returns:
        Of the same length, in chunks if the column is in chunks.

    Raises:
        TypeError: The column is none of these types.
        ValueError: ``row`` has another length, or no value where the column has one.
        UsageError: A value is too long, the context passes a limit, or an array whose offsets have 32 bits would pass
            2 GiB: cast it to ``large_binary``, or use smaller chunks.
    """
    return _each_chunk(column, row, _sealed_type(column.type), _work(key.seal_column, context))


def decrypt_column(
    key: DataKey,
    column: Column,
    *,
    context: Mapping[str, str] | None = None,
    row: Row | None = None,
    text: bool = False,
) -> Column:
    """Opens what :func:`encrypt_column` made, with the same ``context`` and ``row``.

    Args:
        text: Gives ``string`` (``large_string``) instead of ``binary``.

    Raises:
        TypeError: The column is not binary.
        ValueError: As there; or, with ``text``, a value is not UTF-8.
        NotAuthenticError: A record was changed, or belongs to another data key, context or row. Nothing of the
            column is given out then. Its ``row`` is counted from the beginning of the chunk.
    """
    return _each_chunk(column, row, _opened_type(column.type, text), _work(key.open_column, context))


def encrypt_column_by(
    keys: KeyOf, by: Column, column: Column, *, context: Mapping[str, str] | None = None, row: Row | None = None
) -> Column:
    """As :func:`encrypt_column`, each row under the data key of its tenant.

    Args:
        keys: Tells the data key for a value of ``by``; asked once for each value in a chunk.
        by: The column of tenants: text, or whole numbers. Not null where ``column`` has a value.
    """
    return _each_chunk(column, row, _sealed_type(column.type), _work_by(lambda tenant: keys(tenant).seal_column, context), by)


def decrypt_column_by(
    keys: KeyOf,
    by: Column,
    column: Column,
    *,
    context: Mapping[str, str] | None = None,
    row: Row | None = None,
    text: bool = False,
) -> Column:
    """As :func:`decrypt_column`, each row with the data key of its tenant, as in :func:`encrypt_column_by`."""
    return _each_chunk(column, row, _opened_type(column.type, text), _work_by(lambda tenant: keys(tenant).open_column, context), by)


# What a data key does with a column: its buffers as DataKey.seal_column takes them, in and out.
_Sealer = Callable[..., tuple[bytes, bytes]]
# One chunk of each of: the column, the row's entry, the tenants.
_Work = Callable[[pa.Array, tuple[str, pa.Array] | None, pa.Array | None], pa.Array]


def _work(sealer: _Sealer, context: Mapping[str, str] | None) -> _Work:
    def work(array: pa.Array, row: tuple[str, pa.Array] | None, _by: pa.Array | None) -> pa.Array:
        return _one_key(sealer, array, context or {}, row)

    return work


def _work_by(sealer_of: Callable[[str], _Sealer], context: Mapping[str, str] | None) -> _Work:
    def work(array: pa.Array, row: tuple[str, pa.Array] | None, by: pa.Array | None) -> pa.Array:
        assert by is not None
        return _keys_by(sealer_of, array, by, context or {}, row)

    return work


def _each_chunk(column: Column, row: Row | None, wanted: pa.DataType, work: _Work, by: Column | None = None) -> Column:
    """Works chunk by chunk, whatever chunks the other columns have."""
    named = {"column": column}
    if row is not None:
        named["row"] = _as_text(row[1], "the column of the row's entry")
    if by is not None:
        named["by"] = _as_text(by, "the column of tenants")
    if any(len(other) != len(column) for other in named.values()):
        raise ValueError(f"the columns have {sorted({len(other) for other in named.values()})} rows: give all of one length")
    if not isinstance(column, pa.ChunkedArray):
        named = {name: _one_array(array) for name, array in named.items()}
        chunks = [named]
    else:
        # A table cuts where any of its columns does, without copying.
        chunks = [dict(zip(named, batch.columns)) for batch in pa.table(named).to_batches()]

    def one(chunk: dict[str, pa.Array]) -> pa.Array:
        entry = None if row is None else (row[0], chunk["row"])
        return work(_binary(chunk["column"]), entry, chunk.get("by")).cast(wanted)

    done = [one(chunk) for chunk in chunks]
    return pa.chunked_array(done, type=wanted) if isinstance(column, pa.ChunkedArray) else done[0]


def _one_key(
    sealer: _Sealer, array: pa.Array, context: Mapping[str, str], row: tuple[str, pa.Array] | None
) -> pa.Array:
    """One array under one data key."""
    result = _sealed_type(array.type)
    if len(array) == 0:
        return pa.nulls(0, result)
    entry, bitmap = None, None
    if row is not None:
        if row[1].null_count and pc.any(pc.and_(pc.is_valid(array), pc.is_null(row[1]))).as_py():
            raise ValueError(f"the row's entry {row[0]!r} is null in a row that has a value")
        entry = (row[0], *_buffers(row[1]))
    if array.null_count:
        # Anew, so that it begins at bit 0, wherever the array was cut.
        bitmap = pc.if_else(pc.is_valid(array), True, False).buffers()[1]
    data, offsets = sealer(*_buffers(array), context=context, by=entry, validity=bitmap)
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(result, len(array), buffers, array.null_count)


def _keys_by(
    sealer_of: Callable[[str], _Sealer],
    array: pa.Array,
    by: pa.Array,
    context: Mapping[str, str],
    row: tuple[str, pa.Array] | None,
) -> pa.Array:
    """The rows of each tenant together, under its data key, and all of them back where they were."""
    if pc.any(pc.and_(pc.is_valid(array), pc.is_null(by))).as_py():
        raise ValueError("the column of tenants is null in a row that has a value")
    tenants = by.dictionary_encode()
    # Equal ones stay in order.
    order = pc.sort_indices(tenants.indices)
    sorted_rows = array.take(order)
    sorted_entry = None if row is None else row[1].take(order)
    runs = pc.run_end_encode(tenants.indices.take(order))
    parts, begin = [], 0
    for end, code in zip(runs.run_ends.to_pylist(), runs.values.to_pylist()):
        part = sorted_rows.slice(begin, end - begin)
        entry = None if row is None or sorted_entry is None else (row[0], sorted_entry.slice(begin, end - begin))
        # Rows of nobody, without a value.
        if part.null_count == len(part):
            parts.append(pa.nulls(len(part), _sealed_type(array.type)))
        else:
            sealer = sealer_of(tenants.dictionary[code].as_py())
            try:
                parts.append(_one_key(sealer, part, context, entry))
            except EnvelopeError as error:
                raise _in_chunk(error, order, begin)
        begin = end
    if not parts:
        return pa.nulls(0, _sealed_type(array.type))
    return pa.concat_arrays(parts).take(pc.sort_indices(order))


def _in_chunk(error: EnvelopeError, order: pa.Array, begin: int) -> EnvelopeError:
    """The error with the row of the chunk, and not of the rows of one tenant."""
    if error.row is not None:
        row = order[begin + error.row].as_py()
        error.message = error.message.replace(f"row {error.row}:", f"row {row}:", 1)
        error.args, error.row = (error.message,), row
    return error


def _buffers(array: pa.Array) -> tuple[Any, Any, int]:
    """Bytes, offsets of the rows and one more, and the width of an offset. Offsets go by the whole of the bytes."""
    width = _width(array.type)
    _, offsets, data = array.buffers()
    offsets = offsets.slice(array.offset * width, (len(array) + 1) * width)
    return pa.py_buffer(b"") if data is None else data, offsets, width


def _one_array(column: Column) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _binary(array: pa.Array) -> pa.Array:
    """The array as one of the four types whose layout is offsets and bytes."""
    if _width(array.type):
        return array
    if pa.types.is_dictionary(array.type):
        return _binary(array.cast(array.type.value_type))
    return array.cast(_sealed_type(array.type))


def _as_text(column: Column, what: str) -> Column:
    if _is_text(column.type):
        return column
    if pa.types.is_integer(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        return _as_text(column.cast(column.type.value_type), what)
    raise TypeError(f"{what} is {column.type}: it must be text or whole numbers")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _width(kind: pa.DataType) -> int:
    """Bytes of an offset; 0 where the layout is another one."""
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        return 4
    return 8 if pa.types.is_large_binary(kind) or pa.types.is_large_string(kind) else 0


def _sealed_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _sealed_type(kind.value_type)
    if _width(kind) == 8:
        return pa.large_binary()
    views = pa.types.is_binary_view(kind) or pa.types.is_string_view(kind)
    if _width(kind) == 4 or views or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    raise TypeError(f"the column is {kind}: it must be binary or string; cast what else is to be sealed")


def _opened_type(kind: pa.DataType, text: bool) -> pa.DataType:
    if _is_text(kind):
        raise TypeError(f"the column is {kind}: records are binary")
    opened = _sealed_type(kind)
    if not text:
        return opened
    return pa.large_string() if pa.types.is_large_binary(opened) else pa.string()
