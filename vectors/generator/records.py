"""Class `records`."""

from .base import AUTH, Cobblestone, DATA_KEY, Env, flip, put, simple, xaes_seal


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
