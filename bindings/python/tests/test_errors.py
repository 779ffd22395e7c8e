"""Exceptions: one for each kind, with the words of the library, and fit to be sent to another process."""

from __future__ import annotations

import pickle

import pytest

from envelope_sdk import Envelope, EnvelopeError, errors

CLASSES = [made for made in map(errors.__dict__.get, errors.__all__) if issubclass(made, EnvelopeError)]


@pytest.mark.parametrize("made", CLASSES)
def test_each_is_pickled_with_what_it_says(made: type[EnvelopeError]) -> None:
    error = made("what failed", hint="what to do", key="local:main", retry=True, row=3)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is made and str(again) == "what failed (what to do)" == str(error)
    assert (again.hint, again.key, again.retry, again.row) == ("what to do", "local:main", True, 3)
    assert again.kind in ("usage", "input-output", "not-authentic", "key-refused", "unreachable", "other")
    assert issubclass(made, EnvelopeError)


def test_kinds_are_those_of_python_too() -> None:
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.InputOutputError, OSError)


def test_what_failed_inside_a_worker_is_what_its_caller_gets(env: Envelope) -> None:
    with pytest.raises(errors.NotAuthenticError) as caught:
        env.decrypt(env.encrypt(b"data")[:-1])
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value) and str(again) == str(caught.value)
