"""Envelope encryption with pluggable key providers: messages, files, records, Arrow columns, and rotation.

::

    from envelope_sdk import Envelope, Providers

    env = Envelope(Providers.from_file("/etc/shop/keys.toml"))
    sealed = env.encrypt(b"attack at dawn", {"tenant": "42"})
    assert env.decrypt(sealed, {"tenant": "42"}) == b"attack at dawn"

Secrets and plaintext that Python holds cannot be wiped: ``str`` and ``bytes`` stay in memory until it is used again. Keys (DEKs, and
KEKs of a local keystore) never enter Python, and are wiped.
"""

from __future__ import annotations

import os as _os

from . import _envelope_sdk as _native
from . import errors, rotation
from ._data_key import DataKey
from ._envelope import Envelope
from ._header import Header, Recipient, inspect
from ._providers import Providers
from ._reader import EnvelopeReader
from ._types import Withheld
from .errors import EnvelopeError

__all__ = [
    "RECORD_MAX_LEN",
    "RECORD_OVERHEAD",
    "DataKey",
    "Envelope",
    "EnvelopeError",
    "EnvelopeReader",
    "Header",
    "Providers",
    "Recipient",
    "Withheld",
    "__version__",
    "errors",
    "inspect",
    "rotation",
]

__version__: str = _native.VERSION
RECORD_MAX_LEN: int = _native.RECORD_MAX_LEN
"""Most bytes of a record's plaintext: 16 MiB."""
RECORD_OVERHEAD: int = _native.RECORD_OVERHEAD
"""Bytes that a record is longer than its plaintext: 40."""

# Threads do not come through a fork.
_os.register_at_fork(
    before=_native.before_fork,
    after_in_parent=lambda: _native.after_fork(False),
    after_in_child=lambda: _native.after_fork(True),
)
