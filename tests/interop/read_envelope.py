#!/usr/bin/env python3
"""A second reader of the envelope format, version 1, written from docs/spec/envelope-v1.md.

It shares no code with the library and exists to show that the page is enough. It is strict in the same way, and makes
its checks in the order of the page: what it reports is the first clause that refuses. It is not meant for use: Python
leaves copies of keys in memory.

    read_envelope.py --vectors DIR
        Runs every *.vec below DIR. Prints "N passed, M failed"; exits with 1 when one failed or there was none.

    read_envelope.py decrypt FILE [--payload FILE] [--record FILE] [--kek URI VERSION HEX]...
                             [--passphrase-file FILE] [--context NAME=VALUE]... [--record-context NAME=VALUE]...
        Writes the plaintext to standard output. FILE is an envelope, binary or text; with --payload a detached header,
        with --record a data key.
"""

import argparse
import hashlib
import hmac
import re
import sys
from pathlib import Path

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import services
from constructions import cobblestone_open, xaes_open
from failures import Failure, FormatFailure, NoConfiguredKey, NotAuthentic, UnsupportedWrap, require
from key_uris import check_canonical
from text_form import dearmor

MAGIC = b"\x89ENV\r\n\x1a\n"
ATTACHED, DETACHED, DATA_KEY = 0, 1, 2


# --- parsing --------------------------------------------------------------------------------------------------------


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        require(len(self.data) - self.at >= length, "H-7", "a field does not fit into the body")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def counted(self, length):
        return self.take(self.number(length))

    def rest(self):
        return self.data[self.at :]


def utf8(data, clause):
    try:
        # Python's decoder is that of RFC 3629: no overlong forms, no surrogates.
        return data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise FormatFailure(clause, "not UTF-8") from None


def length_and(data, size=2):
    return len(data).to_bytes(size, "big") + data


def encode_context(entries):
    out = len(entries).to_bytes(2, "big")
    for name, value in sorted((n.encode(), v.encode()) for n, v in entries.items()):
        out += length_and(name) + length_and(value)
    return out


class Recipient:
    def __init__(self, uri, version, algorithm, wrapped):
        self.uri, self.version, self.algorithm, self.wrapped = uri, version, algorithm, wrapped

    @classmethod
    def read(cls, cursor):
        uri = check_canonical(cursor.counted(2))
        version = utf8(cursor.counted(2), "R-2")
        require(len(version.encode()) <= 512, "R-2", "the key version is too long")
        algorithm = cursor.counted(1)
        require(re.fullmatch(rb"[A-Za-z0-9_.+-]+", algorithm), "R-3", "not the name of a wrap algorithm")
        wrapped = cursor.counted(2)
        require(len(wrapped) >= 1, "R-4", "an empty wrapped DEK")
        require(len(wrapped) <= 4096, "R-4", "a wrapped DEK that is too long")
        return cls(uri, version, algorithm.decode("ascii"), wrapped)

    def encode(self):
        names = length_and(self.uri.encode()) + length_and(self.version.encode())
        return names + length_and(self.algorithm.encode(), 1) + length_and(self.wrapped)

    def is_passphrase(self):
        return self.uri == "passphrase:"


class Header:
    """A header that was parsed with every check that needs no key."""

    def __init__(self, data):
        require(MAGIC.startswith(data[:8]), "H-1", "not the magic")
        require(len(data) >= 16, "H-6", "the preamble is cut off")
        require(data[8] == 1, "H-2", "an unknown version")
        require(data[9:11] == b"\x00\x01", "H-3", "an unknown suite")
        self.flags = data[11]
        require(self.flags in (ATTACHED, DETACHED, DATA_KEY), "H-4", "unknown flags")
        body_len = int.from_bytes(data[12:16], "big")
        require(body_len <= 65536, "H-5", "the body is too long")
        self.length = 16 + body_len + 32
        require(len(data) >= self.length, "H-6", "the header is cut off")
        self.authenticated, self.mac = data[: 16 + body_len], data[16 + body_len : self.length]
        self._read_body(Cursor(data[16 : 16 + body_len]))
        require(self.encode() == self.authenticated, "H-12", "not canonical")

    def _read_body(self, cursor):
        self.envelope_id = cursor.take(16)
        self.generation = cursor.number(4)
        self._read_context(cursor)
        require(cursor.number(1) == 1, "H-8", "an unknown threshold")
        count = cursor.number(1)
        require(count >= 1, "H-9", "no recipient")
        require(count <= 16, "H-9", "too many recipients")
        self.recipients = [Recipient.read(cursor) for _ in range(count)]
        named = [(r.uri, r.version) for r in self.recipients]
        require(len(set(named)) == len(named), "R-5", "a recipient is repeated")
        require(sum(r.is_passphrase() for r in self.recipients) <= 1, "R-6", "two passphrases")
        padding = cursor.rest()
        require(not any(padding), "H-10", "padding that is not zero")
        self.padding = len(padding)

    def _read_context(self, cursor):
        start, count = cursor.at, cursor.number(2)
        require(count <= 64, "C-1", "too many entries")
        self.stored, last = {}, b""
        for _ in range(count):
            name, value = utf8(cursor.counted(2), "C-4"), utf8(cursor.counted(2), "C-4")
            require(cursor.at - start <= 8192, "C-5", "the stored context is too long")
            require(name, "C-3", "an empty name")
            require(name.encode() > last, "C-2", "stored names do not ascend")
            self.stored[name], last = value, name.encode()
        count = cursor.number(2)
        require(count + len(self.stored) <= 64, "C-1", "too many entries")
        self.withheld, last = [], b""
        for _ in range(count):
            name = utf8(cursor.counted(2), "C-4")
            require(name, "C-3", "an empty name")
            require(name.encode() > last, "C-6", "withheld names do not ascend")
            require(name not in self.stored, "C-6", "a name is stored and withheld")
            self.withheld.append(name)
            last = name.encode()

    def encode(self):
        """Preamble and body."""
        names = b"".join(length_and(n.encode()) for n in self.withheld)
        body = b"".join(
            [
                self.envelope_id,
                self.generation.to_bytes(4, "big"),
                encode_context(self.stored),
                len(self.withheld).to_bytes(2, "big"),
                names,
                b"\x01",
                len(self.recipients).to_bytes(1, "big"),
                *[recipient.encode() for recipient in self.recipients],
                bytes(self.padding),
            ]
        )
        return MAGIC + b"\x01\x00\x01" + bytes([self.flags]) + len(body).to_bytes(4, "big") + body


# --- keys -----------------------------------------------------------------------------------------------------------


def wrap_binding(recipient, full):
    names = length_and(recipient.uri.encode()) + length_and(recipient.version.encode())
    return b"envelope-v1\x00" + b"\x00\x01" + b"\x03" + names + full


def key_kind(header):
    return b"\x02" if header.flags == DATA_KEY else b"\x01"


def binding(header, full):
    return b"envelope-v1\x00" + b"\x00\x01" + key_kind(header) + header.envelope_id + full


class Keys:
    """What the caller configured: keys by URI and version, at most one passphrase, and keys of services by URI, with
    what the services answer."""

    def __init__(self, keks=(), passphrase=None, served=(), ask=None):
        self.keks = {(uri, version): key for uri, version, key in keks}
        self.passphrase, self.served, self.ask = passphrase, served, ask

    def unwrap(self, recipient, context):
        """The DEK, or None when this recipient is nothing the caller configured."""
        if recipient.is_passphrase():
            if self.passphrase is None:
                return None
            dek = self._unwrap_passphrase(recipient, context.full)
        elif recipient.uri in self.served:
            dek = services.unwrap(recipient, context.entries, context.full, self.ask)
        elif any(uri == recipient.uri for uri, _ in self.keks):
            dek = self._unwrap_local(recipient, context.full)
        else:
            return None
        require(len(dek) == 32, "W-3", "the length of what was wrapped", NotAuthentic)
        return dek

    def _unwrap_local(self, recipient, full):
        local = recipient.uri.startswith("local:") and recipient.algorithm == "XAES-256-GCM"
        require(local, "W-1", recipient.algorithm, UnsupportedWrap)
        key = self.keks.get((recipient.uri, recipient.version))
        require(key is not None, "W-4", "not in this version", NoConfiguredKey)
        require(len(recipient.wrapped) == 72, "W-2", "length", NotAuthentic)
        return xaes_open(key, recipient.wrapped, wrap_binding(recipient, full), "W-2")

    def _unwrap_passphrase(self, recipient, full):
        require(recipient.algorithm == "ARGON2ID-COBBLESTONE-256", "W-1", recipient.algorithm, UnsupportedWrap)
        require(recipient.version == "", "A-3", "a key version", UnsupportedWrap)
        wrapped = recipient.wrapped
        require(len(wrapped) == 129, "A-4", "length", NotAuthentic)
        m, t, p = int.from_bytes(wrapped[:4], "big"), int.from_bytes(wrapped[4:8], "big"), wrapped[8]
        require(19456 <= m <= 1048576, "A-1", "memory", UnsupportedWrap)
        require(1 <= t <= 16, "A-1", "passes", UnsupportedWrap)
        require(1 <= p <= 16, "A-1", "lanes", UnsupportedWrap)
        require(m <= 262144, "A-6", "more memory than was allowed", UnsupportedWrap)
        require(m * t <= 786432, "A-6", "more work than was allowed", UnsupportedWrap)
        key = hash_secret_raw(self.passphrase, wrapped[9:25], t, m, p, 32, Type.ID, version=0x13)
        return cobblestone_open(key, wrap_binding(recipient, full), wrapped[25:], "A-4", "A-4", "A-4")


class Context:
    """The full context, from the header and what the caller gave."""

    def __init__(self, header, given):
        entries = dict(header.stored)
        for name, value in given.items():
            known = name in header.withheld or header.stored.get(name) == value
            require(known, "C-8", "no such entry, or another value", NotAuthentic)
            entries[name] = value
        complete = all(name in entries for name in header.withheld)
        require(complete, "C-7", "a withheld value is missing", NotAuthentic)
        self.entries, self.full = entries, encode_context(entries)
        require(len(self.full) <= 8192, "C-9", "too long", NotAuthentic)


def unlock(header, keys, given):
    """Content key and full context of a header whose MAC was found right."""
    context = Context(header, given)
    failures = []
    for recipient in header.recipients:
        try:
            dek = keys.unwrap(recipient, context)
            if dek is not None:
                return verified_content_key(header, dek), context.full
        except Failure as failure:
            failures.append(failure)
    require(failures, "D-2", "no recipient is configured", NoConfiguredKey)
    # What says more than that something does not fit comes first (D-8).
    raise next((each for each in failures if not isinstance(each, NotAuthentic)), failures[0])


def derived_keys(header, dek):
    info = b"envelope-v1 keys\x00" + b"\x00\x01" + key_kind(header) + header.envelope_id
    okm = HKDFExpand(hashes.SHA256(), 64, info).derive(dek)
    return okm[:32], okm[32:]


def mac_of(header_key, authenticated):
    return hmac.new(header_key, authenticated, hashlib.sha256).digest()


def verified_content_key(header, dek):
    header_key, content_key = derived_keys(header, dek)
    expected = mac_of(header_key, header.authenticated)
    require(hmac.compare_digest(expected, header.mac), "K-4", "header MAC", NotAuthentic)
    return content_key


# --- the three kinds ------------------------------------------------------------------------------------------------


def read_exact(data, flags):
    header = Header(data)
    require(header.length == len(data), "H-11", "bytes after the header")
    require(header.flags == flags, "H-13", "another kind")
    return header


def open_envelope(data, keys, given):
    header = Header(data)
    require(header.flags == ATTACHED, "H-13", "another kind")
    content_key, full = unlock(header, keys, given)
    return cobblestone_open(content_key, binding(header, full), data[header.length :])


def open_detached(data, payload, keys, given):
    header = read_exact(data, DETACHED)
    content_key, full = unlock(header, keys, given)
    return cobblestone_open(content_key, binding(header, full), payload)


def open_record(data, record, keys, given, record_entries):
    header = read_exact(data, DATA_KEY)
    content_key, full = unlock(header, keys, given)
    require(len(record) <= 16777256, "S-3", "a record that is too long", NotAuthentic)
    context = encode_context(record_entries)
    require("" not in record_entries, "S-7", "an empty name", NotAuthentic)
    require(len(record_entries) <= 64, "S-7", "too many entries", NotAuthentic)
    require(len(context) <= 8192, "S-7", "a context that is too long", NotAuthentic)
    require(len(record) >= 40, "S-3", "a record that is too short", NotAuthentic)
    return xaes_open(content_key, record, binding(header, full) + context, "S-2")


# --- the command ----------------------------------------------------------------------------------------------------


def decrypt(arguments):
    pairs = lambda lines: dict(line.partition("=")[::2] for line in lines)
    passphrase = None
    if arguments.passphrase_file:
        passphrase = Path(arguments.passphrase_file).read_bytes().removesuffix(b"\n")
    keks = [(uri, version, bytes.fromhex(key)) for uri, version, key in arguments.kek]
    keys, given = Keys(keks, passphrase), pairs(arguments.context)
    data = Path(arguments.file).read_bytes()
    try:
        if data.startswith(b"-----BEGIN ENVELOPE-----"):
            data = dearmor(data)
        if arguments.payload:
            plaintext = open_detached(data, Path(arguments.payload).read_bytes(), keys, given)
        elif arguments.record:
            record = Path(arguments.record).read_bytes()
            plaintext = open_record(data, record, keys, given, pairs(arguments.record_context))
        else:
            plaintext = open_envelope(data, keys, given)
    except Failure as failure:
        print(f"{arguments.file}: {failure.label}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(plaintext)
    return 0


def main():
    parser = argparse.ArgumentParser(description="Reads envelopes of format version 1")
    parser.add_argument("--vectors", metavar="DIR", help="run every *.vec below DIR")
    verbs = parser.add_subparsers(dest="verb")
    verb = verbs.add_parser("decrypt", help="write the plaintext of one envelope to standard output")
    verb.add_argument("file")
    verb.add_argument("--payload", metavar="FILE")
    verb.add_argument("--record", metavar="FILE")
    verb.add_argument("--kek", nargs=3, action="append", default=[], metavar=("URI", "VERSION", "HEX"))
    verb.add_argument("--passphrase-file", metavar="FILE")
    verb.add_argument("--context", action="append", default=[], metavar="NAME=VALUE")
    verb.add_argument("--record-context", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    if arguments.vectors:
        import vector_files

        return vector_files.run(arguments.vectors)
    if arguments.verb == "decrypt":
        return decrypt(arguments)
    parser.error("give --vectors DIR or decrypt FILE")


if __name__ == "__main__":
    sys.exit(main())
