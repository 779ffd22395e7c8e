"""Rotation and columns on Spark 4 (``pip install "envelope-sdk[spark]"``).

``docs/scale.md`` says when it is worth it. Workers need this package, and the configuration of key stores where it says.

What holds, whichever executor is lost: each item is done once. An item that a lost worker had done already is found in the target
state, and skipped; one that two workers hold at a moment is written by one of them, by compare-and-swap.
"""

# What is not installed has no attributes.
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel, TaskContext
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from . import rotation
from ._columns import ColumnWork
from ._share import FAILED, KeyStores, RotationConfig, part_of_rate, worker
from .keys import DataKeys

__all__ = [
    "DataKeys",
    "KeyStores",
    "RotationConfig",
    "decrypt_column",
    "encrypt_column",
    "rotate",
    "rotate_column",
    "rotate_envelopes",
]

#: The columns of outcomes.
OUTCOME_COLUMNS = (
    "item string, outcome string, reasons array<string>, generation bigint, bytes bigint, error string, kind string, worker string"
)


def rotate(
    items: DataFrame | str | Sequence[str],
    config: RotationConfig,
    *,
    column: str = "item",
    workers: int | None = None,
    report: str | None = None,
    rounds: int = 1,
) -> DataFrame:
    """Brings envelopes to other keys, or to new versions of their keys, and tells what became of each.

    Args:
        items: A frame with paths or URLs of envelopes, as each worker reaches them; or paths and URLs that this program lists, for
            numbers that its memory holds. For more, read the inventory that the object store writes. The frame must give the
            same rows whenever Spark evaluates it, as it does after a loss: none by ``limit``, ``sample`` or ``rand``.
        column: The column of ``items``.
        workers: Tasks, at most, that may run at once; ``spark.default.parallelism`` if not said. ``config.rate`` is shared out among
            so many. Speculative execution runs a task twice: leave it off.
        report: A folder for the outcomes, as Parquet. With it the job runs now, and goes on with a report that is there: items
            that it names, failed ones excepted, are passed over.
        rounds: With ``report``: parts that are run and written one after the other. A driver that is lost costs the
            outcomes of one of them.

    Returns:
        One row for each item: ``item``, ``outcome`` (``rewrapped``, ``reencrypted``, ``in-target-state``, ``done-before``,
        ``passed-over``, ``failed``), ``reasons``, ``generation`` of the header now, ``bytes`` written, ``error`` and its
        ``kind``, and ``worker``, its host and process. **Without** ``report`` **the frame is lazy: each action on it is a
        rotation.** Write it once, and read what was written.

    Raises:
        ValueError: More workers than ``config.rate`` calls in a second; or fewer than one round.
    """
    frame = _items(items, column)
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: at least 1")
    if report is None:
        if rounds != 1:
            raise ValueError("rounds are written one after the other: give a report")
        return _outcomes(frame, config, workers)
    spark = frame.sparkSession
    done = _report(spark, report)
    if done is not None:
        frame = frame.join(done.where(F.col("outcome") != FAILED).select("item"), "item", "left_anti")
    # Evaluated once, whatever the number of rounds.
    frame = frame.persist(StorageLevel.DISK_ONLY)
    try:
        for turn in range(rounds):
            part = frame if rounds == 1 else frame.where(F.pmod(F.xxhash64("item"), F.lit(rounds)) == turn)
            _outcomes(part, config, workers).write.mode("append").parquet(report)
    finally:
        frame.unpersist()
    return read_report(spark, report)


def read_report(spark: SparkSession, report: str) -> DataFrame:
    """The outcomes of a report, one for each item: of one that was tried several times, that which is no failure, if there is one.

    Raises:
        FileNotFoundError: There is no report.
    """
    outcomes = _report(spark, report)
    if outcomes is None:
        raise FileNotFoundError(f"there is no report at {report}")
    done = outcomes.where(F.col("outcome") != FAILED)
    failed = outcomes.where(F.col("outcome") == FAILED).dropDuplicates(["item"])
    return done.unionByName(failed.join(done.select("item"), "item", "left_anti"))


def rotate_envelopes(
    frame: DataFrame, column: str, config: RotationConfig, *, workers: int | None = None, batch: int = 1000
) -> DataFrame:
    """Brings the envelopes in a column, or the headers of data keys, to other keys: the frame with what they are now in their
    place, and the columns ``outcome`` and ``error``. Nulls stay, without an outcome.

    Nothing is written: the frame is, by whoever writes it. It is lazy, and each action asks the key stores anew.

    Args:
        column: Of ``binary``: whole envelopes, of which a batch is in memory twice, or headers.
        batch: Rows that a task does at once, at least 1.

    Raises:
        KeyError: There is no such column, as it is written, or there are several.
        ValueError: More workers than ``config.rate`` calls in a second.
    """
    if frame.columns.count(column) != 1:
        raise KeyError(f"there is no column {column!r}, or there are several")
    workers = _workers(frame.sparkSession, workers, config)
    schema = f"{_schema(frame)}, outcome string, error string"

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _envelopes_of_task(batches, column, config, workers, batch)

    # So many tasks and no more share the limit.
    return frame.coalesce(workers).mapInArrow(run, schema)


def encrypt_column(
    column: Column | str,
    keys: DataKeys,
    *,
    by: Column | str | None = None,
    row: tuple[str, Column | str] | None = None,
    context: Mapping[str, str] | None = None,
) -> Column:
    """Seals a column of ``binary`` or ``string``, each value as one record, 40 bytes longer. Each task unwraps each data key once.

    Args:
        by: The column that has the tenant, where there is a data key for each.
        row: An entry of the context, and the column with its value for each row, such as the primary key. Without it a record can be
            moved to another row unseen.
        context: Entries that hold for all rows.

    Returns:
        A column of ``binary``.

    Raises:
        ValueError: ``by`` without data keys of tenants, or the reverse.
    """
    keys.check(by is not None)
    work = ColumnWork("encrypt", keys, row=_entry(row), context=dict(context or {}))
    # Two evaluations give two different records.
    return _udf(work, by is not None, "binary", deterministic=False)(*_columns(column, by, row))


def decrypt_column(
    column: Column | str,
    keys: DataKeys,
    *,
    by: Column | str | None = None,
    row: tuple[str, Column | str] | None = None,
    context: Mapping[str, str] | None = None,
    text: bool = False,
) -> Column:
    """Opens what :func:`encrypt_column` made, with the same ``by``, ``row`` and ``context``. One record that does not open fails the
    task, and with it the job.

    Args:
        text: Gives ``string`` instead of ``binary``.
    """
    keys.check(by is not None)
    work = ColumnWork("decrypt", keys, row=_entry(row), context=dict(context or {}), text=text)
    return _udf(work, by is not None, "string" if text else "binary", deterministic=True)(*_columns(column, by, row))


def rotate_column(
    column: Column | str,
    old: DataKeys,
    new: DataKeys,
    *,
    by: Column | str | None = None,
    row: tuple[str, Column | str] | None = None,
    context: Mapping[str, str] | None = None,
) -> Column:
    """Moves the records of a column from one data key to another, of each tenant's where there are several: opened, sealed, and
    opened once more and compared. ``row`` and ``context`` stay.

    Key stores are asked once for each data key and task, however many records there are.
    """
    old.check(by is not None)
    new.check(by is not None)
    work = ColumnWork("rotate", old, new, _entry(row), dict(context or {}))
    return _udf(work, by is not None, "binary", deterministic=False)(*_columns(column, by, row))


def _udf(work: ColumnWork, has_by: bool, returns: str, *, deterministic: bool) -> Any:
    if not hasattr(F, "arrow_udf"):
        raise NotImplementedError("column functions need arrow_udf: Spark 4.1 or newer")

    def run(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        return _columns_of_task(batches, work, has_by)

    run.__name__ = f"envelope_{work.verb}"
    # What it takes and gives, Spark reads from its annotations.
    udf = F.arrow_udf(run, returns)
    return udf if deterministic else udf.asNondeterministic()


def _columns_of_task(batches: Iterator[Any], work: ColumnWork, has_by: bool) -> Iterator[pa.Array]:
    task = work.begin()
    for batch in batches:
        column, *others = batch if isinstance(batch, tuple) else (batch,)
        by = others.pop(0) if has_by else None
        yield task(column, by, others.pop(0) if others else None)


def _columns(
    column: Column | str, by: Column | str | None, row: tuple[str, Column | str] | None
) -> list[Column | str]:
    columns = [column]
    if by is not None:
        columns.append(by)
    if row is not None:
        columns.append(row[1])
    return columns


def _entry(row: tuple[str, Column | str] | None) -> str | None:
    return None if row is None else row[0]


def _items(items: DataFrame | str | Sequence[str], column: str) -> DataFrame:
    if isinstance(items, DataFrame):
        return items.select(F.col(column).cast("string").alias("item"))
    spark = SparkSession.getActiveSession()
    if spark is None:
        raise ValueError("there is no Spark session that could list: begin one, or give a frame")
    names = pa.table({"item": pa.array(rotation.items([items] if isinstance(items, str) else list(items)), pa.string())})
    return spark.createDataFrame(names)


def _outcomes(frame: DataFrame, config: RotationConfig, workers: int | None) -> DataFrame:
    workers = _workers(frame.sparkSession, workers, config)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _items_of_task(batches, config, workers)

    # By the name, so that a task that is run again has the items that it had, and one that is named twice is in one task. So many tasks
    # and no more share the limit.
    return frame.repartition(workers, "item").mapInArrow(run, OUTCOME_COLUMNS)


def _items_of_task(batches: Iterator[pa.RecordBatch], config: RotationConfig, workers: int) -> Iterator[pa.RecordBatch]:
    mine = None
    for batch in batches:
        if mine is None:
            mine = worker(config, part_of_rate(config.rate, workers, _index()))
        items = batch.column("item").to_pylist()
        if None in items:
            raise ValueError("an item is null: drop those rows")
        yield mine.items(items)


def _envelopes_of_task(
    batches: Iterator[pa.RecordBatch], column: str, config: RotationConfig, workers: int, most: int
) -> Iterator[pa.RecordBatch]:
    mine = None
    for whole in batches:
        at = whole.schema.get_field_index(column)
        for begin in range(0, whole.num_rows, most):
            batch = whole.slice(begin, most)
            if mine is None:
                mine = worker(config, part_of_rate(config.rate, workers, _index()))
            before = batch.column(at).to_pylist()
            there = [index for index, envelope in enumerate(before) if envelope is not None]
            now, outcomes = mine.envelopes([before[index] for index in there])
            after, outcome, error = list(before), [None] * len(before), [None] * len(before)
            for index, envelope, became, why in zip(
                there, now, outcomes.column("outcome").to_pylist(), outcomes.column("error").to_pylist(), strict=True
            ):
                after[index], outcome[index], error[index] = envelope, became, why
            columns = list(batch.columns)
            columns[at] = pa.array(after, batch.schema.field(at).type)
            columns += [pa.array(outcome, pa.string()), pa.array(error, pa.string())]
            yield pa.RecordBatch.from_arrays(columns, [*batch.schema.names, "outcome", "error"])


def _index() -> int:
    context = TaskContext.get()
    assert context is not None, "outside of a task"
    return int(context.partitionId())


def _workers(spark: SparkSession, workers: int | None, config: RotationConfig) -> int:
    if workers is None:
        context = getattr(spark, "sparkContext", None)
        if context is None:
            raise ValueError("over Spark Connect nobody tells how many tasks run at once: say workers")
        workers = int(context.defaultParallelism)
    # Here, and not first on a worker.
    part_of_rate(config.rate, workers, 0)
    return workers


def _report(spark: SparkSession, report: str) -> DataFrame | None:
    try:
        return spark.read.schema(OUTCOME_COLUMNS).parquet(report)
    except AnalysisException as error:
        if "PATH_NOT_FOUND" in str(error):
            return None
        raise


def _schema(frame: DataFrame) -> str:
    return ", ".join(f"`{field.name.replace('`', '``')}` {field.dataType.simpleString()}" for field in frame.schema.fields)
