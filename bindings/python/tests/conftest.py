"""What the tests share: a keystore that another implementation made, and the configuration over it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "vectors"))

from generator.keystore import Store  # noqa: E402

from envelope_sdk import Envelope, Providers  # noqa: E402

PASSPHRASE = "correct horse"
KEYS = ("main", "new", "old", "other")


@dataclass
class Place:
    """A folder with a keystore."""

    folder: Path
    keystore: Path
    store: Store

    def providers(self, configuration: dict[str, Any] | None = None, **more: Any) -> Providers:
        wanted: dict[str, Any] = {"keys": ["local:main"], "decrypt-keys": ["local:old"]}
        wanted |= {"local": {"keystore": str(self.keystore)}}
        given: dict[str, Any] = {"passphrase": PASSPHRASE} | more
        return Providers.from_dict(wanted | (configuration or {}), **given)

    def envelope(self, *keys: str) -> Envelope:
        return Envelope(self.providers(), keys or None)

    def uri(self, name: str) -> str:
        return f"local://{self.store.id}/{name}"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    tmp_path.chmod(0o700)
    store = Store(str(tmp_path), PASSPHRASE)
    for name in KEYS:
        store.add(name)
    keystore = tmp_path / "keystore.json"
    keystore.write_text(store.text())
    keystore.chmod(0o600)
    return Place(tmp_path, keystore, store)


@pytest.fixture
def env(place: Place) -> Envelope:
    return place.envelope()


@pytest.fixture(autouse=True)
def no_secrets_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ENVCTL_")]:
        monkeypatch.delenv(name)
