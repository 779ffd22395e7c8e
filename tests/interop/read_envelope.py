#!/usr/bin/env python3
"""A second reader of the envelope format, version 1, written from docs/spec/envelope-v1.md.

It shares no code with the library and exists to show that the page is enough. It is strict in the same way. It is not
meant for use: Python leaves copies of keys in memory.

    read_envelope.py --vectors DIR
        Runs every *.vec below DIR. Prints "N passed, M failed"; exits with 1 when one failed or there was none.

    read_envelope.py decrypt FILE [--payload FILE] [--record FILE] [--kek URI VERSION HEX]...
                             [--passphrase-file FILE] [--context NAME=VALUE]... [--record-context NAME=VALUE]...
        Writes the plaintext to standard output. FILE is an envelope, binary or text; with --payload a detached header,
        with --record a data key.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from argon2.low_level import Type, hash_secret_raw
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
import read_keystore

ATTACHED, DETACHED, DATA_KEY = 0, 1, 2


# --- the error classes ----------------------------------------------------------------------------------------------


class Failure(Exception):
    """What a reader comes to instead of a plaintext."""


class FormatFailure(Failure):
    label = "format failure"


class NoConfiguredKey(Failure):
    label = "no configured key"


class UnsupportedWrap(Failure):
    label = "unsupported wrap"


class NotAuthentic(Failure):
    label = "not authentic"


def require(condition, clause, what):
    if not condition:
        raise FormatFailure(f"[{clause}] {what}")


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
        raise FormatFailure(f"[{clause}] not UTF-8") from None


def ascending(names):
    return all(low.encode() < high.encode() for low, high in zip(names, names[1:]))


def encode_context(entries):
    out = len(entries).to_bytes(2, "big")
    for name, value in sorted((n.encode(), v.encode()) for n, v in entries.items()):
        out += len(name).to_bytes(2, "big") + name + len(value).to_bytes(2, "big") + value
    return out


class Recipient:
    def __init__(self, cursor):
        uri, version = cursor.counted(2), cursor.counted(2)
        algorithm, self.wrapped = cursor.counted(1), cursor.counted(2)
        try:
            self.uri = uri.decode("ascii")
        except UnicodeDecodeError:
            raise FormatFailure("[U-1] the key URI is not ASCII") from None
        require(is_canonical(self.uri), "R-1", "the key URI is not canonical")
        require(len(version) <= 512, "R-2", "the key version is too long")
        self.version = utf8(version, "R-2")
        require(re.fullmatch(rb"[A-Za-z0-9_.+-]{1,255}", algorithm), "R-3", "not the name of a wrap algorithm")
        self.algorithm = algorithm.decode("ascii")
        require(1 <= len(self.wrapped) <= 4096, "R-4", "the length of a wrapped DEK")

    def encode(self):
        uri, version, algorithm = self.uri.encode(), self.version.encode(), self.algorithm.encode()
        return b"".join(
            [
                len(uri).to_bytes(2, "big"),
                uri,
                len(version).to_bytes(2, "big"),
                version,
                len(algorithm).to_bytes(1, "big"),
                algorithm,
                len(self.wrapped).to_bytes(2, "big"),
                self.wrapped,
            ]
        )

    def is_passphrase(self):
        return self.uri == "passphrase:"


class Header:
    """A header that was parsed with every check that needs no key."""

    def __init__(self, data):
        require(data[:8] == b"\x89ENV\r\n\x1a\n", "H-1", "not the magic")
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
        require(self._encode() == self.authenticated, "H-12", "not canonical")

    def _read_body(self, cursor):
        self.envelope_id = cursor.take(16)
        self.generation = cursor.number(4)
        self._read_context(cursor)
        require(cursor.number(1) == 1, "H-8", "an unknown threshold")
        count = cursor.number(1)
        require(1 <= count <= 16, "H-9", "the number of recipients")
        self.recipients = [Recipient(cursor) for _ in range(count)]
        named = [(r.uri, r.version) for r in self.recipients]
        require(len(set(named)) == len(named), "R-5", "a recipient is repeated")
        require(sum(r.is_passphrase() for r in self.recipients) <= 1, "R-6", "two passphrases")
        padding = cursor.rest()
        require(not any(padding), "H-10", "padding that is not zero")
        self.padding = len(padding)

    def _read_context(self, cursor):
        start = cursor.at
        count = cursor.number(2)
        require(count <= 64, "C-1", "too many entries")
        entries = []
        for _ in range(count):
            entries.append((utf8(cursor.counted(2), "C-4"), utf8(cursor.counted(2), "C-4")))
            require(cursor.at - start <= 8192, "C-5", "the stored context is too long")
        names = [name for name, _ in entries]
        require(ascending(names), "C-2", "stored names do not ascend")
        require(all(names), "C-3", "an empty name")
        self.stored = dict(entries)
        count = cursor.number(2)
        require(count + len(entries) <= 64, "C-1", "too many entries")
        self.withheld = [utf8(cursor.counted(2), "C-4") for _ in range(count)]
        require(ascending(self.withheld), "C-6", "withheld names do not ascend")
        require(all(self.withheld), "C-3", "an empty name")
        require(not set(self.withheld) & set(names), "C-6", "a name is stored and withheld")

    def _encode(self):
        names = b"".join(len(n.encode()).to_bytes(2, "big") + n.encode() for n in self.withheld)
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
        preamble = b"\x89ENV\r\n\x1a\n\x01\x00\x01" + bytes([self.flags]) + len(body).to_bytes(4, "big")
        return preamble + body


# --- key URIs -------------------------------------------------------------------------------------------------------

AZURE_HOSTS = (
    r"vault\.azure\.net|managedhsm\.azure\.net|vault\.azure\.cn|managedhsm\.azure\.cn"
    r"|vault\.usgovcloudapi\.net|managedhsm\.usgovcloudapi\.net"
)
# Neither `.` nor `..`.
MOUNTED = r"(?!\.{1,2}/)[A-Za-z0-9_.-]+"
CANONICAL = {
    "awskms": r"///arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+",
    "gcpkms": r"//projects/[A-Za-z0-9.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+",
    "azurekeyvault": rf"//[a-z0-9-]+\.(?:{AZURE_HOSTS})/keys/[A-Za-z0-9-]+",
    "hashivault": rf"//(?:{MOUNTED}/)+[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?",
    "local": r"//[0-9a-f]{32}/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
    "passphrase": r"",
}
PKCS11 = ("token", "manufacturer", "serial", "model", "object", "id")
NEVER_CANONICAL = ("arn", "aws-kms", "gcp-kms", "azurekms", "openbao", "https", "http")


def is_canonical(uri):
    """Whether a header may hold this key URI (U-1 to U-10)."""
    if not re.fullmatch(r"[\x21-\x7e]{1,2048}", uri) or "#" in uri or "?" in uri:
        return False
    scheme, colon, rest = uri.partition(":")
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        return False
    if scheme in CANONICAL:
        return re.fullmatch(CANONICAL[scheme], rest, re.ASCII) is not None
    if scheme == "pkcs11":
        return is_canonical_pkcs11(rest)
    if scheme in NEVER_CANONICAL or rest in ("", "//"):
        return False
    return not (rest.startswith("//") and "@" in rest[2:].partition("/")[0])


def is_canonical_pkcs11(path):
    places = []
    for attribute in path.split(";"):
        name, equals, value = attribute.partition("=")
        if not equals or name not in PKCS11:
            return False
        escape = r"%[0-9A-F]{2}"
        if not re.fullmatch(f"(?:{escape})+" if name == "id" else f"(?:[A-Za-z0-9._~-]|{escape})+", value):
            return False
        decoded = bytes.fromhex(value.replace("%", "")) if name == "id" else b""
        needless = name != "id" and any(
            re.fullmatch(r"[A-Za-z0-9._~-]", chr(int(code, 16))) for code in re.findall(r"%(..)", value)
        )
        if needless or (name == "id" and not decoded):
            return False
        places.append(PKCS11.index(name))
    names = {PKCS11[place] for place in places}
    ordered = all(low < high for low, high in zip(places, places[1:]))
    return ordered and bool(names & {"token", "serial"}) and bool(names & {"object", "id"})


# --- text form ------------------------------------------------------------------------------------------------------


def dearmor(text):
    require(text.endswith(b"\n"), "T-4", "the last line has no end")
    lines = [line.removesuffix(b"\r") for line in text[:-1].split(b"\n")]
    require(lines[0] == b"-----BEGIN ENVELOPE-----", "T-1", "not the first line")
    require(len(lines) >= 2 and lines[-1] == b"-----END ENVELOPE-----", "T-4", "not the last line")
    body, out = lines[1:-1], b""
    for index, line in enumerate(body):
        require(1 <= len(line) <= 64, "T-2", "the length of a line")
        try:
            decoded = base64.b64decode(line, validate=True)
        except binascii.Error:
            raise FormatFailure("[T-3] not base64") from None
        require(base64.b64encode(decoded) == line, "T-3", "base64 that is not canonical")
        require(len(decoded) == 48 or index == len(body) - 1, "T-2", "a short line before the last")
        out += decoded
    return out


# --- cryptography ---------------------------------------------------------------------------------------------------


def xaes_open(key, sealed, aad):
    if len(sealed) < 40:
        raise NotAuthentic("too short")
    nonce, ciphertext = sealed[:24], sealed[24:]
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    zero = aes.update(bytes(16))
    doubled = bytearray((int.from_bytes(zero, "big") << 1 & ((1 << 128) - 1)).to_bytes(16, "big"))
    if zero[0] & 0x80:
        doubled[15] ^= 0x87
    derived = b""
    for counter in (1, 2):
        block = bytes([0, counter, 0x58, 0]) + nonce[:12]
        derived += aes.update(bytes(a ^ b for a, b in zip(block, doubled)))
    try:
        return AESGCM(derived).decrypt(nonce[12:], ciphertext, aad)
    except InvalidTag:
        raise NotAuthentic("XAES-256-GCM") from None


def cobblestone_open(key, context, sealed):
    decryptor = Cobblestone256Decryptor(key, context)
    try:
        return decryptor.update(sealed) + decryptor.finalize()
    except InvalidTag:
        raise NotAuthentic("Cobblestone-256") from None


def wrap_binding(recipient, full):
    uri, version = recipient.uri.encode(), recipient.version.encode()
    names = len(uri).to_bytes(2, "big") + uri + len(version).to_bytes(2, "big") + version
    return b"envelope-v1\x00" + b"\x00\x01" + b"\x03" + names + full


def key_kind(header):
    return b"\x02" if header.flags == DATA_KEY else b"\x01"


def binding(header, full):
    return b"envelope-v1\x00" + b"\x00\x01" + key_kind(header) + header.envelope_id + full


class Keys:
    """What the caller configured: local keys by URI and version, and at most one passphrase."""

    def __init__(self, keks=(), passphrase=None):
        self.keks = {(uri, version): key for uri, version, key in keks}
        self.passphrase = passphrase

    def unwrap(self, recipient, full):
        """The DEK, or None when this recipient is nothing the caller configured."""
        if recipient.is_passphrase():
            if self.passphrase is None:
                return None
            dek = self._unwrap_passphrase(recipient, full)
        elif any(uri == recipient.uri for uri, _ in self.keks):
            if recipient.algorithm != "XAES-256-GCM":
                raise UnsupportedWrap("[W-1] " + recipient.algorithm)
            key = self.keks.get((recipient.uri, recipient.version))
            if key is None:
                raise NoConfiguredKey("[W-4] not in this version")
            if len(recipient.wrapped) != 72:
                raise NotAuthentic("[W-2] length")
            dek = xaes_open(key, recipient.wrapped, wrap_binding(recipient, full))
        else:
            return None
        if len(dek) != 32:
            raise NotAuthentic("[W-3] length")
        return dek

    def _unwrap_passphrase(self, recipient, full):
        if recipient.algorithm != "ARGON2ID-COBBLESTONE-256":
            raise UnsupportedWrap("[W-1] " + recipient.algorithm)
        if recipient.version:
            raise UnsupportedWrap("[A-3] a key version")
        wrapped = recipient.wrapped
        if len(wrapped) != 129:
            raise NotAuthentic("[A-4] length")
        m, t, p = int.from_bytes(wrapped[:4], "big"), int.from_bytes(wrapped[4:8], "big"), wrapped[8]
        if not (19456 <= m <= 1048576 and 1 <= t <= 16 and 1 <= p <= 16):
            raise UnsupportedWrap("[A-1] parameters")
        if m > 262144 or m * t > 786432:
            raise UnsupportedWrap("[A-6] more work than was allowed")
        key = hash_secret_raw(self.passphrase, wrapped[9:25], t, m, p, 32, Type.ID, version=0x13)
        return cobblestone_open(key, wrap_binding(recipient, full), wrapped[25:])


def complete_context(header, given):
    """The encoded full context, from the header and what the caller gave."""
    entries = dict(header.stored)
    for name, value in given.items():
        if name in header.stored:
            if header.stored[name] != value:
                raise NotAuthentic("[C-8] another value")
        elif name not in header.withheld:
            raise NotAuthentic("[C-8] no such entry")
        entries[name] = value
    if any(name not in entries for name in header.withheld):
        raise NotAuthentic("[C-7] a withheld value is missing")
    encoded = encode_context(entries)
    if len(entries) > 64 or len(encoded) > 8192:
        raise NotAuthentic("[C-9] too long")
    return encoded


def unlock(header, keys, given):
    """Content key and full context of a header whose MAC was found right."""
    full = complete_context(header, given)
    failures = []
    for recipient in header.recipients:
        try:
            dek = keys.unwrap(recipient, full)
            if dek is not None:
                return verified_content_key(header, dek), full
        except Failure as failure:
            failures.append(failure)
    raise failures[0] if failures else NoConfiguredKey("[D-2] no recipient is configured")


def verified_content_key(header, dek):
    info = b"envelope-v1 keys\x00" + b"\x00\x01" + key_kind(header) + header.envelope_id
    okm = HKDFExpand(hashes.SHA256(), 64, info).derive(dek)
    expected = hmac.new(okm[:32], header.authenticated, hashlib.sha256).digest()
    if not hmac.compare_digest(expected, header.mac):
        raise NotAuthentic("[K-4] header MAC")
    return okm[32:]


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
    context = encode_context(record_entries)
    if len(record) > 16777256 or len(record_entries) > 64 or len(context) > 8192 or "" in record_entries:
        raise NotAuthentic("[S-3] limits of a record")
    return xaes_open(content_key, record, binding(header, full) + context)


# --- vectors --------------------------------------------------------------------------------------------------------


class Vector:
    def __init__(self, data):
        head, _, body = data.partition(b"\n\n")
        self.lines = head.decode().split("\n")
        self.fields = {}
        for line in self.lines:
            key, _, value = line.partition(": ")
            self.fields.setdefault(key, []).append(value)
        self.armor = "armor" in self.fields
        if self.armor or self.fields["kind"] == ["keystore"]:
            self.parts = [body]
        else:
            parts = body.removesuffix(b"\n").split(b"\n\n")
            self.parts = [b"" if p == b"-" else base64.b64decode(p.replace(b"\n", b""), validate=True) for p in parts]

    def entries(self, key):
        pairs = (line.partition("=") for line in self.fields.get(key, ()))
        return {unquote(name, errors="strict"): unquote(value, errors="strict") for name, _, value in pairs}

    def run(self):
        """The error class and, on success, the plaintext."""
        keks = []
        for line in self.fields.get("kek", ()):
            uri, version, key = line.split(" ")
            keks.append((uri, "" if version == "-" else version, bytes.fromhex(key)))
        passphrase = self.fields.get("passphrase")
        keys = Keys(keks, passphrase[0].encode() if passphrase else None)
        given = self.entries("context") | self.entries("withheld-value")
        kind = self.fields["kind"][0]
        try:
            parts = [dearmor(self.parts[0])] if self.armor else self.parts
            if kind == "envelope":
                (envelope,) = parts
                return "success", open_envelope(envelope, keys, given)
            header, second = parts
            if kind == "detached":
                return "success", open_detached(header, second, keys, given)
            assert kind == "record", kind
            return "success", open_record(header, second, keys, given, self.entries("record-context"))
        except Failure as failure:
            return failure.label, str(failure)

    def run_keystore(self):
        """The error class or, on success, the lines that show the keys."""
        data = self.parts[0] + b" " * int(self.fields.get("append-spaces", ["0"])[0])
        passphrase = self.fields["passphrase"][0].encode()
        try:
            keys = read_keystore.open_keystore(data, passphrase, cobblestone_open, xaes_open, NotAuthentic)
            return "success", read_keystore.shown(keys)
        except read_keystore.Failure as failure:
            return failure.args

    def mismatch(self):
        """None, or what is not as expected."""
        expected = self.fields["expect"][0]
        if self.fields["kind"] == ["keystore"]:
            got, result = self.run_keystore()
            if got != expected:
                return f"expected {expected}, got {got}: {result!r:.100}"
            if got != "success":
                clause = result[1:].partition("]")[0]
                stated = clause in self.fields["spec"][0].split(" ")
                return None if stated else f"refused for another reason: {result}"
            listed = [line for line in self.lines if line.startswith(("key: ", "version: "))]
            return None if result == listed else "other keys"
        got, result = self.run()
        if got != expected:
            return f"expected {expected}, got {got}: {result!r:.100}"
        if got == "success":
            form, _, value = self.fields["payload"][0].partition(" ")
            shown = {"hex": bytes.hex, "sha256": lambda data: hashlib.sha256(data).hexdigest()}[form](result)
            if shown != value:
                return "another plaintext"
        return None


def run_vectors(directory):
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
        return run_vectors(arguments.vectors)
    if arguments.verb == "decrypt":
        return decrypt(arguments)
    parser.error("give --vectors DIR or decrypt FILE")


if __name__ == "__main__":
    sys.exit(main())
