"""Where secrets come from, and where they do not go."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import pytest

from conftest import PASSPHRASE, Place
from envelope_sdk import DataKey, Envelope, Providers, errors, rotation


def test_a_passphrase_is_a_text_bytes_or_a_function(place: Place) -> None:
    sealed = place.envelope().encrypt(b"data")
    for secret in (PASSPHRASE, PASSPHRASE.encode(), lambda: PASSPHRASE, lambda: PASSPHRASE.encode()):
        assert Envelope(place.providers(passphrase=secret)).decrypt(sealed) == b"data"
    named = place.providers(passphrase=None, secrets={"keystore-passphrase": PASSPHRASE})
    assert Envelope(named).decrypt(sealed) == b"data"


def test_a_secret_of_the_environment_is_used_where_none_is_given(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVCTL_KEYSTORE_PASSPHRASE", PASSPHRASE)
    env = Envelope(place.providers(passphrase=None))
    assert env.decrypt(env.encrypt(b"data")) == b"data"


def test_a_function_is_called_once(place: Place) -> None:
    calls = []

    def secret() -> str:
        calls.append(1)
        return PASSPHRASE

    providers = place.providers(passphrase=secret)
    env = Envelope(providers)
    rotation.Runner(providers, ["local:main"])
    assert not calls, "no key is used yet"
    assert env.decrypt(env.encrypt(b"data")) == b"data"
    assert env.decrypt(env.encrypt(b"data")) == b"data"
    assert len(calls) == 1


def test_a_function_that_raises_is_told_without_its_words(place: Place) -> None:
    def secret() -> str:
        raise LookupError("hunter2")

    env = Envelope(place.providers(passphrase=secret))
    with pytest.raises(errors.InputOutputError, match="LookupError") as caught:
        env.encrypt(b"data")
    assert "hunter2" not in str(caught.value)


def test_a_wrong_passphrase_is_not_authentic(place: Place) -> None:
    with pytest.raises(errors.NotAuthenticError, match="passphrase") as caught:
        Envelope(place.providers(passphrase="hunter2")).encrypt(b"data")
    assert "hunter2" not in str(caught.value) and caught.value.key
    sealed = Envelope(place.providers({"keys": ["passphrase:"]}, passphrase="one")).encrypt(b"data")
    assert Envelope(place.providers({"keys": ["passphrase:"]}, passphrase="one")).decrypt(sealed) == b"data"
    with pytest.raises(errors.NotAuthenticError):
        Envelope(place.providers({"keys": ["passphrase:"]}, passphrase="two")).decrypt(sealed)


def test_what_is_no_secret_is_refused_without_showing_it(place: Place) -> None:
    for wrong in (4711, ["4711"], b"4711\xff", "4711\ud800"):
        with pytest.raises(TypeError) as caught:
            place.providers(passphrase=wrong)
        assert "4711" not in str(caught.value)


def test_a_missing_secret_says_how_to_give_it(place: Place) -> None:
    with pytest.raises(errors.EnvelopeError, match="passphrase") as caught:
        Envelope(place.providers(passphrase=None)).encrypt(b"data")
    assert isinstance(caught.value, errors.UsageError)


def test_a_key_that_is_not_there_and_one_that_may_not_be_used(place: Place) -> None:
    with pytest.raises(errors.KeyNotFoundError) as caught:
        place.envelope("local:nobody").encrypt(b"data")
    assert caught.value.kind == "key-refused" and caught.value.key
    place.store.add("gone", ("suspended",))
    keys = dict(sorted(place.store.document["keys"].items()))
    place.store.document["keys"] = keys
    place.keystore.write_text(place.store.text())
    with pytest.raises(errors.KeyStateError):
        place.envelope("local:gone").encrypt(b"data")


def test_a_policy_that_denies_is_no_permission(place: Place) -> None:
    policy = place.folder / "policy.toml"
    policy.write_text(
        'version = 1\ndefault = "deny"\n[[rule]]\nname = "reads"\neffect = "allow"\nactor = ["library:tests"]\noperation = ["unwrap"]\n'
    )
    policy.chmod(0o600)
    sealed = place.envelope().encrypt(b"data")
    env = Envelope(place.providers({"policy": {"file": str(policy)}}, actor="library:tests"))
    with pytest.raises(errors.AccessDeniedError):
        env.encrypt(b"data")
    assert env.decrypt(sealed) == b"data"
    stranger = Envelope(place.providers({"policy": {"file": str(policy)}}, actor="library:others"))
    with pytest.raises(errors.AccessDeniedError):
        stranger.decrypt(sealed)


def test_no_object_of_python_leads_to_a_key(place: Place, env: Envelope) -> None:
    key, wrapped = env.new_data_key()
    keks = {bytes(kek) for kek in place.store.keks.values()}
    shown = [repr(key), repr(env), repr(place.providers()), str(vars(errors.EnvelopeError("x")))]
    for obj in (key, key._native, env, env._native, place.providers()._native):
        for name in dir(obj):
            if name.startswith("__"):
                continue
            value = getattr(obj, name)
            value = value() if callable(value) and name in ("wrapped", "id", "keys") else value
            shown.append(repr(value))
    for kek in keks:
        assert not any(kek.hex() in text or repr(kek) in text for text in shown)
    assert key.id in repr(key) and key.wrapped == wrapped
    assert not any(isinstance(found, bytes) and found in keks for found in gc.get_referents(key._native, env._native))


@pytest.mark.parametrize("dump", [pickle.dumps, copy.deepcopy])
def test_nothing_with_a_key_is_pickled(env: Envelope, place: Place, dump: Any) -> None:
    key, _ = env.new_data_key()
    with pytest.raises(TypeError, match="cannot be pickled, since it would carry the key"):
        dump(key)
    for obj in (env, place.providers()):
        with pytest.raises(TypeError, match="pickle"):
            dump(obj)


def test_classes_are_made_by_what_opens_them() -> None:
    with pytest.raises(TypeError, match="from_file"):
        Providers()
    with pytest.raises(TypeError, match="new_data_key"):
        DataKey()
