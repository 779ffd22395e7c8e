"""Rotation: plans, jobs, items one by one, envelopes in memory."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from conftest import Place
from envelope_sdk import Envelope, errors, inspect, rotation
from envelope_sdk.rotation import Outcome, Runner


def archive(place: Place, count: int, key: str = "local:main") -> Path:
    folder = place.folder / "archive"
    folder.mkdir(exist_ok=True)
    env = place.envelope(key)
    for at in range(count):
        (folder / f"{at}.envelope").write_bytes(env.encrypt(f"data {at}".encode()))
    return folder


def keys(sealed: Path | bytes) -> list[str]:
    return [recipient.key.rsplit("/", 1)[1] for recipient in inspect(sealed).recipients]


def test_a_plan_writes_nothing_and_a_run_does_what_it_said(place: Place) -> None:
    folder = archive(place, 5)
    (folder / "note.txt").write_text("no envelope")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    told: list[Outcome] = []
    plan = rotation.plan([folder], ["local:new"], providers=place.providers(), on_item=told.append)
    assert (plan["items"], plan["to_change"], plan["passed_over"]) == (6, 5, 1)
    assert plan["reasons"] == {"missing-recipient": 5, "extra-recipient": 5}
    assert plan["calls"] == {"local": 15} and plan["estimates"]
    assert plan["usage"]["keys"] == {place.uri("main"): {"1": {"envelopes": 5, "alone": 5}}}
    assert sorted(outcome.outcome for outcome in told) == ["passed-over"] + ["would-change"] * 5
    assert {path: path.read_bytes() for path in folder.iterdir()} == before

    report = rotation.run([folder], ["local:new"], providers=place.providers())
    assert report["totals"]["rewrapped"] == 5 and report["finished"] and not report["cancelled"]
    assert all(keys(path) == ["new"] for path in folder.glob("*.envelope"))
    again = rotation.run([str(folder)], ["local:new"], providers=place.providers())
    assert again["totals"]["in_target_state"] == 5 and again["totals"]["rewrapped"] == 0


def test_a_report_is_that_of_envctl_and_replaces_nothing(place: Place) -> None:
    folder = archive(place, 3)
    (folder / "2.envelope").write_bytes((folder / "2.envelope").read_bytes()[:200])
    path = place.folder / "report.json"
    rotation.run([folder], ["local:new"], providers=place.providers(), report=path)
    said = json.loads(path.read_text())
    assert set(said) == {"items", "totals", "finished", "error"} and said["finished"] and said["error"] is None
    by_name = {Path(item["item"]).name: item for item in said["items"]}
    assert by_name["0.envelope"]["outcome"] == "rewrapped" and by_name["0.envelope"]["generation"] == 1
    failed = by_name["2.envelope"]
    assert failed["outcome"] == "failed" and failed["kind"] == "not-authentic" and failed["error"]
    assert said["totals"]["totals"]["failed"] == 1
    assert len(path.read_text().splitlines()) == 3 + 2
    with pytest.raises(errors.UsageError, match="is there already"):
        rotation.run([folder], ["local:new"], providers=place.providers(), report=path)
    with pytest.raises(errors.UsageError, match="JSON here"):
        rotation.run([folder], ["local:new"], providers=place.providers(), report=place.folder / "report.html")
    assert [name for name in os.listdir(place.folder) if name.startswith(".envelope-report")] == []


def test_a_job_is_resumed(place: Place) -> None:
    folder = archive(place, 6)
    notes = place.folder / "job.jsonl"
    seen: list[Outcome] = []

    def stop_after_three(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == 3:
            raise KeyError("enough")

    report = place.folder / "report.json"
    with pytest.raises(KeyError, match="enough") as ended:
        rotation.run(
            [folder],
            ["local:new"],
            providers=place.providers(),
            reencrypt=True,
            concurrency=1,
            resume=notes,
            on_item=stop_after_three,
            report=report,
        )
    said = json.loads(report.read_text())
    assert not said["finished"] and "enough" in said["error"]
    assert said["totals"] == ended.value.report and ended.value.report["totals"]["reencrypted"] >= 3  # type: ignore[attr-defined]
    # Reencrypting would do all of them anew without the notes.
    done = rotation.run(
        [folder], ["local:new"], providers=place.providers(), reencrypt=True, concurrency=1, resume=notes
    )
    totals = done["totals"]
    assert totals["done_before"] >= 3 and totals["done_before"] + totals["reencrypted"] == 6
    with pytest.raises(errors.UsageError, match="another job") as other:
        rotation.run([folder], ["local:other"], providers=place.providers(), resume=notes)
    assert other.value.report is None


def test_shards_do_each_item_once(place: Place) -> None:
    folder = archive(place, 20)
    counts = []
    for shard in ((1, 3), (2, 3), (3, 3)):
        report = rotation.run([folder], ["local:new"], providers=place.providers(), shard=shard)
        counts.append(report["totals"]["items"])
        assert report["totals"]["rewrapped"] == report["totals"]["items"]
    assert sum(counts) == 20
    for wrong in ((0, 3), (4, 3)):
        with pytest.raises(errors.UsageError, match="a shard is"):
            rotation.run([folder], ["local:new"], providers=place.providers(), shard=wrong)


def test_what_is_older_is_changed_whatever_its_keys(place: Place) -> None:
    folder = archive(place, 2)
    os.utime(folder / "0.envelope", (1_000_000, 1_000_000))
    since = datetime(2001, 1, 1, tzinfo=timezone.utc)
    for older_than in (since, since.timestamp()):
        plan = rotation.plan([folder], ["local:main"], providers=place.providers(), older_than=older_than)
        assert plan["to_change"] == 1 and plan["reasons"] == {"older-than": 1}
    with pytest.raises(errors.UsageError, match="no zone"):
        rotation.plan([folder], ["local:main"], providers=place.providers(), older_than=datetime(2001, 1, 1))
    with pytest.raises(errors.UsageError, match="after 1970"):
        rotation.plan([folder], ["local:main"], providers=place.providers(), older_than=-1.0)


def test_each_item_that_is_named_has_an_outcome_in_its_place(place: Place) -> None:
    folder = archive(place, 4)
    (folder / "note.txt").write_text("no envelope")
    done = folder / "3.envelope"
    done.write_bytes(place.envelope("local:new").encrypt(b"data"))
    names = [
        str(folder / "1.envelope"),
        str(folder / "nowhere"),
        f"file://{folder / '0.envelope'}",
        str(folder / "note.txt"),
        str(folder / "1.envelope"),
        str(done),
        str(folder),
        str(folder / "*.envelope"),
    ]
    runner = Runner(place.providers(), ["local:new"])
    outcomes = runner.run_items(names)
    assert [outcome.item for outcome in outcomes] == names
    assert [outcome.outcome for outcome in outcomes] == [
        "rewrapped",
        "failed",
        "rewrapped",
        "failed",
        "rewrapped",
        "in-target-state",
        "failed",
        "failed",
    ]
    assert outcomes[0].generation == 1 and outcomes[0].reasons and outcomes[0].bytes > 0 and outcomes[0].error is None
    assert (outcomes[1].kind, outcomes[3].kind) == ("input-output", "not-authentic")
    # Nothing that was not named.
    assert keys(folder / "2.envelope") == ["main"]
    calls = runner.calls
    assert calls["local"] > 0
    assert runner.run_items(names[:1])[0].outcome == "in-target-state"
    assert runner.calls["local"] > calls["local"]
    assert rotation.run_items([folder / "2.envelope"], ["local:new"], providers=place.providers())[0].generation == 1
    assert runner.run_items([]) == []


def test_items_are_listed_without_a_key(place: Place) -> None:
    folder = archive(place, 3)
    wanted = sorted(str(folder / f"{at}.envelope") for at in range(3))
    assert sorted(rotation.items([folder])) == wanted
    assert sorted(rotation.items([f"{folder}/*.envelope"])) == wanted
    odd = os.fsdecode(os.fsencode(folder) + b"/\xff.envelope")
    os.rename(wanted[0], odd)
    assert odd in rotation.items([folder])
    assert Runner(place.providers(), ["local:new"]).run_items([odd])[0].item == odd


def test_envelopes_in_memory_of_each_kind(place: Place) -> None:
    env = place.envelope()
    sealed = env.encrypt(b"data")
    header, payload = env.encrypt_detached(b"data")
    key, wrapped = env.new_data_key()
    record = key.seal(b"value")
    current = place.envelope("local:new").encrypt(b"data")
    foreign = place.envelope("local:other").encrypt(b"data")
    given = [sealed, bytearray(header), memoryview(wrapped), current, foreign, b"no envelope"]
    runner = Runner(place.providers(), ["local:new"], ["local:main"])
    done = runner.run_envelopes(given)
    assert [outcome.outcome for outcome, _ in done] == ["rewrapped"] * 3 + ["in-target-state", "failed", "failed"]
    assert [outcome.item for outcome, _ in done] == list("012345")
    opener = Envelope(place.providers(), ["local:new"], [])
    assert opener.decrypt(done[0][1]) == b"data"
    assert opener.decrypt_detached(done[1][1], payload) == b"data"
    assert opener.open_data_key(done[2][1]).open(record) == b"value"
    assert [bytes_ for _, bytes_ in done[3:]] == [current, foreign, b"no envelope"]
    reencrypted = Runner(place.providers(), ["local:new"], ["local:main"], reencrypt=True).run_envelopes([sealed, wrapped])
    assert [outcome.outcome for outcome, _ in reencrypted] == ["reencrypted", "failed"]
    assert opener.decrypt(reencrypted[0][1]) == b"data"
    assert inspect(reencrypted[0][1]).envelope_id != inspect(sealed).envelope_id


def test_one_wrap_that_headers_share_is_one_call_for_the_life_of_a_runner(place: Place) -> None:
    sealed = place.envelope().encrypt(b"data")
    runner = Runner(place.providers(), ["local:new"], ["local:main"], concurrency=1)
    runner.run_envelopes([sealed])
    first = runner.calls["local"]
    runner.run_envelopes([sealed])
    # Wrap and verify, and no unwrap; and one throw-away wrap, which says the current version.
    assert runner.calls["local"] - first == first - 1


def test_calls_are_limited_across_the_calls_of_a_runner(place: Place) -> None:
    env = place.envelope()
    runner = Runner(place.providers(), ["local:new"], ["local:main"], rate=10, concurrency=4)
    begun = time.monotonic()
    for at in range(3):
        runner.run_envelopes([env.encrypt(b"data") for _ in range(3)])
    calls = runner.calls["local"]
    assert calls >= 27
    # In no second, whenever it begins, are there more than ten.
    assert time.monotonic() - begun > calls / 10 - 1


def test_recipients_are_edited(place: Place) -> None:
    sealed = place.envelope().encrypt(b"data")
    [(outcome, both)] = Runner(place.providers(), add=["local:new"]).run_envelopes([sealed])
    assert outcome.outcome == "rewrapped" and sorted(keys(both)) == ["main", "new"]
    [(outcome, _)] = Runner(place.providers(), remove=["local:main"]).run_envelopes([both])
    assert outcome.kind == "usage" and outcome.error and "not configured" in outcome.error
    [(outcome, new)] = Runner(place.providers(), None, ["local:new"], remove=["local:main"]).run_envelopes([both])
    assert keys(new) == ["new"]
    with pytest.raises(errors.UsageError, match="neither `add` nor `remove`"):
        Runner(place.providers(), ["local:new"], add=["local:main"])


def test_a_job_that_cannot_begin_changes_nothing(place: Place) -> None:
    folder = archive(place, 1)
    before = (folder / "0.envelope").read_bytes()
    with pytest.raises(errors.KeyNotFoundError, match="the job cannot begin"):
        rotation.run([folder], ["local:nobody"], providers=place.providers())
    assert (folder / "0.envelope").read_bytes() == before


def test_words_that_do_not_go_together_are_refused(place: Place) -> None:
    providers = place.providers()
    for paths in ([place.folder, "s3://bucket/key"], ["postgres://a/b", "postgres://a/c"]):
        with pytest.raises(errors.UsageError, match="call it for each"):
            rotation.run(paths, ["local:new"], providers=providers)
    with pytest.raises(errors.UsageError, match="is a list"):
        rotation.run(str(place.folder), ["local:new"], providers=providers)
    with pytest.raises(errors.UsageError, match="is a list"):
        rotation.run([place.folder], "local:new", providers=providers)
    for moment in (-1.0, float("nan"), 1e19, 1e300):
        with pytest.raises(errors.UsageError, match="no time after 1970"):
            Runner(providers, ["local:new"], older_than=moment)
    with pytest.raises(errors.UsageError, match="three slashes"):
        rotation.items(["file://relative"])
    with pytest.raises(errors.UsageError, match="row of a table"):
        Runner(providers, ["local:new"]).run_items(["postgres://h/d?table=t"])
    folder = archive(place, 1)
    before = (folder / "0.envelope").read_bytes()
    for wrong in ("postgres://h/d?table=t", "file://relative", "s3://no bucket/key"):
        with pytest.raises(errors.UsageError):
            Runner(providers, ["local:new"]).run_items([folder / "0.envelope", wrong])
        assert (folder / "0.envelope").read_bytes() == before


def test_what_a_job_does_is_recorded_and_a_policy_is_asked(place: Place) -> None:
    policy = place.folder / "policy.toml"
    policy.write_text('version = 1\ndefault = "allow"\n[[rule]]\nname = "no"\neffect = "deny"\noperation = ["rewrap"]\n')
    policy.chmod(0o600)
    sealed = place.envelope().encrypt(b"data")
    governed = place.providers({"policy": {"file": str(policy)}}, actor="library:tests")
    with pytest.raises(errors.AccessDeniedError):
        Runner(governed, ["local:new"]).run_envelopes([sealed])


def test_ctrl_c_ends_a_job_in_order(place: Place) -> None:
    folder = archive(place, 60)
    report = place.folder / "report.json"

    def interrupt_soon() -> None:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_soon).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as caught:
        # Three calls each: without an end, it took 18 seconds.
        rotation.run([folder], ["local:new"], providers=place.providers(), rate=10, report=report)
    assert time.monotonic() - begun < 10
    said = json.loads(report.read_text())
    assert not said["finished"] and said["error"] == "KeyboardInterrupt"
    rewrapped = sum(keys(path) == ["new"] for path in folder.iterdir())
    assert rewrapped == said["totals"]["totals"]["rewrapped"] == caught.value.report["totals"]["rewrapped"]  # type: ignore[attr-defined]
    assert said["totals"]["cancelled"]
    assert rewrapped == sum(item["outcome"] == "rewrapped" for item in said["items"]) < 60


def test_a_report_that_cannot_have_its_name_is_kept(place: Place) -> None:
    folder, report = archive(place, 2), place.folder / "report.json"

    def taken(outcome: rotation.Outcome) -> None:
        report.write_text("of somebody else")

    with pytest.raises(errors.InputOutputError, match="cannot be named") as caught:
        rotation.run([folder], ["local:new"], providers=place.providers(), report=report, on_item=taken)
    assert report.read_text() == "of somebody else"
    assert caught.value.report and caught.value.report["totals"]["rewrapped"] == 2
    [kept] = place.folder.glob(".envelope-report-*")
    assert str(kept) in str(caught.value)
    assert len(json.loads(kept.read_text())["items"]) == 2


def test_a_report_that_cannot_be_written_is_told_with_what_was_done(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, report = archive(place, 2), place.folder / "report.json"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def wrong(_: Outcome) -> None:
        raise LookupError("of the caller")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.InputOutputError, match="the report cannot be written: No space left") as caught:
        rotation.run([folder], ["local:new"], providers=place.providers(), report=report)
    assert caught.value.report and caught.value.report["totals"]["rewrapped"] == 2
    assert not report.exists()
    # Also where something else had ended the job.
    with pytest.raises(errors.InputOutputError, match="cannot be written") as caught:
        rotation.run([folder], ["local:old"], ["local:new"], providers=place.providers(), report=report, on_item=wrong)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.report and caught.value.report["totals"]["rewrapped"] >= 1


def test_a_callback_cannot_wait_for_the_library(place: Place) -> None:
    folder, env = archive(place, 1), place.envelope()
    with pytest.raises(errors.UsageError, match="cannot wait for envelope_sdk"):
        rotation.run([folder], ["local:new"], providers=place.providers(), on_item=lambda _: print(env.encrypt(b"")))
