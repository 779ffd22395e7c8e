"""Class `context`."""

from .base import AUTH, DATA_KEY, Env, FORMAT, context_bytes, put, put_env, s16, simple, u16


def context():
    def bad(label, spec, comment, stored=None, withheld=None, first=None):
        name = f"context/{label}"
        env, kek = simple(name)
        if stored is not None:
            env.stored_override = stored
        if withheld is not None:
            env.withheld_override = withheld
        put_env(name, FORMAT, spec, comment + " The MAC fits.", env, [kek], first=first)

    def ctx(*entries):
        return context_bytes([(k if isinstance(k, bytes) else k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in entries])

    def names(*items):
        return u16(len(items)) + b"".join(s16(i if isinstance(i, bytes) else i.encode()) for i in items)

    bad("stored-unsorted", "C-2 H-12", "Two names in descending order.", ctx(("b", "1"), ("a", "2")))
    bad("stored-duplicate", "C-2", "One name twice.", ctx(("a", "1"), ("a", "2")))
    bad("stored-duplicate-same-value", "C-2 H-12", "One entry twice.", ctx(("a", "1"), ("a", "1")))
    bad("stored-utf16-order", "C-2", "Names in the order of UTF-16 units.", ctx(("\U00010000", "1"), ("\uffff", "2")))
    bad("stored-case-insensitive-order", "C-2", "Names in an order without case.", ctx(("a", "1"), ("B", "2")))
    bad("stored-length-first-order", "C-2", "Short names before long ones.", ctx(("b", "1"), ("aa", "2")))
    bad("stored-empty-name", "C-3", "An empty name.", ctx(("", "1")))
    bad("stored-65-entries", "C-1", "One entry too many.", ctx(*[(f"k{i:02}", "") for i in range(65)]))
    bad("order-count-before-names", "D-7 C-1", "65 entries of one name.", ctx(*[("k", "")] * 65))
    long = "v" * 8192
    bad("order-utf8-before-length", "D-7 C-4 C-5", "A value that is not UTF-8, and too long.", ctx(("k", b"\xff" + long.encode())), first="C-4")
    bad("order-length-before-empty-name", "D-7 C-5 C-3", "An empty name, and a value that is too long.", ctx(("", long)), first="C-5")
    bad("order-length-before-names", "D-7 C-5 C-2", "A name twice, the second time with a value that is too long.", ctx(("a", ""), ("a", long)), first="C-5")
    bad("order-empty-before-ascending", "D-7 C-3 C-2", "An empty name behind another.", ctx(("a", ""), ("", "")), first="C-3")
    bad("order-name-before-value", "D-7 C-4 H-7", "A name that is not UTF-8, and a value that does not fit.", u16(1) + s16(b"\xff") + u16(0xFFFF), first="C-4")
    bad("order-empty-before-ascending-withheld", "D-7 C-3 C-6", "An empty withheld name behind another.", withheld=names("a", ""), first="C-3")
    bad("stored-8193-bytes", "C-5", "A stored context one byte too long.", ctx(("k", "v" * (8193 - 2 - 4 - 1))))
    bad("stored-count-beyond", "H-7 C-1", "A count without the entries.", u16(0xFFFF))
    bad("stored-name-length-beyond", "H-7", "A name that is longer than the body.", u16(1) + u16(0xFFFF) + b"a")
    bad("stored-count-one-short", "H-7", "Two entries behind a count of 1.", u16(1) + ctx(("a", "1"), ("b", "2"))[2:])
    for label, text in [
        ("overlong", b"\xc0\xaf"),
        ("overlong-nul", b"\xc0\x80"),
        ("overlong-3", b"\xe0\x80\xaf"),
        ("overlong-4", b"\xf0\x80\x80\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("surrogate-pair", b"\xed\xa0\x81\xed\xb0\x80"),
        ("beyond-10ffff", b"\xf4\x90\x80\x80"),
        ("lone-continuation", b"\x80"),
        ("cut-sequence", b"\xe2\x82"),
        ("latin-1", b"\xe9t\xe9"),
        ("ff", b"\xff"),
    ]:
        bad(f"utf8-name-{label}", "C-4", "A name that is not UTF-8.", ctx((text, "1")))
    bad("utf8-value-surrogate", "C-4", "A value that is not UTF-8.", ctx(("a", b"\xed\xb0\x80")))
    bad("utf8-value-overlong", "C-4", "A value that is not UTF-8.", ctx(("a", b"\xc1\xbf")))
    bad("utf8-withheld", "C-4", "A withheld name that is not UTF-8.", withheld=names(b"\xed\xa0\x80"))
    bad("withheld-unsorted", "C-6 H-12", "Withheld names in descending order.", withheld=names("b", "a"))
    bad("withheld-duplicate", "C-6", "A withheld name twice.", withheld=names("a", "a"))
    bad("withheld-also-stored", "C-6", "A name stored and withheld.", ctx(("a", "1")), names("a"))
    bad("withheld-empty-name", "C-3", "An empty withheld name.", withheld=names(""))
    bad("withheld-65", "C-1", "65 withheld names.", withheld=names(*[f"k{i:02}" for i in range(65)]))
    bad("withheld-33-stored-32", "C-1", "65 entries, 33 of them withheld.", ctx(*[(f"a{i:02}", "") for i in range(32)]), names(*[f"b{i:02}" for i in range(33)]))
    bad("withheld-count-beyond", "H-7", "A count of withheld names without the names.", withheld=u16(2) + s16(b"a"))

    def demand(label, spec, comment, stored, held, given=(), values=(), expect=AUTH, first=None):
        name = f"context/{label}"
        env, kek = simple(name, stored=stored, withheld=held)
        put_env(name, expect, spec, comment, env, [kek], context=given, withheld=values, first=first)

    demand("expected-other-value", "C-8", "The reader expects another value.", [("tenant", "42")], [], [("tenant", "43")])
    demand("expected-prefix", "C-8", "The reader expects a longer value.", [("tenant", "4")], [], [("tenant", "42")])
    demand("expected-other-case", "C-8", "The reader expects a name in another case.", [("tenant", "42")], [], [("Tenant", "42")])
    demand("expected-unknown", "C-8", "The reader expects an entry that is not there.", [("tenant", "42")], [], [("purpose", "backup")])
    demand("expected-normalised", "C-8", "The reader expects the composed form of a decomposed value.", [("a", "e\u0301")], [], [("a", "\u00e9")])
    demand("withheld-missing", "C-7", "The reader supplies nothing.", [], [("patient", "7")])
    demand("withheld-one-missing", "C-7", "The reader supplies one of two values.", [], [("a", "1"), ("b", "2")], values=[("a", "1")])
    demand("withheld-wrong", "K-5 K-6", "The reader supplies another value.", [], [("patient", "7")], values=[("patient", "8")])
    demand("withheld-empty", "K-5", "The reader supplies an empty value for one that is not.", [], [("patient", "7")], values=[("patient", "")])
    def without_key(label, spec, comment, stored, held, given=(), values=()):
        name = f"context/{label}"
        env, kek = simple(name, stored=stored, withheld=held)
        put_env(name, AUTH, f"D-7 {spec}", comment + " The reader has no key.", env, [], context=given, withheld=values)

    without_key("order-expected-before-keys", "C-8", "The reader expects another value.", [("tenant", "42")], [], [("tenant", "43")])
    without_key("order-withheld-before-keys", "C-7", "The reader supplies no value.", [], [("patient", "7")])
    long = "v" * (8193 - 2 - 8 - 2 - 4000)
    without_key("order-limit-before-keys", "C-9", "The full context has 8193 bytes.", [("k", "v" * 4000)], [("w", long)], values=[("w", long)])
    demand("order-expected-before-withheld", "D-7 C-8 C-7", "The reader expects an entry that is not there, and supplies no value.", [], [("b", "1")], given=[("c", "1")], first="C-8")
    demand("expected-empty-name", "C-8", "The reader expects an entry with an empty name.", [("tenant", "42")], [], [("", "42")])
    name = "context/full-8193-bytes"
    env = Env(name, stored=[("k", "v" * 4000)], withheld=[("w", "v" * (8193 - 2 - 8 - 2 - 4000))])
    kek = env.kek()
    put_env(name, AUTH, "C-9", "The full context passes the limit only with the withheld value, and everything fits it.", env.to_kek(kek), [kek], withheld=[("w", env.withheld[0][1].decode())])

    name = "context/stored-changed-mac-recomputed"
    env, kek = simple(name, stored=[("tenant", "42")])
    payload = env.payload()
    env.stored = [(b"tenant", b"43")]
    put(name, AUTH, "K-6 W-2", "A stored value changed by somebody who knows the DEK, with a MAC that fits: the wrap is bound to the old one.", [env.header() + payload], [kek])
    name = "context/stored-changed-wrapped-anew"
    env = Env(name, stored=[("tenant", "42")])
    kek, payload = env.kek(), env.payload()
    env.stored = [(b"tenant", b"43")]
    env.to_kek(kek)
    put(name, AUTH, "K-5 P-1 P-2", "Changed by somebody who knows the DEK and can wrap, so wrap and MAC fit: the payload is bound to the old context.", [env.header() + payload], [kek])
    name = "context/entry-moved-to-withheld"
    env, kek = simple(name, stored=[("tenant", "42")])
    payload, old = env.payload(), env.mac()
    env.withheld, env.stored = env.stored, []
    put(name, AUTH, "K-4", "A stored entry made a withheld one: the full context is the same, the MAC is not.", [env.authenticated() + old + payload], [kek], withheld=[("tenant", "42")])
    name = "context/entry-boundary-moved"
    env = Env(name, stored=[("ab", "c")])
    kek, payload = env.kek(), env.payload()
    env.stored = [(b"a", b"bc")]
    env.to_kek(kek)
    put(name, AUTH, "K-5 P-1", "The same letters split elsewhere, wrap and MAC made anew: the payload still differs.", [env.header() + payload], [kek])
    name = "context/record-data-key-context-changed"
    env = Env(name, flags=DATA_KEY, stored=[("table", "users")])
    kek, record = env.kek(), env.record()
    env.stored = [(b"table", b"other")]
    env.to_kek(kek)
    put(name, AUTH, "K-5 S-2", "A data key's context changed, wrap and MAC made anew: its records do not open.", [env.header(), record], [kek], kind="record")
