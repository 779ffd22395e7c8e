"""What the package raises: a class for each kind of failure, with the words of the library.

Every exception is an :class:`EnvelopeError` and can be pickled, so that workers can hand it on. No message holds a secret.

=============================  =================  =====================================================================
Class                          ``kind``           When
=============================  =================  =====================================================================
:class:`UsageError`            ``usage``          The call or the configuration cannot be right. Also a ``ValueError``.
:class:`InputOutputError`      ``input-output``   A file, an object or an audit log. Also an ``OSError``.
:class:`NotAuthenticError`     ``not-authentic``  Key, passphrase, context and data do not fit together.
:class:`FormatError`           ``not-authentic``  These bytes are no envelope, or not of the kind that the call takes.
:class:`NoConfiguredKeyError`  ``not-authentic``  None of the recipients is a configured key. No key store was asked.
:class:`KeyRefusedError`       ``key-refused``    The policy or a key store refuses.
:class:`KeyNotFoundError`      ``key-refused``    There is no such key or version.
:class:`AccessDeniedError`     ``key-refused``    No permission: policy, credentials.
:class:`KeyStateError`         ``key-refused``    The state of the key does not permit the use.
:class:`UnreachableError`      ``unreachable``    A key store did not answer, or wants fewer calls.
:class:`OtherError`            ``other``          Anything else.
:class:`UnsupportedError`      ``other``          A key store does not know the algorithm, the scheme or the parameters.
=============================  =================  =====================================================================
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AccessDeniedError",
    "EnvelopeError",
    "FormatError",
    "InputOutputError",
    "KeyNotFoundError",
    "KeyRefusedError",
    "KeyStateError",
    "MissingKeyWarning",
    "NoConfiguredKeyError",
    "NotAuthenticError",
    "OtherError",
    "UnreachableError",
    "UnsupportedError",
    "UsageError",
]


class EnvelopeError(Exception):
    """Why something was not done. Its classes say more.

    Attributes:
        kind: The word that ``envctl --json`` has for it.
        hint: What to do, where that is more than the message says.
        key: The URI of the key that it is about, if it is about one.
        retry: Whether the same call may succeed later, without anybody acting.
        row: For columns: the first row that failed, counted from 0.
        report: Of a rotation that had begun: what it did until then.
    """

    kind: ClassVar[str] = "other"
    hint: str | None
    key: str | None
    retry: bool
    row: int | None
    report: dict[str, Any] | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        key: str | None = None,
        retry: bool = False,
        row: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.key = key
        self.retry = retry
        self.row = row

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.message, dict(self.__dict__))


def _remade(made: type[EnvelopeError], message: str, attributes: dict[str, Any]) -> EnvelopeError:
    error = made(message)
    error.__dict__.update(attributes)
    return error


class UsageError(EnvelopeError, ValueError):
    """The call or the configuration cannot be right."""

    kind = "usage"


class InputOutputError(EnvelopeError, OSError):
    """A file, an object or an audit log cannot be read or written."""

    kind = "input-output"


class NotAuthenticError(EnvelopeError):
    """Key, passphrase, context and data do not fit together, or the data was changed."""

    kind = "not-authentic"


class FormatError(NotAuthenticError):
    """These bytes are no envelope of a known version, or not of the kind that the call takes."""


class NoConfiguredKeyError(NotAuthenticError):
    """None of the recipients is a key that is configured. No key store was asked."""


class KeyRefusedError(EnvelopeError):
    """The policy or a key store refuses to use the key."""

    kind = "key-refused"


class KeyNotFoundError(KeyRefusedError):
    """There is no such key, or no such version of it."""


class AccessDeniedError(KeyRefusedError):
    """The caller may not use the key: permission, policy, credentials."""


class KeyStateError(KeyRefusedError):
    """The key's state does not permit the use: it is disabled, or to be destroyed."""


class UnreachableError(EnvelopeError):
    """A key store cannot be reached, did not answer in time, or wants fewer calls."""

    kind = "unreachable"


class MissingKeyWarning(UserWarning):
    """An envelope or data key was made for fewer keys than named, as ``wrap-at-least`` of the configuration permits while a key store is
    away. A later rewrap adds the others. ``warnings.simplefilter("error", MissingKeyWarning)`` makes it an exception."""


class OtherError(EnvelopeError):
    """Anything else."""


class UnsupportedError(OtherError):
    """A key store does not know the algorithm, the scheme or the parameters."""
