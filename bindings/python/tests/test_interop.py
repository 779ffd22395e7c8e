"""What Python seals envctl and the second reader open, and the reverse, for each success vector."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from conftest import PASSPHRASE, ROOT, Place
from envelope_sdk import Envelope, Withheld, errors, inspect, rotation
from test_vectors import opened, opener, vectors


@pytest.fixture
def envctl(place: Place) -> Any:
    """Runs envctl with the keystore of the test."""
    program = os.environ.get("ENVCTL") or str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/envctl")
    if not os.access(program, os.X_OK):
        # scripts/test has built it by then.
        assert os.environ.get("REQUIRE_ALL") != "1", f"{program} is not there"
        pytest.skip(f"there is no {program}: build it first")
    secret = place.folder / "passphrase"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o600)
    config = place.folder / "config.toml"
    config.write_text(f'keys = ["local:main"]\n[local]\nkeystore = "{place.keystore}"\npassphrase-file = "{secret}"\n')
    config.chmod(0o600)

    def run(*arguments: str, data: bytes = b"") -> bytes:
        command = [program, "--config", str(config), *arguments]
        done = subprocess.run(command, input=data, capture_output=True, cwd=place.folder)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


Opened = tuple[str, str, bytes, dict[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[Opened]:
    """Name, kind, plaintext, context, and the record's context, of each success vector with local keys."""
    folder = tmp_path_factory.mktemp("keystores")
    folder.chmod(0o700)

    def content(named: tuple[str, Any]) -> Opened | None:
        name, vector = named
        if vector.expected != "success" or vector.all("service"):
            return None
        env = opener(folder, vector)
        if env is None:
            return None
        plaintext = opened(env, vector)
        header = inspect(vector.parts[0])
        given = vector.entries("context") | vector.entries("withheld-value")
        withheld = {name: Withheld(given[name]) for name in header.withheld}
        own = vector.entries("record-context") if vector.kind == "record" else {}
        return name, vector.kind, plaintext, {**header.context, **withheld}, own

    with ThreadPoolExecutor(4) as pool:
        made = [each for each in pool.map(content, vectors("envelope", "detached", "record")) if each is not None]
    assert len(made) > 100, len(made)
    return made


def seal(env: Envelope, kind: str, plaintext: bytes, context: dict[str, str], own: dict[str, str]) -> tuple[bytes, ...]:
    if kind == "envelope":
        return (env.encrypt(plaintext, context),)
    if kind == "detached":
        return env.encrypt_detached(plaintext, context)
    key, wrapped = env.new_data_key(context)
    return wrapped, key.seal(plaintext, own)


def test_the_second_reader_opens_what_python_seals(
    place: Place, env: Envelope, contents: list[Opened], tmp_path: Path
) -> None:
    folder = tmp_path / "written"
    folder.mkdir()
    kek = place.store.keks["main", 1].hex()
    for at, (name, kind, plaintext, context, own) in enumerate(contents):
        lines = ["expect: success", f"comment: as {name}", "spec: H-1", f"kind: {kind}"]
        lines.append(f"kek: {place.uri('main')} 1 {kek}")
        entry = lambda name, value: f"{quote(name, safe='')}={quote(value, safe='')}"  # noqa: E731
        for entry_name, value in context.items():
            what = "withheld-value" if isinstance(value, Withheld) else "context"
            lines.append(f"{what}: {entry(entry_name, str.__str__(value))}")
        lines += [f"record-context: {entry(*each)}" for each in own.items()]
        lines.append(f"payload: hex {plaintext.hex()}")
        parts = [base64.encodebytes(part).decode() or "-\n" for part in seal(env, kind, plaintext, context, own)]
        (folder / f"{at}.vec").write_text("\n".join(lines) + "\n\n" + "\n".join(parts))
    reader = ROOT / "tests/interop/read_envelope.py"
    done = subprocess.run([sys.executable, str(reader), "--vectors", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    count = len(list(folder.iterdir()))
    assert f"{count} passed, 0 failed" in done.stdout


def test_envctl_opens_what_python_seals(
    place: Place, env: Envelope, envctl: Any, contents: list[Opened], tmp_path: Path
) -> None:
    folder, out = tmp_path / "sealed", tmp_path / "opened"
    folder.mkdir(mode=0o700)
    out.mkdir(mode=0o700)
    wanted = {}
    for at, (_, kind, plaintext, context, own) in enumerate(contents):
        if kind == "record":
            # It has no command for records.
            continue
        parts = seal(env, kind, plaintext, context, own)
        (folder / f"{at}.envelope").write_bytes(parts[0])
        if kind == "detached":
            (folder / f"{at}.sealed").write_bytes(parts[1])
        withheld = [f"-c={name}={str.__str__(value)}" for name, value in context.items() if isinstance(value, Withheld)]
        if not withheld:
            wanted[str(at)] = plaintext
            continue
        assert envctl("decrypt", *withheld, "-o", "-", str(folder / f"{at}.envelope")) == plaintext
        (folder / f"{at}.envelope").unlink()
    envctl("decrypt", "-o", f"{out}/", *(str(folder / f"{name}.envelope") for name in wanted))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == wanted


def test_python_opens_what_envctl_seals(place: Place, env: Envelope, envctl: Any) -> None:
    data = bytes(range(256)) * 300
    plain = place.folder / "plain"
    for length in (0, 1, 16384, len(data)):
        plain.write_bytes(data[:length])
        for options in ((), ("--armor",)):
            sealed = envctl("encrypt", "-c", "tenant=42", "-c", "patient=7", "--withhold", "patient", *options, "-o", "-", str(plain))
            assert env.decrypt(sealed, {"tenant": "42", "patient": "7"}, armor=bool(options)) == data[:length]
            (place.folder / "sealed").write_bytes(sealed)
            env.decrypt_file(place.folder / "sealed", place.folder / "opened", {"patient": "7"}, overwrite=True)
            assert (place.folder / "opened").read_bytes() == data[:length]
    envctl("encrypt", "--detached", str(plain))
    header, payload = (place.folder / f"plain.{end}" for end in ("envelope", "sealed"))
    assert env.decrypt_detached(header.read_bytes(), payload.read_bytes()) == data


def test_envctl_and_python_rewrap_for_each_other(place: Place, env: Envelope, envctl: Any) -> None:
    path = place.folder / "plain.envelope"
    path.write_bytes(env.encrypt(b"data"))
    envctl("rewrap", "-k", "local:new", str(path))
    opener = Envelope(place.providers(), ["local:new"], [])
    assert opener.decrypt(path.read_bytes()) == b"data" and inspect(path).generation == 1
    opener.rewrap_file(path, ["local:main"])
    assert envctl("decrypt", "-o", "-", str(path)) == b"data" and inspect(path).generation == 2


def test_what_python_does_is_in_the_log_that_envctl_verifies(place: Place, envctl: Any) -> None:
    log = place.folder / "audit"
    envctl("audit", "create", str(log))
    providers = place.providers({"audit": {"file": str(log)}}, actor="library:tests")
    env = Envelope(providers)
    sealed = env.encrypt(b"data", {"tenant": "42"})
    env.decrypt(sealed)
    with pytest.raises(errors.NotAuthenticError):
        env.decrypt(sealed, {"tenant": "43"})
    key, wrapped = env.new_data_key()
    env.open_data_key(wrapped)
    # To other keys, and to one more, which are two ways through the library.
    env.rewrap(sealed, ["local:new"])
    env.rewrap(sealed, add=["local:new"])
    path = place.folder / "a.envelope"
    path.write_bytes(sealed)
    assert env.rewrap_file(path, ["local:new"]).outcome == "rewrapped"
    report = rotation.run([path], ["local:old"], ["local:new"], providers=providers, reencrypt=True)
    assert report["totals"]["reencrypted"] == 1
    fewer = place.providers({"audit": {"file": str(log)}, "keyring": {"wrap-at-least": 1}}, actor="library:tests")
    last = Envelope(fewer).encrypt(b"data")
    envctl("audit", "verify", str(log))
    records = [json.loads(line) for line in envctl("--json", "audit", "list", str(log)).splitlines()]
    done = [(record["operation"], record["outcome"]) for record in records]
    for wanted in ("start", "unlock", "create_data_key", "open_data_key", "rewrap", "reencrypt", "wrap_dek", "unwrap_dek"):
        assert (wanted, "ok") in done, (wanted, done)
    assert ("unlock", "failed") in done
    assert {record["actor"] for record in records[1:]} == {"library:tests"}
    rewrapped = [record for record in records if record["operation"] == "rewrap"]
    assert len(rewrapped) == 3
    for record in rewrapped:
        assert record["envelope"] == inspect(sealed).envelope_id and record["generation"] == 1
    started = [record["envelope"] for record in records if record["operation"] == "start"]
    assert started == [inspect(sealed).envelope_id, inspect(last).envelope_id]
    # What cannot be recorded is not done.
    log.with_name("audit.head").unlink()
    fresh = Envelope(place.providers({"audit": {"file": str(log)}}))
    with pytest.raises(errors.InputOutputError):
        fresh.encrypt(b"data")
