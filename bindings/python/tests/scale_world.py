"""A keystore with two keys, its configuration, and files that are encrypted under the first: what the tests of Spark and Ray rotate."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

# What another implementation makes keystores with.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "vectors"))

from generator.keystore import Store  # noqa: E402

from envelope_sdk import Envelope, Providers  # noqa: E402

PASSPHRASE = "a passphrase of a test that no plan and no log may have"
OLD, NEW = "local:main", "local:next"


class World:
    """A folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passphrase_file = folder / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE)
        self.passphrase_file.chmod(0o600)
        self.config = folder / "keys.toml"
        keystore = folder / "keystore.json"
        self.config.write_text(
            f'keys = ["{OLD}"]\ndecrypt-keys = ["{NEW}"]\n'
            f'[local]\nkeystore = "{keystore}"\npassphrase-file = "{self.passphrase_file}"\n'
        )
        self.config.chmod(0o600)
        store = Store(str(folder), PASSPHRASE)
        for key in (OLD, NEW):
            store.add(key.removeprefix("local:"))
        keystore.write_text(store.text())
        keystore.chmod(0o600)
        self.providers = Providers.from_file(self.config)
        self.envelope = Envelope(self.providers)

    def files(self, number: int, name: str = "items") -> list[str]:
        """So many envelopes, each with its own name for a plaintext."""
        below = self.folder / name
        below.mkdir()
        paths = [below / f"{index:04}.envelope" for index in range(number)]
        for path in paths:
            path.write_bytes(self.envelope.encrypt(path.name.encode()))
        return [str(path) for path in paths]

    def changed(self, before: dict[str, bytes]) -> int:
        """How many of these files are others by now."""
        return sum(Path(path).read_bytes() != was for path, was in before.items())

    def require_each_done_once(self, paths: list[str]) -> None:
        """Each was rewrapped once, for the new key alone, and opens to what it was."""
        new_alone = Envelope(self.providers, keys=[NEW], decrypt_with=[])
        for path in paths:
            sealed = Path(path).read_bytes()
            header = self.envelope.inspect(sealed)
            assert header.generation == 1, f"{path}: generation {header.generation}"
            assert new_alone.decrypt(sealed) == Path(path).name.encode()


def contents(paths: list[str]) -> dict[str, bytes]:
    return {path: Path(path).read_bytes() for path in paths}


def until(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for it, and fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Beside(threading.Thread):
    """Runs something beside the test, and raises in the test what went wrong in it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work, self._error = work, None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001
            self._error = error

    def end(self) -> None:
        self.join(60)
        if self._error is not None:
            raise self._error
        assert not self.is_alive(), "it is still at work"
