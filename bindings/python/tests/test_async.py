"""For `await`: the same, without blocking the loop, and cancelled when nobody waits."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from conftest import PASSPHRASE, Place
from envelope_sdk import Envelope, errors, inspect


def test_every_verb(place: Place, env: Envelope) -> None:
    async def verbs() -> None:
        sealed = await env.aencrypt(b"data" * 1000, {"tenant": "42"})
        assert await env.adecrypt(sealed, {"tenant": "42"}) == b"data" * 1000
        text = await env.aencrypt(b"data", armor=True)
        assert await env.adecrypt(text, armor=True) == b"data"
        new = await env.arewrap(sealed, ["local:new"])
        assert inspect(new).generation == 1
        assert inspect(await env.arewrap(sealed, add=["local:new"])).recipients[1].key == place.uri("new")
        key, wrapped = await env.anew_data_key({"table": "t"})
        record = key.seal(b"value")
        assert (await env.aopen_data_key(wrapped, {"table": "t"})).open(record) == b"value"
        plain, closed, opened = (place.folder / name for name in ("plain", "closed", "opened"))
        plain.write_bytes(b"data" * 100_000)
        assert await env.aencrypt_file(plain, closed) == 400_000
        assert await env.adecrypt_file(closed, opened) == 400_000
        assert opened.read_bytes() == plain.read_bytes()

    asyncio.run(verbs())


def test_errors_are_those_of_the_other_verbs(place: Place, env: Envelope) -> None:
    async def wrong() -> None:
        sealed = await env.aencrypt(b"data", {"tenant": "42"})
        with pytest.raises(errors.NotAuthenticError):
            await env.adecrypt(sealed[:-1])
        with pytest.raises(errors.NotAuthenticError):
            await env.adecrypt(sealed, {"tenant": "43"})
        with pytest.raises(errors.FormatError):
            await env.adecrypt(b"no envelope")
        with pytest.raises(errors.FormatError):
            await env.arewrap(b"no envelope")
        with pytest.raises(TypeError):
            await env.aencrypt("text")  # type: ignore[arg-type]
        with pytest.raises(errors.InputOutputError, match="nowhere"):
            await env.adecrypt_file(place.folder / "nowhere", place.folder / "out")

    asyncio.run(wrong())


def test_the_loop_goes_on_meanwhile(env: Envelope) -> None:
    async def beside() -> tuple[int, list[bytes]]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        beating = asyncio.create_task(beat())
        sealed = await asyncio.gather(*(env.aencrypt(bytes(8 << 20)) for _ in range(4)))
        beating.cancel()
        return beats, sealed

    beats, sealed = asyncio.run(beside())
    assert beats > 10 and len({bytes(each) for each in sealed}) == 4


def test_many_at_once(env: Envelope) -> None:
    async def many() -> None:
        sealed = await asyncio.gather(*(env.aencrypt(str(at).encode()) for at in range(200)))
        opened = await asyncio.gather(*(env.adecrypt(each) for each in sealed))
        assert opened == [str(at).encode() for at in range(200)]

    asyncio.run(many())


def test_what_is_cancelled_is_dropped(place: Place) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow() -> str:
        asked.set()
        assert answer.wait(60)
        return PASSPHRASE

    # `keystore-passphrase`: asked for when the key is used, and not when the keyring is made.
    env = Envelope(place.providers(passphrase=None, secrets={"keystore-passphrase": slow}))

    async def cancelled() -> float:
        task = asyncio.create_task(env.aencrypt(b"data"))
        await asyncio.get_running_loop().run_in_executor(None, asked.wait, 60)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - begun
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(env.aencrypt(b"data"), 0.05)
        return took

    try:
        assert asyncio.run(cancelled()) < 5
    finally:
        answer.set()
    assert env.decrypt(env.encrypt(b"data")) == b"data"


def test_a_cancelled_file_leaves_nothing(place: Place, env: Envelope) -> None:
    fifo = place.folder / "fifo"
    os.mkfifo(fifo)

    async def cancelled() -> None:
        task = asyncio.create_task(env.aencrypt_file(fifo, place.folder / "sealed"))
        end = await asyncio.get_running_loop().run_in_executor(None, os.open, fifo, os.O_WRONLY)
        os.write(end, bytes(1000))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # It is dropped at its next read.
        os.write(end, bytes(1000))
        os.close(end)

    asyncio.run(cancelled())
    # What goes on all the same would have ended by then.
    time.sleep(0.5)
    assert not (place.folder / "sealed").exists()


def test_a_loop_that_was_closed_is_not_told(place: Place) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow() -> str:
        asked.set()
        assert answer.wait(60)
        return PASSPHRASE

    env = Envelope(place.providers(passphrase=None, secrets={"keystore-passphrase": slow}))

    async def begin() -> None:
        task = asyncio.create_task(env.aencrypt(b"data"))
        await asyncio.get_running_loop().run_in_executor(None, asked.wait, 60)
        task.cancel()

    asyncio.run(begin())
    answer.set()
    assert env.decrypt(env.encrypt(b"data")) == b"data"
