"""Class `header`."""

from .base import ATTACHED, DATA_KEY, DETACHED, FORMAT, Recipient, URI_AWS, put, put_env, simple


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
    raw("order-length-before-version", "D-7 H-6", "15 bytes, of which the ninth says version 2.", lambda h, p: h[:8] + b"\2" + h[9:15])
    raw("truncated-mac-missing", "H-6", "Everything up to the MAC.", lambda h, p: h[:-32])
    raw("truncated-mac-cut", "H-6", "All but the last byte of the MAC.", lambda h, p: h[:-1])
    for threshold in (0, 2):
        bent(f"threshold-{threshold}", FORMAT, "H-8", "A threshold other than 1; the MAC fits.", lambda env, t=threshold: setattr(env, "threshold", t))
    def no_recipient(env):
        env.threshold, env.recipients = 2, []

    bent("order-threshold-before-recipients", FORMAT, "D-7 H-8 H-9", "A threshold of 2, and no recipient; the MAC fits.", no_recipient, first="H-8")

    def repeated(env):
        env.recipients, env.padding = env.recipients * 2, b"\1"

    bent("order-recipients-before-padding", FORMAT, "D-7 R-5 H-10", "A recipient twice, and padding that is not zero; the MAC fits.", repeated, first="R-5")

    def cut_uri(env):
        # Of the algorithm not even its length is there.
        env.body_override = env.body()[: -(1 + 12 + 2 + 72)].replace(b"local://", b"local:\n/")

    def cut_wrap(env):
        env.recipients[0].algorithm = b"a/b"
        env.body_override = env.body()[: -(2 + 72)]

    bent("order-algorithm-before-wrap", FORMAT, "D-7 R-3 H-7", "An algorithm with a slash, and a body that ends behind it; the MAC fits.", cut_wrap, first="R-3")
    bent("order-uri-before-rest-of-recipient", FORMAT, "D-7 U-1 H-7", "A key URI with a line end, and a body that ends behind the key version; the MAC fits.", cut_uri, first="U-1")
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
