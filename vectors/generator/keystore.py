"""Class `keystore`: files of the local keystore, docs/spec/keystore-v1.md."""

import base64
import copy
import hashlib
import hmac
import json

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .base import AUTH, FORMAT, OK, VECTORS, Cobblestone, clauses, flip, rnd, u8, u32, xaes_seal

TOO_LARGE, VERSION, PARAMETERS, PASSPHRASE = (
    "too large",
    "unsupported version",
    "unsupported parameters",
    "wrong passphrase",
)
STATES = ("pre-active", "active", "suspended", "deactivated", "compromised", "destroyed")
SECRET = "correct horse"
MAX_LEN = 16777216


def b64(data):
    return base64.b64encode(data).decode()


def expand(key, label):
    return HKDFExpand(hashes.SHA256(), 32, label).derive(key)


def printed(document):
    """The one spelling. `json.dumps` orders nothing, so members stay as they were put in."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


class Store:
    """A keystore in the making. The document may be bent before it is sealed, and its text between being printed and
    being authenticated, so that a bent structure reaches the checks of structure with a MAC that fits."""

    def __init__(self, name, passphrase=SECRET, m=19456, t=1, p=1, generation=3):
        self.name, self.passphrase = name, passphrase
        self.id = self.rnd("keystore id", 16).hex()
        self.salt, self.key = self.rnd("argon2 salt", 16), self.rnd("keystore key", 32)
        self.mac_key = expand(self.key, b"envelope-keystore-v1 mac")
        self.wrapping_key = expand(self.key, b"envelope-keystore-v1 wrap")
        self.keks = {}
        self.document = {
            "envelope_keystore": 1,
            "id": self.id,
            "generation": generation,
            "argon2id": {"m_cost": m, "t_cost": t, "p_cost": p, "salt": b64(self.salt)},
            "keystore_key": "",
            "keys": {},
        }
        self.protect()

    def rnd(self, purpose, length):
        return rnd(self.name, purpose, length)

    def protect(self, binding=None, type=Type.ID, version=0x13):
        """Seals the keystore key. Parameters that no reader accepts are claimed, and others used."""
        cost = [self.document["argon2id"][each] for each in ("m_cost", "t_cost", "p_cost")]
        m, t, p = cost
        if not (19456 <= m <= 65536 and 1 <= t <= 16 and 1 <= p <= 16):
            m, t, p = 19456, 1, 1
        root = hash_secret_raw(self.passphrase.encode(), self.salt, t, m, p, 32, type, version=version)
        if binding is None:
            costs = b"".join(u32(each % 2**32) for each in cost)
            binding = b"envelope-keystore-v1 keystore key\0" + self.id.encode() + costs + self.salt
        sealed = Cobblestone.derive(root, self.rnd("seal salt", 24), binding).seal(self.key)
        self.document["keystore_key"] = b64(sealed)
        return self

    def binding(self, name, version):
        return b"envelope-keystore-v1 kek\0" + self.id.encode() + u8(len(name)) + name.encode() + u32(version)

    def wrap(self, name, version, key=None, binding=None):
        kek = self.keks[name, version] = self.rnd(f"kek {name} {version}", 32)
        nonce = self.rnd(f"nonce {name} {version}", 24)
        return xaes_seal(key or self.wrapping_key, nonce, kek, self.binding(name, version) if binding is None else binding)

    def add(self, name, states=("active",), state=None, archived=False, created=1767225600, not_after=()):
        """A key with one version for each of `states`, in the state of the last one if no other is given. `not_after`
        says for which of their numbers a cryptoperiod ends, and when."""
        versions = []
        for number, each in enumerate(states, 1):
            wrapped = None if each == "destroyed" else b64(self.wrap(name, number))
            end = {"not_after": not_after[number]} if number in not_after else {}
            version = {"version": number, "state": each, "created": created + number, **end, "wrapped_kek": wrapped}
            versions.append(version)
        key = {"state": state or states[-1], "archived": archived, "created": created, "versions": versions}
        self.document["keys"][name] = key
        return self

    def text(self, change=lambda text: text, mac=None):
        """The file. `change` edits the text that the MAC is computed over."""
        body = change(printed(self.document))
        mac = mac or hmac.new(self.mac_key, body.encode("utf-8", "surrogatepass"), "sha256").digest()
        assert body.endswith("\n}\n"), body
        return body[: -len("\n}\n")] + f',\n  "mac": "{b64(mac)}"\n}}\n'

    def holds(self):
        """What a reader of a sound file shows."""
        lines = []
        for name, key in self.document["keys"].items():
            lines.append(f"key: {name} {key['state']}" + (" archived" if key["archived"] else ""))
            for version in key["versions"]:
                kek = "-" if version["wrapped_kek"] is None else self.keks[name, version["version"]].hex()
                end = f" not-after {version['not_after']}" if "not_after" in version else ""
                lines.append(f"version: {name} {version['version']} {version['state']} {kek}{end}")
        return lines


def put(name, expect, spec, comment, file, passphrase=SECRET, holds=(), spaces=0, first=None):
    name = f"keystore/{name}"
    assert name not in VECTORS, name
    lines = [f"expect: {expect}", f"comment: {comment}", *clauses(name, expect, spec, first)]
    lines += ["kind: keystore", f"passphrase: {passphrase}"]
    lines += holds
    if spaces:
        lines.append(f"append-spaces: {spaces}")
    VECTORS[name] = "\n".join(lines).encode() + b"\n\n" + (file.encode() if isinstance(file, str) else file)


def filled(name, **more):
    """Key `a` in two versions, key `b` in one."""
    return Store(f"keystore/{name}", **more).add("a", ("deactivated", "active")).add("b")


def keystore():
    opens()
    wrong_passphrase()
    not_authentic()
    wraps_of_keks()
    versions()
    parameters()
    spelling()
    members()
    order_and_size()
    cryptoperiods()


def opens():
    def ok(name, spec, comment, store):
        put(name, OK, spec, comment, store.text(), store.passphrase, store.holds())

    new = lambda name, **more: Store(f"keystore/{name}", **more)
    ok("success-empty", "F-1 F-2 F-3 F-4 O-1 E-3 E-4", "No key.", new("success-empty", generation=0))
    ok("success-one-key", "F-2 F-4 J-1 J-2 E-3 E-4 E-5", "One key in one version.", new("success-one-key", generation=1).add("backup"))
    ok("success-two-keys", "J-5 E-5 L-1", "Two keys, one of them rotated.", filled("success-two-keys"))
    every = new("success-every-state")
    for state in STATES:
        every.add(state, (state,))
    # In the order of the names.
    every.document["keys"] = dict(sorted(every.document["keys"].items()))
    ok("success-every-state", "J-6 J-7 L-1", "A key in each state.", every)
    versions = new("success-version-of-every-state").add("a", (*STATES, "active"))
    ok("success-version-of-every-state", "J-6 J-7 L-1", "An active key with a version in each state.", versions)
    for state in ("suspended", "compromised", "deactivated"):
        name = f"success-key-{state}-version-active"
        store = new(name).add("a", ("active", "active"), state)
        ok(name, "J-6 L-1", f"A {state} key with versions that are active: nothing of it wraps.", store)
    name = "success-archived"
    ok(name, "F-2", "An archived key.", new(name).add("a", ("deactivated",), archived=True))
    name = "success-12-versions"
    ok(name, "J-5 E-5", "A key in twelve versions.", new(name).add("a", ("deactivated",) * 11 + ("active",)))
    name, store = "success-names", new("success-names")
    for each in ("0", "A.b", "Z", "a", "a-", "a.b", "a0", "aB", "a_", "n" * 64):
        store.add(each)
    ok(name, "J-4 F-4", "Names with every kind of character, of 1 and of 64, ascending by bytes.", store)
    for label, value in (("0", 0), ("max", 2**64 - 1)):
        name = f"success-generation-{label}"
        ok(name, "J-3", f"Generation {value}.", filled(name, generation=value))
        name = f"success-created-{label}"
        store = filled(name)
        store.document["keys"]["b"]["created"] = store.document["keys"]["b"]["versions"][0]["created"] = value
        ok(name, "J-3", f"Made {value} seconds after 1970.", store)
    for m, t, p in ((19457, 1, 1), (65536, 3, 4), (19456, 16, 1), (19456, 1, 16)):
        name = f"success-parameters-{m}-{t}-{p}"
        ok(name, "E-1 E-3", f"Argon2id with {m} KiB, {t} passes, {p} lanes.", filled(name, m=m, t=t, p=p))
    for label, passphrase in (("one-byte", "x"), ("4096-bytes", "x" * 4096), ("unicode", "Tür e\u0301 🔑"), ("spaces", "  two  ")):
        name = f"success-passphrase-{label}"
        ok(name, "E-2", "The passphrase is its exact bytes.", filled(name, passphrase=passphrase))


def wrong_passphrase():
    def wrong(name, spec, comment, passphrase, made_with=SECRET):
        put(name, PASSPHRASE, spec, comment, filled(name, passphrase=made_with).text(), passphrase)

    wrong("passphrase-wrong", "E-3", "Another passphrase.", "battery staple")
    wrong("passphrase-upper-case", "E-2 E-3", "The passphrase in upper case.", SECRET.upper())
    wrong("passphrase-space-added", "E-2 E-3", "The passphrase and a space.", SECRET + " ")
    wrong("passphrase-normalised", "E-2 E-3", "The passphrase with é as one code point.", "\u00e9", "e\u0301")

    def changed(name, spec, comment, change):
        store = filled(name)
        change(store.document)
        put(name, PASSPHRASE, spec, comment, store.text())

    def argon(member, value):
        return lambda document: document["argon2id"].update({member: value})

    changed("id-changed", "E-3", "Another id, MAC made anew.", lambda d: d.update(id=flip(bytes.fromhex(d["id"]), 0).hex()))
    changed("m-cost-changed", "E-3", "More memory, MAC made anew.", argon("m_cost", 19457))
    changed("t-cost-changed", "E-3", "One pass more, MAC made anew.", argon("t_cost", 2))
    changed("p-cost-changed", "E-3", "One lane more, MAC made anew.", argon("p_cost", 2))
    changed("salt-changed", "E-3", "One bit of the salt, MAC made anew.", lambda d: d["argon2id"].update(salt=bent(d["argon2id"]["salt"], 15)))
    for label, at in (("salt", 0), ("commitment", 24), ("last-of-commitment", 55), ("ciphertext", 56), ("tag", 103)):
        change = lambda d, at=at: d.update(keystore_key=bent(d["keystore_key"], at))
        changed(f"keystore-key-{label}-flipped", "E-3", f"One bit of the {label.replace('-', ' ')} of `keystore_key`, MAC made anew.", change)
    other = filled("keystore-key-of-another").document["keystore_key"]
    changed("keystore-key-of-another-keystore", "E-3", "`keystore_key` of a keystore with the same passphrase.", lambda d: d.update(keystore_key=other))

    def made_otherwise(name, comment, **how):
        store = filled(name)
        if "binding" in how:
            how["binding"] = how["binding"](store)
        put(name, PASSPHRASE, "E-3", comment, store.protect(**how).text())

    costs = u32(19456) + u32(1) + u32(1)
    label = b"envelope-keystore-v1 keystore key\0"
    made_otherwise("root-argon2i", "The root key is made by Argon2i.", type=Type.I)
    made_otherwise("root-argon2-version-10", "The root key is made by version 0x10 of Argon2id.", version=0x10)
    made_otherwise("root-binding-empty", "`keystore_key` is sealed under an empty context.", binding=lambda s: b"")
    made_otherwise("root-binding-without-salt", "The salt is missing in the binding.", binding=lambda s: label + s.id.encode() + costs)
    made_otherwise("root-binding-without-costs", "The parameters are missing in the binding.", binding=lambda s: label + s.id.encode() + s.salt)
    made_otherwise("root-binding-id-as-bytes", "The binding holds the id as 16 bytes.", binding=lambda s: label + bytes.fromhex(s.id) + costs + s.salt)
    made_otherwise("root-binding-label-without-zero", "The label has no zero byte.", binding=lambda s: label[:-1] + s.id.encode() + costs + s.salt)


def bent(text, at, bit=0):
    """Base64 with one bit of byte `at` flipped."""
    return b64(flip(base64.b64decode(text), at, bit))


def not_authentic():
    def changed(name, comment, change, spec="E-4"):
        """The MAC is that of the file before the change."""
        store = filled(name)
        mac = hmac.new(store.mac_key, printed(store.document).encode(), "sha256").digest()
        change(store.document)
        put(name, AUTH, spec, comment, store.text(mac=mac))

    key = lambda name, **more: lambda d: d["keys"][name].update(**more)
    version = lambda name, at, **more: lambda d: d["keys"][name]["versions"][at].update(**more)

    def renamed(document):
        document["keys"]["c"] = document["keys"].pop("b")

    def swapped(one, other):
        def change(document):
            first, second = (document["keys"][name]["versions"][at] for name, at in (one, other))
            first["wrapped_kek"], second["wrapped_kek"] = second["wrapped_kek"], first["wrapped_kek"]

        return change

    def exchanged(document):
        document["keys"] = {"a": document["keys"]["b"], "b": document["keys"]["a"]}

    changed("state-of-key-changed", "An active key made compromised.", key("b", state="compromised"))
    changed("state-of-version-changed", "A deactivated version made active.", version("a", 0, state="active"))
    changed("archived-changed", "A key made archived.", key("b", archived=True))
    changed("created-of-key-changed", "Another time of a key.", key("b", created=1))
    changed("created-of-version-changed", "Another time of a version.", version("b", 0, created=1))
    changed("generation-raised", "One generation more.", lambda d: d.update(generation=4))
    changed("generation-lowered", "One generation less.", lambda d: d.update(generation=2))
    changed("name-changed", "A key with another name.", renamed)
    changed("key-removed", "A key is missing.", lambda d: d["keys"].pop("b"))
    changed("keys-removed", "All keys are missing.", lambda d: d.update(keys={}))
    changed("key-copied", "A key stands there a second time, with another name.", lambda d: d["keys"].update(c=copy.deepcopy(d["keys"]["b"])))
    changed("keys-exchanged", "Two keys have each other's name.", exchanged)
    changed("version-removed", "The current version is missing.", lambda d: d["keys"]["a"]["versions"].pop())
    changed("version-destroyed", "An old version was destroyed.", version("a", 0, state="destroyed", wrapped_kek=None))
    changed("wrapped-kek-changed", "One bit of a wrapped KEK.", lambda d: version("b", 0, wrapped_kek=bent(d["keys"]["b"]["versions"][0]["wrapped_kek"], 40))(d))
    changed("wrapped-keks-of-versions-swapped", "Wrapped KEKs of two versions changed places.", swapped(("a", 0), ("a", 1)))
    changed("wrapped-keks-of-keys-swapped", "Wrapped KEKs of two keys changed places.", swapped(("a", 0), ("b", 0)))

    def with_mac(name, comment, make):
        store = filled(name)
        body = printed(store.document).encode()
        put(name, AUTH, "E-4", comment, store.text(mac=make(store, body)))

    mac = lambda key, body: hmac.new(key, body, "sha256").digest()
    with_mac("mac-first-bit-flipped", "The first bit of the MAC.", lambda s, b: flip(mac(s.mac_key, b), 0, 7))
    with_mac("mac-last-bit-flipped", "The last bit of the MAC.", lambda s, b: flip(mac(s.mac_key, b), 31))
    with_mac("mac-zero", "A MAC of zeros.", lambda s, b: bytes(32))
    with_mac("mac-of-earlier-generation", "The MAC of the generation before.", lambda s, b: mac(s.mac_key, b.replace(b'"generation": 3', b'"generation": 2')))
    with_mac("mac-under-keystore-key", "The MAC under the keystore key.", lambda s, b: mac(s.key, b))
    with_mac("mac-under-wrapping-key", "The MAC under the wrapping key.", lambda s, b: mac(s.wrapping_key, b))
    with_mac("mac-with-comma", "The MAC over a text that keeps the comma before the member `mac`.", lambda s, b: mac(s.mac_key, b.replace(b"\n  }\n}\n", b"\n  },\n}\n")))
    with_mac("mac-with-empty-mac", "The MAC over a text with an empty member `mac`.", lambda s, b: mac(s.mac_key, b.replace(b"\n  }\n}\n", b'\n  },\n  "mac": ""\n}\n')))
    with_mac("mac-without-line-end", "The MAC over the text without its last line end.", lambda s, b: mac(s.mac_key, b[:-1]))
    with_mac("mac-of-compact-text", "The MAC over the text without white space.", lambda s, b: mac(s.mac_key, json.dumps(s.document, separators=(",", ":")).encode()))
    with_mac("mac-sha-512", "The first half of HMAC-SHA-512.", lambda s, b: hmac.new(s.mac_key, b, "sha512").digest()[:32])
    with_mac("mac-is-a-hash", "SHA-256 of the text without a key.", lambda s, b: hashlib.sha256(b).digest())


def wraps_of_keks():
    """The MAC is made anew each time: the wraps alone must refuse."""

    def wrapped(name, comment, make):
        store = filled(name)
        make(store, store.document["keys"])
        put(name, AUTH, "E-5", comment + " The MAC fits.", store.text())

    def to(key, at, make):
        def change(store, keys):
            keys[key]["versions"][at]["wrapped_kek"] = b64(make(store))

        return change

    def swap(one, other):
        def change(_, keys):
            first, second = (keys[name]["versions"][at] for name, at in (one, other))
            first["wrapped_kek"], second["wrapped_kek"] = second["wrapped_kek"], first["wrapped_kek"]

        return change

    def rename(_, keys):
        keys["c"] = keys.pop("b")

    label = b"envelope-keystore-v1 kek\0"
    wrapped("kek-of-another-version", "Wrapped KEKs of two versions changed places.", swap(("a", 0), ("a", 1)))
    wrapped("kek-of-another-key", "Wrapped KEKs of two keys changed places.", swap(("a", 0), ("b", 0)))
    wrapped("kek-of-a-renamed-key", "A key has another name.", rename)
    for part, at in (("nonce", 0), ("ciphertext", 24), ("tag", 71)):
        change = to("b", 0, lambda s, at=at: flip(s.wrap("b", 1), at))
        wrapped(f"kek-{part}-flipped", f"One bit of the {part}.", change)
    wrapped("kek-of-old-version-flipped", "One bit of the KEK of a version that is not current.", to("a", 0, lambda s: flip(s.wrap("a", 1), 30)))
    wrapped("kek-under-keystore-key", "Wrapped under the keystore key.", to("b", 0, lambda s: s.wrap("b", 1, key=s.key)))
    wrapped("kek-under-mac-key", "Wrapped under the MAC key.", to("b", 0, lambda s: s.wrap("b", 1, key=s.mac_key)))
    for name, comment, binding in (
        ("empty", "Nothing is bound.", lambda s: b""),
        ("without-id", "The id is not bound.", lambda s: label + u8(1) + b"b" + u32(1)),
        ("without-name", "The name is not bound.", lambda s: label + s.id.encode() + u32(1)),
        ("without-name-length", "The length of the name is not bound.", lambda s: label + s.id.encode() + b"b" + u32(1)),
        ("without-version", "The version is not bound.", lambda s: label + s.id.encode() + u8(1) + b"b"),
        ("version-little-endian", "The version is bound in the wrong byte order.", lambda s: label + s.id.encode() + u8(1) + b"b" + bytes([1, 0, 0, 0])),
        ("of-another-keystore", "The id of another keystore is bound.", lambda s: label + s.rnd("other id", 16).hex().encode() + u8(1) + b"b" + u32(1)),
    ):
        make = lambda s, binding=binding: s.wrap("b", 1, binding=binding(s))
        wrapped(f"kek-binding-{name}", comment, to("b", 0, make))


def versions():
    def version(name, comment, change, expect=VERSION, spec="F-3"):
        put(name, expect, spec, comment, filled(name).text(change))

    number = lambda value: lambda text: text.replace('"envelope_keystore": 1', f'"envelope_keystore": {value}')
    for value in (0, 2, 255, 2**64 - 1):
        version(f"version-{value}", f"Format {value}.", number(value))
    version("version-2-with-other-members", "Format 2 with a member that format 1 does not know.", number('2,\n  "kdf": {}'))
    put("version-2-compact", VERSION, "F-3", "Format 2 in one line.", '{"envelope_keystore":2,"keys":[]}')
    put("version-2-alone", VERSION, "F-3", "Format 2 and no other member.", '{\n  "envelope_keystore": 2\n}\n')
    for label, value in (
        ("string", '"1"'),
        ("string-2", '"2"'),
        ("fraction", "1.0"),
        ("fraction-2", "2.5"),
        ("true", "true"),
        ("null", "null"),
        ("negative", "-1"),
        ("minus-zero", "-0"),
        ("leading-zero", "01"),
        ("exponent", "1e0"),
        ("array", "[2]"),
        ("over-64-bits", str(2**64)),
    ):
        version(f"version-is-{label}", f"`envelope_keystore` is {value}.", number(value), FORMAT, "F-2 F-3 J-3")
    version("version-2-cut", "Format 2, but the text is no JSON.", lambda text: number(2)(text).replace('"keys": {', '"keys": '), FORMAT, "F-2 F-3")

    def alone(name, comment, text, expect=VERSION, spec="F-3"):
        put(name, expect, spec, comment, text)

    # What JSON permits, whatever a parser likes of it, and what it does not.
    alone("version-2-with-5000-digits", "Format 2 with a number of 5000 digits.", '{"envelope_keystore": 2, "cost": ' + "9" * 5000 + "}")
    alone("version-2-nested-deeply", "Format 2 with a hundred thousand arrays in each other.", '{"envelope_keystore": 2, "keys": ' + "[" * 100_000 + "]" * 100_000 + "}")
    alone("version-2-with-large-exponent", "Format 2 with a number that no double holds.", '{"envelope_keystore": 2, "cost": 1e999999}')
    for label, word in (("nan", "NaN"), ("infinity", "-Infinity")):
        alone(f"version-2-with-{label}", f"Format 2, but {word} is no JSON.", f'{{"envelope_keystore": 2, "not_after": {word}}}', FORMAT, "F-2 F-3")

    # A number that stands twice says nothing. Whether other members do is for the later format to say.
    for label, first, second in (("2-and-3", "2", "3"), ("2-and-2", "2", "2"), ("1-and-2", "1", "2"), ("2-and-1", "2", "1"), ("2-and-null", "2", "null")):
        text = f'{{"envelope_keystore": {first}, "envelope_keystore": {second}}}'
        alone(f"version-{label}", f"`envelope_keystore` is {first}, and then {second}.", text, FORMAT, "F-2 F-3")
    text = '{"envelope_keystore": 2, "envelope\\u005fkeystore": 2}'
    alone("version-2-and-2-escaped", "`envelope_keystore` stands twice, once with an escape.", text, FORMAT, "F-2 F-3")
    alone("version-2-member-twice", "Format 2 with another member twice.", '{"envelope_keystore": 2, "keys": 1, "keys": 2}')
    text = '{"envelope_keystore": 2, "keys": {"envelope_keystore": 1, "envelope_keystore": 1}}'
    alone("version-2-inner-version-twice", "Format 2 with `envelope_keystore` twice in another object.", text)
    # Half a surrogate pair is no character, so a text that escapes one is no JSON text in UTF-8.
    for label, text in (
        ("value", '{"envelope_keystore": 2, "x": "\\ud800"}'),
        ("name", '{"envelope_keystore": 2, "\\udc00": 1}'),
        ("inner-name", '{"envelope_keystore": 2, "x": {"\\uDBFF\\u0041": 1}}'),
        ("pair-reversed", '{"envelope_keystore": 2, "x": "\\udc00\\ud800"}'),
        ("pair-cut-by-escape", '{"envelope_keystore": 2, "x": "\\ud800\\n\\udc00"}'),
    ):
        alone(f"version-2-lone-surrogate-in-{label}", f"Format 2, with half a surrogate pair: {label.replace('-', ' ')}.", text, FORMAT, "F-2")
    alone("version-2-surrogate-pair", "Format 2 with an escaped pair of surrogates, and what looks like one.", '{"envelope_keystore": 2, "x": "\\ud83d\\udD11 \\\\ud800"}')
    text = '{"envelope_keystore": 2, "x": [1, "a", true, [], {}, [2], [{}], [[]], {"y": [null]}]}'
    alone("version-2-arrays", "Format 2 with arrays of everything.", text)
    alone("version-2-not-utf-8", "Format 2 with a byte that is no UTF-8.", b'{"envelope_keystore": 2, "x": "\xff"}', FORMAT, "F-2 F-3")


def parameters():
    for member, values in (
        ("m_cost", (0, 19455, 1048577, 2**32 - 1)),
        ("t_cost", (0, 17, 2**32 - 1)),
        ("p_cost", (0, 17, 2**32 - 1)),
    ):
        for value in values:
            name = f"parameters-{member[0]}-{value}"
            store = filled(name)
            store.document["argon2id"][member] = value
            comment = f"{member} is {value}; the rest was made with it, as far as this can be."
            put(name, PARAMETERS, "E-1", comment, store.protect().text())


def spelling():
    def spelled(name, comment, change, spec="F-4"):
        """Edited before the MAC is made."""
        put(name, FORMAT, spec, comment, filled(name).text(change))

    def whole(name, comment, change, spec="F-4"):
        """Edited after the MAC was made."""
        put(name, FORMAT, spec, comment, change(filled(name).text()))

    def reprinted(**how):
        def change(text):
            return json.dumps(json.loads(text), **how) + "\n"

        return change

    def moved(text):
        document = json.loads(text)
        return printed({"id": document.pop("id"), **document})

    def unsorted(text):
        document = json.loads(text)
        document["keys"] = dict(reversed(document["keys"].items()))
        return printed(document)

    whole("file-empty", "No byte.", lambda t: "", "F-2")
    whole("file-of-zeros", "Zeros.", lambda t: b"\0" * 64, "F-2")
    whole("file-not-json", "Not JSON.", lambda t: t.replace("{", "(", 1), "F-2")
    for label, value in (("null", "null"), ("array", "[]"), ("string", '"keystore"'), ("object-empty", "{}")):
        whole(f"file-{label}", f"The text is {value}.", lambda t, v=value: v + "\n", "F-2")
    whole("file-nested-deeply", "A hundred thousand brackets.", lambda t: "[" * 100_000, "F-2")
    whole("file-twice", "The file follows itself.", lambda t: t + t, "F-2")
    whole("cut-in-the-middle", "The second half is missing.", lambda t: t[: len(t) // 2], "F-2")
    whole("cut-last-brace", "The last brace is missing.", lambda t: t[:-2], "F-2")
    whole("line-end-missing", "The last line end is missing.", lambda t: t[:-1])
    whole("line-end-added", "A line end more.", lambda t: t + "\n")
    whole("space-before", "A space before the text.", lambda t: " " + t)
    whole("space-after", "A space after the text.", lambda t: t + " ")
    whole("byte-order-mark", "A byte order mark before the text.", lambda t: "\ufeff" + t, "F-2 F-4")
    whole("utf-16", "The text in UTF-16.", lambda t: t.encode("utf-16-le"), "F-2")
    whole("crlf", "Lines end with CR LF.", lambda t: t.replace("\n", "\r\n"))
    whole("compact", "All in one line.", reprinted(separators=(",", ":")))
    whole("four-spaces", "Indented by four spaces.", reprinted(indent=4))
    whole("tabs", "Indented by tabs.", reprinted(indent="\t"))
    whole("members-moved", "`id` stands first.", moved, "F-2 F-4")
    whole("keys-not-ascending", "`b` stands before `a`.", unsorted)
    whole("mac-null", "`mac` is null.", lambda t: t[: t.index('"mac"')] + '"mac": null\n}\n', "F-2")
    spelled("space-missing", "No space after a colon.", lambda t: t.replace('"generation": ', '"generation":'))
    spelled("space-before-colon", "A space before a colon.", lambda t: t.replace('"generation":', '"generation" :'))
    spelled("comma-trailing", "A comma after the last element.", lambda t: t.replace("}\n      ]", "},\n      ]", 1), "F-2")
    spelled("comment", "A comment.", lambda t: t.replace('"keys"', '// mine\n  "keys"'), "F-2")
    spelled("escape-in-name", "The name of a key has an escape.", lambda t: t.replace('"b": {', '"\\u0062": {'))
    spelled("escape-in-member", "The name of a member has an escape.", lambda t: t.replace('"id"', '"\\u0069d"'))
    spelled("escape-in-state", "A state has an escape.", lambda t: t.replace('"active"', '"\\u0061ctive"', 1))
    spelled("repeated-member", "`generation` stands twice.", lambda t: t.replace('"generation": 3', '"generation": 3,\n  "generation": 3'), "F-2 F-4")
    spelled("repeated-key", "Both keys are named `a`.", lambda t: t.replace('"b": {', '"a": {'), "F-2 F-4")
    for label, start in (
        ("file", '  "generation": '),
        ("argon2id", '    "t_cost": '),
        ("key", '      "archived": '),
        ("version", '          "created": '),
    ):
        indent = start[: len(start) - len(start.lstrip())]
        change = lambda t, start=start, indent=indent: t.replace(start, f'{indent}"note": 1,\n{start}', 1)
        spelled(f"unknown-member-of-{label}", f"A member of the {label} that this format does not know.", change, "F-2")
    empty = Store("keystore/object-empty-in-two-lines").text(lambda t: t.replace("{}", "{\n  }"))
    put("object-empty-in-two-lines", FORMAT, "F-4", "An empty object in two lines.", empty)


def members():
    def bad(name, spec, comment, change):
        store = filled(name)
        change(store.document)
        put(name, FORMAT, spec, comment, store.text())

    def replaced(name, spec, comment, old, new):
        put(name, FORMAT, spec, comment, filled(name).text(lambda text: swap_text(text, old, new)))

    places = {
        "file": lambda d: d,
        "argon2id": lambda d: d["argon2id"],
        "key": lambda d: d["keys"]["b"],
        "version": lambda d: d["keys"]["b"]["versions"][0],
    }
    sample = filled("members").document
    for place, find in places.items():
        for member in find(sample):
            if (place, member) != ("version", "wrapped_kek"):
                bad(f"missing-{place}-{member}".replace("_", "-"), "F-2", f"`{member}` of the {place} is missing.", lambda d: find(d).pop(member))
    bad("missing-version-wrapped-kek", "F-2", "`wrapped_kek` is missing.", lambda d: d["keys"]["b"]["versions"][0].pop("wrapped_kek"))
    put("missing-file-mac", FORMAT, "F-2", "`mac` is missing.", printed(filled("missing-file-mac").document))

    for label, change in (
        ("upper-case", str.upper),
        ("31-digits", lambda i: i[:-1]),
        ("33-digits", lambda i: i + "0"),
        ("empty", lambda i: ""),
        ("not-hexadecimal", lambda i: "g" + i[1:]),
        ("with-dashes", lambda i: f"{i[:8]}-{i[8:12]}-{i[12:16]}-{i[16:20]}-{i[20:]}"),
    ):
        bad(f"id-{label}", "J-1", f"The id is {label.replace('-', ' ')}.", lambda d: d.update(id=change(d["id"] if label != "upper-case" else "a" + d["id"][1:])))

    for label, value in (("number", 7), ("null", None), ("array", [])):
        bad(f"id-{label}", "F-2", f"The id is {json.dumps(value)}.", lambda d: d.update(id=value))
    for label, value in (("array", []), ("null", None), ("string", "")):
        bad(f"keys-{label}", "F-2", f"`keys` is {json.dumps(value)}.", lambda d: d.update(keys=value))
        bad(f"version-{label}", "F-2", f"A version is {json.dumps(value)}.", lambda d: d["keys"]["b"].update(versions=[value]))
        bad(f"argon2id-{label}", "F-2", f"`argon2id` is {json.dumps(value)}.", lambda d: d.update(argon2id=value))
        if value != []:
            bad(f"key-{label}", "F-2", f"A key is {json.dumps(value)}.", lambda d: d["keys"].update(b=value))

    fields = {
        "salt": ("argon2id", "salt"),
        "keystore-key": ("file", "keystore_key"),
        "wrapped-kek": ("version", "wrapped_kek"),
    }
    for field, (place, member) in fields.items():
        for label, change in (
            ("shorter", lambda raw: raw[:-1]),
            ("longer", lambda raw: raw + b"\0"),
            ("empty", lambda raw: b""),
        ):
            name = f"{field}-{label}"
            bad(name, "J-2", f"`{member}` has another length.", lambda d: places[place](d).update({member: b64(change(base64.b64decode(places[place](d)[member])))}))
    for label, change in (
        ("padding-missing", lambda text: text.rstrip("=")),
        ("padding-too-much", lambda text: text + "===="),
        ("unused-bits", lambda text: text.rstrip("=")[:-1] + next_digit(text.rstrip("=")[-1]) + "=="),
        ("url-alphabet", lambda text: text[:3] + "-_" + text[5:]),
        ("hexadecimal", lambda text: base64.b64decode(text).hex()),
        ("line-end", lambda text: text[:8] + "\n" + text[8:]),
        ("null", lambda text: None),
        ("number", lambda text: 7),
    ):
        bad(f"base64-{label}", "J-2" if label not in ("null", "number") else "F-2", f"The salt in base64: {label.replace('-', ' ')}.", lambda d: d["argon2id"].update(salt=change(d["argon2id"]["salt"])))
    for label, change in (("shorter", lambda mac: mac[:-1]), ("longer", lambda mac: mac + b"\0")):
        name = f"mac-{label}"
        store = filled(name)
        mac = hmac.new(store.mac_key, printed(store.document).encode(), "sha256").digest()
        put(name, FORMAT, "J-2", "`mac` has another length.", store.text(mac=change(mac)))

    for label, value in (("fraction", "3.0"), ("leading-zero", "03"), ("exponent", "3e0"), ("negative", "-3"), ("plus", "+3"), ("string", '"3"'), ("null", "null"), ("over-64-bits", str(2**64)), ("hexadecimal", "0x3")):
        spec = "F-2 J-3" if label in ("leading-zero", "plus", "hexadecimal", "string", "null") else "J-3"
        replaced(f"generation-{label}", spec, f"The generation is {value}.", '"generation": 3', f'"generation": {value}')
    for member, value in (("m_cost", 19456), ("t_cost", 1), ("p_cost", 1)):
        replaced(f"parameters-{member[0]}-over-32-bits", "J-3", f"{member} has 33 bits.", f'"{member}": {value}', f'"{member}": {2**32 + value}')
    replaced("parameters-m-fraction", "J-3", "m_cost is 19456.0.", '"m_cost": 19456', '"m_cost": 19456.0')
    replaced("archived-number", "F-2", "`archived` is 0.", '"archived": false', '"archived": 0')
    replaced("archived-string", "F-2", "`archived` is a string.", '"archived": false', '"archived": "false"')
    replaced("created-over-64-bits", "J-3", "`created` has 65 bits.", '"created": 1767225601', f'"created": {2**64}')
    replaced("created-of-key-over-64-bits", "J-3", "`created` of a key has 65 bits.", '"created": 1767225600', f'"created": {2**64}')
    replaced("created-date", "F-2 J-3", "`created` is a date.", '"created": 1767225601', '"created": "2026-01-01T00:00:01Z"')

    for label, name in (("empty", ""), ("65-characters", "n" * 65), ("dash-first", "-a"), ("dot-first", ".a"), ("underscore-first", "_a"), ("space", "a b"), ("slash", "a/b"), ("parent", "../b"), ("not-ascii", "é"), ("percent", "a%20"), ("at", "a@b")):
        store = Store(f"keystore/name-{label}").add(name)
        put(f"name-{label}", FORMAT, "J-4", f"The key's name: {label.replace('-', ' ')}.", store.text())

    def numbered(*numbers):
        def change(document):
            for version, number in zip(document["keys"]["a"]["versions"], numbers):
                version["version"] = number

        return change

    bad("versions-empty", "J-5", "A key without a version.", lambda d: d["keys"]["b"].update(versions=[]))
    bad("versions-null", "F-2", "`versions` is null.", lambda d: d["keys"]["b"].update(versions=None))
    bad("versions-object", "F-2", "`versions` is an object.", lambda d: d["keys"]["b"].update(versions={}))
    for label, numbers in (("from-0", (0, 1)), ("from-2", (2, 3)), ("gap", (1, 3)), ("32-bits", (1, 2**31)), ("twice", (1, 1)), ("descending", (2, 1))):
        bad(f"versions-{label}", "J-3 J-5" if 0 in numbers else "J-5", f"Versions are numbered {numbers[0]}, {numbers[1]}.", numbered(*numbers))
    bad("version-number-over-32-bits", "J-3 J-5", "A version's number has 33 bits.", numbered(1, 2**32 + 2))

    for label, state in (("capital", "Active"), ("upper-case", "ACTIVE"), ("unknown", "revoked"), ("empty", ""), ("without-dash", "preactive"), ("underscore", "pre_active"), ("space", "active "), ("archived", "archived")):
        bad(f"state-of-key-{label}", "J-6", f"The state of a key is `{state}`.", lambda d: d["keys"]["b"].update(state=state))
        bad(f"state-of-version-{label}", "J-6", f"The state of a version is `{state}`.", lambda d: d["keys"]["b"]["versions"][0].update(state=state))
    bad("state-null", "F-2 J-6", "The state of a key is null.", lambda d: d["keys"]["b"].update(state=None))
    bad("state-number", "F-2 J-6", "The state of a key is 1.", lambda d: d["keys"]["b"].update(state=1))
    bad("destroyed-with-kek", "J-7", "A destroyed version has a KEK.", lambda d: d["keys"]["a"]["versions"][0].update(state="destroyed"))
    for state in STATES[:-1]:
        bad(f"{state}-without-kek", "J-7", f"A version is {state} and has no KEK.", lambda d: d["keys"]["a"]["versions"][0].update(state=state, wrapped_kek=None))


def swap_text(text, old, new):
    assert old in text, old
    return text.replace(old, new, 1)


def next_digit(digit):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return alphabet[alphabet.index(digit) | 1]


def order_and_size():
    name = "order-version-before-members"
    store = filled(name)
    store.document.update(envelope_keystore=2, id="")
    put(name, VERSION, "O-1 F-3", "Format 2, and an empty id.", store.text())
    name = "order-members-before-parameters"
    store = filled(name)
    store.document["argon2id"]["m_cost"] = 8
    store.document["keys"]["b"]["versions"] = []
    put(name, FORMAT, "O-1 J-5", "A key without a version, and 8 KiB for Argon2id.", store.protect().text())
    name = "order-parameters-before-passphrase"
    store = filled(name)
    store.document["argon2id"]["m_cost"] = 8
    put(name, PARAMETERS, "O-1 E-1", "8 KiB for Argon2id, and another passphrase.", store.protect().text(), "battery staple")
    name = "order-passphrase-before-mac"
    put(name, PASSPHRASE, "O-1 E-3", "Another passphrase, and a MAC of zeros.", filled(name).text(mac=bytes(32)), "battery staple")

    for label, clause, change in (
        ("spelling", "F-4", lambda text: text.replace(": ", ":", 1)),
        ("base64", "J-2", lambda text: text.replace('"wrapped_kek": "', '"wrapped_kek": "=', 1)),
        ("missing-member", "F-2", lambda text: text.replace('      "archived": false,\n', "", 1)),
        ("state", "J-6", lambda text: text.replace('"active"', '"Active"', 1)),
    ):
        name = f"order-{label}-before-parameters"
        store = filled(name)
        store.document["argon2id"]["m_cost"] = 8
        put(name, FORMAT, f"O-1 {clause}", f"{label.replace('-', ' ').capitalize()}, and 8 KiB for Argon2id.", store.protect().text(change))

    def ended_and_gone(document):
        version = document["keys"]["b"]["versions"][0]
        del version["wrapped_kek"]
        version.update(not_after=None, wrapped_kek=None)

    # Of each member its form, before the next one.
    for label, spec, change in (
        ("id-before-generation", "J-1 F-2", lambda document: document.update(id="", generation="")),
        ("name-before-members", "J-4 F-2", lambda document: document["keys"].update({"": {}})),
        ("not-after-before-kek", "J-8 J-7", ended_and_gone),
    ):
        name = f"order-{label}"
        store = filled(name)
        change(store.document)
        put(name, FORMAT, f"O-1 {spec}", f"Two faults: {label.replace('-', ' ')}.", store.text(), first=spec.split()[0])
    name = "order-keys-before-mac"
    store = filled(name)
    store.document["keys"]["b"]["state"] = ""
    put(name, FORMAT, "O-1 J-6 J-2", "An empty state, and a MAC of 31 bytes.", store.text(mac=bytes(31)), first="J-6")
    name = "order-version-before-spelling"
    put(name, VERSION, "O-1 F-3", "Format 2, with a space after the text.", filled(name).text(lambda t: t.replace('"envelope_keystore": 1', '"envelope_keystore":  2')))
    name = "order-mac-before-kek"
    store = filled(name)
    store.document["keys"]["b"]["versions"][0]["wrapped_kek"] = b64(bytes(72))
    put(name, AUTH, "O-1 E-4", "A wrapped KEK of zeros, and a MAC of zeros.", store.text(mac=bytes(32)))

    # Spaces make both of them malformed; only the size tells which is not even parsed.
    for label, length, expect, spec in (("limit", MAX_LEN, FORMAT, "F-1 F-4"), ("over-limit", MAX_LEN + 1, TOO_LARGE, "F-1 O-1")):
        name = f"size-{label}"
        text = filled(name).text()
        put(name, expect, spec, f"Spaces up to {length} bytes.", text, spaces=length - len(text))


def cryptoperiods():
    end = 1830297600

    def ok(name, spec, comment, states, not_after):
        store = Store(f"keystore/{name}").add("a", states, not_after=not_after).add("b")
        put(name, OK, spec, comment, store.text(), SECRET, store.holds())

    ok("success-not-after", "F-2 F-4 J-8 E-4", "The current version has an end of its cryptoperiod, the others have none.", ("deactivated", "active"), {2: end})
    ok("success-not-after-of-each-version", "J-8", "Each version has its own end, the older the later.", ("deactivated", "active"), {1: end + 1, 2: end})
    ok("success-not-after-of-every-state", "J-8", "A version in each state, each with an end.", (*STATES, "active"), {number: end + number for number in range(1, 8)})
    ok("success-not-after-0", "J-3 J-8", "The end was in 1970.", ("active",), {1: 0})
    ok("success-not-after-max", "J-3 J-8", "The end is the last second that can be told.", ("active",), {1: 2**64 - 1})

    def bounded(name):
        return Store(f"keystore/{name}").add("a", ("deactivated", "active"), not_after={2: end}).add("b")

    def spelled(name, spec, comment, change):
        """Edited before the MAC is made."""
        put(name, FORMAT, spec, comment, bounded(name).text(change))

    for label, value, spec in (
        ("null", "null", "J-8"),
        ("string", f'"{end}"', "F-2 J-3"),
        ("date", '"2028-01-01T00:00:00Z"', "F-2 J-3"),
        ("true", "true", "F-2 J-3"),
        ("array", f"[\n            {end}\n          ]", "F-2 J-3"),
        ("fraction", f"{end}.0", "J-3"),
        ("exponent", "1e9", "J-3"),
        ("negative", f"-{end}", "J-3"),
        ("leading-zero", f"0{end}", "F-2 J-3"),
        ("over-64-bits", str(2**64), "J-3"),
    ):
        change = lambda text, value=value: swap_text(text, f'"not_after": {end}', f'"not_after": {value}')
        spelled(f"not-after-{label}", spec, f"`not_after`: {label.replace('-', ' ')}.", change)
    member = f'          "not_after": {end},\n'
    spelled("not-after-twice", "F-2 F-4", "`not_after` stands twice.", lambda text: swap_text(text, member, member + member))
    before = lambda start: lambda text: swap_text(swap_text(text, member, ""), start, member.lstrip() + start)
    spelled("not-after-before-created", "F-2 F-4", "`not_after` stands before `created`.", before('"created": 1767225602'))
    last = lambda text: swap_text(text, member, "").replace('"\n        }\n      ]', f'",\n          "not_after": {end}\n        }}\n      ]', 1)
    spelled("not-after-behind-wrapped-kek", "F-2 F-4", "`not_after` stands last.", last)
    of_key = lambda text: swap_text(text, '      "created": 1767225600,\n', f'      "created": 1767225600,\n      "not_after": {end},\n')
    spelled("not-after-of-key", "F-2", "A key has a `not_after`, which its versions have.", of_key)

    def changed(name, comment, change):
        """The MAC is that of the file before the change."""
        store = bounded(name)
        mac = hmac.new(store.mac_key, printed(store.document).encode(), "sha256").digest()
        current, other = store.document["keys"]["a"]["versions"][1], store.document["keys"]["b"]["versions"][0]
        change(current, other)
        put(name, AUTH, "E-4", comment, store.text(mac=mac))

    def added(_, other):
        wrapped = other.pop("wrapped_kek")
        other.update(not_after=end, wrapped_kek=wrapped)

    changed("not-after-changed", "A later end of a cryptoperiod.", lambda current, _: current.update(not_after=end + 1))
    changed("not-after-removed", "The end of a cryptoperiod is missing.", lambda current, _: current.pop("not_after"))
    changed("not-after-added", "A version has an end of its cryptoperiod that nobody set.", added)
