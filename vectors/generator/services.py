"""Class `services`: wraps by key stores, from what was recorded by record.py."""

import base64
import copy
import hashlib
import json
from pathlib import Path

from .base import AUTH, Env, NOKEY, OK, Recipient, UNSUPPORTED, context_bytes, flip, put_env, rnd

CONTEXT = {"tenant": "42", "usage": "é"}
RECORDED = Path(__file__).resolve().parent / "recorded.json"
CLAUSES = {"awskms": "W-6", "gcpkms": "W-7", "azurekeyvault": "W-8", "pkcs11": "W-9", "hashivault": "W-10"}


def entries_of(name):
    return {} if name.endswith("empty-context") else CONTEXT


def full_of(name):
    return context_bytes(sorted((k.encode(), v.encode()) for k, v in entries_of(name).items()))


def dek_of(name):
    return rnd(f"services/{name}", "dek", 32)


def services():
    for name, record in json.loads(RECORDED.read_text()).items():
        record["wrapped"] = base64.b64decode(record["wrapped"])
        record["clause"] = CLAUSES[record["uri"].partition(":")[0]]
        opens(name, record)
        refused(name, record)
        without_entries(name, record)
        if name == "pkcs11-gcm":
            named_by_id(record)


def vector(name, label, expect, spec, comment, record, version=None, wrapped=None, answer=None, algorithm=None, request=None, stored=None, **more):
    # One DEK and one envelope for all that is made of a record.
    env = Env(f"services/{name}", stored=list(entries_of(name).items()) if stored is None else stored)
    env.recipients.append(
        Recipient(
            record["uri"].encode(),
            (record["version"] if version is None else version).encode(),
            (algorithm or record["algorithm"]).encode(),
            record["wrapped"] if wrapped is None else wrapped,
        )
    )
    table = [
        f"service: {record['uri']}",
        f"request: {json.dumps(request or record['request'], ensure_ascii=False)}",
        f"answer: {json.dumps(answer or record['answer'], ensure_ascii=False)}",
    ]
    put_env(f"services/{name}{label}", expect, f"{record['clause']} {spec}".strip(), comment, env, [], more=table, **more)


def opens(name, record):
    kind = record["algorithm"]
    vector(name, "", OK, "W-1 W-3", f"A wrap by {kind}, with the request that opened it and its answer.", record)


def without_entries(name, record):
    """The encoding of no entries is sent as any other. AWS and Google were asked for that."""
    request = copy.deepcopy(record["request"])
    full = context_bytes([])
    if name == "azure-gcm":
        request["body"]["aad"] = base64.urlsafe_b64encode(full).decode().rstrip("=")
    elif name == "pkcs11-gcm":
        request["aad"] = full.hex()
    elif name == "vault-ad":
        request["body"]["associated_data"] = base64.b64encode(full).decode()
    elif name == "vault-derived":
        request["body"]["context"] = base64.b64encode(hashlib.sha256(full).digest()).decode()
    else:
        return
    vector(name, "-without-entries", OK, "", "A context without entries, two zero bytes; not recorded.", record, request=request, stored=[])


def named_by_id(record):
    """The same key of the same token under a URI with its id: such a key has no versions."""
    uri = "pkcs11:token=vectors;object=kek;id=%01"
    record = {**record, "uri": uri, "version": "", "request": {**record["request"], "key": uri, "version": ""}}
    # The DEK of the record, so that its wrap fits.
    vector("pkcs11-gcm", "-named-by-id", OK, "", "A key that its URI names by id has no versions.", record)
    vector("pkcs11-gcm", "-named-by-id-with-version", NOKEY, "", "A version of a key that its URI names by id.", record, version="1")


def refused(name, record):
    clause, wrapped = record["clause"], record["wrapped"]

    def bad(label, comment, expect=AUTH, first=clause, spec="", **bent):
        vector(name, f"-{label}", expect, spec, comment, record, first=first, **bent)

    bad("other-wrap", "The service has no answer to this wrap, of which the first bit is another.", wrapped=flip(wrapped, -30, 1))
    if not name.endswith("empty-context"):
        bad("dek-31-bytes", "The answer holds 31 bytes.", first="W-3", spec="W-3", answer=cut(record["answer"]))
        bad("algorithm-unknown", "The algorithm is another one.", UNSUPPORTED, "W-1", "W-1", algorithm="XAES-256-GCM")
    if name in BOUNDED:
        worse = {"version": "1a", "wrapped": wrapped[:-1]}
        expect = NOKEY if clause == "W-9" else UNSUPPORTED
        bad("order-version-before-length", "The key version is none, and the wrap is a byte shorter.", expect, spec="D-7", **worse)
        bad("order-algorithm-before-version", "The algorithm is another one, and the key version is none.", UNSUPPORTED, "W-1", "D-7 W-1", algorithm="XAES-256-GCM", **worse)
    if clause == "W-6":
        bad("version", "A key version, which wraps by AWS-KMS do not have.", UNSUPPORTED, version="1")
    if clause == "W-7" and "empty" not in name:
        versions = [("empty", ""), ("leading-zero", "01"), ("zero", "0"), ("20-digits", str(10**19)), ("letter", "1a"), *LENIENT]
        for label, version in versions:
            bad(f"version-{label}", "The key version is not the number of one.", UNSUPPORTED, version=version)
        vector(name, "-version-most", OK, "", "The highest number of a version, which the request does not hold.", record, version=str(10**19 - 1))
    if clause == "W-8":
        digits = record["version"]
        for label, version in [("31-digits", digits[:-1]), ("33-digits", digits + "0"), ("upper-case", "A" + digits[1:]), ("empty", "")]:
            bad(f"version-{label}", "The key version is not one of Key Vault.", UNSUPPORTED, version=version)
    if clause in ("W-8", "W-9"):
        # The service would answer, and is not asked.
        for label, other in [("shorter", wrapped[:-1]), ("longer", wrapped + b"\0")]:
            asked = {} if name == "pkcs11-oaep" else {"request": request_for(record, other)}
            bad(label, f"The wrap is a byte {label}.", wrapped=other, **asked)
    if clause == "W-9":
        for label, version in NUMBERS:
            bad(f"version-{label}", "The key version is not a number that the key can have.", NOKEY, version=version)
        most = str(2**32 - 1)
        request = {**record["request"], "version": most}
        vector(name, "-version-most", OK, "", "The highest number of a version.", record, version=most, request=request)
    if clause == "W-10":
        for label, version in NUMBERS:
            bad(f"version-{label}", "The key version is not a number.", UNSUPPORTED, version=version)
        bad("version-of-another-wrap", "The key version is 2, and the wrap says v1.", version="2")
        encoded = wrapped.decode().split(":")[2]
        raw = base64.b64decode(encoded)
        b64 = lambda data: base64.b64encode(data).decode()

        def told(text):
            return {"wrapped": text.encode(), "request": request_for(record, text.encode())}

        for label, text in [
            ("upper-case", f"Vault:v1:{encoded}"),
            ("number-with-zero", f"vault:v01:{encoded}"),
            ("without-number", f"vault:v:{encoded}"),
            ("space", f"vault:v1:{encoded} "),
            ("line-end", f"vault:v1:{encoded}\n"),
            ("padding", f"vault:v1:{encoded}===="),
            ("url-alphabet", f"vault:v1:-_{encoded[2:]}"),
            ("59-bytes", f"vault:v1:{b64(raw[:-1])}"),
            ("61-bytes", f"vault:v1:{b64(raw + bytes(1))}"),
            ("71-bytes", f"vault:v1:{b64(raw + bytes(11))}"),
            ("73-bytes", f"vault:v1:{b64(raw + bytes(13))}"),
        ]:
            # The service would answer, and is not asked.
            bad(f"text-{label}", f"The text of the wrap: {label.replace('-', ' ')}.", **told(text))
        other = {"vault-ad": "VAULT-TRANSIT", "vault-derived": "VAULT-TRANSIT-AD", "vault-plain": "VAULT-TRANSIT-DERIVED"}[name]
        bad("algorithm-of-another-key", f"The algorithm is {other}, by whose request the service opens nothing.", algorithm=other)
        long = f"vault:v1:{b64(raw + bytes(12))}"
        vector(name, "-text-72-bytes", OK, "", "72 bytes, as with the nonce of XChaCha20-Poly1305; not recorded.", record, **told(long))
        most = str(2**32 - 1)
        vector(name, "-version-most", OK, "", "The highest number of a version; not recorded.", record, version=most, **told(f"vault:v{most}:{encoded}"))


# One for each form of a wrap that has a length.
BOUNDED = {"azure-rsa", "azure-kw", "azure-gcm", "pkcs11-gcm", "pkcs11-kwp", "vault-ad"}
# What parsers of numbers take, and is none of the page.
LENIENT = [("plus", "+1"), ("space-before", " 1"), ("space-after", "1 "), ("underscore", "1_0"), ("fraction", "1.0"), ("exponent", "1e0"), ("not-ascii", "\u0661")]
NUMBERS = [("empty", ""), ("leading-zero", "01"), ("zero", "0"), ("33-bits", str(2**32)), ("letter", "1a"), *LENIENT]


def request_for(record, wrapped):
    """The request that would open another wrap."""
    url = lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
    request = copy.deepcopy(record["request"])
    if record["clause"] == "W-10":
        request["body"]["ciphertext"] = wrapped.decode()
    elif record["algorithm"] == "A256GCM":
        request["body"].update(iv=url(wrapped[:12]), value=url(wrapped[12:44]), tag=url(wrapped[44:]))
    elif record["clause"] == "W-8":
        request["body"]["value"] = url(wrapped)
    elif record["algorithm"] == "PKCS11-AES-256-GCM":
        request.update(iv=wrapped[:12].hex(), data=wrapped[12:].hex())
    else:
        request["data"] = wrapped.hex()
    return request


def cut(answer):
    """The answer with a plaintext of 31 bytes, in whichever spelling it has."""
    if "data" in answer:
        return {"data": cut(answer["data"])}
    (member,) = set(answer) - {"KeyId"}
    text = answer[member]
    if len(text) == 64:
        return {**answer, member: text[:-2]}
    decoded = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))[:31]
    encoded = base64.b64encode(decoded).decode()
    if not text.endswith("="):
        encoded = base64.urlsafe_b64encode(decoded).decode().rstrip("=")
    return {**answer, member: encoded}
