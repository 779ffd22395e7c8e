"""What a wheel with every key store does beyond local keys and files: with real servers, where their addresses are in the environment
(scripts/with-servers)."""

from __future__ import annotations

import os
import urllib.request
import uuid
import warnings
from collections.abc import Callable

import pytest

from conftest import Place
from envelope_sdk import Envelope, errors, inspect, rotation
from envelope_sdk.rotation import Runner


def lacks_stores() -> bool:
    try:
        rotation.items(["s3://"])
    except errors.UsageError as error:
        return "has no object stores" in str(error)
    return False


pytestmark = pytest.mark.skipif(lacks_stores(), reason="this build has local keys and files alone: scripts/python release")
LOCALSTACK = os.environ.get("ENVELOPE_TEST_LOCALSTACK", "")
needs_localstack = pytest.mark.skipif(not LOCALSTACK, reason="there is no $ENVELOPE_TEST_LOCALSTACK")

Put = Callable[[str, bytes], None]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    settings = {"ENDPOINT": LOCALSTACK, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    name = f"e{uuid.uuid4().hex[:16]}"
    request("PUT", name)
    return name


def request(method: str, path: str, data: bytes = b"") -> bytes:
    asked = urllib.request.Request(f"{LOCALSTACK}/{path}", data=data, method=method)
    with urllib.request.urlopen(asked) as answer:
        return bytes(answer.read())


@needs_localstack
def test_objects_are_listed_planned_and_rotated_one_by_one(place: Place, bucket: str) -> None:
    env = place.envelope()
    for key in ("a", "deep/er/b", "deep/c"):
        request("PUT", f"{bucket}/{key}", env.encrypt(key.encode()))
    request("PUT", f"{bucket}/note.txt", b"no envelope")
    url = f"s3://{bucket}"
    names = [f"{url}/{key}" for key in ("a", "deep/c", "deep/er/b", "note.txt")]
    assert sorted(rotation.items([url])) == names
    plan = rotation.plan([url], ["local:new"], providers=place.providers())
    assert (plan["to_change"], plan["passed_over"]) == (3, 1)
    runner = Runner(place.providers(), ["local:new"])
    outcomes = runner.run_items([names[2], names[3], f"{url}/nowhere", names[2]])
    assert [outcome.outcome for outcome in outcomes] == ["rewrapped", "failed", "failed", "rewrapped"]
    assert [outcome.item for outcome in outcomes] == [names[2], names[3], f"{url}/nowhere", names[2]]
    assert [recipient.key for recipient in inspect(request("GET", f"{bucket}/deep/er/b")).recipients] == [place.uri("new")]
    assert [recipient.key for recipient in inspect(request("GET", f"{bucket}/a")).recipients] == [place.uri("main")]
    report = rotation.run([url], ["local:new"], providers=place.providers())
    assert (report["totals"]["rewrapped"], report["totals"]["in_target_state"]) == (2, 1)
    assert place.envelope("local:new").decrypt(request("GET", f"{bucket}/deep/c")) == b"deep/c"
    assert request("GET", f"{bucket}/note.txt") == b"no envelope"


def test_a_key_store_that_does_not_answer_may_be_asked_again(place: Place) -> None:
    token = place.folder / "token"
    token.write_text("token")
    token.chmod(0o600)
    vault = {"address": "http://127.0.0.1:1", "token-file": str(token)}
    env = Envelope(place.providers({"keys": ["hashivault://transit/main"], "vault": vault}))
    with pytest.raises(errors.UnreachableError) as caught:
        env.encrypt(b"data")
    assert caught.value.retry and caught.value.key and caught.value.kind == "unreachable"


def test_a_key_store_that_is_away_may_be_missing_with_a_warning(place: Place) -> None:
    token = place.folder / "token"
    token.write_text("token")
    token.chmod(0o600)
    both = {"keys": ["local:main", "hashivault://transit/main"]}
    vault = {"vault": {"address": "http://127.0.0.1:1", "token-file": str(token)}}
    with pytest.raises(errors.UnreachableError):
        Envelope(place.providers(both | vault)).encrypt(b"data")
    env = Envelope(place.providers(both | vault | {"keyring": {"wrap-at-least": 1}}))
    with pytest.warns(errors.MissingKeyWarning, match="does not open with hashivault://transit/main yet"):
        sealed = env.encrypt(b"data")
    assert [recipient.key for recipient in inspect(sealed).recipients] == [place.uri("main")]
    assert place.envelope().decrypt(sealed) == b"data"
    with pytest.warns(errors.MissingKeyWarning):
        key, wrapped = env.new_data_key()
    assert place.envelope().open_data_key(wrapped).open(key.seal(b"value")) == b"value"
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.MissingKeyWarning)
        with pytest.raises(errors.MissingKeyWarning):
            env.encrypt(b"data")
    # Two of two: the one that is away is not missing, but an error.
    with pytest.raises(errors.UnreachableError):
        Envelope(place.providers(both | vault | {"keyring": {"wrap-at-least": 2}})).encrypt(b"data")
