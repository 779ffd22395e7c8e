"""The verbs."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import cast

from . import _envelope_sdk as native
from . import rotation
from ._async import awaited
from ._data_key import DataKey
from ._header import Header, inspect
from ._providers import Providers
from ._reader import EnvelopeReader
from ._types import Buffer, Context, Readable, SeekableReadable, StrPath, Writable, entries
from .errors import UsageError

__all__ = ["Envelope"]


class Envelope:
    """Encrypts and decrypts with the keys of a configuration.

    Args:
        providers: The key stores.
        keys: The keys that encrypt, and may decrypt too: URIs such as ``"local:main"``, or aliases of the configuration. Those of
            the configuration, if none are named; and a passphrase, if it has none either. Every one must wrap, unless
            ``wrap-at-least`` of the configuration says how many while a key store is away: then there is a
            :class:`~envelope_sdk.errors.MissingKeyWarning` for each that did not.
        decrypt_with: Further keys that may decrypt. Those of the configuration, if it is left out.

    Methods whose name begins with ``a`` are for ``await``: the same, without blocking the event loop. When they are cancelled, the
    work is dropped. All others release the GIL while they wait or compute, and Ctrl-C ends what waits for a key store or goes through a
    file, at the next read: a named pipe that gives nothing is waited for. An envelope may be used by several threads at once.

    ``context`` is bound to an envelope: what was encrypted with it is decrypted with it alone. When encrypting, entries are stored
    readable in the header, or only their names, for values that are :class:`Withheld`. When decrypting, every entry that is given
    must be that of the envelope, and values that were withheld must be given.

    Every method may raise :class:`~envelope_sdk.errors.KeyRefusedError` and :class:`~envelope_sdk.errors.UnreachableError`, of the
    key stores; and :class:`~envelope_sdk.errors.UsageError`, for a call that cannot be right.
    """

    __slots__ = ("_native", "_providers")

    def __init__(
        self,
        providers: Providers,
        keys: Sequence[str] | None = None,
        decrypt_with: Sequence[str] | None = None,
    ) -> None:
        further = None if decrypt_with is None else _names(decrypt_with, "decrypt_with")
        self._providers = providers
        self._native = native.Envelope(providers._native, _names(keys, "keys"), further)

    @property
    def keys(self) -> list[str]:
        """The URIs of the keys that encrypt."""
        return self._native.keys()[0]

    @property
    def decrypt_keys(self) -> list[str]:
        """The URIs of the keys that may decrypt."""
        return self._native.keys()[1]

    def encrypt(self, data: Buffer, context: Context = {}, *, armor: bool = False) -> bytes:
        """Encrypts a message of any length that fits into memory.

        Args:
            data: ``bytes``, or anything with the buffer protocol, which is copied.
            context: See above.
            armor: As text in ASCII, a third longer.

        Returns:
            Header and payload in one.
        """
        return self._native.encrypt(data, entries(context), armor)

    async def aencrypt(self, data: Buffer, context: Context = {}, *, armor: bool = False) -> bytes:
        """:meth:`encrypt`, for ``await``."""
        said = entries(context)
        return cast(bytes, await awaited(lambda done: self._native.begin_encrypt(data, said, armor, done)))

    def decrypt(self, sealed: Buffer, context: Context = {}, *, armor: bool = False) -> bytes:
        """Decrypts what :meth:`encrypt` made.

        Args:
            sealed: Header and payload. Binary, unless ``armor`` says text: what it is is not guessed.

        Raises:
            NotAuthenticError: Key, passphrase, context and data do not fit together. Nothing of the plaintext is returned.
            FormatError: It is no envelope with its payload.
            NoConfiguredKeyError: It is for other keys.
        """
        return self._native.decrypt(sealed, entries(context), armor)

    async def adecrypt(self, sealed: Buffer, context: Context = {}, *, armor: bool = False) -> bytes:
        """:meth:`decrypt`, for ``await``."""
        said = entries(context)
        return cast(bytes, await awaited(lambda done: self._native.begin_decrypt(sealed, said, armor, done)))

    def encrypt_detached(self, data: Buffer, context: Context = {}) -> tuple[bytes, bytes]:
        """Encrypts a message, header and payload apart: a rewrap replaces the header alone.

        Returns:
            Header and payload.
        """
        return self._native.encrypt_detached(data, entries(context))

    def decrypt_detached(
        self, header: Buffer, payload: Buffer, context: Context = {}, *, armor: bool = False
    ) -> bytes:
        """Decrypts what :meth:`encrypt_detached` made. ``armor``: the header is text.

        Raises:
            As :meth:`decrypt`.
        """
        return self._native.decrypt_detached(header, payload, entries(context), armor)

    def encrypt_file(
        self,
        source: StrPath | Readable,
        target: StrPath | Writable,
        context: Context = {},
        *,
        armor: bool = False,
        overwrite: bool = False,
    ) -> int:
        """Encrypts a file in constant memory, on all cores if both are paths.

        Args:
            source: A path, or a binary file object, which is read from where it stands to its end.
            target: A path, or a binary file object. A file appears under its name when it is whole, and not before.
            armor: As text in ASCII, a third longer.
            overwrite: Replace a file of that name.

        Returns:
            The number of plaintext bytes.

        Raises:
            InputOutputError: Something cannot be read or written, or the file is there. Exceptions of file objects go through.
        """
        return self._native.encrypt_file(source, target, entries(context), armor, overwrite)

    async def aencrypt_file(
        self,
        source: StrPath,
        target: StrPath,
        context: Context = {},
        *,
        armor: bool = False,
        overwrite: bool = False,
    ) -> int:
        """:meth:`encrypt_file` from path to path, for ``await``. When it is cancelled, no file is left, unless it was whole already
        and being flushed to disk."""
        said, read, written = entries(context), os.fspath(source), os.fspath(target)
        begin = self._native.begin_encrypt_file
        return cast(int, await awaited(lambda done: begin(read, written, said, armor, overwrite, done)))

    def decrypt_file(
        self,
        source: StrPath | Readable,
        target: StrPath | Writable,
        context: Context = {},
        *,
        overwrite: bool = False,
    ) -> int:
        """Decrypts a file in constant memory, on all cores if both are paths. Whether it is text is seen.

        Args:
            source: A path, or a binary file object. Of a detached header by its path, the payload is ``NAME.sealed`` beside
                ``NAME.envelope``.
            target: A path: **a file that is not authentic to its end leaves nothing**. Or a binary file object, to which each
                chunk is written once it is authentic: **what was written is whole only if this returns**.
            overwrite: Replace a file of that name.

        Returns:
            The number of plaintext bytes.

        Raises:
            NotAuthenticError: As :meth:`decrypt`.
            InputOutputError: Something cannot be read or written, or the file is there. Exceptions of file objects go through.
        """
        return self._native.decrypt_file(source, target, entries(context), overwrite)

    async def adecrypt_file(
        self, source: StrPath, target: StrPath, context: Context = {}, *, overwrite: bool = False
    ) -> int:
        """:meth:`decrypt_file` from path to path, for ``await``. When it is cancelled, no file is left, unless it was whole already
        and being flushed to disk."""
        said, read, written = entries(context), os.fspath(source), os.fspath(target)
        begin = self._native.begin_decrypt_file
        return cast(int, await awaited(lambda done: begin(read, written, said, overwrite, done)))

    def open(self, source: StrPath | SeekableReadable, context: Context = {}) -> io.BufferedReader:
        """Opens a binary envelope to read any part of it, without the rest.

        Args:
            source: A path, or a binary file object that can seek, which nobody else uses meanwhile.

        Returns:
            A seekable reader of the plaintext. Its ``raw`` is an :class:`EnvelopeReader`, which knows the ``size``.

        Raises:
            NotAuthenticError: The header, or the end of the payload, does not fit. A read raises it for what that reads.
            InputOutputError: It cannot be read.
        """
        reader = EnvelopeReader(self._native.open(source, entries(context)))
        return io.BufferedReader(reader, _BUFFER)

    def rewrap(
        self,
        sealed: Buffer,
        to: Sequence[str] | None = None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        context: Context = {},
        armor: bool = False,
    ) -> bytes:
        """Wraps the DEK for other keys, or anew for the same. The payload stays as it is, byte for byte.

        Each new wrap is unwrapped and compared before this returns. Whoever saw the DEK still opens the payload: see
        ``rotation.run(…, reencrypt=True)`` for that.

        Args:
            sealed: An envelope, a detached header or the header of a data key.
            to: The keys that open it from now on, and no others. Those of this object, if none are named.
            add: Instead: keys that open it too.
            remove: Instead: keys that open it no more.

        Returns:
            The envelope with its new header, of the next generation.

        Raises:
            As :meth:`decrypt`. The old one holds then.
        """
        recipients = _names(to, "to"), _names(add, "add"), _names(remove, "remove")
        return self._native.rewrap(sealed, recipients, entries(context), armor)

    async def arewrap(
        self,
        sealed: Buffer,
        to: Sequence[str] | None = None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        context: Context = {},
        armor: bool = False,
    ) -> bytes:
        """:meth:`rewrap`, for ``await``."""
        recipients = _names(to, "to"), _names(add, "add"), _names(remove, "remove")
        said = entries(context)
        begin = self._native.begin_rewrap
        return cast(bytes, await awaited(lambda done: begin(sealed, recipients, said, armor, done)))

    def rewrap_file(
        self,
        path: StrPath,
        to: Sequence[str] | None = None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        context: Context = {},
    ) -> rotation.Outcome:
        """Brings one file to other keys, or to the current versions of its keys: in place where its header has room, atomically.

        Arguments and errors are those of :meth:`rewrap`. What is in that state already stays as it is, and no key store is asked
        for it.

        Returns:
            What became of it: ``rewrapped`` or ``in-target-state``.
        """
        wanted = _names(to, "to")
        if not (wanted or add or remove):
            wanted = self.keys
        runner = rotation.Runner(
            self._providers, wanted, self.decrypt_keys, add=add, remove=remove, context=context, concurrency=1
        )
        return runner._one(os.fspath(path))

    def inspect(self, sealed: Buffer | StrPath) -> Header:
        """Reads a header without any key: :func:`envelope_sdk.inspect`."""
        return inspect(sealed)

    def new_data_key(self, context: Context = {}) -> tuple[DataKey, bytes]:
        """Makes a data key, for many records: one call of each key store.

        Values can be withheld only where every key binds the context.

        Returns:
            The key, and what it is opened from, which is ``key.wrapped``: store it beside the records.
        """
        key = DataKey._of(self._native.new_data_key(entries(context)))
        return key, key.wrapped

    async def anew_data_key(self, context: Context = {}) -> tuple[DataKey, bytes]:
        """:meth:`new_data_key`, for ``await``."""
        said = entries(context)
        key = DataKey._of(await awaited(lambda done: self._native.begin_new_data_key(said, done)))
        return key, key.wrapped

    def open_data_key(
        self,
        wrapped: Buffer,
        context: Context = {},
        *,
        record: Buffer | None = None,
        record_context: Context = {},
        armor: bool = False,
    ) -> DataKey:
        """Opens a data key: one call of a key store.

        Args:
            wrapped: What :meth:`new_data_key` returned, or a rewrap of it.
            context: As it was made with.
            record: One of its records, with its own context ``record_context``: they show that withheld values are right where the
                key that opens binds no context.
            armor: ``wrapped`` is text.

        Raises:
            As :meth:`decrypt`.
        """
        shown = None if record is None else (record, entries(record_context))
        return DataKey._of(self._native.open_data_key(wrapped, entries(context), shown, armor))

    async def aopen_data_key(
        self,
        wrapped: Buffer,
        context: Context = {},
        *,
        record: Buffer | None = None,
        record_context: Context = {},
        armor: bool = False,
    ) -> DataKey:
        """:meth:`open_data_key`, for ``await``."""
        shown = None if record is None else (record, entries(record_context))
        said = entries(context)
        begin = self._native.begin_open_data_key
        return DataKey._of(await awaited(lambda done: begin(wrapped, said, shown, armor, done)))

    def __repr__(self) -> str:
        return f"<Envelope for {', '.join(self.keys)}>"


def _names(names: Sequence[str] | None, what: str) -> list[str]:
    # A single name is a sequence too, of letters.
    if isinstance(names, str):
        raise UsageError(f"`{what}` is a list of names of keys, such as [{'…'!r}], and not one text")
    return list(names or ())


_BUFFER = 64 * 1024
