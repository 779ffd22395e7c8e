"""Wraps by key stores (W-6 to W-10): the request that opens one, and what its answer holds.

There is no service here. A vector brings requests and answers that were recorded, and a request that is not among them is
one that the service refused.
"""

import base64
import binascii
import hashlib
import re

from failures import NoConfiguredKey, NotAuthentic, UnsupportedWrap, require


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def is_number(text, most):
    return re.fullmatch("[1-9][0-9]*", text) is not None and int(text) <= most


def unwrap(recipient, entries, full, ask):
    """The DEK. `ask` takes a request and returns the answer to it, or None."""
    scheme, _, rest = recipient.uri.partition(":")
    wraps = WRAPS.get(scheme, {})
    require(recipient.algorithm in wraps, "W-1", recipient.algorithm, UnsupportedWrap)
    clause, request, take = wraps[recipient.algorithm]
    answer = ask(request(recipient, rest.lstrip("/"), entries, full))
    require(answer is not None, clause, "the service refused", NotAuthentic)
    return take(answer)


# --- AWS KMS (W-6) --------------------------------------------------------------------------------------------------


def aws(recipient, arn, entries, full):
    require(recipient.version == "", "W-6", "a key version", UnsupportedWrap)
    body = {"KeyId": arn, "CiphertextBlob": b64(recipient.wrapped)}
    if entries:
        body["EncryptionContext"] = entries
    return {"call": "TrentService.Decrypt", "body": body}


# --- Google Cloud KMS (W-7) -----------------------------------------------------------------------------------------


def gcp(recipient, name, entries, full):
    require(is_number(recipient.version, 10**19 - 1), "W-7", "not the number of a version", UnsupportedWrap)
    body = {"ciphertext": b64(recipient.wrapped), "additionalAuthenticatedData": b64(full)}
    return {"call": f"POST /v1/{name}:decrypt", "body": body}


# --- Azure (W-8) ----------------------------------------------------------------------------------------------------


def azure(verb, lengths, parts):
    def request(recipient, rest, entries, full):
        require(re.fullmatch("[0-9a-f]{32}", recipient.version), "W-8", "not a version of a key", UnsupportedWrap)
        require(len(recipient.wrapped) in lengths, "W-8", "the length of the wrap", NotAuthentic)
        host, _, path = rest.partition("/")
        body = {"alg": recipient.algorithm, **parts(recipient.wrapped, full)}
        return {"call": f"POST /{path}/{recipient.version}/{verb}", "host": host, "body": body}

    return request


def azure_value(wrapped, full):
    return {"value": b64url(wrapped)}


def azure_gcm(wrapped, full):
    iv, value, tag = wrapped[:12], wrapped[12:44], wrapped[44:]
    return {"value": b64url(value), "iv": b64url(iv), "tag": b64url(tag), "aad": b64url(full)}


# --- PKCS#11 (W-9) --------------------------------------------------------------------------------------------------


def pkcs11(length, call, parameters):
    def request(recipient, rest, entries, full):
        attributes = dict(each.split("=") for each in rest.split(";"))
        # A key named by its label has versions, one named by its id alone has none.
        numbered = "object" in attributes and "id" not in attributes
        held = is_number(recipient.version, 2**32 - 1) if numbered else recipient.version == ""
        require(held, "W-9", "no such version", NoConfiguredKey)
        # That of RSA is the length of the modulus, which the token knows.
        require(length in (None, len(recipient.wrapped)), "W-9", "the length of the wrap", NotAuthentic)
        key = {"key": recipient.uri, "version": recipient.version}
        return {"call": call, **key, **parameters(recipient.wrapped, full)}

    return request


def pkcs11_gcm(wrapped, full):
    parameters = {"mechanism": "CKM_AES_GCM", "iv": wrapped[:12].hex(), "aad": full.hex(), "tag_bits": 128}
    return {**parameters, "data": wrapped[12:].hex()}


def pkcs11_kwp(wrapped, full):
    return {"mechanism": "CKM_AES_KEY_WRAP_PAD", "data": wrapped.hex()}


def pkcs11_oaep(wrapped, full):
    hashes = {"hash": "CKM_SHA256", "mgf": "CKG_MGF1_SHA256", "label": ""}
    return {"mechanism": "CKM_RSA_PKCS_OAEP", **hashes, "data": wrapped.hex()}


# --- Vault and OpenBao (W-10) ---------------------------------------------------------------------------------------


def vault(binding):
    def request(recipient, rest, entries, full):
        require(is_number(recipient.version, 2**32 - 1), "W-10", "not the number of a version", UnsupportedWrap)
        start = f"vault:v{recipient.version}:".encode()
        require(recipient.wrapped.startswith(start), "W-10", "not a ciphertext of this version", NotAuthentic)
        encoded = recipient.wrapped[len(start) :]
        try:
            decoded = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            decoded = b""
        require(base64.b64encode(decoded) == encoded, "W-10", "not base64 in its one spelling", NotAuthentic)
        require(len(decoded) in (60, 72), "W-10", "the length of the wrap", NotAuthentic)
        mount, _, key = rest.rpartition("/")
        body = {"ciphertext": recipient.wrapped.decode(), **binding(full)}
        return {"call": f"POST /v1/{mount}/decrypt/{key}", "body": body}

    return request


# --- answers --------------------------------------------------------------------------------------------------------


def padded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


WRAPS = {
    "awskms": {"AWS-KMS": ("W-6", aws, lambda answer: base64.b64decode(answer["Plaintext"]))},
    "gcpkms": {"GCP-KMS": ("W-7", gcp, lambda answer: base64.b64decode(answer["plaintext"]))},
    "azurekeyvault": {
        "RSA-OAEP-256": ("W-8", azure("unwrapkey", (256, 384, 512), azure_value), lambda answer: padded(answer["value"])),
        "A256KW": ("W-8", azure("unwrapkey", (40,), azure_value), lambda answer: padded(answer["value"])),
        "A256GCM": ("W-8", azure("decrypt", (60,), azure_gcm), lambda answer: padded(answer["value"])),
    },
    "pkcs11": {
        "PKCS11-AES-256-GCM": ("W-9", pkcs11(60, "C_Decrypt", pkcs11_gcm), lambda answer: bytes.fromhex(answer["value"])),
        "PKCS11-AES-KWP": ("W-9", pkcs11(40, "C_UnwrapKey", pkcs11_kwp), lambda answer: bytes.fromhex(answer["value"])),
        "PKCS11-RSA-OAEP-256": (
            "W-9",
            pkcs11(None, "C_Decrypt", pkcs11_oaep),
            lambda answer: bytes.fromhex(answer["value"]),
        ),
    },
    "hashivault": {
        name: ("W-10", vault(binding), lambda answer: base64.b64decode(answer["data"]["plaintext"]))
        for name, binding in (
            ("VAULT-TRANSIT-AD", lambda full: {"associated_data": b64(full)}),
            ("VAULT-TRANSIT-DERIVED", lambda full: {"context": b64(hashlib.sha256(full).digest())}),
            ("VAULT-TRANSIT", lambda full: {}),
        )
    },
}
