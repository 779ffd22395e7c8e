#!/usr/bin/env python3
"""Writes the test vectors of envelope format version 1.

Independent of the Rust code: it follows docs/spec/envelope-v1.md and builds the two constructions from the
primitives of PyCA `cryptography`, with fixed salts and nonces that an ordinary writer would never take from outside.

    generate.py             write every vector
    generate.py --check     compare with the files that are there; exit 1 on any difference
    generate.py --example   print the worked example of the specification
    generate.py --coverage  print the coverage table of the specification
    generate.py --page      put both into docs/spec/envelope-v1.md

Every byte that a writer would draw at random is SHAKE-128 of the vector's name and the byte's purpose, so that the
same files come out each time.
"""

import argparse
import base64
import hashlib
import hmac
import re
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "spec" / "envelope-v1.md"

MAGIC = b"\x89ENV\r\n\x1a\n"
ATTACHED, DETACHED, DATA_KEY = 0, 1, 2
CHUNK = 16384
XAES = b"XAES-256-GCM"
ARGON = b"ARGON2ID-COBBLESTONE-256"
PASSPHRASE = b"passphrase:"


# --- primitives -----------------------------------------------------------------------------------------------------


def rnd(name, purpose, length):
    return hashlib.shake_128(f"envelope-v1 vector\n{name}\n{purpose}".encode()).digest(length)


def u8(n):
    return struct.pack(">B", n)


def u16(n):
    return struct.pack(">H", n)


def u32(n):
    return struct.pack(">I", n)


def s16(data):
    return u16(len(data)) + data


def xaes_seal(key, nonce, plaintext, aad):
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    top = int.from_bytes(block.update(bytes(16)), "big")
    k1 = (top << 1 & (1 << 128) - 1) ^ (0x87 if top >> 127 else 0)
    message = b"".join(
        (int.from_bytes(bytes([0, i, 0x58, 0]) + nonce[:12], "big") ^ k1).to_bytes(16, "big") for i in (1, 2)
    )
    return nonce + AESGCM(block.update(message)).encrypt(nonce[12:], plaintext, aad)


@dataclass
class Cobblestone:
    key: bytes
    base: bytes
    commitment: bytes
    salt: bytes

    @classmethod
    def derive(cls, input_key, salt, context):
        info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
        okm = HKDFExpand(hashes.SHA512(), 76, info).derive(input_key)
        return cls(okm[:32], okm[32:44], okm[44:], salt)

    def prefix(self):
        return self.salt + self.commitment

    def chunk(self, index, plaintext):
        nonce = (int.from_bytes(self.base, "big") ^ index).to_bytes(12, "big")
        return AESGCM(self.key).encrypt(nonce, plaintext, b"")

    def chunks(self, plaintext):
        full = len(plaintext) // CHUNK
        return [self.chunk(i, plaintext[i * CHUNK : (i + 1) * CHUNK]) for i in range(full + 1)]

    def seal(self, plaintext):
        return self.prefix() + b"".join(self.chunks(plaintext))


def context_bytes(entries):
    return u16(len(entries)) + b"".join(s16(k) + s16(v) for k, v in entries)


def full_context(stored, withheld):
    return context_bytes(sorted(stored + withheld))


# --- envelopes ------------------------------------------------------------------------------------------------------


@dataclass
class Kek:
    uri: bytes
    version: bytes
    key: bytes

    def line(self):
        return f"kek: {self.uri.decode()} {self.version.decode() or '-'} {self.key.hex()}"


@dataclass
class Recipient:
    uri: bytes
    version: bytes
    algorithm: bytes
    wrapped: bytes

    def encode(self):
        return s16(self.uri) + s16(self.version) + u8(len(self.algorithm)) + self.algorithm + s16(self.wrapped)


def wrap_binding(uri, version, full):
    return b"envelope-v1\0" + u16(1) + b"\x03" + s16(uri) + s16(version) + full


class Env:
    """One envelope in the making. Every field may be bent before the bytes are asked for; the MAC is always computed
    over what is there, so that a bent structure reaches the checks of structure with a MAC that fits."""

    def __init__(self, name, flags=ATTACHED, stored=(), withheld=(), plaintext=b"attack at dawn"):
        self.name = name
        self.flags = flags
        self.magic, self.version, self.suite = MAGIC, 1, 1
        self.dek = rnd(name, "dek", 32)
        self.eid = rnd(name, "envelope id", 16)
        self.generation = 0
        self.stored = [(k.encode(), v.encode()) for k, v in stored]
        self.withheld = [(k.encode(), v.encode()) for k, v in withheld]
        self.threshold = 1
        self.recipients = []
        self.count = None
        self.padding = b""
        self.plaintext = plaintext
        self.body_len = None
        self.body_override = None
        self.stored_override = None
        self.withheld_override = None
        self.derive_eid = None

    def full(self):
        return full_context(self.stored, self.withheld)

    def rnd(self, purpose, length):
        return rnd(self.name, purpose, length)

    def kek(self, label="a", version=b"1"):
        keystore = rnd(self.name, "keystore id", 16).hex()
        key = self.rnd(f"kek {label} {version.decode()}", 32)
        return Kek(f"local://{keystore}/{label}".encode(), version, key)

    def to_kek(self, kek, dek=None, full=None, uri=None, version=None, nonce=None):
        """Adds a recipient wrapped by a local key."""
        uri, version = uri or kek.uri, kek.version if version is None else version
        nonce = nonce or self.rnd(f"nonce {len(self.recipients)}", 24)
        aad = wrap_binding(uri, version, self.full() if full is None else full)
        wrapped = xaes_seal(kek.key, nonce, self.dek if dek is None else dek, aad)
        self.recipients.append(Recipient(uri, version, XAES, wrapped))
        return self

    def to_passphrase(self, passphrase, m=19456, t=1, p=1, written=None, version=b"", dek=None, full=None):
        """Adds a passphrase recipient; `written` are the parameters to claim when they differ from the ones used."""
        salt, inner = self.rnd("argon2 salt", 16), self.rnd("wrap salt", 24)
        low = (m, t, p) if written is None else (19456, 1, 1)
        key = hash_secret_raw(passphrase.encode(), salt, low[1], low[0], low[2], 32, Type.ID)
        binding = wrap_binding(PASSPHRASE, version, self.full() if full is None else full)
        sealed = Cobblestone.derive(key, inner, binding).seal(self.dek if dek is None else dek)
        claim = written or (m, t, p)
        wrapped = u32(claim[0]) + u32(claim[1]) + u8(claim[2]) + salt + sealed
        self.recipients.append(Recipient(PASSPHRASE, version, ARGON, wrapped))
        return self

    def other(self, uri, version=b"", algorithm=b"AWS-KMS", length=64):
        """Adds a recipient that the reader of the vector has no key for."""
        blob = self.rnd(f"blob {len(self.recipients)}", length)
        self.recipients.append(Recipient(uri, version, algorithm, blob))
        return self

    def kind(self):
        return 2 if self.flags == DATA_KEY else 1

    def keys(self):
        info = b"envelope-v1 keys\0" + u16(1) + u8(self.kind()) + (self.derive_eid or self.eid)
        okm = HKDFExpand(hashes.SHA256(), 64, info).derive(self.dek)
        return okm[:32], okm[32:]

    def binding(self):
        return b"envelope-v1\0" + u16(1) + u8(self.kind()) + self.eid + self.full()

    def body(self):
        if self.body_override is not None:
            return self.body_override
        stored = context_bytes(self.stored) if self.stored_override is None else self.stored_override
        names = u16(len(self.withheld)) + b"".join(s16(k) for k, _ in self.withheld)
        withheld = names if self.withheld_override is None else self.withheld_override
        count = len(self.recipients) if self.count is None else self.count
        return (
            self.eid
            + u32(self.generation)
            + stored
            + withheld
            + u8(self.threshold)
            + u8(count)
            + b"".join(r.encode() for r in self.recipients)
            + self.padding
        )

    def authenticated(self):
        body = self.body()
        length = len(body) if self.body_len is None else self.body_len
        return self.magic + u8(self.version) + u16(self.suite) + u8(self.flags) + u32(length) + body

    def mac(self):
        return hmac.new(self.keys()[0], self.authenticated(), "sha256").digest()

    def header(self):
        return self.authenticated() + self.mac()

    def cobblestone(self, salt=None):
        return Cobblestone.derive(self.keys()[1], salt or self.rnd("payload salt", 24), self.binding())

    def payload(self):
        return self.cobblestone().seal(self.plaintext)

    def envelope(self):
        return self.header() + self.payload()

    def record(self, entries=(), plaintext=b"a record", label=""):
        encoded = context_bytes(sorted((k.encode(), v.encode()) for k, v in entries))
        return xaes_seal(self.keys()[1], self.rnd("record nonce" + label, 24), plaintext, self.binding() + encoded)


# --- vector files ---------------------------------------------------------------------------------------------------

VECTORS = {}


def entry(k, v):
    """name=value, with %XX for what the line could not hold."""
    safe = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) not in "%=")
    keep = lambda text, more: "".join(
        ch if ord(ch) >= 0xA0 or ch in safe + more else quote(ch, safe="") for ch in text
    )
    return f"{keep(k, '')}={keep(v, '=')}"


def put(
    name,
    expect,
    spec,
    comment,
    parts,
    keys=(),
    passphrase=None,
    context=(),
    withheld=(),
    record_context=None,
    plaintext=None,
    kind="envelope",
    armor=None,
):
    assert name not in VECTORS, name
    lines = [f"expect: {expect}", f"comment: {comment}", f"spec: {spec}", f"kind: {kind}"]
    if armor is not None:
        lines.append("armor: yes")
    lines += [kek.line() for kek in keys]
    if passphrase is not None:
        lines.append(f"passphrase: {passphrase}")
    lines += [f"context: {entry(k, v)}" for k, v in context]
    lines += [f"withheld-value: {entry(k, v)}" for k, v in withheld]
    lines += [f"record-context: {entry(k, v)}" for k, v in record_context or ()]
    if expect == "success":
        short = len(plaintext) <= 64
        lines.append("payload: " + ("hex " + plaintext.hex() if short else "sha256 " + hashlib.sha256(plaintext).hexdigest()))
    head = "\n".join(line.rstrip() if line.startswith("comment") else line for line in lines).encode() + b"\n\n"
    if armor is not None:
        VECTORS[name] = head + armor
        return
    bodies = []
    for part in parts:
        text = base64.b64encode(part).decode()
        bodies.append("\n".join(text[i : i + 76] for i in range(0, len(text), 76)) or "-")
    VECTORS[name] = head + "\n\n".join(bodies).encode() + b"\n"


def simple(name, **more):
    """An envelope to one local key, and the key."""
    env = Env(name, **more)
    kek = env.kek()
    return env.to_kek(kek), kek


def put_env(name, expect, spec, comment, env, keys, **more):
    """A vector of the whole of `env`, of the kind it is."""
    if env.flags == ATTACHED:
        parts, kind = [env.envelope()], "envelope"
    elif env.flags == DETACHED:
        parts, kind = [env.header(), env.payload()], "detached"
    else:
        parts, kind = [env.header(), env.record(more.get("record_context") or (), env.plaintext)], "record"
    more.setdefault("plaintext", env.plaintext)
    more.setdefault("kind", kind)
    put(name, expect, spec, comment, parts, keys, **more)


def flip(data, index, bit=0):
    out = bytearray(data)
    out[index] ^= 1 << bit
    return bytes(out)


OK, FORMAT, NOKEY, AUTH, UNSUPPORTED = (
    "success",
    "format failure",
    "no configured key",
    "not authentic",
    "unsupported wrap",
)
URI_AWS = b"awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
URI_GCP = b"gcpkms://projects/example.com:p-1/locations/europe-west3/keyRings/ring_1/cryptoKeys/key-1"
URI_AZURE = b"azurekeyvault://vault-1.vault.azure.net/keys/key-1"
URI_P11 = b"pkcs11:token=my%20token;object=kek"


def success():
    for size, label in [(0, "0"), (1, "1"), (16383, "16383"), (16384, "16384"), (16385, "16385"), (32768, "32768")]:
        name = f"success/size-{label}"
        env, kek = simple(name, plaintext=rnd(name, "plaintext", size))
        put_env(name, OK, "P-1 P-3 K-3", f"A payload of {size} bytes.", env, [kek])
    name = "success/size-3-chunks"
    env, kek = simple(name, plaintext=rnd(name, "plaintext", 40000))
    put_env(name, OK, "P-1 P-3 P-4", "Two whole chunks and a short one.", env, [kek])

    name = "success/worked-example"
    env, kek = worked_example()
    put_env(
        name, OK, "K-3 K-4 K-5 K-6 P-1 P-2 W-2", "The worked example of the specification.", env, [kek],
        context=[("tenant", "42")],
    )
    for opened in (1, 2):
        name = f"success/recipients-2-opened-by-{opened}"
        env = Env(name)
        keys = [env.kek("a"), env.kek("b")]
        env.to_kek(keys[0]).to_kek(keys[1])
        put_env(name, OK, "D-2 R-5", f"Two recipients; the reader has key {opened}.", env, [keys[opened - 1]])
    name = "success/recipients-16"
    env = Env(name)
    for i in range(16):
        env.to_kek(env.kek(f"key-{i}"))
    put_env(name, OK, "H-9 D-2", "As many recipients as there may be; the reader has the last key.", env, [env.kek("key-15")])
    name = "success/recipients-two-versions-of-one-key"
    env = Env(name)
    old, new = env.kek("a", b"1"), env.kek("a", b"2")
    env.to_kek(old).to_kek(new)
    put_env(name, OK, "R-5 W-4", "One key in two versions is two recipients.", env, [old, new])
    name = "success/recipient-version-empty"
    env = Env(name)
    kek = env.kek("a", b"")
    put_env(name, OK, "R-2 K-6", "An empty key version.", env.to_kek(kek), [kek])
    name = "success/recipient-unknown-algorithm-beside"
    env = Env(name)
    kek = env.kek()
    env.other(URI_AWS, b"", b"NEW-WRAP_1.0+x").to_kek(kek)
    put_env(name, OK, "R-3 R-7", "A recipient with an algorithm nobody knows does not disturb another one.", env, [kek])
    name = "success/recipient-unknown-scheme-beside"
    env = Env(name)
    kek = env.kek()
    env.other(b"examplekms:some/key", b"v7", b"EXAMPLE").to_kek(kek)
    put_env(name, OK, "R-7 U-9", "A recipient with a scheme nobody knows does not disturb another one.", env, [kek])
    name = "success/recipient-first-broken-second-opens"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    env.recipients[0].wrapped = flip(env.recipients[0].wrapped, 40)
    put_env(name, OK, "D-3", "The first wrap is broken under a MAC that fits; the reader goes on to the second.", env, keys)
    name = "success/recipient-first-unsupported-second-opens"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    env.recipients[0].algorithm = b"AES-OF-TOMORROW"
    put_env(name, OK, "D-3", "The first wrap has an unknown algorithm; the reader goes on to the second.", env, keys)
    for label, uri, version, algorithm, length, comment in [
        ("key-version-512", URI_AWS, b"v" * 512, b"AWS-KMS", 64, "The longest key version."),
        ("algorithm-255", URI_AWS, b"", b"A" * 255, 64, "The longest algorithm name."),
        ("wrapped-dek-4096", URI_AWS, b"", b"AWS-KMS", 4096, "The longest wrapped DEK."),
        ("wrapped-dek-1", URI_AWS, b"", b"AWS-KMS", 1, "The shortest wrapped DEK."),
        ("key-version-utf8", URI_AWS, "version-é".encode(), b"AWS-KMS", 64, "A key version is UTF-8."),
    ]:
        name = f"success/recipient-{label}"
        env = Env(name)
        kek = env.kek()
        env.other(uri, version, algorithm, length).to_kek(kek)
        spec = {"key": "R-2", "alg": "R-3", "wra": "R-4"}[label[:3]]
        put_env(name, OK, spec, comment, env, [kek])
    for label, uri, spec in [
        ("length-2048", b"examplekms:" + b"k" * 2037, "U-1"),
        ("scheme-characters", b"a1+b-c.d:key", "U-2"),
        ("aws", URI_AWS, "U-3"),
        ("aws-multi-region", b"awskms:///arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-0123456789abcdef", "U-3"),
        ("gcp", URI_GCP, "U-4"),
        ("azure", URI_AZURE, "U-5"),
        ("azure-managed-hsm", b"azurekeyvault://hsm.managedhsm.azure.net/keys/K", "U-5"),
        ("azure-china", b"azurekeyvault://v.vault.azure.cn/keys/K", "U-5"),
        ("azure-government", b"azurekeyvault://v.managedhsm.usgovcloudapi.net/keys/K", "U-5"),
        ("pkcs11", URI_P11, "U-6"),
        ("pkcs11-all", b"pkcs11:token=t;manufacturer=m;serial=s;model=x;object=o%2F~.-_;id=%00%41%FF", "U-6"),
        ("local-other", b"local://00112233445566778899aabbccddeeff/A." + b"a" * 62, "U-7"),
        ("other-authority", b"vaultkms://vault.example.org:8200/transit/key@7", "U-9"),
        ("other-at", b"examplekms:user@key", "U-9"),
    ]:
        name = f"success/uri-{label}"
        env = Env(name)
        kek = env.kek()
        env.other(uri).to_kek(kek)
        put_env(name, OK, f"R-1 {spec}", f"A canonical key URI of another recipient: {uri.decode()[:40]}", env, [kek])

    contexts = [
        ("context-one", [("tenant", "42")], [("tenant", "42")], "C-8", "The reader demands the stored entry."),
        ("context-not-demanded", [("tenant", "42")], [], "C-8", "The reader demands nothing and takes what is stored."),
        ("context-subset", [("a", "1"), ("b", "2"), ("c", "3")], [("b", "2")], "C-8", "The reader demands one of three entries."),
        ("context-empty-value", [("empty", "")], [("empty", "")], "C-3", "A value may be empty."),
        ("context-64-entries", [(f"k{i:02}", str(i)) for i in range(64)], [], "C-1", "As many entries as there may be."),
        ("context-8192-bytes", [("k", "v" * (8192 - 2 - 4 - 1))], [], "C-5 C-9", "The longest context."),
        ("context-order-of-bytes", [("a", "1"), ("\uffff", "2"), ("\U00010000", "3")], [("\U00010000", "3")], "C-2",
         "U+FFFF before U+10000: the order of UTF-8, not of UTF-16."),
        ("context-case", [("A", "1"), ("Z", "2"), ("a", "3")], [], "C-2", "Upper case before lower case; three different names."),
        ("context-prefix-first", [("a", "1"), ("a\x00", "2"), ("ab", "3")], [], "C-2", "A name before the names it begins."),
        ("context-not-normalised", [("e\u0301", "1"), ("\u00e9", "2")], [("\u00e9", "2")], "C-4",
         "A composed and a decomposed letter are two names."),
        ("context-control-characters", [("line\nend", "tab\tand=%")], [("line\nend", "tab\tand=%")], "C-4",
         "Any UTF-8 is a name or a value."),
        ("context-limits-of-utf8", [("\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff", "\x00")], [], "C-4",
         "The first and last characters of each length of UTF-8."),
    ]
    for label, stored, demanded, spec, comment in contexts:
        name = f"success/{label}"
        env, kek = simple(name, stored=stored)
        put_env(name, OK, spec, comment, env, [kek], context=demanded)
    withheld = [
        ("withheld-one", [], [("patient", "7")], "C-7 K-5", "One withheld entry."),
        ("withheld-between-stored", [("a", "1"), ("c", "3")], [("b", "2")], "K-5",
         "The full context is sorted, with withheld entries between stored ones."),
        ("withheld-64", [], [(f"k{i:02}", str(i)) for i in range(64)], "C-1", "All 64 entries withheld."),
        ("withheld-32-stored-32", [(f"a{i:02}", "") for i in range(32)], [(f"b{i:02}", "") for i in range(32)], "C-1", "64 entries, half of them withheld."),
        ("withheld-empty-value", [], [("patient", "")], "C-7", "A withheld value may be empty, and is supplied all the same."),
        ("withheld-8192-bytes", [("k", "v" * 4000)], [("w", "v" * (8192 - 2 - 8 - 2 - 4000))], "C-9", "The longest full context, half of it withheld."),
    ]
    for label, stored, held, spec, comment in withheld:
        name = f"success/{label}"
        env, kek = simple(name, stored=stored, withheld=held)
        put_env(name, OK, spec, comment, env, [kek], withheld=held)

    for label, size in [("1", 1), ("512", 512)]:
        name = f"success/padding-{label}"
        env, kek = simple(name)
        env.padding = bytes(size)
        put_env(name, OK, "H-10 H-12 K-4", f"{size} bytes of padding.", env, [kek])
    name = "success/body-len-65536"
    env, kek = simple(name)
    env.padding = bytes(65536 - len(env.body()))
    put_env(name, OK, "H-5", "The longest body.", env, [kek])
    for generation in (1, 0xFFFFFFFF):
        name = f"success/generation-{generation}"
        env, kek = simple(name)
        env.generation = generation
        put_env(name, OK, "H-12", "Any generation is valid.", env, [kek])
    for label, size in [("detached", 20), ("detached-empty", 0), ("detached-2-chunks", 20000)]:
        name = f"success/{label}"
        env, kek = simple(name, flags=DETACHED, plaintext=rnd(name, "plaintext", size))
        put_env(name, OK, "H-4 P-1", "Header and payload apart.", env, [kek])
    for label, size, stored, record, comment in [
        ("record", 10, [], [], "A record without any context."),
        ("record-empty", 0, [], [], "An empty record has 40 bytes."),
        ("record-context", 10, [], [("row", "17"), ("column", "mail")], "A record with a context of its own."),
        ("record-both-contexts", 10, [("table", "users")], [("table", "other")], "The names of data key and record may repeat."),
        ("record-20000-bytes", 20000, [], [], "A record is not cut into chunks."),
    ]:
        name = f"success/{label}"
        env, kek = simple(name, flags=DATA_KEY, stored=stored, plaintext=rnd(name, "plaintext", size))
        put_env(name, OK, "S-2 K-3", comment, env, [kek], record_context=record, context=stored)
    name = "success/record-withheld"
    env, kek = simple(name, flags=DATA_KEY, withheld=[("table", "users")])
    put_env(name, OK, "S-2 C-7 K-5", "A data key with a withheld entry.", env, [kek], withheld=[("table", "users")])

    for label, passphrase, parameters, spec, comment in [
        ("minimum", "correct horse", (19456, 1, 1), "A-1 A-4", "The least parameters."),
        ("recommended", "battery staple", (65536, 3, 4), "A-1 A-4", "What writers use."),
        ("t-16", "correct horse", (19456, 16, 1), "A-1", "The most passes."),
        ("p-16", "correct horse", (19456, 1, 16), "A-1", "The most lanes."),
        ("utf8", "pässwörd \U0001f511", (19456, 1, 1), "A-2", "The passphrase is UTF-8."),
        ("spaces", " two  spaces ", (19456, 1, 1), "A-2", "Spaces count, also at both ends."),
        ("decomposed", "e\u0301", (19456, 1, 1), "A-2", "The passphrase is not normalised (decomposed)."),
    ]:
        name = f"success/passphrase-{label}"
        env = Env(name).to_passphrase(passphrase, *parameters)
        put_env(name, OK, spec, comment, env, [], passphrase=passphrase)
    name = "success/passphrase-with-context"
    env = Env(name, stored=[("tenant", "42")], withheld=[("patient", "7")]).to_passphrase("correct horse")
    put_env(name, OK, "A-4 K-6", "A passphrase wrap is bound to the full context.", env, [], passphrase="correct horse", withheld=[("patient", "7")])
    for label in ("passphrase", "key"):
        name = f"success/passphrase-beside-a-key-opened-by-{label}"
        env = Env(name)
        kek = env.kek()
        env.to_kek(kek).to_passphrase("correct horse")
        by = {"passphrase": "correct horse"} if label == "passphrase" else {}
        put_env(name, OK, "R-6 D-2", f"A key and a passphrase; the reader has the {label}.", env, [] if by else [kek], **by)


def worked_example():
    env = Env("success/worked-example", stored=[("tenant", "42")], plaintext=b"attack at dawn")
    kek = env.kek("main")
    return env.to_kek(kek), kek


def header():
    def bent(label, expect, spec, comment, bend, **more):
        name = f"header/{label}"
        env, kek = simple(name)
        bend(env)
        put_env(name, expect, spec, comment, env, [kek], **more)

    def raw(label, spec, comment, change, expect=FORMAT):
        name = f"header/{label}"
        env, kek = simple(name)
        data = change(env.header(), env.payload())
        put(name, expect, spec, comment, [data], [kek])

    for label, magic in [
        ("wrong", b"\x89ENW\r\n\x1a\n"),
        ("seven-bit", b"\x09ENV\r\n\x1a\n"),
        ("lower-case", b"\x89env\r\n\x1a\n"),
        ("without-carriage-return", b"\x89ENV\n\n\x1a\n"),
        ("with-carriage-returns", b"\x89ENV\r\r\x1a\r"),
    ]:
        bent(f"magic-{label}", FORMAT, "H-1", "The magic is another one; the MAC fits.", lambda env, m=magic: setattr(env, "magic", m))
    raw("magic-unix2dos", "H-1", "A text-mode copy that writes CR LF for LF.", lambda h, p: (h + p).replace(b"\n", b"\r\n"))
    raw("magic-dos2unix", "H-1", "A text-mode copy that writes LF for CR LF.", lambda h, p: (h + p).replace(b"\r\n", b"\n"))
    for version in (0, 2, 255):
        bent(f"version-{version}", FORMAT, "H-2", "An unknown version; the MAC fits.", lambda env, v=version: setattr(env, "version", v))
    for suite in (0, 2, 0x0100, 0xFFFF):
        bent(f"suite-{suite:04x}", FORMAT, "H-3", "An unknown suite; the MAC fits.", lambda env, s=suite: setattr(env, "suite", s))
    for flags in (3, 4, 0x80, 0xFF):
        name = f"header/flags-{flags:02x}"
        env, kek = simple(name)
        env.flags = flags
        put(name, FORMAT, "H-4", "Unknown flags; the MAC fits.", [env.envelope()], [kek])
    bent("body-len-one-short", FORMAT, "H-7", "body_len is one too small: the last recipient does not fit.", lambda env: setattr(env, "body_len", len(env.body()) - 1))
    bent("body-len-one-long", FORMAT, "H-10", "body_len is one too large: the MAC's first byte is taken for padding.", lambda env: setattr(env, "body_len", len(env.body()) + 1))

    def over(env):
        env.padding = bytes(65537 - len(env.body()))

    bent("body-len-65537", FORMAT, "H-5", "A body one byte over the limit, complete and with a MAC that fits.", over)
    bent("body-len-0", FORMAT, "H-7", "An empty body; the MAC fits.", lambda env: setattr(env, "body_override", b""))
    name = "header/body-len-huge"
    env, kek = simple(name)
    env.body_len = 0xFFFFFFFF
    put(name, FORMAT, "H-5", "body_len is 4 GiB less one; nothing of it is allocated.", [env.authenticated()[:16]], [kek])
    name = "header/body-len-beyond-input"
    env, kek = simple(name)
    env.body_len = 60000
    put_env(name, FORMAT, "H-6", "body_len is allowed and longer than the input.", env, [kek])
    for label, length in [("empty", 0), ("magic-cut", 7), ("magic-only", 8), ("preamble-cut", 15), ("preamble-only", 16), ("body-cut", 60)]:
        raw(f"truncated-{label}", "H-6" if length >= 8 else "H-1 H-6", f"Only the first {length} bytes.", lambda h, p, n=length: h[:n])
    raw("truncated-mac-missing", "H-6", "Everything up to the MAC.", lambda h, p: h[:-32])
    raw("truncated-mac-cut", "H-6", "All but the last byte of the MAC.", lambda h, p: h[:-1])
    for threshold in (0, 2):
        bent(f"threshold-{threshold}", FORMAT, "H-8", "A threshold other than 1; the MAC fits.", lambda env, t=threshold: setattr(env, "threshold", t))
    bent("padding-first-byte-not-zero", FORMAT, "H-10", "Padding that begins with another byte than zero; the MAC fits.", lambda env: setattr(env, "padding", b"\x01" + bytes(31)))
    bent("padding-last-byte-not-zero", FORMAT, "H-10", "Padding that ends with another byte than zero; the MAC fits.", lambda env: setattr(env, "padding", bytes(31) + b"\x80"))

    def whole_recipient_in_padding(env):
        env.padding = Recipient(URI_AWS, b"", b"AWS-KMS", b"x").encode()

    bent("padding-holds-a-recipient", FORMAT, "H-10", "A recipient more than recipient_count says; the MAC fits.", whole_recipient_in_padding)
    for kind, flags in (("detached", DETACHED), ("record", DATA_KEY)):
        name = f"header/trailing-byte-{kind}"
        env, kek = simple(name, flags=flags)
        second = env.payload() if flags == DETACHED else env.record()
        put(name, FORMAT, "H-11", "A zero byte after the header.", [env.header() + b"\0", second], [kek], kind=kind)
    for label, flags, kind in [
        ("detached-as-envelope", DETACHED, "envelope"),
        ("data-key-as-envelope", DATA_KEY, "envelope"),
        ("attached-as-detached", ATTACHED, "detached"),
        ("data-key-as-detached", DATA_KEY, "detached"),
        ("attached-as-data-key", ATTACHED, "record"),
        ("detached-as-data-key", DETACHED, "record"),
    ]:
        name = f"header/kind-{label}"
        env, kek = simple(name, flags=flags)
        second = env.payload() if kind != "record" else env.record()
        parts = [env.header() + second] if kind == "envelope" else [env.header(), second]
        spec = "H-11 H-13" if kind == "envelope" else "H-13"
        put(name, FORMAT, spec, "An authentic header of another kind than the one asked for.", parts, [kek], kind=kind)

    def raw_body(label, spec, comment, change):
        name = f"header/{label}"
        env, kek = simple(name, stored=[("a", "1")])
        env.body_override = change(env.body())
        put_env(name, FORMAT, spec, comment, env, [kek])

    raw_body("body-ends-in-envelope-id", "H-7", "The body ends inside the envelope id; the MAC fits.", lambda b: b[:15])
    raw_body("body-ends-in-generation", "H-7", "The body ends inside the generation; the MAC fits.", lambda b: b[:19])
    raw_body("body-ends-in-context", "H-7", "The body ends inside the context; the MAC fits.", lambda b: b[:24])
    raw_body("body-ends-before-threshold", "H-7", "The body ends before the threshold; the MAC fits.", lambda b: b[:30])
    raw_body("body-ends-before-recipients", "H-7", "The body ends before its one recipient; the MAC fits.", lambda b: b[:32])
    raw_body("body-ends-in-wrapped-dek", "H-7", "The body ends inside the wrapped DEK; the MAC fits.", lambda b: b[:-1])


def mac():
    def changed(label, spec, comment, change, **more):
        name = f"mac/{label}"
        env, kek = simple(name, **more)
        data = change(env, env.header(), env.payload())
        parts, kind = (data, "detached") if isinstance(data, list) else ([data], "envelope")
        put(name, AUTH, spec, comment, parts, [kek], kind=kind)

    changed("first-bit-flipped", "K-4 D-4", "One bit of the MAC.", lambda e, h, p: flip(h, -32, 7) + p)
    changed("last-bit-flipped", "K-4 D-4", "One bit of the MAC.", lambda e, h, p: flip(h, -1) + p)
    changed("zero", "K-4", "A MAC of zeros.", lambda e, h, p: h[:-32] + bytes(32) + p)
    changed("generation-changed", "K-4", "Another generation under the old MAC.", lambda e, h, p: flip(h, 16 + 19) + p)
    changed("envelope-id-changed", "K-3 K-4", "Another envelope id under the old MAC.", lambda e, h, p: flip(h, 16) + p)
    changed("flags-attached-to-detached", "K-4", "An attached envelope presented as a detached one.", lambda e, h, p: [flip(h, 11), p])

    def detached_to_attached(env, h, p):
        return flip(h, 11) + p

    changed("flags-detached-to-attached", "K-4", "A detached envelope presented as an attached one.", detached_to_attached, flags=DETACHED)

    def data_key_to_attached(env, h, p):
        h = h[:11] + b"\0" + h[12:]
        return h + p

    changed("flags-data-key-to-attached", "K-3 K-4", "A data key presented as an envelope.", data_key_to_attached, flags=DATA_KEY)

    def repad(env, h, p):
        env.padding = b"\0"
        return env.authenticated() + h[-32:] + p

    changed("padding-added", "K-4", "A byte of padding added under the old MAC.", repad)

    def recipient_added(env, h, p):
        env.other(URI_AWS)
        return env.authenticated() + h[-32:] + p

    changed("recipient-added", "K-4", "A recipient added under the old MAC.", recipient_added)

    name = "mac/recipient-removed"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    old = env.mac()
    env.recipients.pop()
    put(name, AUTH, "K-4", "A recipient removed under the old MAC.", [env.authenticated() + old + env.payload()], [keys[0]])
    name = "mac/recipients-swapped"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    old = env.mac()
    env.recipients.reverse()
    put(name, AUTH, "K-4", "Two recipients in another order under the old MAC.", [env.authenticated() + old + env.payload()], [keys[0]])
    name = "mac/other-recipient-changed"
    env = Env(name)
    kek = env.kek()
    env.to_kek(kek).other(URI_AWS)
    old = env.mac()
    env.recipients[1].wrapped = flip(env.recipients[1].wrapped, 0)
    put(name, AUTH, "K-4", "A wrap that the reader does not use was changed.", [env.authenticated() + old + env.payload()], [kek])
    name = "mac/of-the-body-alone"
    env, kek = simple(name)
    tag = hmac.new(env.keys()[0], env.body(), "sha256").digest()
    put(name, AUTH, "K-4", "The MAC leaves out the preamble.", [env.authenticated() + tag + env.payload()], [kek])
    name = "mac/under-the-dek"
    env, kek = simple(name)
    tag = hmac.new(env.dek, env.authenticated(), "sha256").digest()
    put(name, AUTH, "K-3", "The MAC was made with the DEK and not with header_key.", [env.authenticated() + tag + env.payload()], [kek])
    name = "mac/under-the-content-key"
    env, kek = simple(name)
    tag = hmac.new(env.keys()[1], env.authenticated(), "sha256").digest()
    put(name, AUTH, "K-3", "The MAC was made with content_key.", [env.authenticated() + tag + env.payload()], [kek])
    name = "mac/derived-from-other-envelope-id"
    env, kek = simple(name)
    payload = env.payload()
    env.derive_eid = rnd(name, "other id", 16)
    put(name, AUTH, "K-3", "The keys were derived from another envelope id than the header's.", [env.header() + payload], [kek])
    name = "mac/kind-2-for-a-payload"
    env, kek = simple(name)
    payload, text = env.payload(), env.authenticated()
    env.flags = DATA_KEY
    tag = hmac.new(env.keys()[0], text, "sha256").digest()
    put(name, AUTH, "K-3", "The header key of kind 2 for an attached envelope.", [text + tag + payload], [kek])
    name = "mac/wrong-dek-is-final"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0], dek=rnd(name, "other dek", 32)).to_kek(keys[1])
    put_env(name, AUTH, "K-4 D-4", "The first recipient unwraps another DEK, under which the MAC fails; the second is not asked.", env, keys)


def context():
    def bad(label, spec, comment, stored=None, withheld=None):
        name = f"context/{label}"
        env, kek = simple(name)
        if stored is not None:
            env.stored_override = stored
        if withheld is not None:
            env.withheld_override = withheld
        put_env(name, FORMAT, spec, comment + " The MAC fits.", env, [kek])

    def ctx(*entries):
        return context_bytes([(k if isinstance(k, bytes) else k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in entries])

    def names(*items):
        return u16(len(items)) + b"".join(s16(i if isinstance(i, bytes) else i.encode()) for i in items)

    bad("stored-unsorted", "C-2 H-12", "Two names in descending order.", ctx(("b", "1"), ("a", "2")))
    bad("stored-duplicate", "C-2", "One name twice.", ctx(("a", "1"), ("a", "2")))
    bad("stored-duplicate-same-value", "C-2 H-12", "One entry twice.", ctx(("a", "1"), ("a", "1")))
    bad("stored-utf16-order", "C-2", "Names in the order of UTF-16 units.", ctx(("\U00010000", "1"), ("\uffff", "2")))
    bad("stored-case-insensitive-order", "C-2", "Names in an order without case.", ctx(("a", "1"), ("B", "2")))
    bad("stored-length-first-order", "C-2", "Short names before long ones.", ctx(("b", "1"), ("aa", "2")))
    bad("stored-empty-name", "C-3", "An empty name.", ctx(("", "1")))
    bad("stored-65-entries", "C-1", "One entry too many.", ctx(*[(f"k{i:02}", "") for i in range(65)]))
    bad("stored-8193-bytes", "C-5", "A stored context one byte too long.", ctx(("k", "v" * (8193 - 2 - 4 - 1))))
    bad("stored-count-beyond", "H-7 C-1", "A count without the entries.", u16(0xFFFF))
    bad("stored-name-length-beyond", "H-7", "A name that is longer than the body.", u16(1) + u16(0xFFFF) + b"a")
    bad("stored-count-one-short", "H-7", "Two entries behind a count of 1.", u16(1) + ctx(("a", "1"), ("b", "2"))[2:])
    for label, text in [
        ("overlong", b"\xc0\xaf"),
        ("overlong-nul", b"\xc0\x80"),
        ("overlong-3", b"\xe0\x80\xaf"),
        ("overlong-4", b"\xf0\x80\x80\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("surrogate-pair", b"\xed\xa0\x81\xed\xb0\x80"),
        ("beyond-10ffff", b"\xf4\x90\x80\x80"),
        ("lone-continuation", b"\x80"),
        ("cut-sequence", b"\xe2\x82"),
        ("latin-1", b"\xe9t\xe9"),
        ("ff", b"\xff"),
    ]:
        bad(f"utf8-name-{label}", "C-4", "A name that is not UTF-8.", ctx((text, "1")))
    bad("utf8-value-surrogate", "C-4", "A value that is not UTF-8.", ctx(("a", b"\xed\xb0\x80")))
    bad("utf8-value-overlong", "C-4", "A value that is not UTF-8.", ctx(("a", b"\xc1\xbf")))
    bad("utf8-withheld", "C-4", "A withheld name that is not UTF-8.", withheld=names(b"\xed\xa0\x80"))
    bad("withheld-unsorted", "C-6 H-12", "Withheld names in descending order.", withheld=names("b", "a"))
    bad("withheld-duplicate", "C-6", "A withheld name twice.", withheld=names("a", "a"))
    bad("withheld-also-stored", "C-6", "A name stored and withheld.", ctx(("a", "1")), names("a"))
    bad("withheld-empty-name", "C-3", "An empty withheld name.", withheld=names(""))
    bad("withheld-65", "C-1", "65 withheld names.", withheld=names(*[f"k{i:02}" for i in range(65)]))
    bad("withheld-33-stored-32", "C-1", "65 entries, 33 of them withheld.", ctx(*[(f"a{i:02}", "") for i in range(32)]), names(*[f"b{i:02}" for i in range(33)]))
    bad("withheld-count-beyond", "H-7", "A count of withheld names without the names.", withheld=u16(2) + s16(b"a"))

    def demand(label, spec, comment, stored, held, given=(), values=(), expect=AUTH):
        name = f"context/{label}"
        env, kek = simple(name, stored=stored, withheld=held)
        put_env(name, expect, spec, comment, env, [kek], context=given, withheld=values)

    demand("expected-other-value", "C-8", "The reader expects another value.", [("tenant", "42")], [], [("tenant", "43")])
    demand("expected-prefix", "C-8", "The reader expects a longer value.", [("tenant", "4")], [], [("tenant", "42")])
    demand("expected-other-case", "C-8", "The reader expects a name in another case.", [("tenant", "42")], [], [("Tenant", "42")])
    demand("expected-unknown", "C-8", "The reader expects an entry that is not there.", [("tenant", "42")], [], [("purpose", "backup")])
    demand("expected-normalised", "C-8", "The reader expects the composed form of a decomposed value.", [("a", "e\u0301")], [], [("a", "\u00e9")])
    demand("withheld-missing", "C-7", "The reader supplies nothing.", [], [("patient", "7")])
    demand("withheld-one-missing", "C-7", "The reader supplies one of two values.", [], [("a", "1"), ("b", "2")], values=[("a", "1")])
    demand("withheld-wrong", "C-7 K-5 K-6", "The reader supplies another value.", [], [("patient", "7")], values=[("patient", "8")])
    demand("withheld-empty", "C-7 K-5", "The reader supplies an empty value for one that is not.", [], [("patient", "7")], values=[("patient", "")])
    name = "context/full-8193-bytes"
    env = Env(name, stored=[("k", "v" * 4000)], withheld=[("w", "v" * (8193 - 2 - 8 - 2 - 4000))])
    kek = env.kek()
    put_env(name, AUTH, "C-9", "The full context passes the limit only with the withheld value, and everything fits it.", env.to_kek(kek), [kek], withheld=[("w", env.withheld[0][1].decode())])

    name = "context/stored-changed-mac-recomputed"
    env, kek = simple(name, stored=[("tenant", "42")])
    payload = env.payload()
    env.stored = [(b"tenant", b"43")]
    put(name, AUTH, "K-6 W-2", "A stored value changed by somebody who knows the DEK, with a MAC that fits: the wrap is bound to the old one.", [env.header() + payload], [kek])
    name = "context/stored-changed-wrapped-anew"
    env = Env(name, stored=[("tenant", "42")])
    kek, payload = env.kek(), env.payload()
    env.stored = [(b"tenant", b"43")]
    env.to_kek(kek)
    put(name, AUTH, "K-5 P-1 P-2", "Changed by somebody who knows the DEK and can wrap, so wrap and MAC fit: the payload is bound to the old context.", [env.header() + payload], [kek])
    name = "context/entry-moved-to-withheld"
    env, kek = simple(name, stored=[("tenant", "42")])
    payload, old = env.payload(), env.mac()
    env.withheld, env.stored = env.stored, []
    put(name, AUTH, "K-4", "A stored entry made a withheld one: the full context is the same, the MAC is not.", [env.authenticated() + old + payload], [kek], withheld=[("tenant", "42")])
    name = "context/entry-boundary-moved"
    env = Env(name, stored=[("ab", "c")])
    kek, payload = env.kek(), env.payload()
    env.stored = [(b"a", b"bc")]
    env.to_kek(kek)
    put(name, AUTH, "K-5 P-1", "The same letters split elsewhere, wrap and MAC made anew: the payload still differs.", [env.header() + payload], [kek])
    name = "context/record-data-key-context-changed"
    env = Env(name, flags=DATA_KEY, stored=[("table", "users")])
    kek, record = env.kek(), env.record()
    env.stored = [(b"table", b"other")]
    env.to_kek(kek)
    put(name, AUTH, "K-5 S-2", "A data key's context changed, wrap and MAC made anew: its records do not open.", [env.header(), record], [kek], kind="record")


def recipients():
    def bent(label, spec, comment, bend, expect=FORMAT, keys=None, **more):
        name = f"recipients/{label}"
        env, kek = simple(name)
        bend(env)
        put_env(name, expect, spec, comment, env, [kek] if keys is None else keys(env), **more)

    bent("count-0", "H-9", "No recipient; the MAC fits.", lambda e: e.recipients.clear())
    bent("count-17", "H-9", "17 recipients; the MAC fits.", lambda e: [e.to_kek(e.kek(f"k{i}")) for i in range(16)])
    bent("count-0-with-recipient", "H-9", "A recipient behind a count of 0; the MAC fits.", lambda e: setattr(e, "count", 0))
    bent("count-2-with-one", "H-7", "One recipient behind a count of 2; the MAC fits.", lambda e: setattr(e, "count", 2))
    bent("count-255", "H-9", "A count of 255; the MAC fits.", lambda e: setattr(e, "count", 255))
    bent("repeated", "R-5", "The same recipient twice; the MAC fits.", lambda e: e.recipients.append(e.recipients[0]))
    bent("repeated-not-adjacent", "R-5", "Key and version twice, with one between; the MAC fits.", lambda e: e.other(URI_AWS).to_kek(e.kek()))
    bent("repeated-other-algorithm", "R-5", "Key and version twice with two algorithms; the MAC fits.", lambda e: e.other(e.kek().uri, b"1", b"OTHER"))
    bent("version-513", "R-2", "A key version of 513 bytes; the MAC fits.", lambda e: e.other(URI_AWS, b"v" * 513))
    bent("version-not-utf8", "R-2", "A key version that is not UTF-8; the MAC fits.", lambda e: e.other(URI_AWS, b"\xff"))
    bent("algorithm-empty", "R-3", "An empty algorithm; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b""))
    bent("algorithm-space", "R-3", "A space in the algorithm; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b"AWS KMS"))
    bent("algorithm-not-ascii", "R-3", "An algorithm with é; the MAC fits.", lambda e: e.other(URI_AWS, algorithm="AWS-é".encode()))
    bent("algorithm-nul", "R-3", "An algorithm with a zero byte; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b"AWS-KMS\0"))
    bent("algorithm-slash", "R-3", "A slash in the algorithm; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b"AWS/KMS"))
    bent("wrapped-dek-empty", "R-4", "An empty wrapped DEK; the MAC fits.", lambda e: e.other(URI_AWS, length=0))
    bent("wrapped-dek-4097", "R-4", "A wrapped DEK of 4097 bytes; the MAC fits.", lambda e: e.other(URI_AWS, length=4097))
    name = "recipients/two-passphrases"
    env = Env(name).to_passphrase("one")
    env.to_passphrase("two", version=b"2")
    env.recipients[1].version = b""
    put_env(name, FORMAT, "R-5 R-6", "Two passphrases; the MAC fits.", env, [], passphrase="one")
    name = "recipients/two-passphrases-with-versions"
    env = Env(name).to_passphrase("one").to_passphrase("two", version=b"2")
    put_env(name, FORMAT, "R-6", "Two passphrases told apart by a key version; the MAC fits.", env, [], passphrase="one")

    bad_uris = [
        ("empty", b"", "U-1"),
        ("length-2049", b"examplekms:" + b"k" * 2038, "U-1"),
        ("space", b"examplekms:a b", "U-1"),
        ("newline", b"examplekms:ab\n", "U-1"),
        ("not-ascii", "examplekms:ké".encode(), "U-1"),
        ("not-utf8", b"examplekms:\xff", "U-1"),
        ("fragment", URI_AWS + b"#x", "U-1"),
        ("query", URI_P11 + b"?pin-value=1234", "U-1"),
        ("query-empty", URI_AWS + b"?", "U-1"),
        ("no-scheme", b"just-a-name", "U-2"),
        ("scheme-empty", b":key", "U-2"),
        ("scheme-digit-first", b"1kms:key", "U-2"),
        ("scheme-underscore", b"my_kms:key", "U-2"),
        ("scheme-upper-case", b"AWSKMS" + URI_AWS[6:], "U-2"),
        ("scheme-upper-case-other", b"ExampleKMS:key", "U-2"),
        ("aws-bare-arn", URI_AWS[10:], "U-3 U-9"),
        ("aws-two-slashes", b"awskms://" + URI_AWS[10:], "U-3"),
        ("aws-hyphenated-scheme", b"aws-kms:///" + URI_AWS[10:], "U-9"),
        ("aws-alias", b"awskms:///arn:aws:kms:eu-central-1:111122223333:alias/name", "U-3"),
        ("aws-account-11-digits", b"awskms:///arn:aws:kms:eu-central-1:11112222333:key/1", "U-3"),
        ("aws-region-upper-case", b"awskms:///arn:aws:kms:EU-central-1:111122223333:key/1", "U-3"),
        ("aws-other-service", b"awskms:///arn:aws:s3:eu-central-1:111122223333:key/1", "U-3"),
        ("aws-key-id-empty", b"awskms:///arn:aws:kms:eu-central-1:111122223333:key/", "U-3"),
        ("gcp-bare", URI_GCP[9:], "U-2 U-4"),
        ("gcp-hyphenated-scheme", b"gcp-kms://" + URI_GCP[9:], "U-9"),
        ("gcp-version", URI_GCP + b"/cryptoKeyVersions/1", "U-4"),
        ("gcp-lower-case-segment", URI_GCP.replace(b"keyRings", b"keyrings"), "U-4"),
        ("gcp-empty-location", b"gcpkms://projects/p/locations//keyRings/r/cryptoKeys/k", "U-4"),
        ("azure-https", b"https" + URI_AZURE[13:], "U-9"),
        ("azure-azurekms", b"azurekms" + URI_AZURE[13:], "U-9"),
        ("azure-version", URI_AZURE + b"/0123456789abcdef", "U-5"),
        ("azure-trailing-slash", URI_AZURE + b"/", "U-5"),
        ("azure-host-upper-case", b"azurekeyvault://Vault-1.vault.azure.net/keys/key-1", "U-5"),
        ("azure-userinfo", b"azurekeyvault://u:p@vault-1.vault.azure.net/keys/key-1", "U-5"),
        ("azure-other-host", b"azurekeyvault://vault-1.vault.azure.net.example.org/keys/key-1", "U-5"),
        ("azure-port", b"azurekeyvault://vault-1.vault.azure.net:443/keys/key-1", "U-5"),
        ("azure-subdomain", b"azurekeyvault://a.b.vault.azure.net/keys/key-1", "U-5"),
        ("azure-secrets", b"azurekeyvault://vault-1.vault.azure.net/secrets/key-1", "U-5"),
        ("pkcs11-order", b"pkcs11:object=kek;token=my%20token", "U-6 H-12"),
        ("pkcs11-lower-case-escape", b"pkcs11:token=my%2ftoken;object=kek", "U-6"),
        ("pkcs11-needless-escape", b"pkcs11:token=%74;object=kek", "U-6"),
        ("pkcs11-missing-escape", b"pkcs11:token=my+token;object=kek", "U-6"),
        ("pkcs11-id-not-escaped", b"pkcs11:token=t;id=A", "U-6"),
        ("pkcs11-pin", b"pkcs11:token=t;object=kek;pin-value=1234", "U-6"),
        ("pkcs11-repeated", b"pkcs11:token=t;token=t;object=kek", "U-6"),
        ("pkcs11-empty-value", b"pkcs11:token=;object=kek", "U-6"),
        ("pkcs11-empty-attribute", b"pkcs11:token=t;;object=kek", "U-6"),
        ("pkcs11-no-token", b"pkcs11:object=kek", "U-6"),
        ("pkcs11-no-key", b"pkcs11:token=t", "U-6"),
        ("pkcs11-bad-escape", b"pkcs11:token=%4;object=kek", "U-6"),
        ("pkcs11-escape-with-sign", b"pkcs11:token=%+4;object=kek", "U-6"),
        ("local-short", b"local:main", "U-7"),
        ("local-id-upper-case", b"local://00112233445566778899AABBCCDDEEFF/main", "U-7"),
        ("local-id-31-digits", b"local://00112233445566778899aabbccddeef/main", "U-7"),
        ("local-name-65", b"local://00112233445566778899aabbccddeeff/" + b"a" * 65, "U-7"),
        ("local-name-dot-first", b"local://00112233445566778899aabbccddeeff/.main", "U-7"),
        ("local-name-slash", b"local://00112233445566778899aabbccddeeff/a/b", "U-7"),
        ("local-name-empty", b"local://00112233445566778899aabbccddeeff/", "U-7"),
        ("passphrase-with-text", b"passphrase:secret", "U-8"),
        ("passphrase-slashes", b"passphrase://", "U-8"),
        ("other-empty", b"examplekms:", "U-9"),
        ("other-slashes-only", b"examplekms://", "U-9"),
        ("other-userinfo", b"vaultkms://user:pass@vault.example.org/transit/key", "U-9"),
        ("http", b"http://vault-1.vault.azure.net/keys/key-1", "U-9"),
    ]
    for label, uri, spec in bad_uris:
        bent(f"uri-{label}", f"R-1 {spec}", "Another recipient's key URI is not canonical; the MAC fits.", lambda e, u=uri: e.other(u))

    bent("no-configured-key", "D-2", "The reader has another key.", lambda e: None, NOKEY, lambda e: [e.kek("other")])
    bent("no-key-at-all", "D-2", "The reader has no key.", lambda e: None, NOKEY, lambda e: [])
    bent("passphrase-for-a-key", "D-2", "The reader has a passphrase, the envelope none.", lambda e: None, NOKEY, lambda e: [], passphrase="correct horse")
    name = "recipients/key-for-a-passphrase"
    env = Env(name).to_passphrase("correct horse")
    put_env(name, NOKEY, "D-2", "The reader has a key, the envelope a passphrase.", env, [env.kek()])
    name = "recipients/same-secret-other-uri"
    env, kek = simple(name)
    other = Kek(env.kek("b").uri, kek.version, kek.key)
    put_env(name, NOKEY, "D-2", "The reader has the right key under another name: it does not try.", env, [other])
    name = "recipients/version-not-held"
    env, kek = simple(name)
    put_env(name, NOKEY, "W-4", "The reader has the right key in another version only.", env, [env.kek("a", b"2")])


def wraps():
    def bent(label, spec, comment, bend, expect=AUTH, keys=None):
        name = f"wrap/{label}"
        env, kek = simple(name)
        bend(env)
        put_env(name, expect, spec, comment, env, [kek] if keys is None else keys(env))

    def wrapped(change):
        def bend(env):
            env.recipients[0].wrapped = change(env.recipients[0].wrapped)

        return bend

    bent("xaes-nonce-flipped", "W-2", "A bit of the nonce's first half; the MAC fits.", wrapped(lambda w: flip(w, 0)))
    bent("xaes-nonce-second-half-flipped", "W-2", "A bit of the nonce's second half; the MAC fits.", wrapped(lambda w: flip(w, 23, 7)))
    bent("xaes-ciphertext-flipped", "W-2", "A bit of the ciphertext; the MAC fits.", wrapped(lambda w: flip(w, 24)))
    bent("xaes-tag-flipped", "W-2", "A bit of the tag; the MAC fits.", wrapped(lambda w: flip(w, 71, 7)))
    bent("xaes-71-bytes", "W-2", "The wrap without its last byte; the MAC fits.", wrapped(lambda w: w[:-1]))
    bent("xaes-73-bytes", "W-2", "The wrap with a byte more; the MAC fits.", wrapped(lambda w: w + b"\0"))
    bent("xaes-nonce-only", "W-2", "The nonce alone; the MAC fits.", wrapped(lambda w: w[:24]))
    bent("xaes-one-byte", "W-2", "One byte; the MAC fits.", wrapped(lambda w: w[:1]))
    for label, length in [("0", 0), ("31", 31), ("33", 33), ("64", 64)]:
        name = f"wrap/dek-{label}-bytes"
        env = Env(name)
        kek = env.kek()
        env.to_kek(kek, dek=(env.dek + bytes(32))[:length])
        put_env(name, AUTH, "W-3", f"An authentic wrap of {label} bytes.", env, [kek])
    bent("other-kek", "W-2", "The reader's key has the right name and other bytes.", lambda e: None, keys=lambda e: [Kek(e.kek().uri, b"1", e.rnd("wrong", 32))])
    name = "wrap/version-relabelled"
    env, kek = simple(name)
    env.recipients[0].version = b"2"
    put_env(name, AUTH, "W-4 K-6", "The key version was changed to another one the reader has; the MAC fits.", env, [kek, env.kek("a", b"2")])
    name = "wrap/version-relabelled-same-bytes"
    env, kek = simple(name)
    env.recipients[0].version = b"2"
    put_env(name, AUTH, "K-6", "As before, and both versions are the same bytes: the wrap is bound to the version's name.", env, [Kek(kek.uri, b"2", kek.key)])
    name = "wrap/uri-relabelled-same-bytes"
    env, kek = simple(name)
    other = Kek(env.kek("b").uri, b"1", kek.key)
    env.recipients[0].uri = other.uri
    put_env(name, AUTH, "K-6", "The key URI was changed to another key of the same bytes; the MAC fits.", env, [other])
    name = "wrap/blobs-swapped"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    one, two = env.recipients
    one.wrapped, two.wrapped = two.wrapped, one.wrapped
    put_env(name, AUTH, "K-6 W-2", "The wraps of two recipients were exchanged; the MAC fits.", env, keys)
    name = "wrap/moved-from-other-envelope"
    env, kek = simple(name)
    donor = Env(name + " donor")
    donor.to_kek(kek)
    env.recipients = donor.recipients
    put_env(name, AUTH, "K-4 D-4", "The recipient of another envelope with the same key and context: it unwraps, and the MAC fails.", env, [kek])
    name = "wrap/other-full-context"
    env = Env(name, stored=[("tenant", "42")])
    kek = env.kek()
    env.to_kek(kek, full=context_bytes([]))
    put_env(name, AUTH, "K-6", "The wrap was bound to an empty context; the MAC fits.", env, [kek])
    name = "wrap/stored-context-only"
    env = Env(name, stored=[("tenant", "42")], withheld=[("patient", "7")])
    kek = env.kek()
    env.to_kek(kek, full=context_bytes(env.stored))
    put_env(name, AUTH, "K-6", "The wrap was bound to the stored entries alone; the MAC fits.", env, [kek], withheld=[("patient", "7")])
    name = "wrap/plain-gcm"
    env = Env(name)
    kek = env.kek()
    nonce = env.rnd("nonce", 24)
    sealed = AESGCM(kek.key).encrypt(nonce[12:], env.dek, wrap_binding(kek.uri, kek.version, env.full()))
    env.recipients.append(Recipient(kek.uri, kek.version, XAES, nonce + sealed))
    put_env(name, AUTH, "W-2", "AES-256-GCM under the KEK itself, without XAES's derivation.", env, [kek])
    name = "wrap/without-binding"
    env = Env(name)
    kek = env.kek()
    env.recipients.append(Recipient(kek.uri, kek.version, XAES, xaes_seal(kek.key, env.rnd("nonce", 24), env.dek, b"")))
    put_env(name, AUTH, "K-6", "A wrap that is bound to nothing.", env, [kek])
    for label, algorithm in [
        ("unknown", b"XAES-512-GCM"),
        ("lower-case", b"xaes-256-gcm"),
        ("prefix", b"XAES-256-GC"),
        ("of-another-provider", b"AWS-KMS"),
        ("of-a-passphrase", ARGON),
    ]:
        bent(f"algorithm-{label}", "W-1", f"The right wrap under the name {algorithm.decode()}; the MAC fits.", lambda e, a=algorithm: setattr(e.recipients[0], "algorithm", a), UNSUPPORTED)
    name = "wrap/algorithm-xaes-for-a-passphrase"
    env = Env(name).to_passphrase("correct horse")
    env.recipients[0].algorithm = XAES
    put_env(name, UNSUPPORTED, "W-1", "A passphrase recipient with the keystore's algorithm; the MAC fits.", env, [], passphrase="correct horse")


def passphrases():
    words = "correct horse"

    def bent(label, expect, spec, comment, bend=None, given=words, **parameters):
        name = f"passphrase/{label}"
        env = Env(name).to_passphrase(words, **parameters)
        if bend:
            bend(env.recipients[0])
        put_env(name, expect, spec, comment, env, [], passphrase=given)

    for label, claim in [
        ("m-19455", (19455, 1, 1)),
        ("m-0", (0, 1, 1)),
        ("m-1048577", (1048577, 1, 1)),
        ("m-4294967295", (0xFFFFFFFF, 1, 1)),
        ("t-0", (19456, 0, 1)),
        ("t-17", (19456, 17, 1)),
        ("t-4294967295", (19456, 0xFFFFFFFF, 1)),
        ("p-0", (19456, 1, 0)),
        ("p-17", (19456, 1, 17)),
        ("p-255", (19456, 1, 255)),
    ]:
        bent(f"parameters-{label}", UNSUPPORTED, "A-1", "A parameter out of bounds; the MAC fits.", written=claim)

    def at(index, bit=0):
        return lambda r: setattr(r, "wrapped", flip(r.wrapped, index, bit))

    bent("wrong", AUTH, "A-4 D-6", "Another passphrase.", given="correct house")
    bent("wrong-case", AUTH, "A-2", "The passphrase in another case.", given="Correct horse")
    bent("trailing-space", AUTH, "A-2", "The passphrase with a space at its end.", given=words + " ")
    bent("m-raised", AUTH, "A-4", "m_cost is one more than what was used; the MAC fits.", at(3))
    bent("t-raised", AUTH, "A-4", "t_cost is 3 instead of 1; the MAC fits.", at(7, 1))
    bent("p-raised", AUTH, "A-4", "p_cost is 3 instead of 1; the MAC fits.", at(8, 1))
    bent("argon2-salt-flipped", AUTH, "A-4", "A bit of the Argon2 salt; the MAC fits.", at(9))
    bent("wrap-salt-flipped", AUTH, "A-4", "A bit of the Cobblestone salt; the MAC fits.", at(25))
    bent("commitment-flipped", AUTH, "A-4", "A bit of the commitment; the MAC fits.", at(49))
    bent("ciphertext-flipped", AUTH, "A-4", "A bit of the sealed DEK; the MAC fits.", at(81))
    bent("tag-flipped", AUTH, "A-4", "A bit of the tag; the MAC fits.", at(128, 7))
    bent("128-bytes", AUTH, "A-4", "The wrap without its last byte; the MAC fits.", lambda r: setattr(r, "wrapped", r.wrapped[:-1]))
    bent("130-bytes", AUTH, "A-4", "The wrap with a byte more; the MAC fits.", lambda r: setattr(r, "wrapped", r.wrapped + b"\0"))
    bent("parameters-only", AUTH, "A-4", "The parameters and nothing else; the MAC fits.", lambda r: setattr(r, "wrapped", r.wrapped[:25]))
    bent("parameters-cut", AUTH, "A-4", "8 of the 9 bytes of the parameters; the MAC fits.", lambda r: setattr(r, "wrapped", r.wrapped[:8]))
    bent("key-version", UNSUPPORTED, "A-3", "An authentic passphrase wrap with a key version.", version=b"1")
    bent("dek-31-bytes", AUTH, "W-3 A-4", "An authentic wrap of 31 bytes.", dek=bytes(31))
    bent("dek-33-bytes", AUTH, "W-3 A-4", "An authentic wrap of 33 bytes.", dek=bytes(33))
    bent("other-context", AUTH, "K-6 A-4", "The wrap was bound to another context; the MAC fits.", full=context_bytes([(b"a", b"1")]))
    name = "passphrase/composed-for-decomposed"
    env = Env(name).to_passphrase("e\u0301")
    put_env(name, AUTH, "A-2", "The composed form of a passphrase that was given decomposed.", env, [], passphrase="\u00e9")
    name = "passphrase/argon2i"
    env = Env(name)
    salt, inner = env.rnd("argon2 salt", 16), env.rnd("wrap salt", 24)
    key = hash_secret_raw(words.encode(), salt, 1, 19456, 1, 32, Type.I)
    sealed = Cobblestone.derive(key, inner, wrap_binding(PASSPHRASE, b"", env.full())).seal(env.dek)
    env.recipients.append(Recipient(PASSPHRASE, b"", ARGON, u32(19456) + u32(1) + u8(1) + salt + sealed))
    put_env(name, AUTH, "A-4", "Argon2i instead of Argon2id.", env, [], passphrase=words)


def commitment_and_payload():
    def changed(label, spec, comment, change, size=20, kind=ATTACHED):
        name = label
        env, kek = simple(name, plaintext=rnd(name, "plaintext", size), flags=kind)
        payload = change(env, env.payload())
        if kind == ATTACHED:
            put(name, AUTH, spec, comment, [env.header() + payload], [kek])
        else:
            put(name, AUTH, spec, comment, [env.header(), payload], [kek], kind="detached")

    changed("commitment/first-bit-flipped", "P-2", "One bit of the commitment.", lambda e, p: flip(p, 24))
    changed("commitment/last-bit-flipped", "P-2", "One bit of the commitment.", lambda e, p: flip(p, 55, 7))
    changed("commitment/zero", "P-2", "A commitment of zeros.", lambda e, p: p[:24] + bytes(32) + p[56:])
    changed("commitment/salt-first-bit-flipped", "P-2", "One bit of the salt.", lambda e, p: flip(p, 0, 7))
    changed("commitment/salt-last-bit-flipped", "P-2", "One bit of the salt.", lambda e, p: flip(p, 23))
    changed("commitment/empty-payload", "P-2", "No payload.", lambda e, p: b"")
    changed("commitment/empty-payload-detached", "P-2", "No payload.", lambda e, p: b"", kind=DETACHED)
    changed("commitment/salt-only", "P-2", "The salt alone.", lambda e, p: p[:24])
    changed("commitment/prefix-cut", "P-2", "55 bytes of payload.", lambda e, p: p[:55])
    changed("commitment/prefix-only", "P-3", "Salt and commitment and no chunk.", lambda e, p: p[:56])

    def with_key(key, binding=None):
        def change(env, _):
            cob = Cobblestone.derive(key(env), env.rnd("payload salt", 24), binding(env) if binding else env.binding())
            return cob.seal(env.plaintext)

        return change

    changed("commitment/under-the-dek", "P-1 K-1", "The payload was sealed with the DEK itself.", with_key(lambda e: e.dek))
    changed("commitment/under-the-header-key", "P-1 K-3", "The payload was sealed with header_key.", with_key(lambda e: e.keys()[0]))
    content = lambda e: e.keys()[1]
    changed("commitment/without-binding", "P-1", "The payload is bound to nothing.", with_key(content, lambda e: b""))
    changed("commitment/binding-kind-2", "P-1", "The payload is bound to kind 2.", with_key(content, lambda e: e.binding().replace(b"\x00\x01\x01", b"\x00\x01\x02", 1)))
    changed("commitment/binding-suite-2", "P-1", "The payload is bound to suite 2.", with_key(content, lambda e: e.binding().replace(b"\x00\x01\x01", b"\x00\x02\x01", 1)))
    changed("commitment/binding-other-envelope-id", "P-1", "The payload is bound to another envelope id.", with_key(content, lambda e: e.binding().replace(e.eid, bytes(16))))

    name = "commitment/binding-stored-context-only"
    env, kek = simple(name, stored=[("a", "1")], withheld=[("b", "2")])
    payload = with_key(content, lambda e: e.binding()[: -len(e.full())] + context_bytes(e.stored))(env, None)
    put(name, AUTH, "K-5 P-1", "The payload is bound to the stored entries alone.", [env.header() + payload], [kek], withheld=[("b", "2")])
    name = "commitment/envelope-id-swapped-mac-recomputed"
    env, kek = simple(name)
    payload = env.payload()
    env.eid = rnd(name, "other id", 16)
    put(name, AUTH, "P-1 P-2 K-3", "Another envelope id with a MAC that fits it: the payload belongs to the old one.", [env.header() + payload], [kek])
    name = "commitment/payload-of-same-dek-other-envelope"
    env, kek = simple(name)
    donor = Env(name + " donor")
    donor.dek = env.dek
    put(name, AUTH, "P-1 P-2 K-3", "The payload of another envelope with the same DEK and context.", [env.header() + donor.payload()], [kek])
    name = "commitment/payload-of-other-envelope"
    env, kek = simple(name)
    put(name, AUTH, "P-1 P-2", "The payload of another envelope.", [env.header() + Env(name + " donor").payload()], [kek])
    name = "commitment/payload-of-other-detached-envelope"
    env, kek = simple(name, flags=DETACHED)
    put(name, AUTH, "P-1 P-2", "The payload of another detached envelope.", [env.header(), Env(name + " donor", flags=DETACHED).payload()], [kek], kind="detached")

    full = CHUNK + 16
    changed("payload/first-byte-flipped", "P-6", "One bit of the first chunk.", lambda e, p: flip(p, 56))
    changed("payload/tag-flipped", "P-6", "One bit of the last tag.", lambda e, p: flip(p, -1, 7))
    changed("payload/second-chunk-flipped", "P-6", "One bit of the second of three chunks.", lambda e, p: flip(p, 56 + full + 5), 2 * CHUNK + 5)
    changed("payload/last-chunk-flipped", "P-6", "One bit of the last of three chunks.", lambda e, p: flip(p, -17), 2 * CHUNK + 5)
    changed("payload/chunks-swapped", "P-4", "The first two chunks exchanged.", lambda e, p: p[:56] + p[56 + full : 56 + 2 * full] + p[56 : 56 + full] + p[56 + 2 * full :], 2 * CHUNK + 5)
    changed("payload/chunk-repeated", "P-4", "The first chunk twice.", lambda e, p: p[: 56 + full] + p[56 : 56 + full] + p[56 + full :], CHUNK + 5)
    changed("payload/first-chunk-dropped", "P-4", "Without the first chunk.", lambda e, p: p[:56] + p[56 + full :], CHUNK + 5)
    changed("payload/middle-chunk-dropped", "P-4", "Without the second of three chunks.", lambda e, p: p[: 56 + full] + p[56 + 2 * full :], 2 * CHUNK + 5)
    changed("payload/last-chunk-dropped", "P-3", "Without the short last chunk: it ends with a whole one.", lambda e, p: p[: 56 + full], CHUNK + 5)
    changed("payload/empty-last-chunk-dropped", "P-3", "Without the empty last chunk.", lambda e, p: p[: 56 + full], CHUNK)
    changed("payload/empty-chunk-dropped", "P-3", "An empty message without its one chunk.", lambda e, p: p[:56], 0)
    changed("payload/byte-appended", "P-3 P-6", "One byte more.", lambda e, p: p + b"\0")
    changed("payload/byte-appended-after-longest-last-chunk", "P-3", "One byte more after a last chunk of 16399 bytes, which makes it a whole one.", lambda e, p: p + b"\0", CHUNK - 1)
    changed("payload/last-byte-dropped", "P-6", "One byte less.", lambda e, p: p[:-1])
    changed("payload/last-tag-cut-to-15", "P-3", "A last chunk of 15 bytes.", lambda e, p: p[: 56 + 15], 0)
    changed("payload/short-rest-after-whole-chunk", "P-3", "A last chunk of 15 bytes after a whole one.", lambda e, p: p[:-1], CHUNK)
    changed("payload/first-chunk-cut", "P-4", "The first of two chunks is one byte short.", lambda e, p: p[: 56 + full - 1] + p[56 + full :], CHUNK + 5)
    changed("payload/chunk-appended", "P-4 P-3", "The last chunk twice.", lambda e, p: p + p[56:])
    changed("payload/envelope-appended", "P-3", "A whole envelope after the envelope.", lambda e, p: p + e.header() + p)
    changed("payload/zeros-appended", "P-3", "As many zeros as make a whole chunk and an empty one.", lambda e, p: p + bytes(full + 16 - (len(p) - 56) % full), 100)

    def full_last(env, _):
        cob = env.cobblestone()
        return cob.prefix() + cob.chunk(0, env.plaintext)

    changed("payload/full-last-chunk", "P-3", "An authentic whole chunk as the last one: the writer forgot the empty chunk.", full_last, CHUNK)

    def oversize(env, _):
        cob = env.cobblestone()
        return cob.prefix() + cob.chunk(0, env.plaintext)

    changed("payload/one-long-chunk", "P-3 P-4", "20000 bytes as one chunk.", oversize, 20000)

    def extended(env, payload):
        cob = env.cobblestone()
        return payload + cob.chunk(1, b"more")

    changed("payload/authentic-chunk-after-the-last", "P-3 P-4", "An authentic chunk after a short one.", extended)

    def numbered_from_one(env, _):
        cob = env.cobblestone()
        return cob.prefix() + cob.chunk(1, env.plaintext)

    changed("payload/counter-from-one", "P-4", "Chunks numbered from 1.", numbered_from_one)

    def little_endian(env, _):
        cob = env.cobblestone()
        nonce = (int.from_bytes(cob.base, "big") ^ 1 << 56).to_bytes(12, "big")
        return cob.prefix() + cob.chunk(0, env.plaintext[:CHUNK]) + AESGCM(cob.key).encrypt(nonce, env.plaintext[CHUNK:], b"")

    changed("payload/counter-little-endian", "P-4", "A little-endian chunk number.", little_endian, CHUNK + 5)

    def with_aad(env, _):
        cob = env.cobblestone()
        return cob.prefix() + AESGCM(cob.key).encrypt(cob.base, env.plaintext, b"x")

    changed("payload/chunk-with-aad", "P-4", "A chunk with additional data.", with_aad)


def records():
    def changed(label, spec, comment, change, context=(), given=None, stored=()):
        name = f"records/{label}"
        env, kek = simple(name, flags=DATA_KEY, stored=stored)
        record = change(env, env.record(context, b"a record"))
        put(name, AUTH, spec, comment, [env.header(), record], [kek], kind="record", record_context=context if given is None else given)

    row = [("row", "17")]
    changed("nonce-flipped", "S-2", "One bit of the nonce.", lambda e, r: flip(r, 0))
    changed("ciphertext-flipped", "S-2", "One bit of the ciphertext.", lambda e, r: flip(r, 24))
    changed("tag-flipped", "S-2", "One bit of the tag.", lambda e, r: flip(r, -1, 7))
    changed("last-byte-dropped", "S-3", "One byte less.", lambda e, r: r[:-1])
    changed("byte-appended", "S-3", "One byte more.", lambda e, r: r + b"\0")
    changed("empty", "S-3", "No bytes.", lambda e, r: b"")
    changed("nonce-cut", "S-3", "23 bytes.", lambda e, r: r[:23])
    changed("nonce-only", "S-3", "The nonce alone.", lambda e, r: r[:24])
    changed("39-bytes", "S-3", "One byte less than a record has.", lambda e, r: r[:39])
    changed("context-other-value", "S-2", "Another row.", lambda e, r: r, row, [("row", "18")])
    changed("context-missing", "S-2", "The reader gives no context.", lambda e, r: r, row, [])
    changed("context-added", "S-2", "The reader gives a context that the record has not.", lambda e, r: r, [], row)
    changed("context-boundary-moved", "S-2", "The same letters split elsewhere.", lambda e, r: r, [("ab", "c")], [("a", "bc")])
    changed("of-other-data-key", "S-2", "A record of another data key.", lambda e, r: Env(e.name + " donor", flags=DATA_KEY).record())

    def same_dek(env, record):
        donor = Env(env.name + " donor", flags=DATA_KEY)
        donor.dek = env.dek
        return donor.record()

    changed("of-same-dek-other-id", "S-2 K-3", "A record of another data key with the same DEK.", same_dek)

    def under(key, aad):
        return lambda e, r: xaes_seal(key(e), e.rnd("record nonce", 24), b"a record", aad(e))

    changed("under-the-dek", "K-1 S-2", "Sealed with the DEK itself.", under(lambda e: e.dek, lambda e: e.binding() + b"\0\0"))
    changed("under-the-header-key", "K-3 S-2", "Sealed with header_key.", under(lambda e: e.keys()[0], lambda e: e.binding() + b"\0\0"))
    content = lambda e: e.keys()[1]
    changed("without-record-context", "S-2", "The AAD ends with the binding: an empty record context is missing.", under(content, lambda e: e.binding()))
    changed("without-binding", "S-2", "The AAD is the record context alone.", under(content, lambda e: b"\0\0"))
    changed("binding-kind-1", "S-2", "The AAD is the binding of a payload.", under(content, lambda e: e.binding().replace(b"\x00\x01\x02", b"\x00\x01\x01", 1) + b"\0\0"))

    def payload_instead(env, record):
        return Cobblestone.derive(env.keys()[1], env.rnd("payload salt", 24), env.binding()).seal(b"a record")

    changed("sealed-as-payload", "S-2", "A payload instead of a record.", payload_instead)
    for label, index in [("header-mac-flipped", -1), ("header-generation-changed", 35)]:
        name = f"records/{label}"
        env, kek = simple(name, flags=DATA_KEY)
        put(name, AUTH, "S-1 D-4", "The data key's header was changed; the record is authentic.", [flip(env.header(), index), env.record()], [kek], kind="record")
    name = "records/full-context-moved-into-record"
    env = Env(name, flags=DATA_KEY, stored=[("table", "users")])
    kek, record = env.kek(), env.record([("row", "17")])
    env.stored = []
    env.to_kek(kek)
    put(name, AUTH, "S-2 K-5", "A data key without its context, wrap and MAC made anew; the reader gives both entries as the record's.", [env.header(), record], [kek], kind="record", record_context=[("row", "17"), ("table", "users")])


def pem(data, end=b"\n"):
    lines = [base64.b64encode(data[i : i + 48]) for i in range(0, len(data), 48)]
    return end.join([b"-----BEGIN ENVELOPE-----", *lines, b"-----END ENVELOPE-----", b""])


def armor():
    begin, last = b"-----BEGIN ENVELOPE-----", b"-----END ENVELOPE-----"

    def made(label, expect, spec, comment, change=lambda text: text, tail=None, **more):
        name = f"armor/{label}"
        env, kek = simple(name)
        if tail is not None:
            env.plaintext = rnd(name, "plaintext", next(n for n in range(48) if (len(env.envelope()) - len(env.plaintext) + n) % 48 == tail))
        text = change(pem(env.envelope()))
        put(name, expect, spec, comment, [], [kek], plaintext=env.plaintext, armor=text, **more)

    made("success-lf", OK, "T-1 T-2 T-4 T-5", "Line ends are LF.")
    made("success-crlf", OK, "T-5", "Line ends are CR LF.", lambda t: t.replace(b"\n", b"\r\n"))
    made("success-mixed-line-ends", OK, "T-5", "The first line ends with CR LF, the others with LF.", lambda t: t.replace(b"\n", b"\r\n", 1))
    for tail, comment in [(0, "The last line is a full one."), (1, "The last line has one byte."), (2, "The last line has two bytes."), (3, "The last line has three bytes."), (46, "The last line has 64 characters, two of them padding."), (47, "The last line has 64 characters, one of them padding.")]:
        made(f"success-tail-{tail}", OK, "T-2 T-3", comment, tail=tail)
    for kind, flags in (("detached", DETACHED), ("record", DATA_KEY)):
        name = f"armor/wrong-kind-{kind}"
        env, kek = simple(name, flags=flags)
        put(name, FORMAT, "H-13", "The text form of a header alone, given as an envelope.", [], [kek], armor=pem(env.header()))

    def bad(label, spec, comment, change, tail=20):
        made(label, FORMAT, spec, comment, change, tail)

    bad("empty", "T-1", "No text.", lambda t: b"")
    bad("label-other", "T-1", "Another label.", lambda t: t.replace(b"ENVELOPE", b"MESSAGE"))
    bad("label-lower-case", "T-1", "The label in lower case.", lambda t: t.replace(b"ENVELOPE", b"envelope"))
    bad("label-of-end-differs", "T-4", "Another label in the last line.", lambda t: t.replace(last, b"-----END MESSAGE-----"))
    bad("four-dashes", "T-1", "Four dashes.", lambda t: t.replace(begin, begin[1:-1]))
    bad("text-before", "T-1", "A line before the first one.", lambda t: b"Dear reader,\n" + t)
    bad("blank-line-before", "T-1", "An empty line before the first one.", lambda t: b"\n" + t)
    bad("space-before", "T-1", "A space before the first line.", lambda t: b" " + t)
    bad("byte-order-mark", "T-1", "A byte order mark before the first line.", lambda t: b"\xef\xbb\xbf" + t)
    bad("space-after-begin", "T-1", "A space after the first line.", lambda t: t.replace(begin, begin + b" "))
    bad("tab-after-begin", "T-1", "A tab after the first line.", lambda t: t.replace(begin, begin + b"\t"))
    bad("headers", "T-2", "A header as in old PEM.", lambda t: t.replace(begin, begin + b"\nComment: x\n"))
    bad("blank-line-after-begin", "T-2", "An empty line after the first one.", lambda t: t.replace(begin, begin + b"\n"))
    bad("blank-line-before-end", "T-2", "An empty line before the last one.", lambda t: t.replace(last, b"\n" + last))
    bad("text-after", "T-4", "A line after the last one.", lambda t: t + b"Yours\n")
    bad("blank-line-after", "T-4", "An empty line after the last one.", lambda t: t + b"\n")
    bad("space-after-end", "T-4", "A space after the last line.", lambda t: t.replace(last, last + b" "))
    bad("second-message", "T-4", "A second message after the first.", lambda t: t + t)
    bad("end-missing", "T-4", "Without the last line.", lambda t: t.replace(last + b"\n", b""))
    bad("end-without-line-end", "T-4", "The last line has no line end.", lambda t: t[:-1])
    bad("end-cut", "T-4", "The last line is cut.", lambda t: t[:-5])
    bad("begin-only", "T-4", "The first line alone.", lambda t: begin + b"\n")
    bad("no-lines", "H-1 H-6", "Nothing between the first and the last line.", lambda t: begin + b"\n" + last + b"\n")

    def relines(width):
        def change(t):
            body = t[len(begin) + 1 : -len(last) - 1].replace(b"\n", b"")
            return b"\n".join([begin, *[body[i : i + width] for i in range(0, len(body), width)], last, b""])

        return change

    bad("lines-of-60", "T-2", "Lines of 60 characters.", relines(60))
    bad("lines-of-68", "T-2", "Lines of 68 characters.", relines(68))
    bad("lines-of-76", "T-2", "Lines of 76 characters, as in MIME.", relines(76))
    bad("one-line", "T-2", "All in one line.", relines(1 << 20))
    bad("short-line-in-the-middle", "T-2", "The first line of base64 is cut in two.", lambda t: t.replace(begin + b"\n", begin + b"\n", 1)[: len(begin) + 1 + 32] + b"\n" + t[len(begin) + 1 + 32 :])
    bad("padding-in-the-middle", "T-2 T-3", "The first line of base64 holds 47 bytes and padding.", lambda t: pem_uneven(t))
    bad("unused-bits", "T-3", "Unused bits that are not zero.", lambda t: bump(t), 1)
    bad("padding-missing", "T-3", "The last line without its padding.", lambda t: t.replace(b"=", b""), 1)
    bad("padding-too-much", "T-3", "The last line with padding that it does not need.", lambda t: t.replace(b"\n" + last, b"====\n" + last), 21)
    bad("url-alphabet", "T-3", "A dash and underscore as in the alphabet for URLs.", lambda t: url_alphabet(t))
    bad("character-outside", "T-3", "A character outside the alphabet.", lambda t: put_at(t, len(begin) + 10, b"*"))
    bad("not-ascii", "T-3", "A byte that is not ASCII.", lambda t: put_at(t, len(begin) + 10, b"\xe9"))
    bad("nul", "T-3", "A zero byte.", lambda t: put_at(t, len(begin) + 10, b"\0"))
    bad("space-in-line", "T-3", "A space inside a line.", lambda t: put_at(t, len(begin) + 10, b" "))
    bad("tab-at-line-end", "T-2 T-3", "A tab at the end of a line.", lambda t: t[: len(begin) + 65] + b"\t" + t[len(begin) + 65 :])
    bad("space-at-line-start", "T-2 T-3", "A space at the start of a line.", lambda t: t[: len(begin) + 1] + b" " + t[len(begin) + 1 :])
    bad("cr-only", "T-5", "Line ends are CR.", lambda t: t.replace(b"\n", b"\r"))
    bad("cr-cr-lf", "T-5", "Line ends are CR CR LF.", lambda t: t.replace(b"\n", b"\r\r\n"))
    bad("vertical-tab", "T-5", "Line ends are vertical tabs.", lambda t: t.replace(b"\n", b"\v"))
    bad("utf16", "T-1", "The text in UTF-16.", lambda t: t.decode().encode("utf-16-le"))
    bad("binary-as-text", "T-1", "Binary given as text.", lambda t: base64.b64decode(t[len(begin) + 1 : -len(last) - 1].replace(b"\n", b"")))
    name = "armor/text-as-binary"
    env, kek = simple(name)
    put(name, FORMAT, "H-1", "Text given as binary.", [pem(env.envelope())], [kek])
    name = "armor/detached-header-trailing-byte"
    env, kek = simple(name, flags=DETACHED)
    put(name, FORMAT, "H-11 H-13", "The text form of a detached header and a byte, given as an envelope.", [], [kek], armor=pem(env.header() + b"\0"))
    name = "armor/payload-changed"
    env, kek = simple(name)
    put(name, AUTH, "P-6", "Right text, with one bit of the payload changed.", [], [kek], armor=pem(flip(env.envelope(), -1)))


def put_at(text, index, byte):
    return text[:index] + byte + text[index + 1 :]


def pem_uneven(text):
    lines = text.split(b"\n")
    data = base64.b64decode(b"".join(lines[1:-2]))
    rest = data[47:]
    body = [base64.b64encode(data[:47])] + [base64.b64encode(rest[i : i + 48]) for i in range(0, len(rest), 48)]
    return b"\n".join([lines[0], *body, lines[-2], b""])


def bump(text):
    """Sets an unused bit of the last base64 character before the padding."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    index = text.index(b"=") - 1
    return put_at(text, index, bytes([alphabet[alphabet.index(text[index]) | 1]]))


def url_alphabet(text):
    lines = text.split(b"\n")
    body = [line.replace(b"+", b"-").replace(b"/", b"_") for line in lines[1:-2]]
    assert body != lines[1:-2]
    return b"\n".join([lines[0], *body, *lines[-2:]])


# --- the page -------------------------------------------------------------------------------------------------------


def hexdump(data, indent="  "):
    text = data.hex()
    return "\n".join(indent + text[i : i + 64] for i in range(0, len(text), 64))


def example():
    env, kek = worked_example()
    header_key, content_key = env.keys()
    recipient = env.recipients[0]
    salt = env.rnd("payload salt", 24)
    cob = env.cobblestone()
    values = [
        ("plaintext", env.plaintext),
        ("KEK", kek.key),
        ("DEK", env.dek),
        ("envelope_id", env.eid),
        ("full_context", env.full()),
        ("wrap_binding", wrap_binding(recipient.uri, recipient.version, env.full())),
        ("wrapped_dek", recipient.wrapped),
        ("header_key", header_key),
        ("content_key", content_key),
        ("preamble", env.authenticated()[:16]),
        ("body", env.body()),
        ("header_mac", env.mac()),
        ("binding", env.binding()),
        ("salt", salt),
        ("payload key", cob.key),
        ("base_nonce", cob.base),
        ("commitment", cob.commitment),
        ("chunk 0", cob.chunk(0, env.plaintext)),
        ("envelope", env.envelope()),
    ]
    blocks = "\n".join(f"{name} ({len(data)})\n{hexdump(data)}" for name, data in values)
    return (
        "The vector `success/worked-example`: 14 bytes of ASCII, `attack at dawn`, with the stored context `tenant=42`, to the\n"
        f"local key `{kek.uri.decode()}` in version `{kek.version.decode()}`.\nLengths in bytes stand in parentheses; all else is hexadecimal.\n\n"
        f"```text\n{blocks}\n```"
    )


# Requirements that a vector cannot show, or not alone, and the tests that do.
TESTS = {
    "H-5": ["tests/spec_rules.rs::body_len_is_refused_before_the_body_is_read"],
    "H-12": ["tests/vectors.rs::a_header_that_was_read_is_written_with_the_same_bytes"],
    "T-2": ["tests/vectors.rs::a_text_form_that_was_read_is_written_with_the_same_characters"],
    "C-7": ["tests/spec_rules.rs::no_provider_is_called_when_the_context_does_not_fit"],
    "C-8": ["tests/spec_rules.rs::no_provider_is_called_when_the_context_does_not_fit"],
    "C-9": ["tests/spec_rules.rs::a_writer_refuses_a_context_over_the_limits"],
    "K-1": ["tests/spec_rules.rs::every_envelope_and_data_key_has_a_fresh_dek_and_id"],
    "K-2": ["tests/spec_rules.rs::every_envelope_and_data_key_has_a_fresh_dek_and_id"],
    "W-5": ["tests/spec_rules.rs::nonces_and_salts_are_fresh"],
    "A-1": ["tests/vectors.rs::every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider"],
    "A-3": ["tests/vectors.rs::every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider"],
    "A-4": ["tests/vectors.rs::every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider"],
    "A-5": ["tests/spec_rules.rs::salts_of_passphrase_wraps_are_fresh"],
    "P-5": ["tests/spec_rules.rs::nonces_and_salts_are_fresh"],
    "P-6": ["tests/spec_rules.rs::a_stream_gives_out_authentic_chunks_only_and_reports_the_missing_end"],
    "P-7": ["tests/spec_rules.rs::a_payload_has_at_most_2_to_the_38_chunks"],
    "S-3": ["tests/spec_rules.rs::a_record_has_at_most_16_mib"],
    "S-4": ["tests/spec_rules.rs::nonces_and_salts_are_fresh"],
    "T-5": ["tests/spec_rules.rs::a_writer_of_text_ends_lines_with_lf"],
    "D-1": ["tests/spec_rules.rs::a_format_failure_calls_no_provider"],
    "D-2": ["tests/spec_rules.rs::only_configured_keys_are_used"],
    "D-5": ["tests/spec_rules.rs::mac_and_commitment_are_compared_in_constant_time"],
    "D-6": ["tests/spec_rules.rs::everything_that_does_not_fit_is_one_error"],
    "G-1": ["tests/spec_rules.rs::a_rewrap_changes_recipients_and_generation_alone"],
    "G-2": ["tests/spec_rules.rs::a_rewrap_verifies_the_old_header_first"],
    "G-3": ["tests/spec_rules.rs::a_rewrap_verifies_each_new_wrap"],
    "G-4": ["tests/spec_rules.rs::a_rewrap_changes_recipients_and_generation_alone",
            "tests/spec_rules.rs::the_last_generation_cannot_be_rewrapped"],
}


def coverage():
    ids = re.findall(r"^- \*\*\[([A-Z]-\d+)\]\*\*", PAGE.read_text(), re.M)
    found = {i: [] for i in ids}
    for name, data in VECTORS.items():
        for tag in re.search(rb"^spec: (.*)$", data, re.M).group(1).decode().split():
            found[tag].append(name)
    rows = ["| Requirement | Vectors | Tests |", "|---|---|---|"]
    for i in ids:
        vectors = " ".join(f"`{name}`" for name in sorted(found[i]))
        tests = " ".join(f"`{test}`" for test in TESTS.get(i, []))
        rows.append(f"| {i} | {vectors} | {tests} |")
        if not vectors and not tests:
            sys.exit(f"{i} has neither vector nor test")
    return "\n".join(rows)


def write_page():
    text = PAGE.read_text()
    for heading, content, following in (
        ("## Worked example\n", example(), "## References\n"),
        ("tests/spec_coverage.rs` fails", coverage(), None),
    ):
        if following:
            start, end = text.index(heading) + len(heading), text.index(following)
            text = text[:start] + "\n" + content + "\n\n" + text[end:]
        else:
            start = text.index("\n\n", text.index(heading))
            text = text[:start] + "\n\n" + content + "\n"
    PAGE.write_text(text)


def main():
    parser = argparse.ArgumentParser(description="Test vectors of envelope format version 1")
    for option in ("check", "example", "coverage", "page"):
        parser.add_argument(f"--{option}", action="store_true")
    arguments = parser.parse_args()
    if arguments.example:
        print(example())
        return 0
    for section in (success, header, mac, context, recipients, wraps, passphrases, commitment_and_payload, records, armor):
        section()
    if arguments.coverage:
        print(coverage())
        return 0
    if arguments.page:
        write_page()
        return 0
    files = {HERE / f"{name}.vec": data for name, data in VECTORS.items()}
    present = set(HERE.glob("*/*.vec"))
    if arguments.check:
        wrong = [p for p, data in files.items() if not p.exists() or p.read_bytes() != data]
        wrong += [p for p in present if p not in files and not p.parent.name == "keystore"]
        for path in sorted(wrong):
            print(f"differs: {path.relative_to(HERE)}")
        print(f"{len(files)} vectors, {len(wrong)} differ")
        return 1 if wrong else 0
    for path in present:
        if path not in files and path.parent.name != "keystore":
            path.unlink()
    for path, data in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    print(f"{len(files)} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
