"""Headers, read without any key."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from . import _envelope_sdk as native
from ._types import Buffer, StrPath

__all__ = ["Header", "Recipient", "inspect"]


@dataclass(frozen=True)
class Recipient:
    """A key that opens an envelope, as the header names it."""

    key: str
    """Its URI."""
    version: str
    """Its version; empty where the key store tells none."""
    wrap_algorithm: str
    """How the DEK is wrapped, such as ``XAES-256-GCM``."""
    post_quantum_safe: bool | None
    """Whether a quantum computer would not unwrap it; None where that is not known."""
    wrapped_dek_bytes: int
    """Bytes of the wrapped DEK."""


@dataclass(frozen=True)
class Header:
    """What a header says. **Nothing of it is verified**: treat it as an attacker's words until the envelope is decrypted."""

    kind: str
    """``attached``, ``detached`` or ``data-key``."""
    suite: int
    """The suite of algorithms."""
    envelope_id: str
    """32 hexadecimal digits. It stays through rewraps."""
    generation: int
    """How often the DEK was wrapped anew."""
    context: dict[str, str]
    """The entries of the context that are stored."""
    withheld: list[str]
    """The names of those that are not."""
    recipients: list[Recipient]
    """Whose keys open it: 1 to 16."""
    header_bytes: int
    """Bytes of the header."""
    padding_bytes: int
    """Bytes of it that a rewrap may use."""


def inspect(sealed: Buffer | StrPath) -> Header:
    """Reads the header of an envelope, detached header or data key, without any key.

    Args:
        sealed: Its bytes, binary or as text in ASCII; or, as ``str`` or path, a file.

    Raises:
        FormatError: It does not begin with a well-formed header.
        InputOutputError: The file cannot be read.
    """
    if isinstance(sealed, (str, os.PathLike)):
        said = json.loads(native.inspect_file(os.fspath(sealed)))
    else:
        said = json.loads(native.inspect(sealed))
    recipients = [Recipient(**recipient) for recipient in said.pop("recipients")]
    return Header(recipients=recipients, **said)
