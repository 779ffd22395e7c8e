#!/usr/bin/env python3
"""Wraps and unwraps with Microsoft's own client of Key Vault, for tests of what others wrap.

    client.py wrap KID ALGORITHM          stdin: AAD and plaintext             stdout: KID of the version, ciphertext, IV, tag
    client.py wrap-locally KID ALGORITHM  the same without the service, which is asked for the public key only
    client.py unwrap KID ALGORITHM        stdin: AAD, ciphertext, IV and tag   stdout: plaintext

KID is https://NAME.vault.localhost:PORT/keys/KEY, or that of a version, or of a host under managedhsm.localhost. Bytes are
hex, a line each; ALGORITHM is as Azure calls it, and those of AES-GCM encrypt rather than wrap. The environment variable
ENVELOPE_TEST_AZURE_CA_PEM has the certificate to trust. Ends with 1 and the class and message of the error when the service
refuses.
"""

import atexit
import os
import socket
import sys
import tempfile
import urllib.parse

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm


class Token:
    """A credential: a token that is the name of a role, or of somebody who may do everything."""

    def __init__(self, token="python"):
        self.token = token

    def get_token(self, *scopes, **_):
        # A constant far ahead: the server's clock may be.
        return AccessToken(self.token, 0x7FFFFFFF)


def trust():
    """A file with the certificate to trust, until the end. Names under localhost are loopback from now on."""
    resolve = socket.getaddrinfo

    def resolved(host, *arguments, **named):
        if not isinstance(host, str) or host.split(".")[-1] != "localhost":
            sys.exit("this is for servers on loopback only")
        return resolve("127.0.0.1", *arguments, **named)

    socket.getaddrinfo = resolved
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(os.environ["ENVELOPE_TEST_AZURE_CA_PEM"])
    atexit.register(os.remove, file.name)
    return file.name


def options(ca, **more):
    # The client compares the challenge's host with the vault's and its port, which Azure's has not.
    return {"connection_verify": ca, "verify_challenge_resource": False, "retry_total": 0, **more}


def connect(url, ca, token="python", **more):
    return KeyClient(url, Token(token), **options(ca, **more))


def cryptography(key, ca, token="python", **more):
    """What wraps and unwraps. Given an identifier, it leaves to the service what the service can do."""
    client = CryptographyClient(key, Token(token), **options(ca, **more))
    if isinstance(key, str):
        # As when the caller may not read the key.
        client._keys_get_forbidden = True
    return client


def wrap(client, algorithm, aad, plaintext):
    """Ciphertext, IV and tag."""
    if algorithm.endswith("GCM"):
        named = {"additional_authenticated_data": aad} if aad else {}
        made = client.encrypt(EncryptionAlgorithm(algorithm), plaintext, **named)
        return made.ciphertext, made.iv, made.tag
    return client.wrap_key(KeyWrapAlgorithm(algorithm), plaintext).encrypted_key, b"", b""


def unwrap(client, algorithm, aad, ciphertext, iv, tag):
    if algorithm.endswith("GCM"):
        named = {"additional_authenticated_data": aad} if aad else {}
        named |= {"iv": iv, "authentication_tag": tag}
        return client.decrypt(EncryptionAlgorithm(algorithm), ciphertext, **named).plaintext
    return client.unwrap_key(KeyWrapAlgorithm(algorithm), ciphertext).key


def read(kid, ca):
    """The key, as the service describes it."""
    vault = urllib.parse.urlsplit(kid)
    name, version = (vault.path.split("/") + [""])[2:4]
    return connect(f"https://{vault.netloc}", ca).get_key(name, version or None)


def main():
    try:
        verb, kid, algorithm = sys.argv[1:]
        given = [bytes.fromhex(line) for line in sys.stdin.read().splitlines()]
    except ValueError:
        sys.exit(__doc__)
    ca = trust()
    try:
        if verb == "wrap":
            # The client does not tell which version wrapped, and so one is named.
            kid = read(kid, ca).id
            print(kid, *(part.hex() for part in wrap(cryptography(kid, ca), algorithm, *given)), sep="\n")
        elif verb == "wrap-locally":
            key = read(kid, ca)
            made = CryptographyClient.from_jwk(key.key).wrap_key(KeyWrapAlgorithm(algorithm), given[1])
            print(key.id, made.encrypted_key.hex(), "", "", sep="\n")
        elif verb == "unwrap":
            print(unwrap(cryptography(kid, ca), algorithm, *given).hex())
        else:
            sys.exit(__doc__)
    except HttpResponseError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")


if __name__ == "__main__":
    main()
