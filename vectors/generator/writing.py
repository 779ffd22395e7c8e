"""Classes `writing` and `rewrap`: what must come out of given randomness."""

from .base import AUTH, DATA_KEY, DETACHED, Env, FORMAT, Kek, OK, PASSPHRASE, entry, flip, put, put_env

NOT_REWRAPPED = "cannot be rewrapped"


class Written(Env):
    """An envelope that remembers what it was made of."""

    def __init__(self, name, **more):
        super().__init__(name, **more)
        self.to = []
        self.random = [("dek", self.dek), ("envelope_id", self.eid)]

    def to_kek(self, kek, **more):
        number = len(self.recipients)
        self.to.append(f"write-recipient: {kek.uri.decode()} {kek.version.decode() or '-'}")
        self.random.append((f"wrap {number} nonce", self.rnd(f"nonce {number}", 24)))
        return super().to_kek(kek, **more)

    def to_passphrase(self, passphrase, m=19456, t=1, p=1, **more):
        number = len(self.recipients)
        self.to.append(f"write-recipient: {PASSPHRASE.decode()} {m} {t} {p}")
        self.random.append((f"wrap {number} argon2-salt", self.rnd("argon2 salt", 16)))
        self.random.append((f"wrap {number} salt", self.rnd("wrap salt", 24)))
        return super().to_passphrase(passphrase, m, t, p, **more)

    def lines(self, random=None):
        """What a writer is told. Entries stand in descending order: it puts them in order itself."""
        pairs = lambda key, entries: [f"{key}: {entry(k.decode(), v.decode())}" for k, v in reversed(entries)]
        held = pairs("write-stored", self.stored) + pairs("write-withheld", self.withheld)
        given = [f"random: {purpose} {data.hex()}" for purpose, data in (random or self.random)]
        return [*self.to, *held, f"write-padding: {len(self.padding)}", *given]


def writing():
    def made(label, spec, comment, env, keys, **more):
        if env.flags == DATA_KEY:
            env.random.append(("record nonce", env.rnd("record nonce", 24)))
        else:
            env.random.append(("payload salt", env.rnd("payload salt", 24)))
        put_env(env.name, OK, f"K-3 K-4 K-6 {spec}", comment, env, keys, more=env.lines(), **more)

    def new(label, **more):
        env = Written(f"writing/{label}", **more)
        kek = env.kek()
        return env, kek

    env, kek = new("attached")
    made("attached", "P-1", "No context.", env.to_kek(kek), [kek])
    env, kek = new("empty", plaintext=b"")
    made("empty", "P-1", "No plaintext.", env.to_kek(kek), [kek])
    env, kek = new("two-chunks", plaintext=bytes(16384))
    made("two-chunks", "P-1 P-3", "A whole chunk and an empty one.", env.to_kek(kek), [kek])
    env, kek = new("context", stored=[("a", "1"), ("c", "é"), ("\uffff", ""), ("\U00010000", "x")], withheld=[("b", "7"), ("d", "8")])
    made("context", "K-5 C-2 C-6", "Stored and withheld entries, given in descending order.", env.to_kek(kek), [kek], withheld=[("b", "7"), ("d", "8")])
    env, kek = new("detached", flags=DETACHED)
    made("detached", "P-1", "Header and payload apart.", env.to_kek(kek), [kek])
    env, kek = new("record", flags=DATA_KEY, stored=[("table", "users")])
    made("record", "S-2 S-7", "A data key and a record, whose context is given in descending order.", env.to_kek(kek), [kek], record_context=[("row", "17"), ("column", "mail")])
    env, kek = new("padding")
    env.padding = bytes(100)
    made("padding", "H-10", "100 bytes of padding.", env.to_kek(kek), [kek])
    env, kek = new("two-recipients")
    other = env.kek("b", b"12")
    made("two-recipients", "R-5", "Two keys, the first of them with an empty version.", env.to_kek(Kek(kek.uri, b"", kek.key)).to_kek(other), [Kek(kek.uri, b"", kek.key), other])
    env, kek = new("passphrase", stored=[("tenant", "42")])
    made("passphrase", "A-4", "A key and a passphrase.", env.to_kek(kek).to_passphrase("correct horse", 19457, 2, 3), [kek], passphrase="correct horse")


def rewraps():
    """The old header, new wraps, and the new header."""

    def rewrapped(label, comment, expect=OK, first=None, change=lambda env: None, spoil=lambda header: header, to=None, padding=0, generation=0, spec="G-1 G-2 G-4", **more):
        name = f"rewrap/{label}"
        flags = more.pop("flags", 0)
        given = {key: more.pop(key) for key in ("context", "withheld", "passphrase") if key in more}
        stored, withheld = more.pop("stored", ()), more.pop("held", ())
        old = Env(name, flags=flags, stored=stored, withheld=withheld)
        keys = [old.kek("old")]
        old.to_kek(keys[0])
        old.generation = generation
        change(old)
        new = Written(name, flags=flags, stored=stored, withheld=withheld)
        new.padding, new.generation = bytes(padding), (generation + 1) % 2**32
        keys += (to or to_a_key)(new)
        random = [each for each in new.random if each[0].startswith("wrap")]
        told = [line for line in new.lines(random) if not line.startswith(("write-stored", "write-withheld"))]
        parts = [spoil(old.header()), new.header()] if expect == OK else [spoil(old.header())]
        put(name, expect, spec, comment, parts, keys, kind="rewrap", more=told, first=first, **given)

    rewrapped("to-another-key", "To another key. The envelope id stays, and the generation is 1.")
    rewrapped("detached", "A detached header.", flags=DETACHED)
    rewrapped("data-key", "A data key.", flags=DATA_KEY)
    rewrapped("context", "Stored and withheld entries stay, and the wrap is bound to both.", stored=[("a", "1")], held=[("b", "2")], withheld=[("b", "2")])
    rewrapped("to-two-keys", "To two keys.", to=to_two_keys)
    rewrapped("to-a-passphrase", "To a passphrase, from a key.", to=to_a_passphrase, passphrase="correct horse")
    rewrapped("padding", "The old header had no padding, the new one has 64 bytes.", padding=64)
    rewrapped("padding-dropped", "The old header had padding, the new one has none.", change=lambda env: setattr(env, "padding", bytes(50)))
    rewrapped("last-generation", "To the last generation there is.", generation=2**32 - 2)
    rewrapped("generations-used-up", "There is no generation left.", NOT_REWRAPPED, generation=2**32 - 1, spec="G-4")
    rewrapped("old-mac-flipped", "The MAC of the old header was changed.", AUTH, "K-4", spoil=lambda h: flip(h, -1), spec="G-2 K-4")
    rewrapped("old-wrap-flipped", "The wrap of the old header was changed.", AUTH, "W-2", change=lambda env: setattr(env.recipients[0], "wrapped", flip(env.recipients[0].wrapped, 30)), spec="G-2")
    rewrapped("detached-and-a-byte", "A detached header and a zero byte.", FORMAT, flags=DETACHED, spoil=lambda h: h + b"\0", spec="G-1 H-11")
    rewrapped("withheld-missing", "The value of a withheld entry is missing.", AUTH, "C-7", held=[("b", "2")], spec="G-1 C-7")
    rewrapped("order-mac-before-generation", "No generation is left, and the MAC was changed.", AUTH, "K-4", generation=2**32 - 1, spoil=lambda h: flip(h, -1), spec="G-2 G-4 D-7")


def to_a_key(new):
    kek = new.kek("new", b"2")
    new.to_kek(kek)
    return [kek]


def to_two_keys(new):
    keks = [new.kek("new", b"2"), new.kek("other", b"")]
    for kek in keks:
        new.to_kek(kek)
    return keks


def to_a_passphrase(new):
    new.to_passphrase("correct horse")
    return []
