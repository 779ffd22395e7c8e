"""What the workers of one rotation share, and what each does: the configuration that is sent to them, their part of the limit, and
the outcomes that they send back. Knows no engine.

No passphrase and no key is sent: a configuration names files and variables that each worker reads by itself.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from . import Providers, rotation

#: One row for each item.
OUTCOMES = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("generation", pa.int64()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("worker", pa.string(), nullable=False),
    ]
)

#: The outcome of an item that is as it was, and that a job which goes on with a report tries again.
FAILED = "failed"

#: A configuration of key stores: the path of a file, or what it would say.
ProvidersSource = str | os.PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True)
class KeyStores:
    """How a worker reaches key stores. It is sent to workers, and may be shown and logged: it holds no secret.

    Args:
        providers: The path of ``envctl``'s configuration file, which must be the same on each worker, or a mapping with the keys of
            such a file.
        passphrase_env: The variable of each worker's environment that has the passphrase of the keystore. Without it, the
            passphrase is that of the file that the configuration names (``[local] passphrase-file``), as each worker reads it, or of
            ``ENVCTL_KEYSTORE_PASSPHRASE``.
    """

    providers: ProvidersSource
    passphrase_env: str | None = None

    def __post_init__(self) -> None:
        named = self.providers
        object.__setattr__(self, "providers", dict(named) if isinstance(named, Mapping) else os.fspath(named))

    @classmethod
    def of(cls, named: KeyStores | ProvidersSource) -> KeyStores:
        """Key stores as they are, or those of a configuration."""
        return named if isinstance(named, KeyStores) else cls(named)

    def open(self) -> Providers:
        """Opens them, on a worker. No key store is asked for anything yet."""
        passphrase: Callable[[], bytes] | None = None
        if self.passphrase_env is not None:
            name = self.passphrase_env
            if name not in os.environ:
                raise ValueError(f"the environment of this worker has no {name}, which shall have the passphrase of the keystore")
            passphrase = lambda: os.environb[name.encode()]  # noqa: E731
        if isinstance(self.providers, Mapping):
            return Providers.from_dict(dict(self.providers), passphrase=passphrase)
        return Providers.from_file(self.providers, passphrase=passphrase)


@dataclass(frozen=True)
class RotationConfig:
    """What a rotation shall bring about, and how fast. It is sent to workers. It may be shown and logged: it holds neither passphrases nor
    keys, and its ``repr`` leaves ``context`` out.

    Args:
        key_stores: How each worker reaches key stores, or the path of a configuration file.
        to: The keys that shall open each envelope, and no others; those of the configuration, if nothing is said.
        add: Instead of ``to``: keys that shall open it too.
        remove: Instead of ``to``: keys that shall not. Those that stay must be among ``from_``.
        from_: Keys that may open envelopes before, beside ``to``. Those of the configuration, if nothing is said, and not otherwise.
        reencrypt: A new data key for each envelope, and all of it encrypted anew.
        older_than: Change what was last written before this moment, whatever its keys: for key stores that tell no version, such as AWS
            KMS. Seconds since 1970, or a ``datetime`` with its zone.
        context: Values of encryption contexts that headers withhold. They are sent to workers, in the tasks of the engine.
        concurrency: Items that a worker has under way at once, at least 1.
        rate: Most calls in a second to each key store **of all workers together**. Each gets its part. ``None``: as many as there can be.
    """

    key_stores: KeyStores | ProvidersSource
    to: Sequence[str] = ()
    from_: Sequence[str] = ()
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    reencrypt: bool = False
    older_than: float | datetime | None = None
    context: Mapping[str, str] = field(default_factory=dict, repr=False)
    concurrency: int = 16
    rate: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_stores", KeyStores.of(self.key_stores))
        for name in ("to", "from_", "add", "remove"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is a list of keys, not one text: [{getattr(self, name)!r}]")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "context", dict(self.context))
        if self.rate is not None and self.rate < 1:
            raise ValueError(f"rate is {self.rate}: at least 1 call in a second, or None for no limit")
        if self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}: at least 1 item at once")


def part_of_rate(rate: int | None, workers: int, index: int) -> int | None:
    """The calls in a second of worker ``index``, from 0. The parts add up to ``rate``.

    Raises:
        ValueError: There are more workers than calls in a second: some could make none.
    """
    if workers < 1:
        raise ValueError(f"there are {workers} workers: at least 1")
    if rate is None:
        return None
    if rate < workers:
        raise ValueError(f"{workers} workers cannot share {rate} calls in a second: take at most {rate} workers")
    return rate // workers + (1 if index < rate % workers else 0)


class Worker:
    """What one process does of a rotation. Its limit and its caches last as long as it does."""

    def __init__(self, config: RotationConfig, rate: int | None) -> None:
        self._runner = rotation.Runner(
            KeyStores.of(config.key_stores).open(),
            to=config.to or None,
            from_=config.from_ or None,
            add=config.add or None,
            remove=config.remove or None,
            reencrypt=config.reencrypt,
            older_than=config.older_than,
            context=dict(config.context),
            concurrency=config.concurrency,
            rate=rate,
        )
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def items(self, items: Sequence[str]) -> pa.RecordBatch:
        """Does these items and no others, and gives an outcome for each, in their order."""
        return self._batch(list(items), self._runner.run_items(list(items)))

    def envelopes(self, envelopes: Sequence[bytes]) -> tuple[list[bytes], pa.RecordBatch]:
        """As :meth:`items`, over envelopes and headers of data keys in memory: gives them as they are then, and their outcomes."""
        done = self._runner.run_envelopes(list(envelopes))
        names = [str(index) for index in range(len(done))]
        return [bytes(envelope) for _, envelope in done], self._batch(names, [outcome for outcome, _ in done])

    def _batch(self, names: list[str], outcomes: Iterable[Any]) -> pa.RecordBatch:
        rows = [(name, outcome) for name, outcome in zip(names, outcomes, strict=True)]
        columns = {
            "item": [_as_text(name) for name, _ in rows],
            "outcome": [outcome.outcome for _, outcome in rows],
            "reasons": [list(outcome.reasons) for _, outcome in rows],
            "generation": [outcome.generation for _, outcome in rows],
            "bytes": [outcome.bytes for _, outcome in rows],
            "error": [outcome.error for _, outcome in rows],
            "kind": [outcome.kind for _, outcome in rows],
            "worker": [self._name] * len(rows),
        }
        return pa.RecordBatch.from_pydict(columns, schema=OUTCOMES)


def _as_text(name: str) -> str:
    """The name, with escapes where it is not UTF-8: a column of text holds nothing else, and what was done must be told all the same."""
    return name.encode(errors="backslashreplace").decode()


def worker(config: RotationConfig, rate: int | None) -> Worker:
    """The worker of this process for a configuration: that of the call before, if it is the same, so that engines which hand a process
    one batch after the other neither begin its limit anew nor hash its passphrase again."""
    global _last
    # Themselves, and not how they are shown: that tells no value of a context, and an envelope of one would be opened with another's.
    key = (config, rate)
    if _last is None or _last[0] != key:
        _last = (key, Worker(config, rate))
    return _last[1]


_last: tuple[tuple[RotationConfig, int | None], Worker] | None = None
