"""Classes `commitment` and `payload`."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .base import ATTACHED, AUTH, CHUNK, Cobblestone, DETACHED, Env, context_bytes, flip, put, rnd, simple


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
    changed("commitment/binding-purpose-2", "P-1", "The payload is bound to purpose 2.", with_key(content, lambda e: e.binding().replace(b"\x00\x01\x01", b"\x00\x01\x02", 1)))
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
    changed("payload/byte-appended", "P-6", "One byte more.", lambda e, p: p + b"\0")
    changed("payload/byte-appended-after-longest-last-chunk", "P-3", "One byte more after a last chunk of 16399 bytes, which makes it a whole one.", lambda e, p: p + b"\0", CHUNK - 1)
    changed("payload/last-byte-dropped", "P-6", "One byte less.", lambda e, p: p[:-1])
    name = "payload/order-commitment-before-length"
    env, kek = simple(name, plaintext=b"")
    cut = flip(env.payload(), 40)[: 56 + 15]
    put(name, AUTH, "D-7 P-2 P-3", "The commitment was changed, and the last chunk has 15 bytes.", [env.header() + cut], [kek], first="P-2")
    changed("payload/last-tag-cut-to-15", "P-3", "A last chunk of 15 bytes.", lambda e, p: p[: 56 + 15], 0)
    changed("payload/short-rest-after-whole-chunk", "P-3", "A last chunk of 15 bytes after a whole one.", lambda e, p: p[:-1], CHUNK)
    changed("payload/first-chunk-cut", "P-4", "The first of two chunks is one byte short.", lambda e, p: p[: 56 + full - 1] + p[56 + full :], CHUNK + 5)
    changed("payload/chunk-appended", "P-4", "The last chunk twice.", lambda e, p: p + p[56:])
    changed("payload/envelope-appended", "P-4", "A whole envelope after the envelope.", lambda e, p: p + e.header() + p)
    changed("payload/zeros-appended", "P-4", "As many zeros as make a whole chunk and an empty one.", lambda e, p: p + bytes(full + 16 - (len(p) - 56) % full), 100)

    changed("payload/first-chunk-flipped-last-cut", "P-3 P-6", "One bit of the first chunk, and a last chunk of 15 bytes: whoever reads on the fly comes to the first one first.", lambda e, p: flip(p, 60)[:-1], CHUNK)

    def full_last(env, _):
        cob = env.cobblestone()
        return cob.prefix() + cob.chunk(0, env.plaintext)

    changed("payload/full-last-chunk", "P-3", "An authentic whole chunk as the last one: the writer forgot the empty chunk.", full_last, CHUNK)

    def oversize(env, _):
        cob = env.cobblestone()
        return cob.prefix() + cob.chunk(0, env.plaintext)

    changed("payload/one-long-chunk", "P-4", "20000 bytes as one chunk.", oversize, 20000)

    def extended(env, payload):
        cob = env.cobblestone()
        return payload + cob.chunk(1, b"more")

    changed("payload/authentic-chunk-after-the-last", "P-4", "An authentic chunk after a short one.", extended)

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
