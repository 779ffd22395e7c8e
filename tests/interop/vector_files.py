"""The vectors, run over both readers. The form of the files is in vectors/README.md."""

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import unquote

import read_envelope
import read_keystore
import write_envelope
from failures import Failure
from text_form import dearmor

FLAGS = {"envelope": 0, "detached": 1, "record": 2}


class Vector:
    def __init__(self, data):
        head, _, body = data.partition(b"\n\n")
        self.lines = head.decode().split("\n")
        self.fields = {}
        for line in self.lines:
            key, _, value = line.partition(": ")
            self.fields.setdefault(key, []).append(value)
        self.kind, self.expected = self.one("kind"), self.one("expect")
        self.armor = "armor" in self.fields
        if self.armor or self.kind == "keystore":
            self.parts = [body, *map(part, self.fields.get("second-part", []))]
        else:
            self.parts = [part(each) for each in body.decode().removesuffix("\n").split("\n\n")]
            self.parts[-1] += bytes(int((self.all("append-zeros") or ["0"])[0]))

    def one(self, key):
        (value,) = self.fields[key]
        return value

    def all(self, key):
        return self.fields.get(key, [])

    def entries(self, key):
        pairs = (line.partition("=") for line in self.all(key))
        return {unquote(name, errors="strict"): unquote(value, errors="strict") for name, _, value in pairs}

    def passphrase(self):
        return self.one("passphrase").encode() if "passphrase" in self.fields else None

    def keks(self):
        keks = []
        for line in self.all("kek"):
            uri, version, key = line.split(" ")
            keks.append((uri, "" if version == "-" else version, bytes.fromhex(key)))
        return keks

    def keys(self):
        """What this vector configures."""
        table = list(zip(map(json.loads, self.all("request")), map(json.loads, self.all("answer"))))
        ask = lambda request: next((answer for asked, answer in table if asked == request), None)
        return read_envelope.Keys(self.keks(), self.passphrase(), self.all("service"), ask)

    def run(self):
        """The plaintext, or for a rewrap the new header."""
        parts = [dearmor(self.parts[0]), *self.parts[1:]] if self.armor else self.parts
        keys, given = self.keys(), self.entries("context") | self.entries("withheld-value")
        if self.kind == "envelope":
            (envelope,) = parts
            return read_envelope.open_envelope(envelope, keys, given)
        if self.kind == "rewrap":
            return write_envelope.rewrap(parts[0], keys, given, self.plan())
        header, second = parts
        if self.kind == "detached":
            return read_envelope.open_detached(header, second, keys, given)
        assert self.kind == "record", self.kind
        return read_envelope.open_record(header, second, keys, given, self.entries("record-context"))

    def plan(self):
        """What a writer is to write."""
        recipients = [line.split(" ") for line in self.all("write-recipient")]
        words = [["" if word == "-" else word for word in words] for _, *words in recipients]
        random = dict(line.rsplit(" ", 1) for line in self.all("random"))
        return write_envelope.Plan(
            self.entries("write-stored"),
            self.entries("write-withheld"),
            [(uri, each) for (uri, *_), each in zip(recipients, words)],
            int(self.one("write-padding")),
            {purpose: bytes.fromhex(digits) for purpose, digits in random.items()},
            {(uri, version): key for uri, version, key in self.keks()},
            self.passphrase(),
        )

    def run_keystore(self):
        """The lines that show the keys."""
        data = self.parts[0] + b" " * int((self.all("append-spaces") or ["0"])[0])
        return read_keystore.shown(read_keystore.open_keystore(data, self.passphrase()))

    def mismatch(self):
        """None, or what is not as expected."""
        try:
            result = self.run_keystore() if self.kind == "keystore" else self.run()
        except Failure as failure:
            if failure.label != self.expected:
                return f"expected {self.expected}, got {failure.label}: {failure}"
            if failure.clause not in self.one("first").split(" "):
                return f"expected {self.one('first')} to refuse first: {failure}"
            return None
        if self.expected != "success":
            return f"expected {self.expected}, got success"
        if self.kind == "keystore":
            listed = [line for line in self.lines if line.startswith(("key: ", "version: "))]
            return None if result == listed else "other keys"
        if self.kind == "rewrap":
            return None if result == self.parts[1] else "another header"
        form, _, value = self.one("payload").partition(" ")
        shown = {"hex": bytes.hex, "sha256": lambda data: hashlib.sha256(data).hexdigest()}[form](result)
        if shown != value:
            return "another plaintext"
        return self.written_otherwise(result) if "random" in self.fields else None

    def written_otherwise(self, plaintext):
        written = write_envelope.write(self.plan(), FLAGS[self.kind], plaintext, self.entries("record-context"))
        return None if b"".join(written) == b"".join(self.parts) else "a writer writes other bytes"


def part(text):
    return b"" if text == "-" else base64.b64decode(text.replace("\n", ""), validate=True)


def run(directory):
    passed = failed = 0
    for path in sorted(Path(directory).rglob("*.vec")):
        try:
            problem = Vector(path.read_bytes()).mismatch()
        except Exception as error:  # anything else than a Failure is a bug of this reader
            problem = f"crashed: {error!r}"
        if problem:
            failed += 1
            print(f"{path}: {problem}")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1
