"""Class `wrap`."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .base import (
    ARGON,
    AUTH,
    Env,
    Kek,
    NOKEY,
    Recipient,
    UNSUPPORTED,
    URI_P11,
    XAES,
    context_bytes,
    flip,
    put_env,
    simple,
    wrap_binding,
    xaes_seal,
)


def wraps():
    def bent(label, spec, comment, bend, expect=AUTH, keys=None, first=None):
        name = f"wrap/{label}"
        env, kek = simple(name)
        bend(env)
        put_env(name, expect, spec, comment, env, [kek] if keys is None else keys(env), first=first)

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
        put_env(name, AUTH, "W-2", f"An authentic wrap of {label} bytes.", env, [kek])
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
        bent(f"algorithm-{label}", "W-1 R-7" if label == "unknown" else "W-1", f"The right wrap under the name {algorithm.decode()}; the MAC fits.", lambda e, a=algorithm: setattr(e.recipients[0], "algorithm", a), UNSUPPORTED)
    bent("order-algorithm-before-version", "D-7 W-1 W-4", "An unknown algorithm, and a version that the reader does not have.", lambda e: e.recipients.append(Recipient(e.recipients.pop().uri, b"7", b"OTHER", b"x")), UNSUPPORTED, first="W-1")
    bent("order-version-before-length", "D-7 W-4 W-2", "A version that the reader does not have, and a wrap of 71 bytes.", lambda e: e.recipients.append(Recipient(e.recipients.pop().uri, b"7", XAES, bytes(71))), NOKEY, first="W-4")
    name = "wrap/xaes-for-another-scheme"
    env = Env(name)
    kek = Kek(URI_P11, b"1", env.rnd("kek", 32))
    put_env(name, UNSUPPORTED, "W-1", "A wrap by XAES-256-GCM under a key whose URI is not local:, and the reader has that key.", env.to_kek(kek), [kek])
    name = "wrap/algorithm-xaes-for-a-passphrase"
    env = Env(name).to_passphrase("correct horse")
    env.recipients[0].algorithm = XAES
    put_env(name, UNSUPPORTED, "W-1", "A passphrase recipient with the keystore's algorithm; the MAC fits.", env, [], passphrase="correct horse")
