"""Primitives, envelopes in the making and the form of vector files: what the classes share."""

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass
from urllib.parse import quote

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .first import first_of

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


def clauses(name, expect, spec, first=None):
    """The lines that name clauses. What refuses first is among what a vector shows."""
    if expect == OK:
        return [f"spec: {spec}"]
    first = first or first_of(name, spec)
    shown = spec.split() + [clause for clause in first.split() if clause not in spec.split()]
    return [f"spec: {' '.join(shown)}", f"first: {first}"]


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
    more=(),
    first=None,
):
    """`armor` is the text form of the first part; `parts` are the others then. `more` are further lines of the head."""
    assert name not in VECTORS, name
    lines = [f"expect: {expect}", f"comment: {comment}", *clauses(name, expect, spec, first)]
    lines.append(f"kind: {kind}")
    if armor is not None:
        lines.append("armor: yes")
        lines += [f"second-part: {base64.b64encode(part).decode() or '-'}" for part in parts]
    lines += [kek.line() for kek in keys]
    if passphrase is not None:
        lines.append(f"passphrase: {passphrase}")
    lines += [f"context: {entry(k, v)}" for k, v in context]
    lines += [f"withheld-value: {entry(k, v)}" for k, v in withheld]
    lines += [f"record-context: {entry(k, v)}" for k, v in record_context or ()]
    lines += more
    if expect == OK and kind != "rewrap":
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
URI_VAULT = b"hashivault://teams/transit-1/Key_1.0"
URI_P11 = b"pkcs11:token=my%20token;object=kek"
