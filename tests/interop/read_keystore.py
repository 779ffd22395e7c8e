"""A second reader of the keystore format, version 1, written from docs/spec/keystore-v1.md.

It shares no code with the library and exists to show that the page is enough. It is strict in the same way. It is not
meant for use: Python leaves copies of keys in memory. `read_envelope.py --vectors` runs it over the class `keystore`.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from json.decoder import scanstring

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAX_LEN = 16777216
STATES = ("pre-active", "active", "suspended", "deactivated", "compromised", "destroyed")


class Failure(Exception):
    """What a reader comes to instead of keys. Its first argument is the class."""


def require(condition, clause, what, label="format failure"):
    if not condition:
        raise Failure(label, f"[{clause}] {what}")


# --- the text -------------------------------------------------------------------------------------------------------


def is_integer(value, bits):
    return type(value) is int and 0 <= value < 2**bits


def parse(data):
    require(len(data) <= MAX_LEN, "F-1", "too large", "too large")
    try:
        document = loads(data.decode("utf-8", "strict"))
    except ValueError:
        raise Failure("format failure", "[F-2] not JSON in UTF-8") from None
    require(isinstance(document, dict), "F-2", "not an object")
    version = document.get("envelope_keystore")
    require(is_integer(version, 64) and "envelope_keystore" not in document.repeated, "F-2", "no version, or more than one")
    require(version == 1, "F-3", "another version", "unsupported version")
    check_members(document)
    require(printed(document) == data, "F-4", "another spelling")
    return document


class Object(dict):
    """An object of JSON, and which names stand in it more than once."""

    def __init__(self):
        super().__init__()
        self.repeated = set()

    def put(self, name, value):
        if name in self:
            self.repeated.add(name)
        self[name] = value


TOKEN = re.compile(
    r"[ \t\n\r]*(?:(?P<mark>[][{}:,])|(?P<string>\")|(?P<word>true|false|null)"
    r"|(?P<integer>(?:0|[1-9][0-9]*)(?![0-9.eE]))|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)|\Z)"
)
WORDS = {"true": True, "false": False, "null": None}
OTHER_NUMBER = object()  # What no member may be: with a sign, a fraction, an exponent, or of more than 20 digits.


def loads(text):
    """One text of RFC 8259, or ValueError. `json.loads` also takes NaN and Infinity, and refuses numbers of many digits and
    deep nesting, which the number of a later format may stand beside."""
    at, result, open_, names = 0, [], [], []
    # What may stand next: a value (or the end of an empty array), a name (or the end of an empty object), `:`, or what is
    # between two elements.
    expected = "value"

    def put(value):
        if not open_:
            result.append(value)
        elif isinstance(open_[-1], list):
            open_[-1].append(value)
        else:
            open_[-1].put(names.pop(), value)

    while True:
        token = TOKEN.match(text, at)
        if token is None:
            raise ValueError("no token of JSON")
        at, kind, found = token.end(), token.lastgroup, token.group(token.lastgroup or 0)
        if kind is None:
            if open_ or not result:
                raise ValueError("it ends too early")
            return result[0]
        if kind == "string":
            found, at = scanstring(text, at)
        if kind == "string" and expected in ("name", "name or end"):
            names.append(found)
            expected = "colon"
        elif kind != "mark" and expected in ("value", "value or end"):
            put(value_of(kind, found))
            expected = "between"
        elif found in ("[", "{") and kind == "mark" and expected in ("value", "value or end"):
            value = [] if found == "[" else Object()
            put(value)
            open_.append(value)
            expected = "value or end" if found == "[" else "name or end"
        elif found == ":" and kind == "mark" and expected == "colon":
            expected = "value"
        elif found == "," and kind == "mark" and expected == "between" and open_:
            expected = "value" if isinstance(open_[-1], list) else "name"
        elif found == "]" and kind == "mark" and expected in ("value or end", "between") and open_ and isinstance(open_[-1], list):
            open_.pop()
            expected = "between"
        elif found == "}" and kind == "mark" and expected in ("name or end", "between") and open_ and isinstance(open_[-1], dict):
            open_.pop()
            expected = "between"
        else:
            raise ValueError(f"{expected} was expected")


def value_of(kind, found):
    if kind == "string":
        return found
    if kind == "word":
        return WORDS[found]
    return int(found) if kind == "integer" and len(found) <= 20 else OTHER_NUMBER


def printed(document):
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def members(value, names, what):
    require(isinstance(value, dict) and tuple(value) == names, "F-2", f"other members of {what}")
    return value


def decode(text, length, what):
    require(isinstance(text, str), "F-2", f"{what} is no string")
    try:
        data = base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except binascii.Error:
        raise Failure("format failure", f"[J-2] {what} is not base64") from None
    require(base64.b64encode(data).decode() == text and len(data) == length, "J-2", f"the spelling or length of {what}")
    return data


def check_members(document):
    members(document, ("envelope_keystore", "id", "generation", "argon2id", "keystore_key", "keys", "mac"), "the file")
    require(isinstance(document["id"], str) and re.fullmatch("[0-9a-f]{32}", document["id"]), "J-1", "the id")
    require(is_integer(document["generation"], 64), "J-3", "the generation")
    argon = members(document["argon2id"], ("m_cost", "t_cost", "p_cost", "salt"), "argon2id")
    require(all(is_integer(argon[each], 32) for each in ("m_cost", "t_cost", "p_cost")), "J-3", "a parameter")
    decode(argon["salt"], 16, "the salt")
    decode(document["keystore_key"], 104, "keystore_key")
    decode(document["mac"], 32, "mac")
    keys = document["keys"]
    require(isinstance(keys, dict), "F-2", "keys")
    require(list(keys) == sorted(keys, key=lambda name: name.encode("utf-8", "surrogatepass")), "F-4", "order of keys")
    for name, key in keys.items():
        require(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name), "J-4", "a name")
        check_key(key)


def check_key(key):
    members(key, ("state", "archived", "created", "versions"), "a key")
    require(key["state"] in STATES, "J-6", "the state of a key")
    require(type(key["archived"]) is bool, "F-2", "archived")
    require(is_integer(key["created"], 64), "J-3", "created")
    require(isinstance(key["versions"], list), "F-2", "versions")
    require(key["versions"], "J-5", "no version")
    for number, version in enumerate(key["versions"], 1):
        require(isinstance(version, dict), "F-2", "a version")
        end = ("not_after",) if "not_after" in version else ()
        members(version, ("version", "state", "created", *end, "wrapped_kek"), "a version")
        require(is_integer(version["version"], 32), "J-3", "the number of a version")
        require(version["version"] == number, "J-5", "the numbers of versions")
        require(version["state"] in STATES, "J-6", "the state of a version")
        require(is_integer(version["created"], 64), "J-3", "created")
        require(version.get("not_after", 0) is not None, "J-8", "not_after is null")
        require(is_integer(version.get("not_after", 0), 64), "J-3", "not_after")
        if version["wrapped_kek"] is not None:
            decode(version["wrapped_kek"], 72, "wrapped_kek")
        require((version["state"] == "destroyed") == (version["wrapped_kek"] is None), "J-7", "destroyed or not")


# --- the keys -------------------------------------------------------------------------------------------------------


def open_keystore(data, passphrase, cobblestone_open, xaes_open, unauthentic):
    """State, whether archived, and versions (number, state, KEK or None, end of the cryptoperiod or None) of each key. The two constructions are those
    of the envelope's reader, and `unauthentic` is what they raise."""
    document = parse(data)
    argon = document["argon2id"]
    m, t, p = argon["m_cost"], argon["t_cost"], argon["p_cost"]
    bounds = 19456 <= m <= 1048576 and 1 <= t <= 16 and 1 <= p <= 16
    require(bounds, "E-1", "parameters", "unsupported parameters")
    salt = base64.b64decode(argon["salt"])
    root = hash_secret_raw(passphrase, salt, t, m, p, 32, Type.ID, version=0x13)
    keystore_id = document["id"].encode()
    costs = b"".join(cost.to_bytes(4, "big") for cost in (m, t, p))
    root_binding = b"envelope-keystore-v1 keystore key\x00" + keystore_id + costs + salt
    try:
        keystore_key = cobblestone_open(root, root_binding, base64.b64decode(document["keystore_key"]))
    except unauthentic:
        raise Failure("wrong passphrase", "[E-3] keystore_key") from None
    expand = lambda label: HKDFExpand(hashes.SHA256(), 32, label).derive(keystore_key)
    mac = base64.b64decode(document.pop("mac"))
    expected = hmac.new(expand(b"envelope-keystore-v1 mac"), printed(document), hashlib.sha256).digest()
    require(hmac.compare_digest(mac, expected), "E-4", "the MAC", "not authentic")
    wrapping_key = expand(b"envelope-keystore-v1 wrap")

    def kek(name, version):
        if version["wrapped_kek"] is None:
            return None
        binding = b"envelope-keystore-v1 kek\x00" + keystore_id + bytes([len(name)]) + name.encode()
        binding += version["version"].to_bytes(4, "big")
        try:
            return xaes_open(wrapping_key, base64.b64decode(version["wrapped_kek"]), binding)
        except unauthentic:
            raise Failure("not authentic", "[E-5] a KEK") from None

    opened = {}
    for name, key in document["keys"].items():
        versions = [(each["version"], each["state"], kek(name, each), each.get("not_after")) for each in key["versions"]]
        opened[name] = (key["state"], key["archived"], versions)
    return opened


def shown(keys):
    """The keys as the lines `key` and `version` of a vector, in order."""
    lines = []
    for name, (state, archived, versions) in keys.items():
        lines.append(f"key: {name} {state}" + (" archived" if archived else ""))
        for number, each, kek, end in versions:
            until = "" if end is None else f" not-after {end}"
            lines.append(f"version: {name} {number} {each} {kek.hex() if kek else '-'}{until}")
    return lines
