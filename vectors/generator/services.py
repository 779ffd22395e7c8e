"""Class `services`: wraps by key stores, from what was recorded by record.py."""

import base64
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
        if name == "pkcs11-gcm":
            named_by_id(record)


def vector(name, label, expect, spec, comment, record, version=None, wrapped=None, answer=None, algorithm=None, **more):
    # One DEK and one envelope for all that is made of a record.
    env = Env(f"services/{name}", stored=list(entries_of(name).items()))
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
        f"request: {json.dumps(record['request'], ensure_ascii=False)}",
        f"answer: {json.dumps(answer or record['answer'], ensure_ascii=False)}",
    ]
    put_env(f"services/{name}{label}", expect, f"{record['clause']} {spec}".strip(), comment, env, [], more=table, **more)


def opens(name, record):
    kind = record["algorithm"]
    vector(name, "", OK, "W-1 W-3", f"A wrap by {kind}, with the request that opened it and its answer.", record)


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
    if clause == "W-6":
        bad("version", "A key version, which wraps by AWS-KMS do not have.", UNSUPPORTED, version="1")
    if clause == "W-7" and "empty" not in name:
        for label, version in [("empty", ""), ("leading-zero", "01"), ("zero", "0"), ("20-digits", "1" * 20), ("letter", "1a")]:
            bad(f"version-{label}", "The key version is not the number of one.", UNSUPPORTED, version=version)
    if clause == "W-8":
        digits = record["version"]
        for label, version in [("31-digits", digits[:-1]), ("33-digits", digits + "0"), ("upper-case", "A" + digits[1:]), ("empty", "")]:
            bad(f"version-{label}", "The key version is not one of Key Vault.", UNSUPPORTED, version=version)
        bad("shorter", "The wrap without its last byte: no request is made.", wrapped=wrapped[:-1])
        bad("longer", "The wrap with a byte more: no request is made.", wrapped=wrapped + b"\0")
    if clause == "W-9":
        for label, version in [("empty", ""), ("leading-zero", "01"), ("zero", "0"), ("33-bits", str(2**32)), ("letter", "1a")]:
            bad(f"version-{label}", "The key version is not a number that the key can have.", NOKEY, version=version)
        bad("shorter", "The wrap without its last byte.", wrapped=wrapped[:-1])
        bad("longer", "The wrap with a byte more.", wrapped=wrapped + b"\0")
    if clause == "W-10":
        text = wrapped.decode()
        for label, version in [("empty", ""), ("leading-zero", "01"), ("zero", "0"), ("33-bits", str(2**32)), ("letter", "1a")]:
            bad(f"version-{label}", "The key version is not a number.", UNSUPPORTED, version=version)
        bad("version-of-another-wrap", "The key version is 2, and the wrap says v1.", version="2")
        start = text.index(":", 6) + 1
        shorter = base64.b64encode(base64.b64decode(text[start:])[:-3]).decode()
        unused = base64.b64encode(base64.b64decode(text[start:]) + bytes(12)).decode()
        for label, other in [
            ("upper-case", text.replace("vault", "Vault")),
            ("number-with-zero", text.replace(":v1:", ":v01:")),
            ("without-number", text.replace(":v1:", ":v:")),
            ("space", text + " "),
            ("line-end", text + "\n"),
            ("57-bytes", text[:start] + shorter),
            ("padding", text[:start] + text[start:-1] + "="),
            ("url-alphabet", text[:start] + "-_" + text[start + 2 :]),
        ]:
            bad(f"text-{label}", f"The text of the wrap: {label.replace('-', ' ')}.", wrapped=other.encode())
        bad("text-72-bytes", "72 bytes, of which the service has not heard.", wrapped=(text[:start] + unused).encode())


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
