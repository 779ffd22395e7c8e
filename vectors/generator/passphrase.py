"""Class `passphrase`."""

from argon2.low_level import Type, hash_secret_raw

from .base import (
    ARGON,
    AUTH,
    Cobblestone,
    Env,
    PASSPHRASE,
    Recipient,
    UNSUPPORTED,
    context_bytes,
    flip,
    put_env,
    u32,
    u8,
    wrap_binding,
)


def passphrases():
    words = "correct horse"

    def bent(label, expect, spec, comment, bend=None, given=words, first=None, **parameters):
        name = f"passphrase/{label}"
        env = Env(name).to_passphrase(words, **parameters)
        if bend:
            bend(env.recipients[0])
        put_env(name, expect, spec, comment, env, [], passphrase=given, first=first)

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

    for label, claim in [
        ("m-262145", (262145, 1, 1)),
        ("m-65536-t-13", (65536, 13, 4)),
        ("m-1048576-t-16", (1048576, 16, 16)),
    ]:
        comment = "More work than a reader may do without permission; the MAC fits."
        bent(f"parameters-{label}", UNSUPPORTED, "A-6", comment, written=claim)

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
    bent("order-version-before-length", UNSUPPORTED, "D-7 A-3 A-4", "A key version, and a wrap of 128 bytes.", lambda r: setattr(r, "wrapped", r.wrapped[:-1]), version=b"1", first="A-3")
    bent("order-version-before-parameters", UNSUPPORTED, "D-7 A-3 A-1", "A key version, and a parameter out of bounds.", written=(19455, 1, 1), version=b"1", first="A-3")
    bent("order-length-before-parameters", AUTH, "D-7 A-4 A-1", "A wrap of 128 bytes, and a parameter out of bounds.", lambda r: setattr(r, "wrapped", r.wrapped[:-1]), written=(19455, 1, 1), first="A-4")
    bent("order-bounds-before-work", UNSUPPORTED, "D-7 A-1 A-6", "More work than a reader may do without permission, and too many lanes.", written=(1048576, 16, 17), first="A-1")
    bent("order-algorithm-before-version", UNSUPPORTED, "D-7 W-1 A-3", "An unknown algorithm, and a key version.", lambda r: setattr(r, "algorithm", b"ARGON2ID"), version=b"1", first="W-1")
    bent("parameters-m-65537-t-12", UNSUPPORTED, "A-6", "A pass over one KiB more than a reader may do without permission.", written=(65537, 12, 4))
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
