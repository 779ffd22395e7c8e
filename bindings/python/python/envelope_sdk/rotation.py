"""Many envelopes, brought to other keys or new versions of their keys: planned, resumable, limited, reported.

::

    plan = rotation.plan(["/srv/archive"], to=["local:main"], providers=providers)
    print(plan["to_change"], plan["estimates"])
    report = rotation.run(["/srv/archive"], to=["local:main"], providers=providers, report="report.json", resume="job.jsonl")

What is gone through: paths (files, folders, patterns) and ``file://`` URLs; or URLs of object stores, ``s3://``, ``gs://`` and ``az://``;
or that of one table of PostgreSQL, ``postgres://``. ``docs/rotation.md`` says how a job works, and what holds if it is killed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TextIO

from . import _envelope_sdk as native
from ._providers import Providers
from ._types import Buffer, Context, StrPath, entries
from .errors import EnvelopeError, InputOutputError, UsageError

__all__ = ["Outcome", "Plan", "Report", "Runner", "items", "plan", "run", "run_items"]


@dataclass(frozen=True)
class Outcome:
    """What became of one item."""

    item: str
    """Its name."""
    outcome: str
    """``rewrapped``, ``reencrypted``, ``in-target-state``, ``done-before``, ``would-change``, ``passed-over`` or ``failed``. What failed is
    as it was."""
    reasons: list[str]
    """Why it was changed, or would be."""
    generation: int | None
    """The generation of its header now, if it is an envelope."""
    bytes: int
    """Bytes that were written."""
    error: str | None = None
    """Why it failed."""
    kind: str | None = None
    """The kind of that, as :attr:`envelope_sdk.errors.EnvelopeError.kind` has it."""
    retry: bool = False
    """Whether it may succeed later, without anybody acting."""


class Plan(dict[str, Any]):
    """What a job would do: ``items``, ``to_change``, ``in_target_state``, ``passed_over``, ``failed``; ``reasons`` (how many for each);
    ``calls`` (at most, to each key store); ``usage`` (envelopes by key version); ``estimates`` (money and time by key store)."""


class Report(dict[str, Any]):
    """What a job did: ``totals`` (how many items had which outcome), ``calls`` (to each key store), ``seconds``, ``cancelled``,
    ``finished``."""


class Runner:
    """What shall become of envelopes, for whoever hands them over bit by bit: an engine, a queue.

    The limit of calls, the cache of wraps that several headers share, and the count of calls are of the whole life of one.

    Args:
        providers: The key stores.
        to: The keys that open each envelope from now on, and no others. Those of the configuration, if nothing is named.
        from_: Further keys that may open them as they are. Those of the configuration, if nothing is named.
        add: Instead of ``to``: keys that open it too.
        remove: Instead of ``to``: keys that open it no more. Those that stay must be among ``from_``.
        reencrypt: A new DEK and a new payload, instead of a new wrap.
        older_than: Change what was last written before this moment, whatever its keys: seconds since 1970, or a ``datetime`` with
            its zone.
        context: Entries that hold for each envelope, and the values of withheld ones.
        concurrency: Items under way at once.
        rate: Calls in a second to each key store, at most.
    """

    __slots__ = ("_native",)

    def __init__(
        self,
        providers: Providers,
        to: Sequence[str] | None = None,
        from_: Sequence[str] | None = None,
        *,
        add: Sequence[str] | None = None,
        remove: Sequence[str] | None = None,
        reencrypt: bool = False,
        older_than: float | datetime | None = None,
        context: Context = {},
        concurrency: int = 16,
        rate: int | None = None,
    ) -> None:
        if isinstance(older_than, datetime):
            if older_than.tzinfo is None:
                raise UsageError("`older_than` has no zone: say which moment is meant, such as by tzinfo=timezone.utc")
            older_than = older_than.timestamp()
        self._native = native.Runner(
            providers._native,
            _names(to, "to"),
            _names(from_, "from_"),
            _names(add, "add"),
            _names(remove, "remove"),
            reencrypt,
            older_than,
            entries(context),
            concurrency,
            rate,
        )

    def run_items(self, items: Sequence[StrPath]) -> list[Outcome]:
        """Does exactly these items: no folder is gone through, and no pattern.

        Args:
            items: Paths of files, ``file://`` URLs, and URLs of objects.

        Returns:
            An outcome for each, in this order. One that is named twice is done once. An item that fails raises nothing.

        Raises:
            UsageError: One of them cannot be an item: the URL of a table, or of no store. Nothing was changed.
            EnvelopeError: A key that shall wrap does not. Nothing was changed.
        """
        return [Outcome(*told) for told in self._native.run_items([os.fspath(item) for item in items])]

    def run_envelopes(self, envelopes: Sequence[Buffer]) -> list[tuple[Outcome, bytes]]:
        """Does envelopes in memory: with their payload, detached headers, and headers of data keys.

        Returns:
            What became of each, in this order (``item`` is its index), and its bytes: as they were where nothing was to do, and
            where it failed.
        """
        # Those that are no `bytes` are copied once, here.
        given = [envelope if isinstance(envelope, bytes) else bytes(memoryview(envelope)) for envelope in envelopes]
        done = self._native.run_envelopes(given)
        return [(Outcome(*told), old if new is None else new) for old, (told, new) in zip(given, done)]

    @property
    def calls(self) -> dict[str, int]:
        """Calls to each key store so far."""
        return dict(self._native.calls())

    def _one(self, path: str) -> Outcome:
        """Does one file. What failed with it is raised."""
        return Outcome(*self._native.run_one(path))


def items(paths: Sequence[StrPath]) -> list[str]:
    """The names of all items that paths and URLs lead to, as a job lists them. No key is needed, and nothing is opened but folders:
    some may turn out to be no envelopes.

    Raises:
        EnvelopeError: A folder or a page cannot be listed.
    """
    return native.items(_paths(paths))


def plan(
    paths: Sequence[StrPath],
    to: Sequence[str] | None = None,
    from_: Sequence[str] | None = None,
    *,
    providers: Providers,
    add: Sequence[str] | None = None,
    remove: Sequence[str] | None = None,
    reencrypt: bool = False,
    older_than: float | datetime | None = None,
    context: Context = {},
    concurrency: int = 16,
    rate: int | None = None,
    shard: tuple[int, int] | None = None,
    on_item: Callable[[Outcome], None] | None = None,
) -> Plan:
    """Says what :func:`run` would do, and writes nothing. Headers are read; key stores are asked once for each wanted key, to learn
    its current version.

    The arguments are those of :class:`Runner` and :func:`run`.
    """
    runner = Runner(
        providers,
        to,
        from_,
        add=add,
        remove=remove,
        reencrypt=reencrypt,
        older_than=older_than,
        context=context,
        concurrency=concurrency,
        rate=rate,
    )
    return Plan(json.loads(runner._native.plan(_paths(paths), shard, _told(on_item))))


def run(
    paths: Sequence[StrPath],
    to: Sequence[str] | None = None,
    from_: Sequence[str] | None = None,
    *,
    providers: Providers,
    add: Sequence[str] | None = None,
    remove: Sequence[str] | None = None,
    reencrypt: bool = False,
    older_than: float | datetime | None = None,
    context: Context = {},
    concurrency: int = 16,
    rate: int | None = None,
    shard: tuple[int, int] | None = None,
    report: StrPath | None = None,
    resume: StrPath | None = None,
    on_item: Callable[[Outcome], None] | None = None,
) -> Report:
    """Runs a job to its end. An item that fails stays as it is and does not stop the others: look at ``totals``.

    Ctrl-C ends it in order: what is under way is finished, for 10 seconds at most, and the report is written.

    Args:
        paths: What is gone through: see the module.
        shard: ``(i, n)``: the i-th of n parts, counted from 1. Workers that are given the same paths share nothing else.
        report: A file that must not be there: JSON, as ``envctl rotate --report`` writes it. It is written however the job ends. If it
            cannot have its name then, the exception says where it is.
        resume: A file in which the job notes what it does, so that the same call goes on where it ended.
        on_item: Called with each outcome as it comes, from this thread. If it raises, the job ends, and that goes on. It cannot wait
            for the library itself.

    All other arguments are those of :class:`Runner`.

    Raises:
        EnvelopeError: The job could not begin, or broke down.
        InputOutputError: The report cannot be written, or not have its name; the job was done.

    Whatever ends a job that had begun, an exception of the library, of ``on_item`` or of a signal, has an attribute ``report`` then: the
    :class:`Report` of what was done.
    """
    runner = Runner(
        providers,
        to,
        from_,
        add=add,
        remove=remove,
        reencrypt=reencrypt,
        older_than=older_than,
        context=context,
        concurrency=concurrency,
        rate=rate,
    )
    written = None if report is None else _ReportFile(os.fspath(report))
    noted = None if resume is None else os.fspath(resume)

    def tell(outcome: Outcome) -> None:
        if written is not None:
            written.add(outcome)
        if on_item is not None:
            on_item(outcome)

    listens = written is not None or on_item is not None
    try:
        done = Report(json.loads(runner._native.run(_paths(paths), noted, shard, _told(tell if listens else None))))
    except BaseException as error:
        said = error.__dict__.pop("_report", None)
        totals = None if said is None else Report(json.loads(said))
        if totals is not None:
            error.report = totals  # type: ignore[attr-defined]
        if written is not None:
            try:
                written.finish(totals, str(error) or type(error).__name__)
            except EnvelopeError as unwritten:
                unwritten.report = totals
                raise
        raise
    if written is not None:
        try:
            written.finish(done, None if done["finished"] else "not everything could be listed")
        except EnvelopeError as error:
            error.report = done
            raise
    return done


def run_items(
    items: Sequence[StrPath],
    to: Sequence[str] | None = None,
    from_: Sequence[str] | None = None,
    *,
    providers: Providers,
    add: Sequence[str] | None = None,
    remove: Sequence[str] | None = None,
    reencrypt: bool = False,
    older_than: float | datetime | None = None,
    context: Context = {},
    concurrency: int = 16,
    rate: int | None = None,
) -> list[Outcome]:
    """Does exactly these items: :meth:`Runner.run_items` of a runner for this call alone."""
    runner = Runner(
        providers,
        to,
        from_,
        add=add,
        remove=remove,
        reencrypt=reencrypt,
        older_than=older_than,
        context=context,
        concurrency=concurrency,
        rate=rate,
    )
    return runner.run_items(items)


class _ReportFile:
    """Written as items come. It appears under its name when it is whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        if path.lower().endswith((".html", ".htm")):
            raise UsageError("a report is JSON here: `envctl rotate --report` makes pages, too")
        if os.path.lexists(path):
            raise UsageError(f"the report {path!r} is there already: name another file")
        folder = os.path.dirname(path) or "."
        descriptor, self._temporary = tempfile.mkstemp(prefix=".envelope-report-", dir=folder, text=True)
        self._file: TextIO = open(descriptor, "w", encoding="utf-8")
        self._file.write('{"items":[')
        self._first = True

    def add(self, outcome: Outcome) -> None:
        item = {name: value for name, value in asdict(outcome).items() if value is not None}
        if outcome.error is None:
            del item["retry"]
        try:
            self._file.write("\n" if self._first else ",\n")
            self._first = False
            # ASCII alone: no character drives a terminal.
            self._file.write(json.dumps(item))
        except OSError as error:
            raise self._unwritten(error) from error

    def finish(self, totals: Report | None, trouble: str | None) -> None:
        end = {"totals": totals, "finished": trouble is None, "error": trouble}
        try:
            self._file.write("\n]," + json.dumps(end)[1:] + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise self._unwritten(error) from error
        try:
            # Unlike a rename, this replaces nothing.
            os.link(self._temporary, self._path)
        except OSError as error:
            # What a job of days did is kept: the name was taken meanwhile, or the file system has no links.
            raise InputOutputError(
                f"the report cannot be named {self._path!r}: {error.strerror}", hint=f"it is {self._temporary!r}"
            ) from error
        os.unlink(self._temporary)

    def _unwritten(self, error: OSError) -> InputOutputError:
        return InputOutputError(
            f"the report cannot be written: {error.strerror}", hint=f"what there is of it is {self._temporary!r}"
        )


def _told(on_item: Callable[[Outcome], None] | None) -> Callable[[native.Told], None] | None:
    return None if on_item is None else lambda told: on_item(Outcome(*told))


def _names(names: Sequence[str] | None, what: str) -> list[str]:
    if isinstance(names, str):
        raise UsageError(f"`{what}` is a list of names of keys, and not one text")
    return list(names or ())


def _paths(paths: Sequence[StrPath]) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        raise UsageError("`paths` is a list of paths or URLs, and not one")
    return [os.fspath(path) for path in paths]
