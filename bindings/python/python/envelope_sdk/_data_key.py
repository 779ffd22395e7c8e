"""Records: many small values under one data key."""

from __future__ import annotations

from typing import Literal, NoReturn

from . import _envelope_sdk as native
from ._types import Buffer, Context, entries

__all__ = ["DataKey"]



class DataKey:
    """One DEK for many records: database columns, messages, tokens.

    :meth:`Envelope.new_data_key` makes one, :meth:`Envelope.open_data_key` opens it: one call of a key store for all its records.
    Each record is 40 bytes (``RECORD_OVERHEAD``) longer than its plaintext, which has at most 16 MiB (``RECORD_MAX_LEN``).

    The key itself never enters Python: there is no way to its bytes, and it cannot be pickled.
    """

    __slots__ = ("_native",)
    _native: native.DataKey

    def __init__(self) -> None:
        raise TypeError("Envelope.new_data_key or Envelope.open_data_key makes one")

    @classmethod
    def _of(cls, key: native.DataKey) -> DataKey:
        made = object.__new__(cls)
        made._native = key
        return made

    @property
    def wrapped(self) -> bytes:
        """The header: store it beside the records. It is not secret; who has it and may use its key opens them."""
        return self._native.wrapped()

    @property
    def id(self) -> str:
        """32 hexadecimal digits, which stay through rewraps."""
        return self._native.id()

    def seal(self, data: Buffer, context: Context = {}) -> bytes:
        """Encrypts a record.

        Args:
            data: At most 16 MiB.
            context: Which record it is: its row, its column. It is bound and not stored: the reader gives the same.

        Returns:
            ``len(data) + 40`` bytes.

        Raises:
            UsageError: The record is too large, or the context passes a limit.
        """
        return self._native.seal(data, entries(context))

    def open(self, record: Buffer, context: Context = {}) -> bytes:
        """Decrypts a record.

        Raises:
            NotAuthenticError: It was changed, or is of another data key or context.
        """
        return self._native.open(record, entries(context))

    def seal_column(
        self,
        data: Buffer,
        offsets: Buffer,
        width: Literal[4, 8] = 4,
        *,
        context: Context = {},
        by: tuple[str, Buffer, Buffer, Literal[4, 8]] | None = None,
        validity: Buffer | None = None,
        validity_offset: int = 0,
    ) -> tuple[bytes, bytes]:
        """Encrypts each value of a column: the buffers of an Arrow binary array in, those of another out.

        Args:
            data: The values, one after the other.
            offsets: Where each begins and the last one ends: one more than rows. They need not begin at 0; what lies before
                the first and behind the last is not touched.
            width: Bytes of an offset: 4 (``binary``, ``string``) or 8 (``large_binary``, ``large_string``).
            context: Entries that are the same for each row.
            by: The name of one more entry, and ``data``, ``offsets`` and ``width`` of a column of texts: its value, row by row.
            validity: Arrow's bitmap, where there are nulls. A null comes back empty, so that the bitmap fits what comes back.
            validity_offset: The bit of the first row.

        Returns:
            The values and offsets of as many rows. The offsets have the same width and begin at 0.

        Raises:
            UsageError: The buffers do not fit together; or what comes out has more than 2 GiB and offsets of 4 bytes.
                ``row`` says which row a value or a context is of that is too large.
        """
        rows = None if by is None else (by[0], (by[1], by[2], by[3]))
        bits = None if validity is None else (validity, validity_offset)
        return self._native.seal_column((data, offsets, width), entries(context), rows, bits)

    def open_column(
        self,
        data: Buffer,
        offsets: Buffer,
        width: Literal[4, 8] = 4,
        *,
        context: Context = {},
        by: tuple[str, Buffer, Buffer, Literal[4, 8]] | None = None,
        validity: Buffer | None = None,
        validity_offset: int = 0,
    ) -> tuple[bytes, bytes]:
        """Decrypts each value of a column: the reverse of :meth:`seal_column`, which says what the arguments are.

        Raises:
            NotAuthenticError: A record was changed, or is of another data key, context or row. ``row`` says which is the first;
                nothing is returned then.
            UsageError: The buffers do not fit together.
        """
        rows = None if by is None else (by[0], (by[1], by[2], by[3]))
        bits = None if validity is None else (validity, validity_offset)
        return self._native.open_column((data, offsets, width), entries(context), rows, bits)

    def __repr__(self) -> str:
        return f"<DataKey {self.id}>"

    def __reduce__(self) -> NoReturn:
        self._native.__reduce__()
        raise TypeError("a DataKey cannot be pickled")
