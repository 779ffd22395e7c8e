"""Any part of an envelope, without the rest."""

from __future__ import annotations

import io

from . import _envelope_sdk as native

__all__ = ["EnvelopeReader"]


class EnvelopeReader(io.RawIOBase):
    """The plaintext of an envelope, to be read and sought in. ``Envelope.open`` makes one.

    Each read decrypts the chunks of 16 KiB that hold what is asked for, and no others; nothing is returned that is not authentic.
    A truncated envelope is refused when it is opened.
    """

    def __init__(self, reader: native.RangedReader) -> None:
        super().__init__()
        self._native = reader
        self._at = 0

    @property
    def size(self) -> int:
        """Bytes of the plaintext."""
        return self._native.size()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        self._check_open()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Goes to an offset from the beginning, from here or from the end. Behind the end there is nothing to read."""
        self._check_open()
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"whence is 0, 1 or 2, and not {whence}")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning there is nothing")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes, or all that follow. Empty at the end.

        Raises:
            NotAuthenticError: The chunk that holds them was changed.
            InputOutputError: It cannot be read.
        """
        self._check_open()
        end = self.size if size is None or size < 0 else self._at + size
        read = self._native.read(self._at, max(end, self._at))
        self._at += len(read)
        return read

    def readall(self) -> bytes:
        """All that follow."""
        return self.read(-1)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Reads as many bytes as fit. 0 at the end."""
        view = memoryview(buffer).cast("B")
        read = self.read(len(view))
        view[: len(read)] = read
        return len(read)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the reader is closed")
