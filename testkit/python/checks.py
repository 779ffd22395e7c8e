"""What the scenarios of the clouds' clients share. Tests find it by PYTHONPATH, and so must who runs them by hand."""

import sys
import traceback


def equal(is_, should_be):
    check(is_ == should_be, f"{is_!r} is not {should_be!r}")


def check(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def run(scenarios, prepare):
    """Calls each scenario with what `prepare` makes of it and its number. Ends the process, with 1 when one failed."""
    failed = 0
    for number, scenario in enumerate(scenarios):
        try:
            scenario(*prepare(number, scenario))
            print(f"ok      {scenario.__name__}")
        except Exception:  # noqa: BLE001 - the next scenario runs whatever this one met
            failed += 1
            print(f"FAILED  {scenario.__name__}\n{traceback.format_exc()}")
    sys.exit(failed > 0)
