#!/usr/bin/env python3
"""Google's own client of Cloud KMS against the server at URL: what it does with Google's service, it does here.

    scenarios.py URL

Each function below is a scenario with a key ring of its own. Ends with 1 and the scenario when one fails.
"""

import datetime
import os
import sys
import urllib.request

from google.api_core import exceptions
from google.cloud import kms_v1
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

from checks import check, equal, run
from client import connect, crc32c, decrypt, encrypt

State = kms_v1.CryptoKeyVersion.CryptoKeyVersionState
Level = kms_v1.ProtectionLevel
LOCATION = "projects/python/locations/europe-west3"


def opens_what_it_encrypted_and_nothing_else(client, ring):
    key, other = new_key(client, ring, "k"), new_key(client, ring, "other")
    sealed = encrypt(client, key.name, b"secret", b"context")
    equal(sealed.name, key.primary.name)
    equal(sealed.protection_level, Level.SOFTWARE)
    opened = decrypt(client, key.name, sealed.ciphertext, b"context")
    equal((opened.plaintext, opened.used_primary), (b"secret", True))
    for aad in (b"", b"Context", b"context\0"):
        refused(exceptions.BadRequest, "ciphertext is invalid", decrypt, client, key.name, sealed.ciphertext, aad)
    refused(exceptions.BadRequest, "'name' refers to", decrypt, client, other.name, sealed.ciphertext, b"context")
    for place in (0, 9, len(sealed.ciphertext) - 1):
        changed = bytearray(sealed.ciphertext)
        changed[place] ^= 1
        refused(exceptions.BadRequest, "Decryption failed", decrypt, client, key.name, bytes(changed), b"context")
    for cut in (0, 5, 30, len(sealed.ciphertext) - 1):
        refused(exceptions.BadRequest, "Decryption failed", decrypt, client, key.name, sealed.ciphertext[:cut], b"context")
    empty = encrypt(client, key.name, b"", b"")
    equal(decrypt(client, key.name, empty.ciphertext, b"").plaintext, b"")


def checksums_are_verified_when_sent(client, ring):
    key = new_key(client, ring, "k").name
    plain = client.encrypt(request={"name": key, "plaintext": b"x"})
    equal((plain.verified_plaintext_crc32c, plain.verified_additional_authenticated_data_crc32c), (False, False))
    for field, data in (("plaintext", b"x"), ("additional_authenticated_data", b"y")):
        request = {"name": key, "plaintext": b"x", field: data, field + "_crc32c": crc32c(data) ^ 1}
        refused(exceptions.BadRequest, f"{field}_crc32c did not match", client.encrypt, request=request)
    for field, data in (("ciphertext", plain.ciphertext), ("additional_authenticated_data", b"")):
        request = {"name": key, "ciphertext": plain.ciphertext, field: data, field + "_crc32c": crc32c(data) ^ 1}
        refused(exceptions.BadRequest, f"{field}_crc32c did not match", client.decrypt, request=request)


def sizes_are_limited_by_the_protection_level(client, ring):
    software, hsm = new_key(client, ring, "s").name, new_key(client, ring, "h", protection_level=Level.HSM).name
    equal(encrypt(client, hsm, b"x" * 8000, b"y" * 192).protection_level, Level.HSM)
    refused(exceptions.BadRequest, "no larger than 8192", encrypt, client, hsm, b"x" * 8000, b"y" * 193)
    encrypt(client, software, b"x" * 65536, b"y" * 65536)
    refused(exceptions.BadRequest, "plaintext must be no larger", encrypt, client, software, b"x" * 65537, b"")
    refused(exceptions.BadRequest, "data must be no larger", encrypt, client, software, b"", b"y" * 65537)


def the_primary_version_encrypts_and_every_enabled_one_decrypts(client, ring):
    key = new_key(client, ring, "k")
    old = encrypt(client, key.name, b"old", b"")
    second = client.create_crypto_key_version(parent=key.name, crypto_key_version={})
    equal(second.name, key.name + "/cryptoKeyVersions/2")
    equal(encrypt(client, key.name, b"x", b"").name, key.primary.name)
    equal(encrypt(client, second.name, b"x", b"").name, second.name)
    switched = client.update_crypto_key_primary_version(name=key.name, crypto_key_version_id="2")
    equal(switched.primary.name, second.name)
    equal(encrypt(client, key.name, b"x", b"").name, second.name)
    opened = decrypt(client, key.name, old.ciphertext, b"")
    equal((opened.plaintext, opened.used_primary), (b"old", False))
    refused(exceptions.NotFound, "cryptoKeyVersions/3 not found", client.update_crypto_key_primary_version,
            name=key.name, crypto_key_version_id="3")


def states_go_as_documented(client, ring):
    key = new_key(client, ring, "k", destroy_scheduled_duration=duration_pb2.Duration(seconds=24 * 60 * 60))
    version, sealed = key.primary.name, encrypt(client, key.name, b"x", b"").ciphertext

    def cannot_be_used(state):
        message = f"{version} is not enabled, current state is: {state}."
        for error in (
            refused(exceptions.BadRequest, message, encrypt, client, key.name, b"x", b""),
            refused(exceptions.BadRequest, message, decrypt, client, key.name, sealed, b""),
        ):
            violations = error.details[0]["violations"] if isinstance(error.details[0], dict) else None
            equal(violations, [{"type": "KEY_" + state, "subject": version}])

    def has_value(state, call, *args, **named):
        refused(exceptions.BadRequest, f"has value {state} in field crypto_key_version.state", call, *args, **named)

    has_value("ENABLED", client.restore_crypto_key_version, name=version)
    equal(update_state(client, version, State.DISABLED).state, State.DISABLED)
    cannot_be_used("DISABLED")
    equal(update_state(client, version, State.ENABLED).state, State.ENABLED)
    equal(decrypt(client, key.name, sealed, b"").plaintext, b"x")
    doomed = client.destroy_crypto_key_version(name=version)
    equal(doomed.state, State.DESTROY_SCHEDULED)
    delay = doomed.destroy_time - datetime.datetime.now(datetime.timezone.utc)
    check(datetime.timedelta(hours=23) < delay <= datetime.timedelta(hours=24), delay)
    cannot_be_used("DESTROY_SCHEDULED")
    has_value("DESTROY_SCHEDULED", update_state, client, version, State.ENABLED)
    has_value("DESTROY_SCHEDULED", client.destroy_crypto_key_version, name=version)
    restored = client.restore_crypto_key_version(name=version)
    equal((restored.state, restored.destroy_time), (State.DISABLED, None))
    client.destroy_crypto_key_version(name=version)
    advance(24 * 60 * 60)
    gone = client.get_crypto_key_version(name=version)
    equal(gone.state, State.DESTROYED)
    check(gone.destroy_event_time is not None and gone.destroy_time is None, gone)
    cannot_be_used("DESTROYED")
    has_value("DESTROYED", client.restore_crypto_key_version, name=version)
    for state in ("PENDING_IMPORT", "IMPORT_FAILED", "GENERATION_FAILED", "PENDING_GENERATION",
                  "PENDING_EXTERNAL_DESTRUCTION", "EXTERNAL_DESTRUCTION_FAILED"):
        post(f"/test/state?version={version}&state={state}")
        equal(client.get_crypto_key_version(name=version).state.name, state)
        cannot_be_used(state)
        has_value(state, client.destroy_crypto_key_version, name=version)


def keys_are_rotated_when_their_time_comes(client, ring):
    day = 24 * 60 * 60
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=400)
    key = new_key(client, ring, "k", rotation_period=duration_pb2.Duration(seconds=30 * day), next_rotation_time=tomorrow)
    equal((key.rotation_period.days, key.next_rotation_time), (30, tomorrow))
    advance(401 * day)
    rotated = client.get_crypto_key(name=key.name)
    equal(rotated.primary.name, key.name + "/cryptoKeyVersions/2")
    check(rotated.next_rotation_time > tomorrow, rotated)
    mask = field_mask_pb2.FieldMask(paths=["rotation_period", "next_rotation_time"])
    off = client.update_crypto_key(crypto_key={"name": key.name}, update_mask=mask)
    check("rotation_period" not in off and "next_rotation_time" not in off, off)
    for wrong in ({"rotation_period": duration_pb2.Duration(seconds=30 * day)},
                  {"rotation_period": duration_pb2.Duration(seconds=60),
                   "next_rotation_time": tomorrow + datetime.timedelta(days=4000)},
                  {"next_rotation_time": timestamp_pb2.Timestamp(seconds=1)}):
        refused(exceptions.BadRequest, "rotation", new_key, client, ring, "wrong", **wrong)


def keys_are_described_and_changed(client, ring):
    key = new_key(client, ring, "k", labels={"team": "storage", "state": "enabled"})
    equal(dict(client.get_crypto_key(name=key.name).labels), {"team": "storage", "state": "enabled"})
    mask = field_mask_pb2.FieldMask(paths=["labels"])
    changed = client.update_crypto_key(crypto_key={"name": key.name, "labels": {"team": "backup"}}, update_mask=mask)
    equal(dict(changed.labels), {"team": "backup"})
    equal(changed.destroy_scheduled_duration.days, 30)
    equal(changed.version_template.algorithm.name, "GOOGLE_SYMMETRIC_ENCRYPTION")
    refused(exceptions.BadRequest, "label", new_key, client, ring, "l", labels={"Team": "x"})
    refused(exceptions.BadRequest, "destroy_scheduled_duration", new_key, client, ring, "l",
            destroy_scheduled_duration=duration_pb2.Duration(seconds=60))
    refused(exceptions.BadRequest, "cryptoKeyId", new_key, client, ring, "no blanks")
    refused(exceptions.Conflict, f"CryptoKey {key.name} already exists.", new_key, client, ring, "k")
    refused(exceptions.Conflict, f"KeyRing {ring} already exists.", client.create_key_ring,
            parent=LOCATION, key_ring_id=ring.rsplit("/", 1)[1], key_ring={})
    missing = ring + "/cryptoKeys/missing"
    refused(exceptions.NotFound, f"CryptoKey {missing} not found.", client.get_crypto_key, name=missing)
    refused(exceptions.NotFound, f"CryptoKey {missing} not found.", encrypt, client, missing, b"x", b"")
    refused(exceptions.NotFound, "misrouted", client.get_key_ring, name="projects/p/locations/moon/keyRings/r")


def external_keys_have_their_key_elsewhere(client, ring):
    template = {"protection_level": Level.EXTERNAL, "algorithm": "EXTERNAL_SYMMETRIC_ENCRYPTION"}
    request = {"parent": ring, "crypto_key_id": "k", "crypto_key": {"purpose": "ENCRYPT_DECRYPT", "version_template": template}}
    refused(exceptions.BadRequest, "initial version", client.create_crypto_key, request=request)
    key = client.create_crypto_key(request={**request, "skip_initial_version_creation": True})
    check(not key.primary.name, key)
    refused(exceptions.BadRequest, "no primary version", encrypt, client, key.name, b"x", b"")
    refused(exceptions.BadRequest, "externalKeyUri", client.create_crypto_key_version, parent=key.name, crypto_key_version={})
    uri = "https://ekm.example.com/v0/k"
    made = client.create_crypto_key_version(
        parent=key.name, crypto_key_version={"external_protection_level_options": {"external_key_uri": uri}})
    equal(made.external_protection_level_options.external_key_uri, uri)
    client.update_crypto_key_primary_version(name=key.name, crypto_key_version_id="1")
    equal(encrypt(client, key.name, b"x", b"").protection_level, Level.EXTERNAL)


def everything_is_listed_page_by_page(client, ring):
    names = [new_key(client, ring, f"k{number}").name for number in range(7)]
    pages = list(client.list_crypto_keys(request={"parent": ring, "page_size": 3}).pages)
    equal([len(page.crypto_keys) for page in pages], [3, 3, 1])
    equal([page.total_size for page in pages], [7, 7, 7])
    equal([key.name for page in pages for key in page.crypto_keys], names)
    for _ in range(11):
        client.create_crypto_key_version(parent=names[0], crypto_key_version={})
    versions = list(client.list_crypto_key_versions(request={"parent": names[0], "page_size": 5}))
    equal(sorted(int(version.name.rsplit("/", 1)[1]) for version in versions), list(range(1, 13)))
    check(ring in [known.name for known in client.list_key_rings(request={"parent": LOCATION, "page_size": 1})], ring)
    equal(list(client.list_import_jobs(parent=ring)), [])
    refused(exceptions.BadRequest, "page token", client.list_crypto_keys, request={"parent": ring, "page_token": "x"})
    refused(exceptions.MethodNotImplemented, "filter", client.list_crypto_keys, request={"parent": ring, "filter": "x"})


def import_jobs_expire(client, ring):
    job = client.create_import_job(
        parent=ring, import_job_id="j",
        import_job={"import_method": "RSA_OAEP_4096_SHA256", "protection_level": Level.HSM})
    equal((job.state.name, [known.name for known in client.list_import_jobs(parent=ring)]), ("ACTIVE", [job.name]))
    advance(3 * 24 * 60 * 60)
    expired = client.get_import_job(name=job.name)
    equal(expired.state.name, "EXPIRED")
    check(expired.expire_event_time is not None, expired)


def random_bytes_are_of_the_hsm(client, ring):
    def draw(length, level=Level.HSM):
        return client.generate_random_bytes(location=LOCATION, length_bytes=length, protection_level=level)

    for length in (8, 32, 1024):
        drawn = draw(length)
        equal((len(drawn.data), drawn.data_crc32c), (length, crc32c(drawn.data)))
    check(draw(32).data != draw(32).data, "the same bytes twice")
    for length in (0, 7, 1025):
        refused(exceptions.BadRequest, "length_bytes", draw, length)
    refused(exceptions.BadRequest, "HSM", draw, 32, Level.SOFTWARE)


def new_key(client, ring, name, protection_level=Level.SOFTWARE, **fields):
    key = {"purpose": "ENCRYPT_DECRYPT", "version_template": {"protection_level": protection_level}, **fields}
    return client.create_crypto_key(parent=ring, crypto_key_id=name, crypto_key=key)


def update_state(client, version, state):
    mask = field_mask_pb2.FieldMask(paths=["state"])
    return client.update_crypto_key_version(crypto_key_version={"name": version, "state": state}, update_mask=mask)


def refused(kind, message, call, *args, **named):
    """Calls, and returns the error if it is of the very class and holds the message."""
    try:
        answer = call(*args, **named)
    except exceptions.GoogleAPICallError as error:
        equal(type(error), kind)
        check(message in error.message, error.message)
        return error
    raise AssertionError(f"not refused ({message}): {answer}")


def advance(seconds):
    post(f"/test/advance?seconds={seconds}")


def post(path):
    urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, data=b""), timeout=60).read()


SCENARIOS = (
    opens_what_it_encrypted_and_nothing_else,
    checksums_are_verified_when_sent,
    sizes_are_limited_by_the_protection_level,
    the_primary_version_encrypts_and_every_enabled_one_decrypts,
    states_go_as_documented,
    keys_are_rotated_when_their_time_comes,
    keys_are_described_and_changed,
    external_keys_have_their_key_elsewhere,
    everything_is_listed_page_by_page,
    import_jobs_expire,
    random_bytes_are_of_the_hsm,
)


def main():
    client = connect(sys.argv[1])

    def prepare(_, scenario):
        # The clock of the server goes ahead only, and so a scenario must not rest on what another made.
        ring_id = f"{scenario.__name__[:40]}-{os.getpid()}"
        return client, client.create_key_ring(parent=LOCATION, key_ring_id=ring_id, key_ring={}).name

    run(SCENARIOS, prepare)


if __name__ == "__main__":
    main()
