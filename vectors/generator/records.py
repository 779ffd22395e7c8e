"""Class `records`."""

from .base import AUTH, OK, Cobblestone, DATA_KEY, Env, flip, put, simple, xaes_seal


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
    changed("last-byte-dropped", "S-2", "One byte less.", lambda e, r: r[:-1])
    changed("byte-appended", "S-2", "One byte more.", lambda e, r: r + b"\0")
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
    changed("binding-purpose-1", "S-2", "The AAD is the binding of a payload.", under(content, lambda e: e.binding().replace(b"\x00\x01\x02", b"\x00\x01\x01", 1) + b"\0\0"))

    def payload_instead(env, record):
        return Cobblestone.derive(env.keys()[1], env.rnd("payload salt", 24), env.binding()).seal(b"a record")

    changed("sealed-as-payload", "S-2", "A payload instead of a record.", payload_instead)
    def with_context(label, spec, comment, given, expect=AUTH, change=lambda e, r: r, bend=lambda e: None, first=None):
        """A record that is sealed under the context that the reader gives, whatever that is."""
        name = f"records/{label}"
        env, kek = simple(name, flags=DATA_KEY)
        header, record = env.header(), change(env, env.record(given))
        more = {"plaintext": b"a record"} if expect == OK else {}
        put(name, expect, spec, comment, [bend(header) or header, record], [kek], kind="record", record_context=given, first=first, **more)

    longest = [("k", "v" * (8192 - 2 - 4 - 1))]
    with_context("context-empty-name", "S-7", "A context entry with an empty name, under which the record was sealed.", [("", "1")])
    with_context("context-65-entries", "S-7", "65 context entries, under which the record was sealed.", [(f"k{i:02}", "") for i in range(65)])
    with_context("context-8193-bytes", "S-7", "A context of 8193 bytes, under which the record was sealed.", [("k", longest[0][1] + "v")])
    with_context("success-context-64-entries", "S-7", "As many context entries as there may be.", [(f"k{i:02}", "") for i in range(64)], OK)
    with_context("success-context-8192-bytes", "S-7", "The longest context.", longest, OK)
    with_context("success-context-given-in-another-order", "S-7", "The reader puts the entries in order.", [("b", "1"), ("a", "2"), ("B", "3")], OK)
    with_context("success-context-empty-value", "S-7", "A value may be empty.", [("a", "")], OK)
    with_context("order-header-before-context", "D-7 K-4 S-7", "A flipped MAC of the data key, and an entry with an empty name.", [("", "1")], bend=lambda h: flip(h, -1), first="K-4")
    with_context("order-context-before-length", "D-7 S-3 S-7", "An entry with an empty name, and a record of 39 bytes.", [("", "1")], change=lambda e, r: r[:39], first="S-7")
    for label, length, first in [("length-16777257", 16777257, "S-3"), ("length-16777256", 16777256, "S-2")]:
        name = f"records/{label}"
        env, kek = simple(name, flags=DATA_KEY)
        record = env.record()
        comment = f"A record and zeros up to {length} bytes."
        put(name, AUTH, "S-3 S-2", comment, [env.header(), record], [kek], kind="record", more=[f"append-zeros: {length - len(record)}"], first=first)
    name = "records/order-maximum-before-context"
    env, kek = simple(name, flags=DATA_KEY)
    record = env.record()
    put(name, AUTH, "D-7 S-3 S-7", "A record that is too long, and an entry with an empty name.", [env.header(), record], [kek], kind="record", record_context=[("", "1")], more=[f"append-zeros: {16777257 - len(record)}"], first="S-3")
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
