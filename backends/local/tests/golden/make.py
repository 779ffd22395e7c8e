"""Makes golden.json: a passphrase recipient and a keystore, written without this library.

    python3 make.py > golden.json          (needs `cryptography` 50 or later)

Argon2id, Cobblestone-256, HKDF, HMAC and AES come from `cryptography`; XAES-256-GCM is written out after the C2SP page.
"""

import base64, hashlib, hmac, json, os, struct

from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def b64(data):
    return base64.b64encode(data).decode()


def str16(text):
    return struct.pack(">H", len(text.encode())) + text.encode()


def argon2id(passphrase, salt, m, t, p):
    return Argon2id(salt=salt, length=32, iterations=t, lanes=p, memory_cost=m).derive(passphrase.encode())


def cobblestone(key, context, plaintext):
    encryptor = Cobblestone256Encryptor(key, context)
    return encryptor.update(plaintext) + encryptor.finalize()


def expand(key, info):
    return HKDFExpand(algorithm=SHA256(), length=32, info=info).derive(key)


def aes(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def xaes(key, plaintext, aad):
    nonce = os.urandom(24)
    l = int.from_bytes(aes(key, bytes(16)), "big")
    k1 = (l << 1) & (2**128 - 1) ^ (0x87 if l >> 127 else 0)
    message = lambda i: bytes([0, i]) + b"X\0" + nonce[:12]
    derived = b"".join(aes(key, (int.from_bytes(message(i), "big") ^ k1).to_bytes(16, "big")) for i in (1, 2))
    return nonce + AESGCM(derived).encrypt(nonce[12:], plaintext, aad)


def wrap_binding(uri, version, context):
    encoded = struct.pack(">H", len(context)) + b"".join(str16(k) + str16(v) for k, v in sorted(context.items()))
    return b"envelope-v1\0\0\1\3" + str16(uri) + str16(version) + encoded


passphrase = "Tür \u00e9 e\u0301 🔑"
context = {"purpose": "golden", "tenant": "42"}
m, t, p = 19456, 2, 3

dek = os.urandom(32)
salt = os.urandom(16)
sealed = cobblestone(argon2id(passphrase, salt, m, t, p), wrap_binding("passphrase:", "", context), dek)
recipient = {"dek": dek.hex(), "wrapped": (struct.pack(">IIB", m, t, p) + salt + sealed).hex()}

keystore_id = os.urandom(16).hex()
salt = os.urandom(16)
keystore_key = os.urandom(32)
binding = b"envelope-keystore-v1 keystore key\0" + keystore_id.encode() + struct.pack(">III", m, t, p) + salt
mac_key = expand(keystore_key, b"envelope-keystore-v1 mac")
wrapping_key = expand(keystore_key, b"envelope-keystore-v1 wrap")


def version(name, number, state, kek):
    aad = b"envelope-keystore-v1 kek\0" + keystore_id.encode() + bytes([len(name)]) + name.encode()
    wrapped = kek and b64(xaes(wrapping_key, kek, aad + struct.pack(">I", number)))
    return {"version": number, "state": state, "created": 1767225600 + number, "wrapped_kek": wrapped}


keks = [os.urandom(32), os.urandom(32)]
name = "backup"
versions = [version(name, 1, "deactivated", keks[0]), version(name, 2, "active", keks[1])]
gone = [version("gone", 1, "destroyed", None)]
keystore = {
    "envelope_keystore": 1,
    "id": keystore_id,
    "generation": 3,
    "argon2id": {"m_cost": m, "t_cost": t, "p_cost": p, "salt": b64(salt)},
    "keystore_key": b64(cobblestone(argon2id(passphrase, salt, m, t, p), binding, keystore_key)),
    "keys": {
        "backup": {"state": "active", "archived": False, "created": 1767225601, "versions": versions},
        "gone": {"state": "destroyed", "archived": False, "created": 1767225601, "versions": gone},
    },
}
text = json.dumps(keystore, indent=2) + "\n"
keystore["mac"] = b64(hmac.new(mac_key, text.encode(), hashlib.sha256).digest())
uri = f"local://{keystore_id}/{name}"
wrapped = [
    {"version": str(number), "dek": dek.hex(), "wrapped": xaes(kek, dek, wrap_binding(uri, str(number), context)).hex()}
    for number, kek in enumerate(keks, 1)
]
golden = {
    "passphrase": passphrase,
    "context": context,
    "recipient": recipient,
    "keystore": json.dumps(keystore, indent=2) + "\n",
    "uri": uri,
    "wrapped": wrapped,
}
print(json.dumps(golden, indent=2))
