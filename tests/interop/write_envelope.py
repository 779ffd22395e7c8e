"""A writer of envelope headers, payloads and records, and of rewrapped headers, from given randomness.

Written from docs/spec/envelope-v1.md, as the reader is. No real writer may take its randomness from outside; this one
exists to show that the page says each byte. What it writes is compared with the vectors of the classes `writing` and
`rewrap`.
"""

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from failures import NotRewrapped, require
from read_envelope import ATTACHED, Context, Header, Recipient, binding, derived_keys, encode_context, mac_of, unlock, wrap_binding


class Plan:
    """What is to be written: `recipients` are pairs of a URI and the words behind it, `random` bytes by their purpose,
    `keks` keys by URI and version."""

    def __init__(self, stored, withheld, recipients, padding, random, keks, passphrase):
        self.stored, self.withheld, self.recipients, self.padding = stored, withheld, recipients, padding
        self.random, self.keks, self.passphrase = random, keks, passphrase

    def wraps(self, full):
        """The DEK, wrapped for each recipient."""
        return [self.wrap(number, *recipient, full) for number, recipient in enumerate(self.recipients)]

    def wrap(self, number, uri, words, full):
        dek = self.random["dek"]
        if uri == "passphrase:":
            m, t, p = (int(word) for word in words)
            recipient = Recipient(uri, "", "ARGON2ID-COBBLESTONE-256", b"")
            salt = self.random[f"wrap {number} argon2-salt"]
            key = hash_secret_raw(self.passphrase, salt, t, m, p, 32, Type.ID, version=0x13)
            costs = m.to_bytes(4, "big") + t.to_bytes(4, "big") + p.to_bytes(1, "big")
            sealed = cobblestone(key, wrap_binding(recipient, full), self.random[f"wrap {number} salt"], dek)
            recipient.wrapped = costs + salt + sealed
        else:
            (version,) = words
            recipient = Recipient(uri, version, "XAES-256-GCM", b"")
            key, nonce = self.keks[uri, version], self.random[f"wrap {number} nonce"]
            recipient.wrapped = xaes(key, nonce, dek, wrap_binding(recipient, full))
        return recipient


def new_header(plan, flags):
    header = Header.__new__(Header)
    header.flags, header.envelope_id, header.generation = flags, plan.random["envelope_id"], 0
    header.stored, header.withheld = dict(sorted(plan.stored.items())), sorted(plan.withheld, key=str.encode)
    header.padding = plan.padding
    full = encode_context(plan.stored | plan.withheld)
    header.recipients = plan.wraps(full)
    return header, full


def sealed_header(header, dek):
    authenticated = header.encode()
    header_key, content_key = derived_keys(header, dek)
    return authenticated + mac_of(header_key, authenticated), content_key


def write(plan, flags, plaintext, record_entries):
    """Header and payload or record."""
    header, full = new_header(plan, flags)
    sealed, content_key = sealed_header(header, plan.random["dek"])
    if "record nonce" in plan.random:
        aad = binding(header, full) + encode_context(record_entries)
        return sealed, xaes(content_key, plan.random["record nonce"], plaintext, aad)
    return sealed, cobblestone(content_key, binding(header, full), plan.random["payload salt"], plaintext)


def rewrap(old, keys, given, plan):
    """The new header that stands in the place of `old`, which is opened first."""
    header = Header(old)
    require(header.flags == ATTACHED or header.length == len(old), "H-11", "bytes after the header")
    dek, context = opened_dek(header, keys, given)
    require(header.generation < 2**32 - 1, "G-4", "no generation is left", NotRewrapped)
    plan.random["dek"] = dek
    header.generation += 1
    header.recipients, header.padding = plan.wraps(context.full), plan.padding
    return sealed_header(header, dek)[0]


def opened_dek(header, keys, given):
    """The DEK under which the header's MAC is right."""
    found = []

    class Kept:
        def unwrap(self, recipient, context):
            found.append(keys.unwrap(recipient, context))
            return found[-1]

    # The one that came last is the one under which it was.
    unlock(header, Kept(), given)
    return found[-1], Context(header, given)


def xaes(key, nonce, plaintext, aad):
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    top = int.from_bytes(aes.update(bytes(16)), "big")
    k1 = (top << 1 & (1 << 128) - 1) ^ (0x87 if top >> 127 else 0)
    blocks = (bytes([0, counter, 0x58, 0]) + nonce[:12] for counter in (1, 2))
    derived = b"".join(aes.update((int.from_bytes(block, "big") ^ k1).to_bytes(16, "big")) for block in blocks)
    return nonce + AESGCM(derived).encrypt(nonce[12:], plaintext, aad)


def cobblestone(key, context, salt, plaintext):
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    okm = HKDFExpand(hashes.SHA512(), 76, info).derive(key)
    out = [salt, okm[44:]]
    for number in range(len(plaintext) // 16384 + 1):
        nonce = okm[32:36] + (int.from_bytes(okm[36:44], "big") ^ number).to_bytes(8, "big")
        out.append(AESGCM(okm[:32]).encrypt(nonce, plaintext[number * 16384 : (number + 1) * 16384], b""))
    return b"".join(out)
