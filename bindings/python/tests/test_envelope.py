"""Messages in memory: encrypt, decrypt, rewrap, inspect."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from conftest import Place
from envelope_sdk import Envelope, Providers, Withheld, errors, inspect

CONTEXT = {"tenant": "42", "table": "users"}


@pytest.mark.parametrize("length", [0, 1, 16383, 16384, 16385, 1 << 20, (3 << 20) + 7])
def test_what_is_encrypted_is_decrypted(env: Envelope, length: int) -> None:
    data = bytes(at * 7 % 251 for at in range(min(length, 4096))) * (length // 4096 + 1)
    data = data[:length]
    sealed = env.encrypt(data, CONTEXT)
    assert isinstance(sealed, bytes)
    assert env.decrypt(sealed, CONTEXT) == data
    assert env.decrypt(sealed) == data


def test_each_kind_of_buffer_is_taken_and_a_text_is_not(env: Envelope) -> None:
    data = b"0123456789"
    for buffer in (data, bytearray(data), memoryview(data), memoryview(b"01234567890123456789")[:10]):
        assert env.decrypt(env.encrypt(buffer)) == data
    every_other = memoryview(b"0x1x2x3x4x")[::2]
    assert env.decrypt(env.encrypt(every_other)) == b"01234"
    sealed = env.encrypt(data)
    assert env.decrypt(bytearray(sealed)) == data
    assert env.decrypt(memoryview(sealed)) == data
    for no_buffer in ("text", 5, [1, 2], None):
        with pytest.raises(TypeError, match="bytes-like|memoryview"):
            env.encrypt(no_buffer)  # type: ignore[arg-type]


def test_a_wrong_or_missing_context_is_not_authentic(env: Envelope) -> None:
    sealed = env.encrypt(b"data", {"tenant": "42", "patient": Withheld("7")})
    assert env.decrypt(sealed, {"patient": "7"}) == b"data"
    assert env.decrypt(sealed, {"tenant": "42", "patient": Withheld("7")}) == b"data"
    for wrong in ({}, {"patient": "8"}, {"patient": "7", "tenant": "43"}, {"patient": "7", "more": "x"}):
        with pytest.raises(errors.NotAuthenticError) as caught:
            env.decrypt(sealed, wrong)
        assert type(caught.value) is errors.NotAuthenticError
        assert caught.value.kind == "not-authentic"
        assert not caught.value.retry
    header = inspect(sealed)
    assert header.context == {"tenant": "42"}
    assert header.withheld == ["patient"]


def test_a_withheld_value_is_not_shown() -> None:
    assert "7" not in repr(Withheld("7"))
    assert "7" not in repr({"patient": Withheld("7")})


def test_each_flipped_byte_and_each_truncation_is_refused(env: Envelope) -> None:
    sealed = env.encrypt(b"some data", CONTEXT)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(errors.EnvelopeError) as caught:
            env.decrypt(changed)
        # A changed name of a key is another key, and a changed wrap algorithm is unknown.
        wanted = (errors.NotAuthenticError, errors.KeyNotFoundError, errors.UnsupportedError)
        assert isinstance(caught.value, wanted), (at, caught.value)
        with pytest.raises(errors.NotAuthenticError):
            env.decrypt(sealed[:at])
    with pytest.raises(errors.NotAuthenticError):
        env.decrypt(sealed + b"x")


def test_what_is_no_envelope_is_a_format_error(env: Envelope) -> None:
    for bad in (b"", b"hello", bytes(100)):
        with pytest.raises(errors.FormatError) as caught:
            env.decrypt(bad)
        assert caught.value.hint
        with pytest.raises(errors.FormatError):
            inspect(bad)
    header, payload = env.encrypt_detached(b"data")
    with pytest.raises(errors.FormatError, match="detached header"):
        env.decrypt(header)
    with pytest.raises(errors.FormatError, match="followed by more bytes"):
        env.decrypt_detached(env.encrypt(b"data"), payload)


def test_a_detached_payload_belongs_to_its_header(env: Envelope) -> None:
    header, payload = env.encrypt_detached(b"data", CONTEXT)
    assert env.decrypt_detached(header, payload, CONTEXT) == b"data"
    _, other = env.encrypt_detached(b"data", CONTEXT)
    with pytest.raises(errors.NotAuthenticError):
        env.decrypt_detached(header, other)
    assert inspect(header).kind == "detached"


def test_a_text_form_is_asked_for_and_not_guessed(env: Envelope) -> None:
    text = env.encrypt(b"data", armor=True)
    assert text.startswith(b"-----BEGIN ENVELOPE-----\n")
    assert env.decrypt(text, armor=True) == b"data"
    with pytest.raises(errors.FormatError):
        env.decrypt(text)
    with pytest.raises(errors.FormatError):
        env.decrypt(env.encrypt(b"data"), armor=True)
    assert inspect(text).kind == "attached"


def test_an_envelope_for_other_keys_names_them(place: Place) -> None:
    sealed = place.envelope("local:other").encrypt(b"data")
    env = Envelope(place.providers(), ["local:main"], [])
    with pytest.raises(errors.NoConfiguredKeyError, match="/other") as caught:
        env.decrypt(sealed)
    assert caught.value.hint and "decrypt_with" in caught.value.hint
    assert Envelope(place.providers(), ["local:main"], ["local:other"]).decrypt(sealed) == b"data"


def test_keys_are_those_of_the_configuration_unless_they_are_named(place: Place) -> None:
    configured = place.envelope()
    assert configured.keys == ["local:main"] and configured.decrypt_keys == ["local:main", "local:old", "passphrase:"]
    named = Envelope(place.providers(), ["local:new"])
    sealed = named.encrypt(b"data")
    assert [recipient.key for recipient in inspect(sealed).recipients] == [place.uri("new")]
    assert named.decrypt(sealed) == b"data"
    # Those of the configuration may decrypt, too.
    assert named.decrypt(configured.encrypt(b"data")) == b"data"
    alias = place.providers({"aliases": {"shop": "local:new"}})
    assert Envelope(alias, ["shop"]).decrypt(sealed) == b"data"
    for wrong in ("local:main", b"local:main", 5):
        with pytest.raises((errors.UsageError, TypeError)):
            Envelope(place.providers(), wrong)  # type: ignore[arg-type]


def test_two_keys_each_open(place: Place) -> None:
    sealed = place.envelope("local:main", "local:new").encrypt(b"data")
    for key in ("local:main", "local:new"):
        assert Envelope(place.providers(), [key], []).decrypt(sealed) == b"data"


def test_a_header_is_read_without_a_key(place: Place, env: Envelope) -> None:
    sealed = env.encrypt(b"data", CONTEXT)
    path = place.folder / "a.envelope"
    path.write_bytes(sealed)
    for header in (inspect(sealed), inspect(path), inspect(str(path)), env.inspect(sealed)):
        assert header.kind == "attached" and header.generation == 0 and header.suite == 1
        assert header.context == CONTEXT and header.withheld == []
        assert len(header.envelope_id) == 32
        [recipient] = header.recipients
        assert (recipient.key, recipient.version) == (place.uri("main"), "1")
        assert recipient.wrap_algorithm == "XAES-256-GCM" and recipient.post_quantum_safe is True
    path.write_bytes(env.encrypt(b"data", armor=True))
    assert inspect(path).kind == "attached"
    with pytest.raises(errors.InputOutputError, match="cannot read .*nowhere"):
        inspect(place.folder / "nowhere")
    path.write_bytes(b"no envelope at all, whatever its name says")
    with pytest.raises(errors.FormatError, match="a.envelope"):
        inspect(path)


def test_a_rewrap_changes_the_header_alone(place: Place, env: Envelope) -> None:
    sealed = env.encrypt(b"data" * 10000, CONTEXT)
    new = env.rewrap(sealed, ["local:new"])
    before, after = inspect(sealed), inspect(new)
    assert (after.generation, after.envelope_id) == (1, before.envelope_id)
    assert [recipient.key for recipient in after.recipients] == [place.uri("new")]
    assert new[after.header_bytes :] == sealed[before.header_bytes :]
    assert Envelope(place.providers(), ["local:new"], []).decrypt(new, CONTEXT) == b"data" * 10000
    with pytest.raises(errors.NoConfiguredKeyError):
        Envelope(place.providers(), ["local:main"], []).decrypt(new)


def test_recipients_are_added_and_removed(place: Place, env: Envelope) -> None:
    sealed = env.encrypt(b"data")
    keys = lambda sealed: {recipient.key for recipient in inspect(sealed).recipients}  # noqa: E731
    both = env.rewrap(sealed, add=["local:new"])
    assert keys(both) == {place.uri("main"), place.uri("new")}
    wide = Envelope(place.providers(), ["local:main"], ["local:new"])
    assert keys(wide.rewrap(both, remove=["local:main"])) == {place.uri("new")}
    # What stays must be configured: a header brings in no key.
    with pytest.raises(errors.UsageError, match="/new should stay and is not configured"):
        env.rewrap(both, remove=["local:main"])
    with pytest.raises(errors.UsageError, match="no key would open it"):
        env.rewrap(sealed, remove=["local:main"])
    with pytest.raises(errors.UsageError, match="neither `add` nor `remove`"):
        env.rewrap(sealed, ["local:new"], add=["local:other"])
    # Nothing named: for the keys of the object, anew.
    assert inspect(env.rewrap(sealed)).generation == 1


def test_a_context_that_passes_a_limit_is_refused(env: Envelope) -> None:
    with pytest.raises(errors.UsageError, match="context"):
        env.encrypt(b"data", {"name": "x" * 9000})
    with pytest.raises(errors.UsageError, match="context"):
        env.encrypt(b"data", {"": "x"})
    for wrong in ({"a": 5}, {5: "a"}, {"a": b"x"}):
        with pytest.raises(TypeError):
            env.encrypt(b"data", wrong)  # type: ignore[arg-type]


def test_a_file_of_configuration_is_read_as_envctl_reads_it(place: Place) -> None:
    path = place.folder / "keys.toml"
    path.write_text(
        f'keys = ["main"]\n[aliases]\nmain = "local:main"\n[profiles.backup]\nkeys = ["local:old"]\n'
        f'[local]\nkeystore = "{place.keystore}"\n'
    )
    path.chmod(0o600)
    env = Envelope(Providers.from_file(path, passphrase="correct horse"))
    assert env.decrypt(env.encrypt(b"data")) == b"data"
    backup = Providers.from_file(str(path), passphrase="correct horse", profile="backup")
    assert backup.keys == ["local:old"]
    path.chmod(0o666)
    with pytest.raises(errors.InputOutputError, match="group or others may write"):
        Providers.from_file(path)
    with pytest.raises(errors.InputOutputError, match="cannot read"):
        Providers.from_file(Path("/nowhere/keys.toml"))


def test_no_error_of_a_configuration_repeats_a_value(place: Place) -> None:
    for wrong in (
        {"keys": [4711]},
        {"keys": "4711"},
        {"kees": ["4711"]},
        {"local": {"passphrase-file": 4711}},
        {"local": {"keystore": b"4711"}},
        {"keys": [object()]},
        {"keys": ["4711\ud800"]},
    ):
        with pytest.raises(errors.UsageError) as caught:
            Providers.from_dict(wrong)
        assert "4711" not in str(caught.value)
    with pytest.raises(errors.UsageError, match=r"Providers\.from_dict: unknown field `kees`"):
        Providers.from_dict({"kees": []})


def test_every_text_comes_through_a_configuration_as_it_is(place: Place) -> None:
    folder = place.folder / "a\tb\"c'd\\é\x7f\U0001f511"
    folder.mkdir(mode=0o700)
    keystore = folder / "keystore.json"
    place.keystore.rename(keystore)
    env = Envelope(Providers.from_dict({"keys": ["local:main"], "local": {"keystore": keystore}}, passphrase="correct horse"))
    assert env.decrypt(env.encrypt(b"data")) == b"data"


def test_fewer_keys_may_wrap_but_those_that_do_all_wrap(place: Place) -> None:
    configuration = {"keys": ["local:main", "local:new"], "keyring": {"wrap-at-least": 1}}
    env = Envelope(place.providers(configuration))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sealed = env.encrypt(b"data")
        key, wrapped = env.new_data_key()
    for made in (sealed, wrapped):
        assert [recipient.key for recipient in inspect(made).recipients] == [place.uri("main"), place.uri("new")]
    assert env.decrypt(sealed) == b"data" and env.open_data_key(wrapped).open(key.seal(b"x")) == b"x"
    # One that is not there is no key store that is away.
    with pytest.raises(errors.KeyNotFoundError):
        Envelope(place.providers(configuration), ["local:main", "local:nobody"]).encrypt(b"data")
