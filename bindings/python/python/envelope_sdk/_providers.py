"""The key stores and keys of a configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import _envelope_sdk as native
from ._toml import dumps
from ._types import Secret, StrPath

__all__ = ["Providers"]


class Providers:
    """The key stores and keys of a configuration.

    Nothing is asked of a network, a token or a person before a key is used, and each key store is opened once, however many of
    its keys are named. Make it once and keep it. It cannot be pickled, and not be used in a process that was forked from the
    one that made it: make it there.

    Keyword arguments of both constructors:

    - ``profile``: a profile of the configuration, which goes before the rest of it.
    - ``keystore``: the file of the local keystore, over what the configuration says.
    - ``passphrase``: what opens the local keystore and envelopes for a passphrase: a ``str``, ``bytes`` in UTF-8, or a function
      that returns either, which is called once, when it is first needed.
    - ``secrets``: other secrets by name, in the same forms: ``"keystore-passphrase"``, ``"pkcs11-pin"``, and those that the key
      stores document.
    - ``actor``: who asks the policy and acts in the audit log, such as ``"library:etl"``.

    Secrets that are not given come from the files that the configuration names, and from the environment, by the names that
    ``envctl`` has: ``ENVCTL_KEYSTORE_PASSPHRASE``, ``ENVCTL_PASSPHRASE``, ``ENVCTL_PKCS11_PIN``.
    """

    __slots__ = ("_native",)
    _native: native.Providers

    def __init__(self) -> None:
        raise TypeError("Providers.from_file or Providers.from_dict makes one")

    @classmethod
    def from_file(
        cls,
        path: StrPath,
        *,
        profile: str | None = None,
        keystore: StrPath | None = None,
        passphrase: Secret | None = None,
        secrets: Mapping[str, Secret] | None = None,
        actor: str | None = None,
    ) -> Providers:
        """Reads a configuration, the same file that ``envctl --config`` reads.

        Raises:
            InputOutputError: It cannot be read, or others may write it.
            UsageError: Something in it cannot be. No value of it is repeated.
        """
        return cls._made(os.fspath(path), None, profile, keystore, passphrase, secrets, actor)

    @classmethod
    def from_dict(
        cls,
        configuration: Mapping[str, Any],
        *,
        profile: str | None = None,
        keystore: StrPath | None = None,
        passphrase: Secret | None = None,
        secrets: Mapping[str, Secret] | None = None,
        actor: str | None = None,
    ) -> Providers:
        """Takes a configuration that the program has: the same names as in the file, with mappings for tables.

        ::

            Providers.from_dict(
                {"keys": ["main"], "aliases": {"main": "local:main"}, "local": {"keystore": "/srv/keystore.json"}},
                passphrase=lambda: vault.read("keystore"),
            )

        Raises:
            UsageError: Something in it cannot be. No value of it is repeated.
        """
        return cls._made(None, dumps(configuration), profile, keystore, passphrase, secrets, actor)

    @classmethod
    def _made(
        cls,
        path: str | None,
        text: str | None,
        profile: str | None,
        keystore: StrPath | None,
        passphrase: Secret | None,
        secrets: Mapping[str, Secret] | None,
        actor: str | None,
    ) -> Providers:
        given = dict(secrets or {})
        if passphrase is not None:
            given["passphrase"] = passphrase
        providers = object.__new__(cls)
        keystore = None if keystore is None else os.fspath(keystore)
        providers._native = native.Providers(path, text, profile, keystore, actor, list(given.items()))
        return providers

    @property
    def keys(self) -> list[str]:
        """The URIs of the keys that encrypt, as the configuration names them."""
        return self._native.keys()[0]

    @property
    def decrypt_keys(self) -> list[str]:
        """The URIs of the keys that may decrypt."""
        return self._native.keys()[1]

    def __repr__(self) -> str:
        return f"<Providers for {', '.join(self.keys) or 'a passphrase'}>"
