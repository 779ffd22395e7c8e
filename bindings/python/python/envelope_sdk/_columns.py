"""What a worker of an engine does with the columns of its batches: the data keys that it has opened, and which columns are what. Knows no
engine."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from . import arrow
from .keys import DataKeys, OpenKeys


@dataclass(frozen=True)
class ColumnWork:
    """What is to be done with a column. It is sent to workers, and holds no secret.

    Args:
        verb: ``encrypt``, ``decrypt`` or ``rotate``.
        keys: The data keys, or the old ones.
        new: The new ones, for ``rotate``.
        row: The name of the entry of the context that each row has a value of its own for.
        context: Entries that hold for all rows.
        text: Whether what is opened is text.
    """

    verb: str
    keys: DataKeys
    new: DataKeys | None = None
    row: str | None = None
    context: Mapping[str, str] | None = None
    text: bool = False

    def begin(self) -> OpenWork:
        """For one worker, which asks key stores once for each data key."""
        return OpenWork(self)


class OpenWork:
    """A :class:`ColumnWork` and the data keys that are open for it."""

    def __init__(self, work: ColumnWork) -> None:
        self._work = work
        self._keys = OpenKeys(work.keys)
        self._new = None if work.new is None else OpenKeys(work.new)

    def __call__(self, column: arrow.Column, by: arrow.Column | None, row: arrow.Column | None) -> Any:
        """The column after it.

        Raises:
            RuntimeError: a record that was moved does not open to what it was.
        """
        if self._work.verb == "encrypt":
            return self._seal(self._keys, column, by, row)
        opened = self._open(self._keys, column, by, row, self._work.text)
        if self._new is None:
            return opened
        sealed = self._seal(self._new, opened, by, row)
        if not self._open(self._new, sealed, by, row, False).equals(opened):
            raise RuntimeError("a record that was sealed anew does not open to what it was: nothing of its batch is given out")
        return sealed

    def _seal(self, keys: OpenKeys, column: Any, by: Any, row: Any) -> Any:
        entry = None if self._work.row is None else (self._work.row, row)
        if by is None:
            return arrow.encrypt_column(keys.one(), column, context=self._work.context, row=entry)
        return arrow.encrypt_column_by(keys.of, by, column, context=self._work.context, row=entry)

    def _open(self, keys: OpenKeys, column: Any, by: Any, row: Any, text: bool) -> Any:
        entry = None if self._work.row is None else (self._work.row, row)
        if by is None:
            return arrow.decrypt_column(keys.one(), column, context=self._work.context, row=entry, text=text)
        return arrow.decrypt_column_by(keys.of, by, column, context=self._work.context, row=entry, text=text)


class TableWork:
    """A :class:`ColumnWork` over tables: one column is replaced, the others stay.

    Args:
        by: The column that has the tenant.
        row: The column with the value of the row's entry.
    """

    def __init__(self, work: ColumnWork, column: str, by: str | None, row: str | None) -> None:
        self._work = work.begin()
        self._column, self._by, self._row = column, by, row

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table after it."""
        by = None if self._by is None else table.column(self._by)
        row = None if self._row is None else table.column(self._row)
        at = table.schema.get_field_index(self._column)
        if at < 0:
            raise KeyError(f"there is no column {self._column!r}, or there are several")
        done = self._work(table.column(at), by, row)
        return table.set_column(at, pa.field(self._column, done.type), done)
