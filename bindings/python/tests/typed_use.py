"""Not run: what type checkers must accept, and what they must not. An error that is ignored and is none fails, too."""

import io
from pathlib import Path

from envelope_sdk import DataKey, Envelope, Header, Providers, Withheld, errors, inspect, rotation


def accepted(folder: Path) -> None:
    providers = Providers.from_dict({"keys": ["local:main"]}, passphrase=lambda: b"secret", secrets={"pkcs11-pin": "1"})
    env: Envelope = Envelope(providers, ["local:main"], decrypt_with=("local:old",))
    context = {"tenant": "42", "patient": Withheld("7")}
    sealed: bytes = env.encrypt(bytearray(b"data"), context)
    opened: bytes = env.decrypt(memoryview(sealed), context)
    done: int = env.encrypt_file(folder / "a", io.BytesIO())
    done += env.decrypt_file(io.BytesIO(sealed), str(folder))
    with env.open(folder / "a") as reader, open(folder / "b", "rb") as file, open(folder / "c", "wb") as out:
        part: bytes = reader.read(10)
        done += env.encrypt_file(file, out)
    header: Header = inspect(sealed)
    first: str = header.recipients[0].key
    key, wrapped = env.new_data_key()
    again: DataKey = env.open_data_key(wrapped, record=key.seal(b"x"))
    data, offsets = again.seal_column(b"", memoryview(b"\0\0\0\0"), 4, by=("row", b"", b"\0" * 8, 8))
    report: rotation.Report = rotation.run([folder], ["local:new"], providers=providers, shard=(1, 4))
    outcomes: list[rotation.Outcome] = rotation.Runner(providers, rate=10).run_items([folder, "s3://bucket/key"])
    try:
        env.decrypt(b"")
    except errors.NotAuthenticError as error:
        hint: str | None = error.hint
        print(hint, opened, done, part, first, data, offsets, report["totals"], outcomes)


async def awaited(env: Envelope) -> bytes:
    return await env.adecrypt(await env.aencrypt(b"data"))


def refused(env: Envelope, key: DataKey) -> None:
    env.encrypt("text")  # type: ignore[arg-type]
    env.encrypt(b"data", {"row": 17})  # type: ignore[dict-item]
    key.seal_column(b"", b"", 5)  # type: ignore[arg-type]
    env.encrypt_file(io.StringIO(), "out")  # type: ignore[arg-type]
    text: str = env.decrypt(b"")  # type: ignore[assignment]
    print(text, key.key)  # type: ignore[attr-defined]
