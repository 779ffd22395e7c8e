"""What several modules take."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Union

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = Any

__all__ = ["Buffer", "Context", "Readable", "Secret", "SeekableReadable", "StrPath", "Withheld", "Writable", "entries"]


class Withheld(str):
    """A value of a context that is bound to the envelope and not stored in it.

    Only its name stands in the header; whoever decrypts must give the value. A plain ``str`` does for that.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Withheld(…)"


Context = Mapping[str, str]
"""Names and values that are bound to an envelope: at most 8 KiB in all. They are stored readable, unless :class:`Withheld`."""

Secret = Union[str, bytes, Callable[[], Union[str, bytes]]]
"""A secret of one line, or a function that returns it. The function is called once, when the secret is first needed."""

StrPath = Union[str, "os.PathLike[str]"]


class Readable(Protocol):
    """A binary file object that is read from where it stands."""

    def read(self, size: int, /) -> bytes: ...


class SeekableReadable(Readable, Protocol):
    """A binary file object that can be read anywhere."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class Writable(Protocol):
    """A binary file object that is written to."""

    def write(self, data: bytes, /) -> int | None: ...


def entries(context: Context) -> list[tuple[str, str, bool]]:
    """The entries of a context: name, value, and whether it is withheld."""
    return [(name, str.__str__(value), isinstance(value, Withheld)) for name, value in context.items()]
