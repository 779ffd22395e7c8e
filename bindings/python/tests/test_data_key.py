"""Records under a data key."""

from __future__ import annotations

import pytest

from envelope_sdk import RECORD_MAX_LEN, RECORD_OVERHEAD, DataKey, Envelope, Withheld, errors, inspect


def test_records_open_under_their_key_and_context_alone(env: Envelope) -> None:
    key, wrapped = env.new_data_key({"table": "users"})
    record = key.seal(b"jane@example.org", {"row": "17"})
    assert len(record) == len(b"jane@example.org") + RECORD_OVERHEAD
    again = env.open_data_key(wrapped, {"table": "users"})
    assert isinstance(again, DataKey) and again.id == key.id == inspect(wrapped).envelope_id
    assert again.open(record, {"row": "17"}) == b"jane@example.org"
    other, _ = env.new_data_key({"table": "users"})
    for opener, context in ((again, {"row": "18"}), (again, {}), (other, {"row": "17"})):
        with pytest.raises(errors.NotAuthenticError):
            opener.open(record, context)
    for changed in (b"", record[:-1], record[:39], record + b"x", bytes(len(record))):
        with pytest.raises(errors.NotAuthenticError):
            again.open(changed, {"row": "17"})
    with pytest.raises(errors.NotAuthenticError):
        env.open_data_key(wrapped, {"table": "orders"})
    assert key.open(key.seal(b"")) == b""


def test_a_rewrapped_data_key_opens_the_same_records(env: Envelope) -> None:
    key, wrapped = env.new_data_key()
    record = key.seal(b"value")
    moved = env.rewrap(wrapped, ["local:new"])
    assert inspect(moved).generation == 1 and moved != wrapped
    opener = Envelope(env._providers, ["local:new"], [])
    assert opener.open_data_key(moved).open(record) == b"value"


def test_a_record_shows_that_withheld_values_are_right(env: Envelope) -> None:
    key, wrapped = env.new_data_key({"tenant": Withheld("42")})
    record = key.seal(b"value", {"row": "1"})
    opened = env.open_data_key(wrapped, {"tenant": "42"}, record=record, record_context={"row": "1"})
    assert opened.open(record, {"row": "1"}) == b"value"
    with pytest.raises(errors.NotAuthenticError):
        env.open_data_key(wrapped, {"tenant": "43"})
    with pytest.raises(errors.NotAuthenticError):
        env.open_data_key(wrapped, {"tenant": "42"}, record=record, record_context={"row": "2"})


def test_a_record_that_is_too_large_is_refused(env: Envelope) -> None:
    key, _ = env.new_data_key()
    with pytest.raises(errors.UsageError, match="16 MiB"):
        key.seal(bytes(RECORD_MAX_LEN + 1))
    assert len(key.seal(bytes(RECORD_MAX_LEN))) == RECORD_MAX_LEN + RECORD_OVERHEAD


def test_an_envelope_is_no_data_key(env: Envelope) -> None:
    with pytest.raises(errors.FormatError):
        env.open_data_key(env.encrypt(b"data"))
