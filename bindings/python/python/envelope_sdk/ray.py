"""Rotation and columns on Ray 2 (``pip install "envelope-sdk[ray]"``).

``docs/scale.md`` says when it is worth it. Workers need this package, and the configuration of key stores where it says.

What holds, whichever worker is lost: each item is done once. An item that a lost worker had done already is found in the target
state, and skipped.
"""

# What is not installed has no attributes.
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
import ray
import ray.data

from ._columns import ColumnWork, TableWork
from ._share import FAILED, KeyStores, RotationConfig, Worker, part_of_rate
from .keys import DataKeys

__all__ = [
    "DataKeys",
    "KeyStores",
    "RotationConfig",
    "decrypt_column",
    "encrypt_column",
    "rotate",
    "rotate_column",
    "rotate_dataset",
]


def rotate(
    items: Iterable[str],
    config: RotationConfig,
    *,
    workers: int | None = None,
    batch: int = 1000,
    report: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Brings envelopes to other keys, or to new versions of their keys, and tells what became of each, batch by batch, as they are done.

    Each worker is an actor, so that its limit and its caches last from one batch to the next; Ray starts a lost one again,
    and gives it the batch that it had. The job goes on as the batches are taken: ``for outcomes in rotate(…)``.

    Args:
        items: Paths or URLs of envelopes, as each worker reaches them. An iterator is read as the job goes on.
        workers: Actors; the processors of the cluster if not said. ``config.rate`` is shared out among so many.
        batch: Items that a worker is given at once, at least 1.
        report: A file of this machine, to which a line of JSON is added for each item, and flushed for each batch. If it is there, the
            job goes on with it: items that it names, failed ones excepted, are passed over. It takes the memory of their names. One
            whose name is not UTF-8 stands there with escapes (``\\udcff``), and is looked at again.

    Returns:
        Batches of the columns that :func:`envelope_sdk.spark.rotate` has.

    Raises:
        ValueError: More workers than ``config.rate`` calls in a second; fewer than one item in a batch.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}: at least 1 item")
    workers = _workers(workers)
    parts = [part_of_rate(config.rate, workers, index) for index in range(workers)]
    return _rotate(items, config, parts, batch, report)


def _rotate(
    items: Iterable[str], config: RotationConfig, parts: list[int | None], batch: int, report: str | None
) -> Iterator[pa.RecordBatch]:
    before = set() if report is None else _done(report)
    left = iter(item for item in items if item not in before)
    # Ray starts a lost one again, and calls it again.
    actor = ray.remote(max_restarts=-1, max_task_retries=-1)(Worker)
    idle = [actor.remote(config, part) for part in parts]
    actors, busy = list(idle), {}

    def hand_out() -> None:
        while idle and (some := list(islice(left, batch))):
            free = idle.pop()
            busy[free.items.remote(some)] = free

    try:
        hand_out()
        while busy:
            ended = ray.wait(list(busy), num_returns=1)[0][0]
            outcomes = ray.get(ended)
            idle.append(busy.pop(ended))
            if report is not None:
                _write(report, outcomes)
            # All are at work while the caller looks at these.
            hand_out()
            yield outcomes
    finally:
        for each in actors:
            ray.kill(each)


def rotate_dataset(
    dataset: ray.data.Dataset,
    config: RotationConfig,
    *,
    column: str = "item",
    workers: int | None = None,
    batch: int = 1000,
) -> ray.data.Dataset:
    """As :func:`rotate`, as ``map_batches`` over a dataset, for numbers of items that no single machine holds. It is lazy, and each
    consumption is a rotation: write it once, and read what was written.

    Args:
        column: The column of ``dataset`` with paths or URLs.
        workers: Actors, each of which holds a processor. One less than the cluster has, if not said: what reads the dataset needs one,
            and waits for ever if there is none. Each gets ``config.rate`` divided by so many, rounded down.
    """
    workers = _workers(workers, spare=1)
    part = part_of_rate(config.rate, workers, workers - 1)
    return dataset.map_batches(
        _Items,
        fn_constructor_args=(config, part, column),
        batch_format="pyarrow",
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )


def encrypt_column(
    dataset: ray.data.Dataset,
    column: str,
    keys: DataKeys,
    *,
    by: str | None = None,
    row: tuple[str, str] | None = None,
    context: Mapping[str, str] | None = None,
    workers: int | None = None,
) -> ray.data.Dataset:
    """The dataset with a column sealed, each value as one record, 40 bytes longer. Each worker unwraps each data key once.

    Args:
        column: Of ``binary`` or ``string``; it is ``binary`` then.
        by: The column that has the tenant, where there is a data key for each.
        row: An entry of the context, and the name of the column with its value for each row, such as the primary key.
        context: Entries that hold for all rows.
        workers: Actors, as :func:`rotate_dataset` has them.
    """
    keys.check(by is not None)
    return _map(dataset, workers, ColumnWork("encrypt", keys, row=_entry(row), context=dict(context or {})), column, by, row)


def decrypt_column(
    dataset: ray.data.Dataset,
    column: str,
    keys: DataKeys,
    *,
    by: str | None = None,
    row: tuple[str, str] | None = None,
    context: Mapping[str, str] | None = None,
    text: bool = False,
    workers: int | None = None,
) -> ray.data.Dataset:
    """Opens what :func:`encrypt_column` made, with the same ``by``, ``row`` and ``context``. One record that does not open fails the
    job.

    Args:
        text: Gives ``string`` instead of ``binary``.
    """
    keys.check(by is not None)
    return _map(
        dataset, workers, ColumnWork("decrypt", keys, row=_entry(row), context=dict(context or {}), text=text), column, by, row
    )


def rotate_column(
    dataset: ray.data.Dataset,
    column: str,
    old: DataKeys,
    new: DataKeys,
    *,
    by: str | None = None,
    row: tuple[str, str] | None = None,
    context: Mapping[str, str] | None = None,
    workers: int | None = None,
) -> ray.data.Dataset:
    """Moves the records of a column from one data key to another, of each tenant's where there are several: opened, sealed, and
    opened once more and compared."""
    old.check(by is not None)
    new.check(by is not None)
    return _map(dataset, workers, ColumnWork("rotate", old, new, _entry(row), dict(context or {})), column, by, row)


class _Items:
    """An actor of :func:`rotate_dataset`."""

    def __init__(self, config: RotationConfig, rate: int | None, column: str) -> None:
        self._worker = Worker(config, rate)
        self._column = column

    def __call__(self, batch: pa.Table) -> pa.Table:
        items = batch.column(self._column).to_pylist()
        if None in items:
            raise ValueError("an item is null: drop those rows")
        return pa.Table.from_batches([self._worker.items(items)])


def _map(
    dataset: ray.data.Dataset,
    workers: int | None,
    work: ColumnWork,
    column: str,
    by: str | None,
    row: tuple[str, str] | None,
) -> ray.data.Dataset:
    return dataset.map_batches(
        TableWork,
        fn_constructor_args=(work, column, by, None if row is None else row[1]),
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=_workers(workers, spare=1)),
    )


def _entry(row: tuple[str, str] | None) -> str | None:
    return None if row is None else row[0]


def _workers(workers: int | None, spare: int = 0) -> int:
    processors = int(ray.cluster_resources().get("CPU", 1))
    if workers is None:
        workers = max(1, processors - spare)
    if workers < 1:
        raise ValueError(f"workers is {workers}: at least 1")
    if workers > processors - spare:
        held = "beside what reads the dataset" if spare else "for them"
        warnings.warn(
            f"{workers} workers hold a processor each, and the cluster has {processors}, {held}: unless it grows, this waits for ever",
            stacklevel=3,
        )
    return workers


def _done(report: str) -> set[str]:
    """The items of a report that are not to be done again. A line that is cut off was not flushed: its item is not among them."""
    done: set[str] = set()
    try:
        file = open(report, encoding="utf-8")
    except FileNotFoundError:
        return done
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                break
            try:
                outcome = json.loads(line)
                if outcome["outcome"] != FAILED:
                    done.add(outcome["item"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"line {number} of {report} is no outcome: name another report, or mend that line") from error
    return done


def _write(report: str, outcomes: pa.RecordBatch) -> None:
    lines = "".join(json.dumps(outcome) + "\n" for outcome in outcomes.to_pylist())
    # After the last whole line: a job that was killed may have left half of one.
    with open(report, "a+b") as file:
        _cut_half_line(file)
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())


def _cut_half_line(file: Any) -> None:
    size = file.seek(0, os.SEEK_END)
    at = size
    while at > 0:
        begin = max(0, at - 65536)
        file.seek(begin)
        newline = file.read(at - begin).rfind(b"\n")
        if newline >= 0:
            at = begin + newline + 1
            break
        at = begin
    if at < size:
        file.truncate(at)
    file.seek(0, os.SEEK_END)
