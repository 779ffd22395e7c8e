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

from constructions import cobblestone_open, xaes_open
from failures import Failure, FormatFailure, NotAuthentic, require

MAX_LEN = 16777216
STATES = ("pre-active", "active", "suspended", "deactivated", "compromised", "destroyed")


class TooLarge(Failure):
    label = "too large"


class UnsupportedVersion(Failure):
    label = "unsupported version"


class UnsupportedParameters(Failure):
    label = "unsupported parameters"


class WrongPassphrase(Failure):
    label = "wrong passphrase"


# --- the text -------------------------------------------------------------------------------------------------------


def is_integer(value, bits):
    # Numbers with a sign are none of these: OTHER_NUMBER.
    return type(value) is int and value < 2**bits


def parse(data):
    require(len(data) <= MAX_LEN, "F-1", "too large", TooLarge)
    try:
        document = loads(data.decode("utf-8", "strict"))
    except ValueError:
        raise FormatFailure("F-2", "not JSON in UTF-8") from None
    require(isinstance(document, dict), "F-2", "not an object")
    require("envelope_keystore" in document, "F-2", "no version")
    require("envelope_keystore" not in document.repeated, "F-3", "more than one version")
    version = document["envelope_keystore"]
    require(is_integer(version, 64), "F-2", "the version is no integer of 64 bits")
    require(version == 1, "F-3", "another version", UnsupportedVersion)
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
            found.encode()  # A UnicodeEncodeError, which is a ValueError, where it holds half a surrogate pair.
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
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def number(value, bits, what, least=0):
    require(type(value) is int or value is OTHER_NUMBER, "F-2", f"{what} is no number")
    require(is_integer(value, bits), "J-3", what)
    require(value >= least, "J-3", what)


def members(value, names, what):
    require(isinstance(value, dict) and tuple(value) == names, "F-2", f"other members of {what}")
    return value


def decode(text, length, what):
    require(isinstance(text, str), "F-2", f"{what} is no string")
    try:
        data = base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except binascii.Error:
        raise FormatFailure("J-2", f"{what} is not base64") from None
    require(base64.b64encode(data).decode() == text, "J-2", f"the spelling of {what}")
    require(len(data) == length, "J-2", f"the length of {what}")
    return data


def check_members(document):
    members(document, ("envelope_keystore", "id", "generation", "argon2id", "keystore_key", "keys", "mac"), "the file")
    require(isinstance(document["id"], str), "F-2", "the id is no string")
    require(re.fullmatch("[0-9a-f]{32}", document["id"]), "J-1", "the id")
    number(document["generation"], 64, "the generation")
    argon = members(document["argon2id"], ("m_cost", "t_cost", "p_cost", "salt"), "argon2id")
    for each in ("m_cost", "t_cost", "p_cost"):
        number(argon[each], 32, each)
    decode(argon["salt"], 16, "the salt")
    decode(document["keystore_key"], 104, "keystore_key")
    keys = document["keys"]
    require(isinstance(keys, dict), "F-2", "keys")
    for name, key in keys.items():
        require(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name), "J-4", "a name")
        check_key(key)
    decode(document["mac"], 32, "mac")
    # Names are ASCII by now.
    require(list(keys) == sorted(keys), "F-4", "order of keys")


def check_key(key):
    members(key, ("state", "archived", "created", "versions"), "a key")
    check_state(key["state"])
    require(type(key["archived"]) is bool, "F-2", "archived")
    number(key["created"], 64, "created")
    require(isinstance(key["versions"], list), "F-2", "versions")
    require(key["versions"], "J-5", "no version")
    for expected, version in enumerate(key["versions"], 1):
        require(isinstance(version, dict), "F-2", "a version")
        end = ("not_after",) if "not_after" in version else ()
        members(version, ("version", "state", "created", *end, "wrapped_kek"), "a version")
        number(version["version"], 32, "the number of a version", least=1)
        require(version["version"] == expected, "J-5", "the numbers of versions")
        check_state(version["state"])
        number(version["created"], 64, "created")
        if "not_after" in version:
            require(version["not_after"] is not None, "J-8", "not_after is null")
            number(version["not_after"], 64, "not_after")
        if version["wrapped_kek"] is not None:
            decode(version["wrapped_kek"], 72, "wrapped_kek")
        require((version["state"] == "destroyed") == (version["wrapped_kek"] is None), "J-7", "destroyed or not")


def check_state(state):
    require(isinstance(state, str), "F-2", "a state is no string")
    require(state in STATES, "J-6", "a state")


# --- the keys -------------------------------------------------------------------------------------------------------


def open_keystore(data, passphrase):
    """State, whether archived, and versions (number, state, KEK or None, end of the cryptoperiod or None) of each key."""
    document = parse(data)
    argon = document["argon2id"]
    m, t, p = argon["m_cost"], argon["t_cost"], argon["p_cost"]
    require(19456 <= m <= 1048576, "E-1", "memory", UnsupportedParameters)
    require(1 <= t <= 16, "E-1", "passes", UnsupportedParameters)
    require(1 <= p <= 16, "E-1", "lanes", UnsupportedParameters)
    salt = base64.b64decode(argon["salt"])
    root = hash_secret_raw(passphrase, salt, t, m, p, 32, Type.ID, version=0x13)
    keystore_id = document["id"].encode()
    costs = b"".join(cost.to_bytes(4, "big") for cost in (m, t, p))
    root_binding = b"envelope-keystore-v1 keystore key\x00" + keystore_id + costs + salt
    try:
        keystore_key = cobblestone_open(root, root_binding, base64.b64decode(document["keystore_key"]))
    except NotAuthentic:
        raise WrongPassphrase("E-3", "keystore_key") from None
    expand = lambda label: HKDFExpand(hashes.SHA256(), 32, label).derive(keystore_key)
    mac = base64.b64decode(document.pop("mac"))
    expected = hmac.new(expand(b"envelope-keystore-v1 mac"), printed(document), hashlib.sha256).digest()
    require(hmac.compare_digest(mac, expected), "E-4", "the MAC", NotAuthentic)
    wrapping_key = expand(b"envelope-keystore-v1 wrap")

    def kek(name, version):
        if version["wrapped_kek"] is None:
            return None
        binding = b"envelope-keystore-v1 kek\x00" + keystore_id + bytes([len(name)]) + name.encode()
        binding += version["version"].to_bytes(4, "big")
        return xaes_open(wrapping_key, base64.b64decode(version["wrapped_kek"]), binding, "E-5")

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
