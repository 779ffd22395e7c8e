"""Writes a configuration as TOML: as much of it as a configuration has."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import cast

from .errors import UsageError

__all__ = ["dumps"]


def dumps(table: Mapping[str, object]) -> str:
    """The table as a document, a line for each of its members."""
    return "".join(f"{_string(name)} = {_value(value, name)}\n" for name, value in table.items())


def _value(value: object, name: str) -> str:
    # What cannot be is named and not shown: somebody may have put a secret there.
    kind = type(value).__name__
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, os.PathLike):
        return _value(cast("os.PathLike[str]", value).__fspath__(), name)
    if isinstance(value, Mapping):
        table = cast("Mapping[object, object]", value)
        members = (f"{_string(key)} = {_value(member, f'{name}.{key}')}" for key, member in table.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return "[" + ", ".join(_value(member, name) for member in cast("Sequence[object]", value)) + "]"
    raise UsageError(f"the configuration {name!r} is a {kind}, which no setting is")


def _string(text: object) -> str:
    # A name of TOML may be quoted like a value. JSON escapes the same, but for DEL.
    if not isinstance(text, str):
        raise UsageError(f"a name in the configuration is a {type(text).__name__} and not a str")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("a text in the configuration has half surrogates") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
