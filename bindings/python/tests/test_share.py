"""What workers share: the configuration that is sent to them has no secret, and their parts of the limit add up to it."""

from __future__ import annotations

import os
import pickle

import pytest

pytest.importorskip("pyarrow")

from envelope_sdk import Withheld  # noqa: E402
from envelope_sdk.errors import EnvelopeError  # noqa: E402
from envelope_sdk._share import KeyStores, RotationConfig, Worker, part_of_rate, worker  # noqa: E402
from envelope_sdk.keys import DataKeys, OpenKeys  # noqa: E402
from scale_world import NEW, PASSPHRASE, World  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("share"))


@pytest.mark.parametrize(("rate", "workers"), [(1, 1), (10, 3), (1000, 7), (8, 8), (100_000, 999)])
def test_the_parts_of_a_rate_add_up_to_it_and_differ_by_one_at_most(rate, workers) -> None:
    parts = [part_of_rate(rate, workers, index) for index in range(workers)]
    assert sum(parts) == rate
    assert max(parts) - min(parts) <= 1
    assert min(parts) >= 1


def test_more_workers_than_calls_in_a_second_are_refused() -> None:
    with pytest.raises(ValueError, match="3 workers cannot share 2 calls in a second: take at most 2 workers"):
        part_of_rate(2, 3, 0)
    with pytest.raises(ValueError, match="0 workers"):
        part_of_rate(None, 0, 0)
    assert part_of_rate(None, 3, 0) is None


def test_nothing_that_is_sent_to_workers_has_the_passphrase(world, monkeypatch) -> None:
    monkeypatch.setenv("ENVELOPE_TEST_SECRET", PASSPHRASE)
    config = RotationConfig(KeyStores(world.config, passphrase_env="ENVELOPE_TEST_SECRET"), to=[NEW])
    keys = DataKeys(world.config, world.envelope.new_data_key()[1])
    for sent in (config, keys):
        assert PASSPHRASE.encode() not in pickle.dumps(sent)
        assert PASSPHRASE not in repr(sent)
        assert pickle.loads(pickle.dumps(sent)) == sent


def test_a_worker_reads_the_passphrase_from_its_environment(world, monkeypatch) -> None:
    inline = {"keys": ["local:main"], "decrypt-keys": [NEW], "local": {"keystore": str(world.folder / "keystore.json")}}
    config = RotationConfig(KeyStores(inline, passphrase_env="ENVELOPE_TEST_SECRET"), to=[NEW])
    paths = world.files(1, "environment")
    monkeypatch.delenv("ENVELOPE_TEST_SECRET", raising=False)
    with pytest.raises(ValueError, match="the environment of this worker has no ENVELOPE_TEST_SECRET"):
        Worker(config, None)
    monkeypatch.setenv("ENVELOPE_TEST_SECRET", PASSPHRASE)
    assert Worker(config, None).items(paths).column("outcome").to_pylist() == ["rewrapped"]
    world.require_each_done_once(paths)


def test_a_worker_gives_an_outcome_for_each_item_in_its_order(world) -> None:
    first, second = world.files(2, "order")
    missing = str(world.folder / "order" / "missing.envelope")
    mine = Worker(RotationConfig(world.config, to=[NEW]), None)
    batch = mine.items([second, missing, first, second])
    assert batch.column("item").to_pylist() == [second, missing, first, second]
    assert batch.column("outcome").to_pylist() == ["rewrapped", "failed", "rewrapped", "rewrapped"]
    world.require_each_done_once([first, second])
    assert batch.column("error").to_pylist() == [None, "it is not there", None, None]
    assert batch.column("kind")[1].as_py() == "input-output"
    assert mine.items([first]).column("outcome").to_pylist() == ["in-target-state"]
    assert batch.column("worker").unique().to_pylist() == [mine._name]
    assert mine._name.endswith(f":{os.getpid()}")


def test_an_item_whose_name_is_not_utf_8_is_done_and_told(world) -> None:
    first, second = world.files(2, "odd")
    odd = os.fsdecode(os.fsencode(world.folder / "odd") + b"/\xff.envelope")
    os.rename(first, odd)
    batch = Worker(RotationConfig(world.config, to=[NEW]), None).items([odd, second])
    assert batch.column("outcome").to_pylist() == ["rewrapped", "rewrapped"]
    assert batch.column("item").to_pylist() == [str(world.folder / "odd" / "\\udcff.envelope"), second]


def test_envelopes_in_memory_are_rewrapped_and_what_is_none_stays(world) -> None:
    sealed, (_, wrapped) = world.envelope.encrypt(b"whole"), world.envelope.new_data_key()
    mine = Worker(RotationConfig(world.config, to=[NEW]), None)
    now, outcomes = mine.envelopes([sealed, b"no envelope", wrapped])
    assert outcomes.column("outcome").to_pylist() == ["rewrapped", "failed", "rewrapped"]
    assert now[1] == b"no envelope"
    assert world.envelope.decrypt(now[0]) == b"whole"
    assert now[2] != wrapped and world.envelope.open_data_key(now[2]) is not None


def test_one_process_has_one_worker_for_a_configuration(world) -> None:
    config = RotationConfig(world.config, to=[NEW], rate=100)
    assert worker(config, 50) is worker(pickle.loads(pickle.dumps(config)), 50)
    assert worker(config, 50) is not worker(config, 51)


@pytest.mark.parametrize("kind", [str, Withheld])
def test_the_worker_of_another_context_is_not_used(world, kind) -> None:
    sealed = world.envelope.encrypt(b"data", {"patient": Withheld("4711")})
    right, wrong = (RotationConfig(world.config, to=[NEW], context={"patient": kind(value)}) for value in ("4711", "4712"))
    assert "4711" not in repr(right) and "4711" not in repr(DataKeys(world.config, b"header", {"patient": kind("4711")}))
    assert worker(right, None).envelopes([sealed])[1].column("outcome").to_pylist() == ["rewrapped"]
    assert worker(wrong, None).envelopes([sealed])[1].column("outcome").to_pylist() == ["failed"]


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"to": "local:next"}, TypeError, "to is a list of keys"),
        ({"to": [NEW], "rate": 0}, ValueError, "at least 1 call"),
        ({"to": [NEW], "concurrency": 0}, ValueError, "at least 1 item"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(world, wrong, error, says) -> None:
    with pytest.raises(error, match=says):
        RotationConfig(world.config, **wrong)


def test_a_task_unwraps_each_data_key_once(world, monkeypatch) -> None:
    wrapped = {tenant: world.envelope.new_data_key()[1] for tenant in ("a", "b")}
    keys = OpenKeys(DataKeys(world.config, wrapped))
    first = keys.of("a")
    assert keys.of("b") is not first
    assert keys.of("a") is first
    with pytest.raises(KeyError, match="no data key for the tenant 'c'"):
        keys.of("c")
    # Only so many stay open.
    monkeypatch.setattr(OpenKeys, "MOST", 1)
    assert keys.of("b") is keys.of("b")
    assert keys.of("a") is not first


def test_the_data_key_of_another_tenant_does_not_open(world) -> None:
    wrapped = {tenant: world.envelope.new_data_key({"tenant": tenant})[1] for tenant in ("a", "b")}
    swapped = {"a": wrapped["b"], "b": wrapped["a"]}
    assert OpenKeys(DataKeys(world.config, wrapped, tenant_entry="tenant")).of("a").wrapped == wrapped["a"]
    with pytest.raises(EnvelopeError):
        OpenKeys(DataKeys(world.config, swapped, tenant_entry="tenant")).of("a")


def test_data_keys_of_tenants_need_the_column_that_tells_the_tenant(world) -> None:
    one, many = DataKeys(world.config, b"header"), DataKeys(world.config, {"a": b"header"})
    with pytest.raises(ValueError, match="give a mapping"):
        one.check(True)
    with pytest.raises(ValueError, match="give `by`"):
        many.check(False)
    with pytest.raises(EnvelopeError):
        OpenKeys(one).one()
