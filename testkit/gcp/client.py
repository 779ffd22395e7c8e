#!/usr/bin/env python3
"""Wraps and unwraps with Google's own client of Cloud KMS, for tests of what others wrap.

    client.py wrap URL KEY      stdin: AAD and plaintext in hex, a line each    stdout: version, ciphertext
    client.py unwrap URL KEY    stdin: AAD and ciphertext in hex, a line each   stdout: plaintext

URL is http://127.0.0.1:PORT, KEY is projects/P/locations/L/keyRings/R/cryptoKeys/K. What is written is a line each,
bytes in hex. Ends with 1 and the class and message of the error when the service refuses, with 3 when a checksum is
wrong.
"""

import sys

import google_crc32c
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service.transports.rest import KeyManagementServiceRestTransport


def connect(url):
    scheme, host = url.split("://")
    if scheme != "http" or not host.startswith("127.0.0.1:"):
        sys.exit("this is for servers on loopback only")
    transport = KeyManagementServiceRestTransport(host=host, url_scheme=scheme, credentials=AnonymousCredentials())
    return kms_v1.KeyManagementServiceClient(transport=transport)


def crc32c(data):
    return google_crc32c.value(data)


def encrypt(client, name, plaintext, aad):
    """Encrypts, with every checksum sent and checked."""
    answer = client.encrypt(
        request={
            "name": name,
            "plaintext": plaintext,
            "plaintext_crc32c": crc32c(plaintext),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
    )
    check(answer.verified_plaintext_crc32c, "the plaintext was not verified")
    check(answer.verified_additional_authenticated_data_crc32c, "the additional data were not verified")
    check(answer.ciphertext_crc32c == crc32c(answer.ciphertext), "the ciphertext is damaged")
    return answer


def decrypt(client, name, ciphertext, aad):
    """Decrypts, with every checksum sent and checked."""
    answer = client.decrypt(
        request={
            "name": name,
            "ciphertext": ciphertext,
            "ciphertext_crc32c": crc32c(ciphertext),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
    )
    check(answer.plaintext_crc32c == crc32c(answer.plaintext), "the plaintext is damaged")
    return answer


def check(holds, otherwise):
    if not holds:
        print(otherwise, file=sys.stderr)
        sys.exit(3)


def main():
    try:
        verb, url, key = sys.argv[1:]
        aad, data = (bytes.fromhex(line) for line in sys.stdin.read().splitlines())
    except ValueError:
        sys.exit(__doc__)
    client = connect(url)
    try:
        if verb == "wrap":
            answer = encrypt(client, key, data, aad)
            print(answer.name, answer.ciphertext.hex(), sep="\n")
        elif verb == "unwrap":
            print(decrypt(client, key, data, aad).plaintext.hex())
        else:
            sys.exit(__doc__)
    except GoogleAPICallError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")


if __name__ == "__main__":
    main()
