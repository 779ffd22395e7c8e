"""Rotation and columns on Spark 4: two executors of their own, one of which is killed half-way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pyspark = pytest.importorskip("pyspark")

from pyspark.sql import SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402

from envelope_sdk import spark as on_spark  # noqa: E402
from envelope_sdk.keys import DataKeys  # noqa: E402
from envelope_sdk.spark import KeyStores, RotationConfig  # noqa: E402
from scale_world import NEW, OLD, PASSPHRASE, Beside, World, contents, until  # noqa: E402

WORKERS = 2
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
# Executors inherit it, as the tasks of a cluster do the variables of their container.
os.environ["ENVELOPE_TEST_SECRET"] = PASSPHRASE


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("spark"))


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("engine")
    # Executors write their logs to a folder of Spark's home, which others use too.
    home = folder / "home"
    home.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (home / entry.name).symlink_to(entry)
    os.environ["SPARK_HOME"] = str(home)
    # Where they come from is known by now to the executors' Python too.
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)])
    session = (
        SparkSession.builder.master(f"local-cluster[{WORKERS},1,1024]")
        .appName("envelope-sdk tests")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.pyspark.python", sys.executable)
        .config("spark.local.dir", str(folder / "local"))
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "10")
        .config("spark.default.parallelism", str(WORKERS))
        .config("spark.sql.shuffle.partitions", str(WORKERS))
        # Half a minute of compilers, for jobs of seconds.
        .config("spark.driver.extraJavaOptions", QUICK)
        .config("spark.executor.extraJavaOptions", QUICK)
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.eventLog.enabled", "true")
        .config("spark.eventLog.dir", (folder / "log").as_uri())
        .config("spark.eventLog.compress", "false")
    )
    (folder / "log").mkdir()
    session = session.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.log_folder = folder  # type: ignore[attr-defined]
    yield session
    session.stop()


def executors(spark: SparkSession) -> list[int]:
    """The processes of the executors."""

    def machine_of(_: object) -> int:
        # A worker of Python is a child of a daemon, which the executor started.
        time.sleep(0.2)  # So that not one executor takes both; who does is found out below.
        with open(f"/proc/{os.getppid()}/stat", encoding="ascii") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[1])

    found: set[int] = set()

    def all_are_found() -> bool:
        found.update(spark.sparkContext.parallelize(range(WORKERS), WORKERS).map(machine_of).collect())
        return len(found) == WORKERS

    until("each executor has had a task", all_are_found)
    return sorted(found)


def test_a_lost_executor_loses_nothing_and_does_nothing_twice(spark, world, capfd) -> None:
    number, rate = 80, 60
    paths = world.files(number, "lost")
    before = contents(paths)
    victim = executors(spark)[0]
    frame = spark.createDataFrame([(path,) for path in paths], "path string")
    # The parts that the two of them get.
    of_part = frame.repartition(WORKERS, "path").select("path", F.spark_partition_id().alias("part")).collect()
    parts = [{row.path: before[row.path] for row in of_part if row.part == part} for part in range(WORKERS)]
    killed_at: list[int] = []

    def kill() -> None:
        until("some of each part is done", lambda: all(world.changed(part) >= 3 for part in parts))
        os.kill(victim, signal.SIGKILL)
        killed_at.extend(len(part) - world.changed(part) for part in parts)

    config = RotationConfig(world.config, to=[NEW], rate=rate, concurrency=4)
    outcomes = on_spark.rotate(frame, config, column="path", workers=WORKERS)
    killing, begun = Beside(kill), time.monotonic()
    rows = outcomes.collect()
    took = time.monotonic() - begun
    killing.end()

    assert all(left > 0 for left in killed_at), f"it was killed too late to matter: {killed_at} were left"
    assert sorted(row.item for row in rows) == sorted(paths)
    counts = Counter(row.outcome for row in rows)
    assert set(counts) == {"rewrapped", "in-target-state"}, [row.error for row in rows if row.error]
    # What the lost one had done is found done, and not done again.
    assert counts["in-target-state"] >= 3
    world.require_each_done_once(paths)
    # Two calls for each at least, no more than the limit in any second, and as many at once when each worker begins.
    assert took > (2 * number - rate) / rate, f"{took} s"


def test_a_report_is_gone_on_with(spark, world, tmp_path) -> None:
    paths = world.files(8, "report")
    damaged = Path(paths[3])
    whole = damaged.read_bytes()
    damaged.write_bytes(b"no envelope at all")
    config = RotationConfig(world.config, to=[NEW])
    report = str(tmp_path / "report")
    few, frame = (spark.createDataFrame([(path,) for path in some], "item string") for some in (paths[:6], paths))

    first = on_spark.rotate(few, config, workers=WORKERS, report=report, rounds=2).collect()
    assert Counter(row.outcome for row in first) == {"rewrapped": 5, "failed": 1}
    (failed,) = [row for row in first if row.outcome == "failed"]
    assert failed.item == str(damaged) and failed.kind == "not-authentic" and failed.error

    # Those that are done are not looked at again: one of them could not even be read.
    Path(paths[0]).rename(paths[0] + ".away")
    damaged.write_bytes(whole)
    second = on_spark.rotate(frame, config, workers=WORKERS, report=report).collect()
    assert sorted(row.item for row in second) == sorted(paths)
    assert Counter(row.outcome for row in second) == {"rewrapped": 8}
    Path(paths[0] + ".away").rename(paths[0])
    world.require_each_done_once(paths)
    # The failure stays written down.
    assert spark.read.parquet(report).where("outcome = 'failed'").count() == 1


def test_paths_are_listed_here(spark, world) -> None:
    paths = world.files(3, "listed")
    config = RotationConfig(KeyStores(world.config), to=[NEW])
    rows = on_spark.rotate(str(world.folder / "listed"), config, workers=WORKERS).collect()
    assert sorted(row.item for row in rows) == sorted(paths)
    world.require_each_done_once(paths)


def test_columns_of_tenants_are_sealed_moved_and_opened(spark, world) -> None:
    old, new = ({tenant: world.envelope.new_data_key({"tenant": tenant})[1] for tenant in "abc"} for _ in range(2))
    inline = {"keys": [OLD], "decrypt-keys": [NEW], "local": {"keystore": str(world.folder / "keystore.json")}}
    stores = KeyStores(inline, passphrase_env="ENVELOPE_TEST_SECRET")
    old_keys, new_keys = DataKeys(stores, old), DataKeys(stores, new)
    rows = [(index, "abc"[index % 3], None if index % 5 == 0 else f"value {index}") for index in range(100)]
    frame = spark.createDataFrame(rows, "id bigint, tenant string, value string").repartition(WORKERS)

    def on(function, *keys, **more):
        return function("value", *keys, by="tenant", row=("id", "id"), context={"table": "t"}, **more)

    sealed = frame.withColumn("value", on(on_spark.encrypt_column, old_keys)).persist()
    for index, tenant, record in [(row.id, row.tenant, row.value) for row in sealed.collect()]:
        assert (record is None) == (index % 5 == 0)
        if record is not None:
            key = world.envelope.open_data_key(old[tenant])
            assert key.open(bytes(record), context={"table": "t", "id": str(index)}) == f"value {index}".encode()
    moved = sealed.withColumn("value", on(on_spark.rotate_column, old_keys, new_keys)).persist()
    opened = moved.withColumn("value", on(on_spark.decrypt_column, new_keys, text=True))
    assert sorted((row.id, row.tenant, row.value) for row in opened.collect()) == sorted(rows)

    with pytest.raises(Exception, match="NotAuthenticError"):
        moved.withColumn("value", on(on_spark.decrypt_column, old_keys)).collect()
    elsewhere = moved.withColumn("id", F.col("id") + 1)
    with pytest.raises(Exception, match="NotAuthenticError"):
        elsewhere.withColumn("value", on(on_spark.decrypt_column, new_keys)).collect()


def test_envelopes_and_headers_in_a_column_are_rewrapped(spark, world) -> None:
    _, wrapped = world.envelope.new_data_key()
    rows = [(1, world.envelope.encrypt(b"one")), (2, None), (3, wrapped), (4, b"no envelope")]
    frame = spark.createDataFrame(rows, "id int, sealed binary")
    config = RotationConfig(world.config, to=[NEW])
    done = {row.id: row for row in on_spark.rotate_envelopes(frame, "sealed", config, workers=WORKERS, batch=2).collect()}
    assert {index: row.outcome for index, row in done.items()} == {1: "rewrapped", 2: None, 3: "rewrapped", 4: "failed"}
    assert world.envelope.decrypt(bytes(done[1].sealed)) == b"one" and bytes(done[1].sealed) != rows[0][1]
    assert done[2].sealed is None
    assert world.envelope.open_data_key(bytes(done[3].sealed)) is not None
    assert bytes(done[4].sealed) == b"no envelope" and done[4].error


def test_offsets_of_64_bits_are_taken_and_given(spark, world) -> None:
    paths = world.files(2, "large")
    keys = DataKeys(world.config, world.envelope.new_data_key()[1])
    config = RotationConfig(world.config, to=[NEW])
    frame = spark.createDataFrame([(path, world.envelope.encrypt(b"one")) for path in paths], "item string, sealed binary")
    spark.conf.set("spark.sql.execution.arrow.useLargeVarTypes", "true")
    try:
        rows = on_spark.rotate(frame, config, workers=1).collect()
        assert [row.outcome for row in rows] == ["rewrapped"] * 2
        rows = on_spark.rotate_envelopes(frame, "sealed", config, workers=1).collect()
        assert [row.outcome for row in rows] == ["rewrapped"] * 2
        sealed = frame.withColumn("item", on_spark.encrypt_column("item", keys))
        opened = sealed.withColumn("item", on_spark.decrypt_column("item", keys, text=True))
        assert sorted(row.item for row in opened.collect()) == sorted(paths)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.useLargeVarTypes")


def test_a_wrong_configuration_fails_the_job_and_says_why(spark, world) -> None:
    frame = spark.createDataFrame([("x",)], "item string")
    with pytest.raises(ValueError, match="take at most 1 workers"):
        on_spark.rotate(frame, RotationConfig(world.config, to=[NEW], rate=1), workers=2)
    wrong = KeyStores({"local": {"keystore": str(world.folder / "keystore.json")}}, passphrase_env="ENVELOPE_TEST_NONE")
    with pytest.raises(Exception, match="the environment of this worker has no ENVELOPE_TEST_NONE"):
        on_spark.rotate(frame, RotationConfig(wrong, to=[NEW]), workers=1).collect()
    with pytest.raises(ValueError, match="give a report"):
        on_spark.rotate(frame, RotationConfig(world.config, to=[NEW]), workers=1, rounds=2)
    for other in ("Item", "header"):
        with pytest.raises(KeyError, match="there is no column"):
            on_spark.rotate_envelopes(frame, other, RotationConfig(world.config, to=[NEW]), workers=1)
    with pytest.raises(FileNotFoundError, match="no report at"):
        on_spark.read_report(spark, str(world.folder / "none"))


def test_neither_plans_nor_logs_have_the_passphrase(spark, world) -> None:
    """The last of this file: what all tests above left on the disk, of the driver and of the executors."""
    config = RotationConfig(KeyStores(world.config, passphrase_env="ENVELOPE_TEST_SECRET"), to=[NEW])
    plan = on_spark.rotate(spark.createDataFrame([("x",)], "item string"), config, workers=1)._jdf.queryExecution().toString()
    assert "mapInArrow" in plan or "MapInArrow" in plan
    assert PASSPHRASE not in plan
    files = [path for path in spark.log_folder.rglob("*") if path.is_file() and path.stat().st_size < 64 << 20]
    assert any(path.suffix == ".inprogress" or "log" in path.parts for path in files)
    assert any(path.name == "stderr" for path in files), "executors have logs"
    assert [str(path) for path in files if PASSPHRASE.encode() in path.read_bytes()] == []
