"""The arithmetic of docs/scale.md: the page has what the script prints, and what the script simulates is right."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts/scale"

if sys.version_info < (3, 11):
    pytest.skip("scripts/scale needs Python 3.11", allow_module_level=True)


@pytest.fixture(scope="module")
def scale():
    loader = importlib.machinery.SourceFileLoader("scale", str(SCRIPT))
    spec = importlib.util.spec_from_loader("scale", loader)
    module = importlib.util.module_from_spec(spec)
    # Its data classes look their module up.
    sys.modules["scale"] = module
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def test_the_page_has_the_tables_that_the_script_prints() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check", ROOT / "docs/scale.md"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_page_with_another_number_is_told_and_can_be_mended(scale, tmp_path, monkeypatch) -> None:
    page = tmp_path / "scale.md"
    right = f"before\n{scale.BEGIN}\n\n| 1 |\n\n{scale.END}\nafter\n"
    page.write_text(right.replace("| 1 |", "| 2 |"), encoding="utf-8")
    monkeypatch.setattr(scale, "tables", lambda _: "| 1 |")
    monkeypatch.setattr(sys, "argv", ["scale", "--check", str(page)])
    with pytest.raises(SystemExit, match="does not have what scripts/scale prints"):
        scale.main()
    monkeypatch.setattr(sys, "argv", ["scale", "--write", str(page)])
    scale.main()
    assert page.read_text(encoding="utf-8") == right
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="does not have the marks"):
        scale.main()


def test_a_quota_that_is_the_bound_is_kept_and_used(scale) -> None:
    aws = replace(scale.cluster_of(scale.figures(), "aws"), machines=8, quota=1000.0)
    done = scale.simulate(aws, 20_000)
    assert done.calls == 2 * 20_000
    assert 0.95 < done.used["quota"] <= 1.001
    assert scale.bound(done.used) == "quota of the key store"


def test_one_machine_is_bound_by_the_time_of_an_answer_when_little_is_under_way(scale) -> None:
    aws = replace(scale.cluster_of(scale.figures(), "aws"), at_once=1)
    done = scale.simulate(aws, 2_000)
    # Each step takes twice the least on average: 2 × (20 + 2 × 20 + 40) ms, and 0.25 ms of four cores.
    assert done.seconds / 2_000 == pytest.approx(0.200, rel=0.05)
    assert scale.bound(done.used) == "time of an answer"


def test_a_lost_machine_costs_reads_and_what_was_under_way(scale) -> None:
    aws = replace(scale.cluster_of(scale.figures(), "aws"), machines=4)
    whole, lost = scale.simulate(aws, 20_000), scale.simulate(aws, 20_000, lost_at=0.5)
    assert 0 < lost.calls - whole.calls <= aws.calls * aws.at_once
    # Half of a quarter is read again.
    assert lost.gets - whole.gets == pytest.approx(2_500, abs=aws.at_once)
    assert lost.seconds > whole.seconds + 30


def test_own_assumptions_go_before(scale, tmp_path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[prices.aws]\nusd = 1.0\n[assumptions]\nquota-share = 0.25\n")
    read = scale.figures(own)
    assert read["prices"]["aws"] == {**scale.figures()["prices"]["aws"], "usd": 1.0}
    assert scale.cluster_of(read, "aws").quota == scale.cluster_of(scale.figures(), "aws").quota / 2


def test_every_figure_says_where_it_is_from_or_that_it_is_an_assumption(scale) -> None:
    for name, store in scale.figures()["stores"].items():
        is_told = {"source", "rate-source", "date"} <= store.keys() or store["note"] == "an assumption"
        assert is_told and store["note"], name
