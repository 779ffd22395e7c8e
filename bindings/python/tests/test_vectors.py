"""The vectors: every one that succeeds opens, and every other one raises the exception of its class."""

from __future__ import annotations

import base64
import hashlib
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from conftest import ROOT, Store
from envelope_sdk import Envelope, Providers, errors, inspect

sys.path.insert(0, str(ROOT / "tests/interop"))

import generator.keystore as keystores  # noqa: E402
from vector_files import Vector  # noqa: E402

PASSPHRASE = "of the keystore of a test"

# What each word of a vector is here. Local keys that are not configured are not in the keystore, which is asked for them.
RAISES: dict[str, tuple[type[errors.EnvelopeError], ...]] = {
    "format failure": (errors.FormatError,),
    "no configured key": (errors.NoConfiguredKeyError, errors.KeyNotFoundError),
    "unsupported wrap": (errors.UnsupportedError,),
    "not authentic": (errors.NotAuthenticError,),
    "cannot be rewrapped": (errors.UsageError,),
}

# Those of keystore files: what is not authentic is told from a file that cannot be read.
RAISES_OF_KEYSTORES: dict[str, tuple[type[errors.EnvelopeError], ...]] = {
    "format failure": (errors.InputOutputError,),
    "too large": (errors.InputOutputError,),
    "unsupported version": (errors.InputOutputError,),
    "unsupported parameters": (errors.InputOutputError,),
    "wrong passphrase": (errors.NotAuthenticError,),
    "not authentic": (errors.NotAuthenticError,),
}


# A keystore has no number between two that never was: what it does not hold is one that was destroyed.
RAISES_OTHERWISE = {"recipients/version-not-held.vec": errors.KeyStateError}

# The keystores made here have different keys and one passphrase, which is hashed once.
keystores.hash_secret_raw = lru_cache(keystores.hash_secret_raw)


def read(path: Path) -> Any:
    return Vector(path.read_bytes())


def vectors(*kinds: str) -> list[tuple[str, Any]]:
    every = [(str(path.relative_to(ROOT / "vectors")), read(path)) for path in sorted((ROOT / "vectors").rglob("*.vec"))]
    return [(name, vector) for name, vector in every if vector.kind in kinds]


def keystore(folder: Path, identifier: str, keks: dict[tuple[str, int], bytes]) -> Path:
    """A file with these KEKs. Versions between them were destroyed."""
    store = Store("keystore of a test", PASSPHRASE)
    store.id = store.document["id"] = identifier
    store.protect()
    for name in sorted({name for name, _ in keks}):
        versions = []
        for number in range(1, max(version for of, version in keks if of == name) + 1):
            kek = keks.get((name, number))
            state = "destroyed" if kek is None else "active"
            nonce = hashlib.shake_128(f"{name} {number}".encode()).digest(24)
            wrapped = kek and keystores.xaes_seal(store.wrapping_key, nonce, kek, store.binding(name, number))
            versions.append(
                {
                    "version": number,
                    "state": state,
                    "created": 1767225600,
                    "wrapped_kek": wrapped and base64.b64encode(wrapped).decode(),
                }
            )
        store.document["keys"][name] = {"state": "active", "archived": False, "created": 1767225600, "versions": versions}
    path = folder / f"{uuid.uuid4()}.json"
    path.write_text(store.text())
    path.chmod(0o600)
    return path


def opener(folder: Path, vector: Any) -> Envelope | None:
    """An envelope with the keys of a vector; None for keys that no keystore holds."""
    keks: dict[tuple[str, int], bytes] = {}
    identifiers = set()
    for uri, version, kek in vector.keks():
        if not uri.startswith("local://") or not version.isdigit():
            return None
        identifier, name = uri.removeprefix("local://").split("/")
        identifiers.add(identifier)
        keks[name, int(version)] = kek
    if len(identifiers) > 1:
        return None
    names = [f"local:{name}" for name in sorted({name for name, _ in keks})]
    passphrase = vector.passphrase()
    if passphrase is not None:
        names.append("passphrase:")
    configuration: dict[str, Any] = {"keys": names or ["local:nobody"]}
    path = keystore(folder, *(identifiers or {"0" * 32}), keks)
    configuration["local"] = {"keystore": str(path)}
    secrets: dict[str, Any] = {"keystore-passphrase": PASSPHRASE, "new-passphrase": "another one"}
    return Envelope(Providers.from_dict(configuration, passphrase=passphrase, secrets=secrets))


def opened(env: Envelope, vector: Any) -> bytes:
    context = vector.entries("context") | vector.entries("withheld-value")
    armor = vector.armor
    if vector.kind == "envelope":
        return env.decrypt(vector.parts[0], context, armor=armor)
    if vector.kind == "rewrap":
        return env.rewrap(vector.parts[0], [plan(line) for line in vector.all("write-recipient")], context=context)
    header, second = vector.parts
    if vector.kind == "detached":
        return env.decrypt_detached(header, second, context, armor=armor)
    own = vector.entries("record-context")
    return env.open_data_key(header, context, record=second, record_context=own, armor=armor).open(second, own)


def plan(recipient: str) -> str:
    uri = recipient.split(" ")[0]
    return "passphrase:" if uri == "passphrase:" else f"local:{uri.rsplit('/', 1)[1]}"


def problem(name: str, env: Envelope, vector: Any) -> str | None:
    """None, or what is not as expected."""
    try:
        result = opened(env, vector)
    except errors.EnvelopeError as error:
        if vector.expected == "success":
            return f"{type(error).__name__}: {error}"
        wanted = (RAISES_OTHERWISE[name],) if name in RAISES_OTHERWISE else RAISES[vector.expected]
        return None if type(error) in wanted else f"{vector.expected}, and not {type(error).__name__}: {error}"
    if vector.expected != "success":
        return f"{vector.expected}, and it opened"
    if vector.kind == "rewrap":
        new, wished = inspect(result), inspect(vector.parts[1])
        same = ("kind", "envelope_id", "generation", "context", "withheld")
        return next((field for field in same if getattr(new, field) != getattr(wished, field)), None)
    form, _, value = vector.one("payload").partition(" ")
    shown = {"hex": bytes.hex, "sha256": lambda data: hashlib.sha256(data).hexdigest()}[form](result)
    return None if shown == value else "another plaintext"


def test_every_vector_comes_to_its_class(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    wrong: list[str] = []
    counts: dict[str, int] = {}

    def check(named: tuple[str, Any]) -> None:
        name, vector = named
        if vector.all("service"):
            # The answers of a service are recorded for readers that ask it by themselves.
            key = "services"
        else:
            env = opener(tmp_path, vector)
            if env is None:
                key = "other keys"
            else:
                key = vector.expected
                said = problem(name, env, vector)
                if said is not None:
                    wrong.append(f"{name}: {said}")
        counts[key] = counts.get(key, 0) + 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, vectors("envelope", "detached", "record", "rewrap")))
    assert not wrong, f"{len(wrong)} vectors:\n" + "\n".join(sorted(wrong))
    # Those of keys that are no local ones, or of two keystores, or have a version that no keystore has.
    assert counts.pop("other keys") <= 8, counts
    assert counts.pop("services") > 200
    assert set(counts) == {"success", *RAISES}
    assert counts["success"] > 100 and counts["format failure"] > 150, counts


def test_every_keystore_comes_to_its_class(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    wrong: list[str] = []
    counts: dict[str, int] = {}

    def check(named: tuple[str, Any]) -> None:
        name, vector = named
        path = tmp_path / f"{name.replace('/', '-')}.json"
        path.write_bytes(vector.parts[0] + b" " * int((vector.all("append-spaces") or ["0"])[0]))
        path.chmod(0o600)
        keys = [line.split(" ") for line in vector.all("key")]
        usable = [key[0] for key in keys if key[1:] == ["active"]]
        configuration = {"keys": [f"local:{usable[0] if usable else 'a'}"], "local": {"keystore": str(path)}}
        try:
            # Whether there is a key of this name is asked of the file already.
            env = Envelope(Providers.from_dict(configuration, passphrase=vector.passphrase()))
            sealed = env.encrypt(b"data")
            said = None if vector.expected == "success" and env.decrypt(sealed) == b"data" else "it opened"
        except errors.KeyRefusedError as error:
            # It is open, and no key of it encrypts.
            said = None if vector.expected == "success" and not usable else repr(error)
        except errors.EnvelopeError as error:
            wanted = RAISES_OF_KEYSTORES.get(vector.expected, ())
            said = None if type(error) in wanted else f"{vector.expected}, and not {type(error).__name__}: {error}"
        if said is not None:
            wrong.append(f"{name}: {said}")
        counts[vector.expected] = counts.get(vector.expected, 0) + 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, vectors("keystore")))
    assert not wrong, f"{len(wrong)} vectors:\n" + "\n".join(sorted(wrong))
    assert set(counts) == {"success", *RAISES_OF_KEYSTORES}
    assert sum(counts.values()) > 300
