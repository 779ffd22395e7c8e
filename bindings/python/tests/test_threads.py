"""The GIL, signals, forks."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conftest import PASSPHRASE, Place
from envelope_sdk import DataKey, Envelope, errors


def ends_before(work: Callable[[], Any]) -> bool:
    """Whether a thread of Python that is ready when `work` begins here has come to its end before `work` has."""
    go = threading.Event()
    counted = 0.0

    def count() -> None:
        nonlocal counted
        go.wait()
        for _ in range(1000):
            pass
        counted = time.perf_counter()

    thread = threading.Thread(target=count)
    thread.start()
    # It must not be the turns of threads that let the other one in: from here on, only who waits or ends gives way.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        go.set()
        work()
        ended = time.perf_counter()
    finally:
        sys.setswitchinterval(before)
    thread.join()
    return counted < ended


def column(rows: int) -> tuple[bytes, bytes]:
    return bytes(1024 * rows), b"".join((1024 * at).to_bytes(4, "little") for at in range(rows + 1))


@pytest.mark.parametrize("what", ["encrypt", "decrypt", "seal_column", "seal", "file", "keystore"])
def test_other_threads_run_meanwhile(place: Place, env: Envelope, what: str) -> None:
    data = bytes(64 << 20)
    sealed = env.encrypt(data)
    key, _ = env.new_data_key()
    plain = place.folder / "plain"
    plain.write_bytes(data)
    work: dict[str, Callable[[], Any]] = {
        "encrypt": lambda: env.encrypt(data),
        "decrypt": lambda: env.decrypt(sealed),
        "seal_column": lambda: key.seal_column(*column(30_000)),
        "seal": lambda: [key.seal(data[: 16 << 20]) for _ in range(4)],
        "file": lambda: env.encrypt_file(plain, place.folder / "sealed"),
        # Argon2id.
        "keystore": lambda: place.envelope().encrypt(b"data"),
    }
    assert ends_before(work[what])
    # Unlike work that does not release the GIL.
    assert not ends_before(lambda: sum(range(1_000_000)))


def test_an_envelope_is_used_by_several_threads_at_once(env: Envelope) -> None:
    key, _ = env.new_data_key()

    def work(at: int) -> bool:
        data = str(at).encode() * 1000
        return env.decrypt(env.encrypt(data)) == data and key.open(key.seal(data)) == data

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(300)))


def interrupted(work: Callable[[], Any]) -> float:
    """How long `work` went on after a Ctrl-C."""
    sent = 0.0

    def interrupt() -> None:
        nonlocal sent
        time.sleep(0.4)
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    ended = time.monotonic()
    thread.join()
    return ended - sent


def test_ctrl_c_ends_a_wait_for_a_key_store(place: Place) -> None:
    answer = threading.Event()

    def slow() -> str:
        answer.wait(60)
        return PASSPHRASE

    env = Envelope(place.providers(passphrase=None, secrets={"keystore-passphrase": slow}))
    try:
        assert interrupted(lambda: env.encrypt(b"data")) < 5
    finally:
        answer.set()


def test_ctrl_c_ends_a_file_and_leaves_nothing(place: Place, env: Envelope) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int | None = -1, /) -> bytes:
            return bytes(size or 0)

    assert interrupted(lambda: env.encrypt_file(Endless(), place.folder / "sealed")) < 5
    assert interrupted(lambda: env.encrypt_file("/dev/zero", place.folder / "sealed")) < 5
    assert not (place.folder / "sealed").exists()


def in_child(queue: Any, env: Envelope, key: DataKey, record: bytes, place: Place) -> None:
    said: list[str] = []
    try:
        env.encrypt(b"data")
    except errors.UsageError as error:
        said.append(str(error))
    said.append(key.open(record).decode())
    own = place.envelope()
    said.append(own.decrypt(own.encrypt(b"of the child")).decode())
    queue.put(said)


def test_a_forked_process_makes_its_own(place: Place, env: Envelope) -> None:
    key, _ = env.new_data_key()
    record = key.seal(b"of the parent")
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(queue, env, key, record, place))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    refused, opened, own = queue.get()
    assert "forked" in refused and "after the fork" in refused
    assert (opened, own) == ("of the parent", "of the child")
    # The parent goes on.
    assert env.decrypt(env.encrypt(b"data")) == b"data"


def test_forks_while_others_begin(place: Place) -> None:
    """The runtime is begun by one thread while another forks: no child waits for the first one."""
    program = f"""
        import os, sys, threading, time
        from envelope_sdk import Envelope, Providers

        def env():
            return Envelope(Providers.from_dict(
                {{"keys": ["local:main"], "local": {{"keystore": {str(place.keystore)!r}}}}}, passphrase={PASSPHRASE!r}))

        beginning = threading.Thread(target=lambda: env().encrypt(b"data"))
        beginning.start()
        time.sleep(float(sys.argv[1]))
        child = os.fork()
        if child == 0:
            own = env()
            os._exit(0 if own.decrypt(own.encrypt(b"data")) == b"data" else 1)
        assert os.waitpid(child, 0)[1] == 0
        beginning.join()
        own = env()
        assert own.decrypt(own.encrypt(b"data")) == b"data"
    """
    for pause in (0, 0.0002, 0.001, 0.005, 0.02):
        command = [sys.executable, "-c", textwrap.dedent(program), str(pause)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (pause, done.stderr)


def test_a_spawned_process_makes_its_own(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(sealed_by, (str(place.keystore),)) is True


def sealed_by(keystore: str) -> bool:
    from envelope_sdk import Providers

    env = Envelope(Providers.from_dict({"keys": ["local:main"], "local": {"keystore": keystore}}, passphrase=PASSPHRASE))
    return env.decrypt(env.encrypt(b"data")) == b"data"
