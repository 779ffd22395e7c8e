"""Files and file objects."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from conftest import PASSPHRASE, Place
from envelope_sdk import Envelope, errors, inspect

LENGTHS = [0, 1, 16384, 100_000, (5 << 20) + 3]


def some(length: int) -> bytes:
    return hashlib.shake_128(b"data").digest(length)


@pytest.mark.parametrize("length", LENGTHS)
def test_from_path_to_path(place: Place, env: Envelope, length: int) -> None:
    plain, sealed, opened = (place.folder / name for name in ("plain", "sealed", "opened"))
    plain.write_bytes(some(length))
    assert env.encrypt_file(plain, sealed, {"tenant": "42"}) == length
    assert env.decrypt(sealed.read_bytes(), {"tenant": "42"}) == some(length)
    assert env.decrypt_file(str(sealed), str(opened), {"tenant": "42"}) == length
    assert opened.read_bytes() == some(length)
    assert opened.stat().st_mode & 0o777 == 0o600
    # Room for a rewrap in place.
    assert inspect(sealed).padding_bytes > 0


@pytest.mark.parametrize("length", LENGTHS)
def test_from_object_to_object(env: Envelope, length: int) -> None:
    sealed, opened = io.BytesIO(), io.BytesIO()
    assert env.encrypt_file(io.BytesIO(some(length)), sealed) == length
    assert env.decrypt(sealed.getvalue()) == some(length)
    sealed.seek(0)
    assert env.decrypt_file(sealed, opened) == length
    assert opened.getvalue() == some(length)


def test_paths_and_objects_go_together(place: Place, env: Envelope) -> None:
    plain, sealed = place.folder / "plain", place.folder / "sealed"
    plain.write_bytes(some(50_000))
    with open(plain, "rb") as source:
        env.encrypt_file(source, sealed)
    out = io.BytesIO()
    env.decrypt_file(sealed, out)
    assert out.getvalue() == some(50_000)
    raw = io.BytesIO()
    env.encrypt_file(plain, raw)
    assert env.decrypt(raw.getvalue()) == some(50_000)


def test_a_text_form_is_written_and_seen(place: Place, env: Envelope) -> None:
    plain, sealed, opened = (place.folder / name for name in ("plain", "sealed", "opened"))
    plain.write_bytes(some(100_000))
    env.encrypt_file(plain, sealed, armor=True)
    assert sealed.read_bytes().startswith(b"-----BEGIN ENVELOPE-----\n")
    env.decrypt_file(sealed, opened)
    assert opened.read_bytes() == some(100_000)
    out = io.BytesIO()
    env.decrypt_file(io.BytesIO(sealed.read_bytes()), out)
    assert out.getvalue() == some(100_000)


@pytest.mark.parametrize("damage", ["flip", "cut", "header", "longer"])
def test_a_failed_decrypt_leaves_no_file(place: Place, env: Envelope, damage: str) -> None:
    sealed, opened = place.folder / "sealed", place.folder / "opened"
    good = env.encrypt(some(3 << 20))
    at = {"flip": len(good) - 100, "header": 200}.get(damage)
    bad = bytearray(good)
    if at is not None:
        bad[at] ^= 1
    bad = {"cut": bad[:-1], "longer": bad + b"x"}.get(damage, bad)
    sealed.write_bytes(bad)
    before = sorted(os.listdir(place.folder))
    with pytest.raises(errors.EnvelopeError, match="sealed"):
        env.decrypt_file(sealed, opened)
    assert sorted(os.listdir(place.folder)) == before
    # An object gets chunks that are authentic, and an exception before their end.
    out = io.BytesIO()
    with pytest.raises(errors.EnvelopeError):
        env.decrypt_file(io.BytesIO(bad), out)
    assert some(3 << 20).startswith(out.getvalue())
    assert damage != "flip" or len(out.getvalue()) < 3 << 20


def test_a_file_that_is_there_is_kept_unless_the_call_says_otherwise(place: Place, env: Envelope) -> None:
    plain, sealed = place.folder / "plain", place.folder / "sealed"
    plain.write_bytes(b"data")
    sealed.write_bytes(b"precious")
    with pytest.raises(errors.InputOutputError, match="sealed is there already") as caught:
        env.encrypt_file(plain, sealed)
    assert sealed.read_bytes() == b"precious" and caught.value.hint
    env.encrypt_file(plain, sealed, overwrite=True)
    assert env.decrypt(sealed.read_bytes()) == b"data"
    with pytest.raises(errors.UsageError, match="is read and cannot be written too"):
        env.encrypt_file(sealed, sealed, overwrite=True)


def test_paths_that_cannot_be_read_or_written_are_named(place: Place, env: Envelope) -> None:
    with pytest.raises(errors.InputOutputError, match="cannot read .*/nowhere") as caught:
        env.encrypt_file(place.folder / "nowhere", place.folder / "out")
    assert isinstance(caught.value, OSError)
    with pytest.raises(errors.InputOutputError, match="cannot read"):
        env.encrypt_file(place.folder, place.folder / "out")
    plain = place.folder / "plain"
    plain.write_bytes(b"data")
    with pytest.raises(errors.InputOutputError, match="cannot write into .*/no: ") as unwritten:
        env.encrypt_file(plain, place.folder / "no/folder")
    assert unwritten.value.hint is None


def test_an_exception_of_a_file_object_goes_through(env: Envelope) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int | None = -1, /) -> bytes:
            raise LookupError("the source is gone")

    class Full(io.RawIOBase):
        def write(self, data: object, /) -> int:
            raise BufferError("full")

    with pytest.raises(LookupError, match="the source is gone"):
        env.encrypt_file(Broken(), io.BytesIO())
    with pytest.raises(BufferError, match="full"):
        env.encrypt_file(io.BytesIO(b"data"), Full())
    with pytest.raises(TypeError, match="bytes-like"):
        env.encrypt_file(io.StringIO("text"), io.BytesIO())  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="read"):
        env.encrypt_file(object(), io.BytesIO())  # type: ignore[arg-type]


def test_objects_that_read_and_write_a_little_at_a_time(env: Envelope) -> None:
    class Dribble(io.RawIOBase):
        def __init__(self, data: bytes = b"") -> None:
            self.data = bytearray(data)

        def read(self, size: int | None = -1, /) -> bytes:
            part = bytes(self.data[: min(size or 0, 1000)])
            del self.data[: len(part)]
            return part

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            self.data += data[:777]
            return min(len(data), 777)

    sealed, opened = Dribble(), Dribble()
    env.encrypt_file(Dribble(some(100_000)), sealed)
    env.decrypt_file(sealed, opened)
    assert bytes(opened.data) == some(100_000)

    class Liar(io.RawIOBase):
        def read(self, size: int | None = -1, /) -> bytes:
            return bytes((size or 0) + 1)

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            return len(data) + 1

    with pytest.raises(ValueError, match=r"read\(\d+\) returned"):
        env.encrypt_file(Liar(), io.BytesIO())
    with pytest.raises(ValueError, match=r"write\(\) says"):
        env.encrypt_file(io.BytesIO(b"x"), Liar())


def test_a_pipe_that_has_no_room_and_does_not_block_loses_nothing_unseen(env: Envelope) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as target:
        with pytest.raises(BlockingIOError, match="took nothing"):
            env.encrypt_file(io.BytesIO(some(1 << 20)), target)

    class Uncounted:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes, /) -> None:
            self.data += data

    sealed = Uncounted()
    env.encrypt_file(io.BytesIO(some(100_000)), sealed)
    assert env.decrypt(sealed.data) == some(100_000)


def test_a_pipe_is_read_and_written(place: Place, env: Envelope) -> None:
    fifo, sealed = place.folder / "fifo", place.folder / "sealed"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(some(1 << 20)))
    writer.start()
    env.encrypt_file(fifo, sealed)
    writer.join()
    assert env.decrypt(sealed.read_bytes()) == some(1 << 20)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_that_has_the_name_of_the_target_is_refused_and_not_waited_for(place: Place, overwrite: bool) -> None:
    program = f"""
        import os
        from envelope_sdk import Envelope, Providers, errors
        env = Envelope(Providers.from_dict(
            {{"keys": ["local:main"], "local": {{"keystore": {str(place.keystore)!r}}}}}, passphrase={PASSPHRASE!r}))
        os.chdir({str(place.folder)!r})
        os.mkfifo("fifo")
        open("plain", "wb").close()
        try:
            env.encrypt_file("plain", "fifo", overwrite={overwrite})
        except errors.UsageError:
            print("refused")
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "refused\n"


def test_memory_is_constant(place: Place) -> None:
    plain = place.folder / "plain"
    with open(plain, "wb") as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    program = f"""
        import resource
        from envelope_sdk import Envelope, Providers
        env = Envelope(Providers.from_dict(
            {{"keys": ["local:main"], "local": {{"keystore": {str(place.keystore)!r}}}}}, passphrase={PASSPHRASE!r}))
        env.decrypt(env.encrypt(b"data"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        env.encrypt_file({str(plain)!r}, {str(place.folder / "sealed")!r})
        env.decrypt_file({str(place.folder / "sealed")!r}, {str(place.folder / "opened")!r})
        with open({str(place.folder / "sealed")!r}, "rb") as source, open("/dev/null", "wb") as target:
            env.decrypt_file(source, target)
        with env.open({str(place.folder / "sealed")!r}) as reader:
            while reader.read(1 << 20):
                pass
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64, f"{done.stdout} MiB more for a file of 200 MiB"


def test_any_part_is_read_without_the_rest(place: Place, env: Envelope) -> None:
    data = some(200_000)
    path = place.folder / "sealed"
    path.write_bytes(env.encrypt(data, {"tenant": "42"}))
    for source in (path, io.BytesIO(path.read_bytes())):
        with env.open(source, {"tenant": "42"}) as reader:
            assert reader.raw.size == len(data)  # type: ignore[attr-defined]
            assert reader.seekable() and reader.readable()
            for at, size in ((0, 10), (16380, 10), (199_990, 100), (200_000, 5), (300_000, 5), (5, 60_000)):
                assert reader.seek(at) == at
                assert reader.read(size) == data[at : at + size]
            assert reader.seek(-7, io.SEEK_END) == 199_993
            assert reader.read() == data[-7:]
            reader.seek(0)
            assert reader.read() == data
            into = bytearray(100)
            reader.raw.seek(16000)
            assert reader.raw.readinto(into) == 100 and bytes(into) == data[16000:16100]
            with pytest.raises(ValueError):
                reader.raw.seek(-1)
        with pytest.raises(ValueError):
            reader.read(1)


def test_a_range_that_was_changed_is_refused_and_others_are_not(place: Place, env: Envelope) -> None:
    data = some(100_000)
    sealed = bytearray(env.encrypt(data))
    sealed[inspect(sealed).header_bytes + 56 + 20_000] ^= 1
    path = place.folder / "sealed"
    path.write_bytes(sealed)
    reader = env.open(path)
    raw = reader.raw
    assert raw.read(16384) == data[:16384]
    with pytest.raises(errors.NotAuthenticError):
        raw.read(1)
    raw.seek(40_000)
    assert raw.read() == data[40_000:]
    # A cut is seen when it is opened.
    path.write_bytes(env.encrypt(data)[:-1])
    with pytest.raises(errors.NotAuthenticError, match="sealed"):
        env.open(path)
    with pytest.raises(errors.FormatError):
        env.open(io.BytesIO(b"no envelope"))
    with pytest.raises(errors.NotAuthenticError):
        env.open(io.BytesIO(env.encrypt(data)), {"tenant": "42"})


def test_one_file_is_rewrapped(place: Place, env: Envelope) -> None:
    path = place.folder / "a.envelope"
    plain = place.folder / "plain"
    plain.write_bytes(b"data")
    env.encrypt_file(plain, path)
    inode = path.stat().st_ino
    outcome = env.rewrap_file(path, ["local:new"])
    assert (outcome.outcome, outcome.generation) == ("rewrapped", 1)
    # In the room that was left for it.
    assert path.stat().st_ino == inode
    assert [recipient.key for recipient in inspect(path).recipients] == [place.uri("new")]
    assert Envelope(place.providers(), ["local:new"]).rewrap_file(path).outcome == "in-target-state"
    with pytest.raises(errors.NoConfiguredKeyError):
        env.rewrap_file(path, ["local:main"])
    with pytest.raises(errors.InputOutputError):
        env.rewrap_file(place.folder / "nowhere")
    with pytest.raises(errors.FormatError):
        env.rewrap_file(plain)


def test_a_detached_pair_is_decrypted_by_the_name_of_its_header(place: Place, env: Envelope) -> None:
    header, payload = env.encrypt_detached(some(50_000))
    (place.folder / "a.envelope").write_bytes(header)
    (place.folder / "a.sealed").write_bytes(payload)
    env.decrypt_file(place.folder / "a.envelope", place.folder / "a")
    assert (place.folder / "a").read_bytes() == some(50_000)
    assert env.open(place.folder / "a.envelope").read() == some(50_000)


def test_a_name_that_is_not_utf_8(place: Place, env: Envelope) -> None:
    folder = os.fsencode(place.folder)
    plain = Path(os.fsdecode(folder + b"/caf\xe9"))
    plain.write_bytes(b"data")
    sealed = Path(os.fsdecode(folder + b"/caf\xe9.envelope"))
    env.encrypt_file(plain, sealed)
    assert env.decrypt(sealed.read_bytes()) == b"data"
