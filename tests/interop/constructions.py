"""XAES-256-GCM and Cobblestone-256, as the page writes them out."""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from failures import NotAuthentic, require

CHUNK, TAG = 16384, 16


def gcm_open(key, nonce, sealed, aad, clause):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise NotAuthentic(clause, "the tag of AES-256-GCM") from None


def xaes_open(key, sealed, aad, clause):
    """`sealed` has 40 bytes at least: its caller checks that."""
    nonce, ciphertext = sealed[:24], sealed[24:]
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    zero = aes.update(bytes(16))
    doubled = bytearray((int.from_bytes(zero, "big") << 1 & ((1 << 128) - 1)).to_bytes(16, "big"))
    if zero[0] & 0x80:
        doubled[15] ^= 0x87
    derived = b""
    for counter in (1, 2):
        block = bytes([0, counter, 0x58, 0]) + nonce[:12]
        derived += aes.update(bytes(a ^ b for a, b in zip(block, doubled)))
    return gcm_open(derived, nonce[12:], ciphertext, aad, clause)


def cobblestone_open(key, context, sealed, commitment_clause="P-2", length_clause="P-3", tag_clause="P-6"):
    # Where they are cut off, the commitment is too short to be right.
    salt, commitment, chunks = sealed[:24], sealed[24:56], sealed[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    okm = HKDFExpand(hashes.SHA512(), 76, info).derive(key)
    chunk_key, base_nonce, expected = okm[:32], okm[32:44], okm[44:]
    require(hmac.compare_digest(commitment, expected), commitment_clause, "the commitment", NotAuthentic)
    whole, last = divmod(len(chunks), CHUNK + TAG)
    require(last >= TAG, length_clause, "the last chunk is missing or too short", NotAuthentic)
    out = []
    for number in range(whole + 1):
        nonce = base_nonce[:4] + (int.from_bytes(base_nonce[4:], "big") ^ number).to_bytes(8, "big")
        chunk = chunks[number * (CHUNK + TAG) : (number + 1) * (CHUNK + TAG)]
        out.append(gcm_open(chunk_key, nonce, chunk, b"", tag_clause))
    return b"".join(out)
