"""The Rust side. Private: the modules beside it are the interface."""

from collections.abc import Callable
from typing import Any, NoReturn

from ._types import Buffer, Readable, Secret, SeekableReadable, StrPath, Writable

Entries = list[tuple[str, str, bool]]
Values = tuple[Buffer, Buffer, int]
Recipients = tuple[list[str], list[str], list[str]]
Told = tuple[str, str, list[str], int | None, int, str | None, str | None, bool]
Done = Callable[[Any, BaseException | None], None]

VERSION: str
RECORD_MAX_LEN: int
RECORD_OVERHEAD: int

def before_fork() -> None: ...
def after_fork(is_child: bool, /) -> None: ...
def inspect(data: Buffer, /) -> str: ...
def inspect_file(path: str, /) -> str: ...
def items(paths: list[str], /) -> list[str]: ...

class Task:
    def cancel(self) -> None: ...

class Providers:
    def __new__(
        cls,
        path: str | None,
        text: str | None,
        profile: str | None,
        keystore: str | None,
        actor: str | None,
        secrets: list[tuple[str, Secret]],
        /,
    ) -> Providers: ...
    def keys(self) -> tuple[list[str], list[str]]: ...

class DataKey:
    def wrapped(self) -> bytes: ...
    def id(self) -> str: ...
    def seal(self, data: Buffer, entries: Entries, /) -> bytes: ...
    def open(self, record: Buffer, entries: Entries, /) -> bytes: ...
    def seal_column(
        self,
        values: Values,
        entries: Entries,
        by: tuple[str, Values] | None,
        validity: tuple[Buffer, int] | None,
        /,
    ) -> tuple[bytes, bytes]: ...
    def open_column(
        self,
        values: Values,
        entries: Entries,
        by: tuple[str, Values] | None,
        validity: tuple[Buffer, int] | None,
        /,
    ) -> tuple[bytes, bytes]: ...
    def __reduce__(self) -> NoReturn: ...

class RangedReader:
    def size(self) -> int: ...
    def read(self, start: int, end: int, /) -> bytes: ...

class Envelope:
    def __new__(
        cls, providers: Providers, keys: list[str], decrypt_with: list[str] | None, /
    ) -> Envelope: ...
    def keys(self) -> tuple[list[str], list[str]]: ...
    def encrypt(self, data: Buffer, entries: Entries, armored: bool, /) -> bytes: ...
    def begin_encrypt(self, data: Buffer, entries: Entries, armored: bool, done: Done, /) -> Task: ...
    def encrypt_detached(self, data: Buffer, entries: Entries, /) -> tuple[bytes, bytes]: ...
    def decrypt(self, sealed: Buffer, entries: Entries, armored: bool, /) -> bytes: ...
    def begin_decrypt(self, sealed: Buffer, entries: Entries, armored: bool, done: Done, /) -> Task: ...
    def decrypt_detached(
        self, header: Buffer, payload: Buffer, entries: Entries, armored: bool, /
    ) -> bytes: ...
    def rewrap(self, sealed: Buffer, recipients: Recipients, entries: Entries, armored: bool, /) -> bytes: ...
    def begin_rewrap(
        self, sealed: Buffer, recipients: Recipients, entries: Entries, armored: bool, done: Done, /
    ) -> Task: ...
    def new_data_key(self, entries: Entries, /) -> DataKey: ...
    def begin_new_data_key(self, entries: Entries, done: Done, /) -> Task: ...
    def open_data_key(
        self, wrapped: Buffer, entries: Entries, record: tuple[Buffer, Entries] | None, armored: bool, /
    ) -> DataKey: ...
    def begin_open_data_key(
        self,
        wrapped: Buffer,
        entries: Entries,
        record: tuple[Buffer, Entries] | None,
        armored: bool,
        done: Done,
        /,
    ) -> Task: ...
    def encrypt_file(
        self,
        source: StrPath | Readable,
        target: StrPath | Writable,
        entries: Entries,
        armored: bool,
        overwrite: bool,
        /,
    ) -> int: ...
    def begin_encrypt_file(
        self, source: str, target: str, entries: Entries, armored: bool, overwrite: bool, done: Done, /
    ) -> Task: ...
    def decrypt_file(
        self, source: StrPath | Readable, target: StrPath | Writable, entries: Entries, overwrite: bool, /
    ) -> int: ...
    def begin_decrypt_file(
        self, source: str, target: str, entries: Entries, overwrite: bool, done: Done, /
    ) -> Task: ...
    def open(self, source: StrPath | SeekableReadable, entries: Entries, /) -> RangedReader: ...

class Runner:
    def __new__(
        cls,
        providers: Providers,
        to: list[str],
        from_: list[str],
        add: list[str],
        remove: list[str],
        reencrypt: bool,
        older_than: float | None,
        entries: Entries,
        concurrency: int,
        rate: int | None,
        /,
    ) -> Runner: ...
    def plan(
        self, paths: list[str], shard: tuple[int, int] | None, on_item: Callable[[Told], None] | None, /
    ) -> str: ...
    def run(
        self,
        paths: list[str],
        resume: str | None,
        shard: tuple[int, int] | None,
        on_item: Callable[[Told], None] | None,
        /,
    ) -> str: ...
    def run_items(self, items: list[str], /) -> list[Told]: ...
    def run_one(self, item: str, /) -> Told: ...
    def run_envelopes(self, envelopes: list[bytes], /) -> list[tuple[Told, bytes | None]]: ...
    def calls(self) -> list[tuple[str, int]]: ...
