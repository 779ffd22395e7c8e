"""Rotation and columns on Ray 2: two workers, one of which is killed half-way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

import pyarrow as pa  # noqa: E402
import ray.data  # noqa: E402

from envelope_sdk import ray as on_ray  # noqa: E402
from envelope_sdk.keys import DataKeys  # noqa: E402
from envelope_sdk.ray import KeyStores, RotationConfig  # noqa: E402
from scale_world import NEW, OLD, PASSPHRASE, World, contents, until  # noqa: E402

WORKERS = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Path]:
    # Workers inherit it, as those of a cluster do the variables of their machine.
    os.environ["ENVELOPE_TEST_SECRET"] = PASSPHRASE
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)])
    # Names of sockets are short, so not below the folder of the tests.
    folder = tempfile.mkdtemp(prefix="ray.")
    ray.init(
        _temp_dir=folder,
        # One more for what reads datasets.
        num_cpus=WORKERS + 1,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=128 << 20,
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield Path(folder)
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def rows_of(batches) -> list[dict]:
    return [row for batch in batches for row in batch.to_pylist()]


def test_a_lost_worker_loses_nothing_and_does_nothing_twice(world, tmp_path) -> None:
    number, batch = 80, 20
    paths = world.files(number, "lost")
    before = contents(paths)
    config = RotationConfig(world.config, to=[NEW], rate=40, concurrency=2)
    report = tmp_path / "report.jsonl"
    job = on_ray.rotate(paths, config, workers=WORKERS, batch=batch, report=str(report))
    first = next(job)
    # The worker of this batch has the third one by now: when it has done some of that, it is killed.
    third = {path: before[path] for path in paths[2 * batch : 3 * batch]}
    until("some of the third batch is done", lambda: world.changed(third) >= 3)
    os.kill(int(first.column("worker")[0].as_py().rsplit(":", 1)[1]), signal.SIGKILL)
    assert world.changed(third) < batch, "it was killed too late to matter"
    rows = rows_of([first, *job])

    assert sorted(row["item"] for row in rows) == sorted(paths)
    counts = Counter(row["outcome"] for row in rows)
    assert set(counts) == {"rewrapped", "in-target-state"}, [row["error"] for row in rows if row["error"]]
    # What the lost one had done is found done, and not done again.
    assert counts["in-target-state"] >= 3
    assert len({row["worker"] for row in rows}) == WORKERS + 1, "another one came in its place"
    world.require_each_done_once(paths)
    assert [json.loads(line) for line in report.read_text().splitlines()] == rows


def test_a_report_is_gone_on_with(world, tmp_path) -> None:
    paths = world.files(6, "report")
    damaged = Path(paths[3])
    whole = damaged.read_bytes()
    damaged.write_bytes(b"no envelope at all")
    config = RotationConfig(world.config, to=[NEW])
    report = tmp_path / "report.jsonl"
    first = rows_of(on_ray.rotate(paths[:4], config, workers=1, batch=3, report=str(report)))
    assert Counter(row["outcome"] for row in first) == {"rewrapped": 3, "failed": 1}
    assert [row["kind"] for row in first if row["outcome"] == "failed"] == ["not-authentic"]
    # Whoever was killed while it wrote left half a line.
    with report.open("a") as file:
        file.write('{"item": "' + paths[4])
    Path(paths[0]).rename(paths[0] + ".away")
    damaged.write_bytes(whole)
    second = rows_of(on_ray.rotate(iter(paths), config, workers=1, report=str(report)))
    assert sorted(row["item"] for row in second) == sorted(paths[3:])
    assert {row["outcome"] for row in second} == {"rewrapped"}
    assert [json.loads(line) for line in report.read_text().splitlines()] == first + second
    Path(paths[0] + ".away").rename(paths[0])
    world.require_each_done_once(paths)
    report.write_text('{"item": \n')
    with pytest.raises(ValueError, match="line 1 of .*report.jsonl is no outcome"):
        next(on_ray.rotate(paths, config, workers=1, report=str(report)))


def test_datasets_are_rotated_by_map_batches(world) -> None:
    paths = world.files(12, "dataset")
    config = RotationConfig(world.config, to=[NEW], rate=100)
    dataset = ray.data.from_arrow(pa.table({"path": paths})).repartition(4)
    rows = on_ray.rotate_dataset(dataset, config, column="path", workers=WORKERS, batch=3).take_all()
    assert sorted(row["item"] for row in rows) == sorted(paths)
    assert {row["outcome"] for row in rows} == {"rewrapped"}
    world.require_each_done_once(paths)


def test_columns_of_tenants_are_sealed_moved_and_opened(world) -> None:
    old, new = ({tenant: world.envelope.new_data_key({"tenant": tenant})[1] for tenant in "ab"} for _ in range(2))
    inline = {"keys": [OLD], "decrypt-keys": [NEW], "local": {"keystore": str(world.folder / "keystore.json")}}
    stores = KeyStores(inline, passphrase_env="ENVELOPE_TEST_SECRET")
    old_keys, new_keys = DataKeys(stores, old), DataKeys(stores, new)
    table = pa.table(
        {
            "id": range(50),
            "tenant": ["ab"[index % 2] for index in range(50)],
            "value": pa.array([None if index % 5 == 0 else f"value {index}" for index in range(50)], pa.string()),
        }
    )
    named = {"by": "tenant", "row": ("id", "id"), "context": {"table": "t"}, "workers": 1}
    sealed = on_ray.encrypt_column(ray.data.from_arrow(table), "value", old_keys, **named).materialize()
    for row in sealed.take_all():
        if row["value"] is not None:
            key = world.envelope.open_data_key(old[row["tenant"]])
            assert key.open(row["value"], context={"table": "t", "id": str(row["id"])}) == f"value {row['id']}".encode()
    moved = on_ray.rotate_column(sealed, "value", old_keys, new_keys, **named).materialize()
    opened = on_ray.decrypt_column(moved, "value", new_keys, text=True, **named).take_all()
    assert sorted(opened, key=lambda row: row["id"]) == table.to_pylist()
    with pytest.raises(Exception, match="NotAuthenticError"):
        on_ray.decrypt_column(moved, "value", old_keys, **named).materialize()


def test_what_cannot_be_is_refused_before_anything_is_begun(world) -> None:
    config = RotationConfig(world.config, to=[NEW], rate=1)
    with pytest.raises(ValueError, match="take at most 1 workers"):
        on_ray.rotate([], config, workers=2)
    with pytest.raises(ValueError, match="at least 1 item"):
        on_ray.rotate([], config, workers=1, batch=0)
    dataset = ray.data.from_arrow(pa.table({"item": ["x"]}))
    with pytest.warns(UserWarning, match="the cluster has 3, beside what reads the dataset"):
        on_ray.rotate_dataset(dataset, RotationConfig(world.config, to=[NEW]), workers=WORKERS + 1)
    wrong = KeyStores({"local": {"keystore": str(world.folder / "keystore.json")}}, passphrase_env="ENVELOPE_TEST_NONE")
    with pytest.raises(Exception, match="the environment of this worker has no ENVELOPE_TEST_NONE"):
        next(on_ray.rotate(["x"], RotationConfig(wrong, to=[NEW]), workers=1))


def test_what_ray_writes_down_does_not_have_the_passphrase(cluster) -> None:
    """The last of this file: the logs of all workers above."""
    files = [path for path in cluster.rglob("*") if path.is_file()]
    assert any(path.name.startswith("worker-") for path in files), "workers have logs"
    assert [str(path) for path in files if PASSPHRASE.encode() in path.read_bytes()] == []
