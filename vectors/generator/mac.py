"""Class `mac`."""

import hmac

from .base import AUTH, DATA_KEY, DETACHED, Env, URI_AWS, flip, put, put_env, rnd, simple


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
    name = "mac/purpose-2-for-a-payload"
    env, kek = simple(name)
    payload, text = env.payload(), env.authenticated()
    env.flags = DATA_KEY
    tag = hmac.new(env.keys()[0], text, "sha256").digest()
    put(name, AUTH, "K-3", "The header key of purpose 2 for an attached envelope.", [text + tag + payload], [kek])
    name = "mac/wrong-dek-of-each-recipient"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    for key in keys:
        env.to_kek(key, dek=rnd(name, "other dek", 32))
    put_env(name, AUTH, "K-4 D-3 D-4", "Both recipients unwrap another DEK, under which the MAC fails.", env, keys)
