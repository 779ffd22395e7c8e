#!/usr/bin/env python3
"""A second verifier of audit logs, version 1, written from docs/spec/audit-v1.md.

It shares no code with the library and exists to show that the page is enough. It is not meant for use: Python leaves
copies of keys in memory.

    read_audit.py --vectors DIR
        Verifies every log below DIR, with the secret and without, and compares with what its file `case` says. Prints
        "N passed, M failed"; exits with 1 when one failed or there was none.
    read_audit.py --documents DIR
        The same of the signed documents in DIR, with the key in its file `public_key` and what its file `cases` says.
    read_audit.py --document FILE --public-key HEX
        Verifies one signed document: prints "success", or what is wrong, and exits with 1 then.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import read_envelope

MAX_LINE = 65536
MAX_INTEGER = 2**53 - 1
RECORD = b"envelope-audit-v1 record\0"
WORD = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
HEX = re.compile(r"[0-9a-f]*", re.ASCII)
OUTCOMES = ("ok", "failed", "denied", "begun", "not_offered", "dropped")


class Damaged(Exception):
    def __init__(self, kind, file=None, line=1):
        super().__init__(kind)
        self.kind, self.file, self.line = kind, file, line


def require(condition, kind):
    if not condition:
        raise Damaged(kind)


# --- the text -------------------------------------------------------------------------------------------------------


def canonical(value):
    """RFC 8785, of objects whose names are ASCII and whose numbers are integers."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def is_hex(text, length):
    return type(text) is str and len(text) == 2 * length and HEX.fullmatch(text) is not None


def is_integer(value, least=1, most=MAX_INTEGER):
    return type(value) is int and least <= value <= most


def is_string(value, most):
    return type(value) is str and 1 <= len(value.encode()) <= most


def is_word(value):
    return type(value) is str and WORD.fullmatch(value) is not None


def is_time(value):
    if type(value) is not str or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value, re.ASCII) is None:
        return False
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).year >= 1970
    except ValueError:
        return False


def are_pairs(value):
    pairs = type(value) is list and value and all(type(pair) is list and len(pair) == 2 for pair in value)
    if not pairs or not all(type(text) is str for pair in value for text in pair):
        return False
    names = [pair[0].encode() for pair in value]
    return all(one < other for one, other in zip(names, names[1:]))


MEMBERS = {
    "actor": lambda value: is_string(value, 1024),
    "clock": lambda value: value == "set-back",
    "context": are_pairs,
    "detail": are_pairs,
    "envelope": lambda value: is_hex(value, 16),
    "error": is_word,
    "generation": lambda value: is_integer(value, 0, 2**32 - 1),
    "key": lambda value: is_string(value, 2048),
    "key_version": lambda value: is_string(value, 512),
    "mac": lambda value: is_hex(value, 32),
    "operation": is_word,
    "outcome": lambda value: value in OUTCOMES,
    "prev": lambda value: is_hex(value, 32),
    "provider": lambda value: is_string(value, 64),
    "request": lambda value: is_string(value, 128),
    "rule": lambda value: is_string(value, 256),
    "seq": is_integer,
    "time": is_time,
    "v": lambda value: is_integer(value, 1, 1),
}
ALWAYS = {"actor", "mac", "operation", "outcome", "prev", "seq", "time", "v"}


def parse(data):
    """An object in its one spelling, or None."""
    try:
        value = json.loads(data.decode("utf-8", "strict"))
        return value if type(value) is dict and canonical(value) == data else None
    except (ValueError, RecursionError):
        return None


def parse_record(line):
    require(len(line) < MAX_LINE, "not a record")
    record = parse(line)
    require(record is not None and ALWAYS <= record.keys() <= MEMBERS.keys(), "not a record")
    require(all(MEMBERS[name](value) for name, value in record.items()), "not a record")
    return record


# --- keys -----------------------------------------------------------------------------------------------------------


class Log:
    """`FILE.key`, opened when there are keys."""

    def __init__(self, data, keys=None):
        text = parse(data.removesuffix(b"\n"))
        self.id, self.public = bytes.fromhex(text["log"]), bytes.fromhex(text["public_key"])
        self.record_key = self.head_key = None
        if keys:
            header, sealed = base64.b64decode(text["data_key"]), base64.b64decode(text["sealed"])
            bound = {"log": text["log"], "public_key": text["public_key"]}
            secrets = read_envelope.open_record(header, sealed, keys, {"purpose": "envelope-audit-v1"}, bound)
            assert len(secrets) == 64
            public = Ed25519PrivateKey.from_private_bytes(secrets[32:]).public_key().public_bytes_raw()
            assert public == self.public, "AK-1"
            prk = hmac.new(self.id, secrets[:32], hashlib.sha256).digest()
            self.record_key, self.head_key = (
                HKDFExpand(hashes.SHA256(), 32, b"envelope-audit-v1 " + name).derive(prk) for name in (b"record", b"head")
            )

    def is_signed(self, message, signature):
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
            return True
        except InvalidSignature:
            return False


def u64(number):
    return number.to_bytes(8, "big")


def checkpoint(log_id, seq, record_hash):
    return b"envelope-audit-v1 checkpoint\0" + log_id + u64(seq) + record_hash


# --- the head -------------------------------------------------------------------------------------------------------


class Head:
    def __init__(self, data, log):
        require(len(data) == 512 and data[511:] == b"\n", "head")
        head = parse(data[:511].rstrip(b" "))
        names = {"first", "hash", "length", "log", "mac", "segment", "seq", "v"}
        require(head is not None and head.keys() == names and head["v"] == 1, "head")
        require(all(is_integer(head[name]) for name in ("first", "length", "segment", "seq", "v")), "head")
        require(is_hex(head["hash"], 32) and is_hex(head["mac"], 32) and is_hex(head["log"], 16), "head")
        require(head["first"] <= head["seq"] and head["log"] == log.id.hex(), "head")
        if log.head_key:
            body = canonical({name: value for name, value in head.items() if name != "mac"})
            mac = hmac.new(log.head_key, b"envelope-audit-v1 head\0" + body, hashlib.sha256).hexdigest()
            require(hmac.compare_digest(mac, head["mac"]), "head")
        self.first, self.seq, self.segment, self.length = (head[name] for name in ("first", "seq", "segment", "length"))
        self.hash = bytes.fromhex(head["hash"])


# --- the log --------------------------------------------------------------------------------------------------------


class Verifier:
    def __init__(self, path, log, anchors=()):
        self.path, self.log, self.anchors = path, log, anchors
        self.seq, self.hash = 0, hashlib.sha256(b"envelope-audit-v1 log\0" + log.id + log.public).digest()
        self.time, self.segment = None, 1
        self.begun = self.ended = False
        self.signed, self.pruned, self.beginning = 0, None, None
        self.is_pruned, self.behind_head, self.remains = False, 0, 0

    def closed_name(self, number):
        return f"{self.path.name}.{number:08}"

    def run(self):
        name = self.path.name
        self.check_anchors()
        self.head = self.read_head()
        numbers = sorted(
            int(file.name[len(name) + 1 :])
            for file in self.path.parent.glob(f"{name}.*")
            if re.fullmatch(r"[0-9]{8,}", file.name[len(name) + 1 :], re.ASCII)
        )
        if self.head.first > 1:
            self.find_beginning(numbers)
        numbers = [number for number in numbers if number >= self.segment]
        for expected, number in enumerate(numbers, self.segment):
            if number != expected:
                raise Damaged("missing", self.closed_name(expected))
        if self.head.segment > self.segment + len(numbers):
            raise Damaged("missing", self.closed_name(self.segment + len(numbers)))
        files = [self.closed_name(number) for number in numbers]
        if self.path.exists():
            files.append(name)
        elif self.head.segment >= self.segment + len(numbers):
            raise Damaged("missing", name)
        line, file = 0, name
        for index, current in enumerate(files):
            if index:
                if not self.ended:
                    raise Damaged("segment", file, line + 1)
                self.segment, self.begun, self.ended = self.segment + 1, False, False
            file, line = current, self.verify_file(current, current == name)
        if self.seq < self.head.seq:
            raise Damaged("cut", file, line + 1)
        if self.beginning and not self.is_pruned:
            raise Damaged("beginning", self.closed_name(self.beginning[1]))
        if any(anchor["seq"] > self.seq for anchor in self.anchors):
            raise Damaged("anchor", file, line + 1)
        return (
            f"success records {self.head.first} to {self.seq}, signed to {self.signed}, "
            f"{self.behind_head} behind the head, {self.remains} bytes of remains"
        )

    def check_anchors(self):
        for anchor in self.anchors:
            message = checkpoint(bytes.fromhex(anchor["log"]), anchor["seq"], bytes.fromhex(anchor["hash"]))
            known = bytes.fromhex(anchor["log"]) == self.log.id and bytes.fromhex(anchor["public_key"]) == self.log.public
            if not known or not self.log.is_signed(message, bytes.fromhex(anchor["signature"])):
                raise Damaged("anchor", self.path.name)

    def read_head(self):
        file = self.path.with_name(f"{self.path.name}.head")
        if not file.exists():
            raise Damaged("missing", file.name)
        try:
            return Head(file.read_bytes(), self.log)
        except Damaged as damaged:
            raise Damaged(damaged.kind, file.name) from None

    def find_beginning(self, numbers):
        first = self.head.first
        for number, file in [*((number, self.closed_name(number)) for number in numbers), (self.head.segment, self.path.name)]:
            path = self.path.with_name(file)
            if not path.exists():
                continue
            record = parse_record(path.read_bytes().split(b"\n", 1)[0])
            if record["seq"] == first:
                self.beginning = (first, number, record["prev"])
                self.seq, self.hash, self.segment = first - 1, bytes.fromhex(record["prev"]), number
                return
            if record["seq"] > first:
                break
        raise Damaged("missing", self.closed_name(max(1, (numbers[0] if numbers else self.head.segment) - 1)))

    def verify_file(self, name, is_current):
        lines, offset = 0, 0
        data = self.path.with_name(name).read_bytes()
        while offset < len(data):
            end = data.find(b"\n", offset)
            line = data[offset : end if end >= 0 else len(data)]
            try:
                require(end >= 0, "not a record")
                self.follow(line)
                lines, offset = lines + 1, end + 1
                self.take(offset)
            except Damaged as damaged:
                may_be_remains = is_current and self.seq >= self.head.seq and damaged.kind not in ("head", "anchor")
                if may_be_remains and (end < 0 or b"\0" in line):
                    self.remains = len(data) - offset
                    return lines
                kind = "cut" if is_current and end < 0 and self.seq < self.head.seq else damaged.kind
                at = lines if kind in ("head", "anchor") else lines + 1
                raise Damaged(kind, name, at) from None
        return lines

    def follow(self, line):
        record = parse_record(line)
        require(record["seq"] <= self.seq + 1, "gap")
        require(record["seq"] == self.seq + 1, "repeated")
        require(record["prev"] == self.hash.hex(), "chain")
        body = line.replace(b',"mac":"' + record["mac"].encode() + b'"', b"", 1)
        record_hash = hashlib.sha256(RECORD + body).digest()
        if self.log.record_key:
            mac = hmac.new(self.log.record_key, RECORD + record_hash, hashlib.sha256).hexdigest()
            require(hmac.compare_digest(mac, record["mac"]), "mac")
        if self.time is not None:
            require(("clock" in record) == (record["time"] < self.time), "clock")
        self.check_place(record)
        self.seq, self.hash, self.time, self.begun = record["seq"], record_hash, record["time"], True

    def check_place(self, record):
        detail, operation = dict(record.get("detail", [])), record["operation"]
        if operation in ("log-begin", "log-segment"):
            first = "log-begin" if record["seq"] == 1 else "log-segment"
            require(not self.begun and operation == first, "segment")
            require(detail.get("log") == self.log.id.hex(), "segment")
            require(detail.get("segment") == str(self.segment), "segment")
            require(operation == "log-segment" or detail.get("public_key") == self.log.public.hex(), "segment")
            return
        require(self.begun and not self.ended, "segment")
        if operation == "log-segment-end":
            require(detail.get("next") == str(self.segment + 1), "segment")
            self.ended = True
        elif operation == "log-checkpoint":
            self.check_signature(detail, checkpoint(self.log.id, self.seq, self.hash))
            self.signed = self.seq
        elif operation == "log-prune":
            first, segment = int(detail["first"]), int(detail["segment"])
            message = b"envelope-audit-v1 prune\0" + self.log.id + u64(first) + u64(segment)
            message += bytes.fromhex(detail["hash"]) + u64(record["seq"]) + self.hash
            self.check_signature(detail, message)
            self.pruned = (first, segment, detail["hash"])

    def check_signature(self, detail, message):
        signature = detail.get("signature")
        require(is_hex(signature, 64) and self.log.is_signed(message, bytes.fromhex(signature)), "signature")

    def take(self, offset):
        if self.seq == self.head.seq:
            here = (self.hash, self.segment, offset)
            require(here == (self.head.hash, self.head.segment, self.head.length), "head")
        self.behind_head += self.seq > self.head.seq
        self.is_pruned |= self.beginning is not None and self.pruned == self.beginning
        for anchor in self.anchors:
            if anchor["seq"] == self.seq:
                require(anchor["hash"] == self.hash.hex(), "anchor")
                self.signed = max(self.signed, self.seq)


def verify(folder, case, keys):
    anchors = [json.loads(case["anchor"])] if "anchor" in case else []
    log = Log((folder / "log.key").read_bytes(), keys)
    try:
        return Verifier(folder / "log", log, anchors).run()
    except Damaged as damaged:
        return f"{damaged.kind} at {damaged.file} line {damaged.line}"


def run(directory):
    passed = failed = 0
    for path in sorted(Path(directory).glob("*/case")):
        case = dict(line.split(": ", 1) for line in path.read_text().splitlines())
        keys = read_envelope.Keys(passphrase=case["passphrase"].encode())
        for name, given in (("expect", keys), ("without-secret", None)):
            try:
                told = verify(path.parent, case, given)
            except Exception as error:  # anything else than damage is a bug of this reader
                told = f"crashed: {error!r}"
            if told == case[name]:
                passed += 1
            else:
                failed += 1
                print(f"{path.parent.name}, {name}: expected {case[name]!r}, got {told!r}")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def verify_document(data, public_key):
    """AD-1 to AD-3: the last line signs all bytes before it."""
    at = data.rstrip(b"\n").rfind(b"\n") + 1 if data.endswith(b"\n") else len(data)
    line = data[at:-1]
    names = ("document_signature", "length", "log", "public_key", "sha256", "signature")
    signed = parse(line)
    if signed is None or tuple(sorted(signed)) != names or data.endswith(b"\n\n"):
        return "not-signed"
    # Not `true` or `1.0`, which are equal to 1 here.
    if not is_integer(signed["document_signature"], 1, 1) or not is_integer(signed["length"], 0):
        return "not-signed"
    sizes = (("log", 16), ("public_key", 32), ("sha256", 32), ("signature", 64))
    if not all(is_hex(signed[name], size) for name, size in sizes):
        return "not-signed"
    if signed["public_key"] != public_key.hex():
        return "other-key"
    message = b"envelope-audit-v1 document\0" + bytes.fromhex(signed["log"]) + u64(signed["length"])
    message += bytes.fromhex(signed["sha256"])
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(signed["signature"]), message)
    except InvalidSignature:
        return "signature"
    document = data[:at]
    is_it = len(document) == signed["length"] and hashlib.sha256(document).hexdigest() == signed["sha256"]
    return "success" if is_it else "changed"


def run_documents(directory):
    passed = failed = 0
    public_key = bytes.fromhex((Path(directory) / "public_key").read_text())
    for case in (Path(directory) / "cases").read_text().splitlines():
        name, expected = case.split(": ", 1)
        told = verify_document((Path(directory) / name).read_bytes(), public_key)
        if told == expected:
            passed += 1
        else:
            failed += 1
            print(f"{name}: expected {expected!r}, got {told!r}")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def run_document(path, public_key):
    told = verify_document(Path(path).read_bytes(), bytes.fromhex(public_key or ""))
    print(told)
    return 0 if told == "success" else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vectors", metavar="DIR")
    what.add_argument("--documents", metavar="DIR")
    what.add_argument("--document", metavar="FILE")
    parser.add_argument("--public-key", metavar="HEX")
    args = parser.parse_args()
    if args.document:
        sys.exit(run_document(args.document, args.public_key))
    sys.exit(run_documents(args.documents) if args.documents else run(args.vectors))
