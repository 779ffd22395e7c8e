"""What scripts/bench-python runs: seconds of the same work in Rust and in Python, round by round, so that a slow moment of the machine
hits both. Prints medians and ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator.keystore import Store

from envelope_sdk import Envelope, Providers

LENGTH, RECORD = 64 << 20, 1024
WORK = ("seal_column, 64 MiB of 1 KiB", "open_column, the same", "encrypt, 64 MiB", "decrypt, 64 MiB")
IN_RUST = ("DataKey::seal, one by one", "DataKey::open", "Envelope::encrypt", "Envelope::decrypt")


def main(rust: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        env = envelope(Path(name))
        run_here = ours(env)
        others = peers()
        there = subprocess.Popen([rust], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert there.stdin and there.stdout
        rows: list[list[float]] = []
        # The first round warms up.
        for _ in range(rounds + 1):
            there.stdin.write("\n")
            there.stdin.flush()
            in_rust = [float(word) for word in there.stdout.readline().split()]
            rows.append(in_rust + [timed(work) for work in run_here] + [timed(work) for _, work in others])
        there.stdin.close()
        there.wait()
    medians = [statistics.median(column) for column in zip(*rows[1:])]
    mib = LENGTH / (1 << 20)
    print(f"{'':36} {'Python':>12} {'Rust':>12}  ratio of rates")
    for what, same, python, seconds in zip(WORK, IN_RUST, medians[6:10], medians[:4]):
        print(f"{what:36} {mib / python:8.0f} MiB/s {mib / seconds:6.0f} MiB/s  {seconds / python:5.2f}   ({same})")
    for what, seconds in zip(("Parallel::seal_slice, memory there", "Parallel::open_slice, memory there"), medians[4:6]):
        print(f"{what:36} {'':14} {mib / seconds:6.0f} MiB/s")
    for (what, _), seconds in zip(others, medians[10:]):
        print(f"{what:36} {mib / seconds:8.0f} MiB/s")


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def envelope(folder: Path) -> Envelope:
    keystore = folder / "keystore.json"
    keystore.write_text(Store("rates").add("main").text())
    keystore.chmod(0o600)
    return Envelope(Providers.from_dict({"keys": ["local:main"], "local": {"keystore": keystore}}, passphrase="correct horse"))


def ours(env: Envelope) -> list[Callable[[], Any]]:
    context = {"column": "mail"}
    data = b"\7" * LENGTH
    offsets = b"".join(at.to_bytes(4, "little") for at in range(0, LENGTH + 1, RECORD))
    key, _ = env.new_data_key()
    records = key.seal_column(data, offsets, 4, context=context)
    sealed = env.encrypt(data, context)
    return [
        lambda: key.seal_column(data, offsets, 4, context=context),
        lambda: key.open_column(*records, 4, context=context),
        lambda: env.encrypt(data, context),
        lambda: env.decrypt(sealed, context),
    ]


def peers() -> list[tuple[str, Callable[[], Any]]]:
    """The same messages and records by others, as far as they are installed."""
    data = b"\7" * LENGTH
    found: list[tuple[str, Callable[[], Any]]] = []
    try:
        import tink
        from tink import aead, streaming_aead  # noqa: F401

        aead.register()
        primitive = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)
        values = [data[at : at + RECORD] for at in range(0, LENGTH, RECORD)]
        sealed = primitive.encrypt(data, b"mail")
        records = [primitive.encrypt(value, b"mail") for value in values]
        found += [
            ("Tink, encrypt each of 1 KiB", lambda: [primitive.encrypt(value, b"mail") for value in values]),
            ("Tink, decrypt each of 1 KiB", lambda: [primitive.decrypt(record, b"mail") for record in records]),
            ("Tink, encrypt 64 MiB", lambda: primitive.encrypt(data, b"mail")),
            ("Tink, decrypt 64 MiB", lambda: primitive.decrypt(sealed, b"mail")),
        ]
    except Exception as error:
        print(f"left out: Tink: {error!r}", file=sys.stderr)
    try:
        import aws_encryption_sdk
        from aws_encryption_sdk.identifiers import CommitmentPolicy, EncryptionKeyType, WrappingAlgorithm
        from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
        from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

        class Local(RawMasterKeyProvider):  # type: ignore[misc]
            provider_id = "local"

            def _get_raw_key(self, key_id: bytes) -> Any:
                algorithm = WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING
                return WrappingKey(algorithm, b"\1" * 32, EncryptionKeyType.SYMMETRIC)

        keys = Local()
        keys.add_master_key("main")
        client = aws_encryption_sdk.EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
        )
        closed, _ = client.encrypt(source=data, key_provider=keys, encryption_context={"column": "mail"})
        found += [
            (
                "AWS Encryption SDK, encrypt 64 MiB",
                lambda: client.encrypt(source=data, key_provider=keys, encryption_context={"column": "mail"}),
            ),
            ("AWS Encryption SDK, decrypt 64 MiB", lambda: client.decrypt(source=closed, key_provider=keys)),
        ]
    except Exception as error:
        print(f"left out: AWS Encryption SDK: {error!r}", file=sys.stderr)
    return found


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    main(sys.argv[1], int(sys.argv[2]))
