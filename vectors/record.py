#!/usr/bin/env python3
"""Records what the test servers and tokens answer, for the vectors of the class `services`.

    scripts/with-servers PYTHON vectors/record.py

PYTHON has the packages of tests/interop/requirements.txt and, for tokens, python-pkcs11 0.10.1. It speaks to each service
as the page says (W-6 to W-10) and shares no code with the library. Each record is a wrap of a known DEK and the call that
opened it, in `generator/recorded.json`, from which generate.py makes the vectors. Keys of services are random, so records
differ from one run to the next: run this only to add some.

AWS KMS is moto, Vault is Vault 1.13.0, Cloud KMS and Key Vault are the stand-ins of testkit (the host of a key URI is then
answered by `NAME.vault.localhost`), tokens are SoftHSM and kryoptic.
"""

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

from generator.services import CONTEXT, dek_of, full_of

RECORDED = Path(__file__).resolve().parent / "generator" / "recorded.json"


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def ask(address, path, body, headers=(), connection=None):
    """What is answered to a POST of JSON."""
    connection = connection or http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    text = json.dumps(body)
    connection.request("POST", path, text, {"Content-Type": "application/json", **dict(headers)})
    answer = connection.getresponse()
    told = answer.read()
    if answer.status >= 300:
        sys.exit(f"{path}: {answer.status} {told.decode()}")
    return json.loads(told) if told else None


def only(answer, *names):
    """The members that a reader looks at: the rest is times and the server's version."""
    return {name: answer[name] for name in names}


def aws(records):
    address = os.environ["ENVELOPE_TEST_MOTO"]
    credential = "Credential=AKIDEXAMPLE/20260101/eu-central-1/kms/aws4_request"
    signature = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"

    def call(verb, body):
        headers = {"X-Amz-Target": f"TrentService.{verb}", "Authorization": signature}
        return ask(address, "/", body, {**headers, "Content-Type": "application/x-amz-json-1.1"})

    arn = call("CreateKey", {})["KeyMetadata"]["Arn"]
    for name, entries in (("aws", CONTEXT), ("aws-empty-context", {})):
        context = {"EncryptionContext": entries} if entries else {}
        wrap = {"KeyId": arn, "Plaintext": b64(dek_of(name)), **context}
        wrapped = call("Encrypt", wrap)["CiphertextBlob"]
        body = {"KeyId": arn, "CiphertextBlob": wrapped, **context}
        answer = only(call("Decrypt", body), "KeyId", "Plaintext")
        record(records, name, f"awskms:///{arn}", "", "AWS-KMS", base64.b64decode(wrapped), {"call": "TrentService.Decrypt", "body": body}, answer)


def gcp(records):
    address = os.environ["ENVELOPE_TEST_GCP"]
    place = "projects/vectors/locations/global"
    ask(address, f"/v1/{place}/keyRings?keyRingId=vectors", {})
    ask(address, f"/v1/{place}/keyRings/vectors/cryptoKeys?cryptoKeyId=kek", {"purpose": "ENCRYPT_DECRYPT"})
    key = f"{place}/keyRings/vectors/cryptoKeys/kek"
    for name in ("gcp", "gcp-empty-context"):
        bound = {"additionalAuthenticatedData": b64(full_of(name))}
        told = ask(address, f"/v1/{key}:encrypt", {"plaintext": b64(dek_of(name)), **bound})
        call, body = f"POST /v1/{key}:decrypt", {"ciphertext": told["ciphertext"], **bound}
        answer = only(ask(address, call[5:], body), "plaintext")
        version = told["name"].rpartition("/")[2]
        record(records, name, f"gcpkms://{key}", version, "GCP-KMS", base64.b64decode(told["ciphertext"]), {"call": call, "body": body}, answer)


def azure(records):
    host, _, port = os.environ["ENVELOPE_TEST_AZURE"].partition(":")
    context = ssl.create_default_context(cafile=os.environ["ENVELOPE_TEST_AZURE_CA"])

    def call(name, path, body):
        connection = http.client.HTTPSConnection(name, int(port), context=context, timeout=60)
        connection.sock = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=name)
        headers = {"Authorization": "Bearer any"}
        return ask(None, f"{path}?api-version=7.6", body, headers, connection)

    kinds = [
        ("azure-rsa", "vault", {"kty": "RSA", "key_size": 2048}, "RSA-OAEP-256"),
        ("azure-rsa-3072", "vault", {"kty": "RSA", "key_size": 3072}, "RSA-OAEP-256"),
        ("azure-rsa-4096", "vault", {"kty": "RSA", "key_size": 4096}, "RSA-OAEP-256"),
        ("azure-kw", "managedhsm", {"kty": "oct-HSM", "key_size": 256}, "A256KW"),
        ("azure-gcm", "managedhsm", {"kty": "oct-HSM", "key_size": 256}, "A256GCM"),
    ]
    for name, kind, key, algorithm in kinds:
        at, host_of_uri = f"vectors.{kind}.localhost", f"vectors.{kind}.azure.net"
        version = call(at, f"/keys/{name}/create", key)["key"]["kid"].rpartition("/")[2]
        body = {"alg": algorithm, "value": b64url(dek_of(name))}
        if algorithm == "A256GCM":
            told = call(at, f"/keys/{name}/{version}/encrypt", {**body, "aad": b64url(full_of(name))})
            parts = {"iv": told["iv"], "value": told["value"], "tag": told["tag"]}
            wrapped = b"".join(unb64url(part) for part in parts.values())
            verb, body = "decrypt", {"alg": algorithm, **parts, "aad": b64url(full_of(name))}
        else:
            value = call(at, f"/keys/{name}/{version}/wrapkey", body)["value"]
            wrapped, verb, body = unb64url(value), "unwrapkey", {"alg": algorithm, "value": value}
        path = f"/keys/{name}/{version}/{verb}"
        answer = only(call(at, path, body), "value")
        request = {"call": f"POST {path}", "host": host_of_uri, "body": body}
        record(records, name, f"azurekeyvault://{host_of_uri}/keys/{name}", version, algorithm, wrapped, request, answer)


def vault(records):
    address, token = os.environ["ENVELOPE_TEST_VAULT"], {"X-Vault-Token": "root"}
    for name, key, binding, algorithm in [
        ("vault-ad", {"type": "aes256-gcm96"}, lambda full: {"associated_data": b64(full)}, "VAULT-TRANSIT-AD"),
        ("vault-derived", {"type": "aes256-gcm96", "derived": True}, lambda full: {"context": b64(hashlib.sha256(full).digest())}, "VAULT-TRANSIT-DERIVED"),
        ("vault-plain", {"type": "chacha20-poly1305"}, lambda full: {}, "VAULT-TRANSIT"),
    ]:
        ask(address, f"/v1/transit/keys/vectors-{name}", key, token)
        bound = binding(full_of(name))
        told = ask(address, f"/v1/transit/encrypt/vectors-{name}", {"plaintext": b64(dek_of(name)), **bound}, token)["data"]
        path = f"/v1/transit/decrypt/vectors-{name}"
        body = {"ciphertext": told["ciphertext"], **bound}
        answer = {"data": only(ask(address, path, body, token)["data"], "plaintext")}
        uri, version = f"hashivault://transit/vectors-{name}", told["ciphertext"].split(":")[1].removeprefix("v")
        record(records, name, uri, version, algorithm, told["ciphertext"].encode(), {"call": f"POST {path}", "body": body}, answer)


def tokens(records):
    import pkcs11
    from pkcs11 import MGF, Attribute, GCMParams, KeyType, Mechanism, ObjectClass

    def session(module, label):
        tool = os.environ["ENVELOPE_TEST_PKCS11_TOOL"]
        init = [tool, "--module", module, "--slot-index", "0"]
        subprocess.run([*init, "--init-token", "--label", label, "--so-pin", "12345678"], check=True, capture_output=True)
        login = ["--login", "--login-type", "so", "--so-pin", "12345678", "--init-pin", "--new-pin", "123456"]
        subprocess.run([tool, "--module", module, "--token-label", label, *login], check=True, capture_output=True)
        return pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin="123456")

    soft = session(os.environ["ENVELOPE_TEST_SOFTHSM"], "vectors")
    name = "pkcs11-gcm"
    uri, iv = "pkcs11:token=vectors;object=kek", hashlib.shake_128(b"pkcs11-gcm iv").digest(12)
    kek = soft.generate_key(KeyType.AES, 256, label="kek", store=True, mechanism=Mechanism.AES_KEY_GEN)
    gcm = (iv, full_of(name), 128)
    sealed = kek.encrypt(dek_of(name), mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(*gcm))
    opened = kek.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(*gcm))
    request = {"call": "C_Decrypt", "key": uri, "version": "1", "mechanism": "CKM_AES_GCM", "iv": iv.hex()}
    request |= {"aad": full_of(name).hex(), "tag_bits": 128, "data": sealed.hex()}
    record(records, name, uri, "1", "PKCS11-AES-256-GCM", iv + sealed, request, {"value": opened.hex()})

    name = "pkcs11-kwp"
    uri = "pkcs11:token=vectors;object=kwp"
    kek = soft.generate_key(KeyType.AES, 256, label="kwp", store=True, mechanism=Mechanism.AES_KEY_GEN, template={Attribute.WRAP: True, Attribute.UNWRAP: True})
    secret = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.GENERIC_SECRET, Attribute.TOKEN: False}
    secret |= {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
    dek = soft.create_object({**secret, Attribute.VALUE: dek_of(name)})
    wrapped = kek.wrap_key(dek, mechanism=Mechanism.AES_KEY_WRAP_PAD)
    opened = kek.unwrap_key(ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, wrapped, mechanism=Mechanism.AES_KEY_WRAP_PAD, template=secret)
    request = {"call": "C_UnwrapKey", "key": uri, "version": "1", "mechanism": "CKM_AES_KEY_WRAP_PAD", "data": wrapped.hex()}
    record(records, name, uri, "1", "PKCS11-AES-KWP", wrapped, request, {"value": opened[Attribute.VALUE].hex()})
    soft.close()

    other = session(os.environ["ENVELOPE_TEST_KRYOPTIC"], "vectors")
    name = "pkcs11-oaep"
    uri = "pkcs11:token=vectors;object=rsa"
    public, private = other.generate_keypair(KeyType.RSA, 2048, label="rsa", id=b"\1", store=True)
    oaep = {"mechanism": Mechanism.RSA_PKCS_OAEP, "mechanism_param": (Mechanism.SHA256, MGF.SHA256, None)}
    wrapped = public.encrypt(dek_of(name), **oaep)
    request = {"call": "C_Decrypt", "key": uri, "version": "1", "mechanism": "CKM_RSA_PKCS_OAEP", "hash": "CKM_SHA256"}
    request |= {"mgf": "CKG_MGF1_SHA256", "label": "", "data": wrapped.hex()}
    answer = {"value": private.decrypt(wrapped, **oaep).hex()}
    record(records, name, uri, "1", "PKCS11-RSA-OAEP-256", wrapped, request, answer)


def record(records, name, uri, version, algorithm, wrapped, request, answer):
    records[name] = {
        "uri": uri,
        "version": version,
        "algorithm": algorithm,
        "wrapped": b64(wrapped),
        "request": request,
        "answer": answer,
    }
    print(f"{name}: {len(wrapped)} bytes")


def main():
    records = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    asked = sys.argv[1:] or ["aws", "gcp", "azure", "vault", "tokens"]
    for service in asked:
        globals()[service](records)
    RECORDED.write_text(json.dumps(dict(sorted(records.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
