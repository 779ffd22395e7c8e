#!/usr/bin/env python3
"""Microsoft's own client of Key Vault against the server at PORT: what it does with Azure's service, it does here.

    scenarios.py PORT

Each function below is a scenario with a Key Vault and a Managed HSM of its own. ENVELOPE_TEST_AZURE_CA_PEM has the
certificate to trust. Ends with 1 and the scenario when one fails.
"""

import datetime
import os
import ssl
import sys
import urllib.request

from azure.core import exceptions
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient, KeyOperation, KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

from checks import check, equal, run
from client import connect, cryptography, options, trust, unwrap, wrap

PORT = sys.argv[1]
CA = trust()
OAEP = "RSA-OAEP-256"
DAY = 24 * 60 * 60
TENANT = "00000000-0000-4000-8000-000000000001"


def wraps_by_rsa_with_the_service_and_without(vault, hsm):
    for client, kind in ((vault, "RSA"), (vault, "RSA-HSM"), (hsm, "RSA-HSM")):
        key = client.create_rsa_key("k", size=3072, hardware_protected=kind == "RSA-HSM")
        equal((key.key_type, len(key.key.n), key.key.e), (kind, 384, b"\1\0\1"))
        service = cryptography(key.id, CA)
        wrapped, *_ = wrap(service, OAEP, b"", b"secret")
        equal(unwrap(service, OAEP, b"", wrapped, b"", b""), b"secret")
        # The public key alone, as anybody may have it.
        local = CryptographyClient.from_jwk(key.key).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"local").encrypted_key
        equal(unwrap(service, OAEP, b"", local, b"", b""), b"local")
        changed = bytearray(wrapped)
        changed[7] ^= 1
        refused(exceptions.HttpResponseError, 400, "value", unwrap, service, OAEP, b"", bytes(changed), b"", b"")
        # 384 bytes less two digests and two.
        wrap(service, OAEP, b"", b"x" * 318)
        refused(exceptions.HttpResponseError, 400, "value", wrap, service, OAEP, b"", b"x" * 319)
        refused(exceptions.HttpResponseError, 400, "A256KW", wrap, service, "A256KW", b"", b"x" * 32)


def encrypts_by_aes_gcm_with_additional_data(vault, hsm):
    key = hsm.create_oct_key("k", size=256, hardware_protected=True)
    equal((key.key_type, key.key.k, key.key.n), ("oct-HSM", None, None))
    service = cryptography(key.id, CA)
    sealed = wrap(service, "A256GCM", b"context", b"secret")
    equal([len(part) for part in sealed], [6, 12, 16])
    equal(unwrap(service, "A256GCM", b"context", *sealed), b"secret")
    check(wrap(service, "A256GCM", b"context", b"secret")[1] != sealed[1], "each has a nonce of its own")
    for aad in (b"", b"Context", b"context\0"):
        refused(exceptions.HttpResponseError, 400, "tag is not valid", unwrap, service, "A256GCM", aad, *sealed)
    for place in range(3):
        parts = [bytearray(part) for part in sealed]
        parts[place][0] ^= 1
        refused(exceptions.HttpResponseError, 400, "tag is not valid", unwrap, service, "A256GCM", b"context", *map(bytes, parts))
    refused(exceptions.HttpResponseError, 400, "A128GCM", wrap, service, "A128GCM", b"", b"x")
    refused(exceptions.HttpResponseError, 400, "kty", vault.create_oct_key, "k", size=256, hardware_protected=True)


def wraps_by_aes_key_wrap(vault, hsm):
    service = cryptography(hsm.create_oct_key("k", size=256, hardware_protected=True).id, CA)
    wrapped, *_ = wrap(service, "A256KW", b"", b"k" * 32)
    equal(len(wrapped), 40)
    equal(unwrap(service, "A256KW", b"", wrapped, b"", b""), b"k" * 32)
    refused(exceptions.HttpResponseError, 400, "value", unwrap, service, "A256KW", b"", wrapped[:-1] + b"\0", b"", b"")
    refused(exceptions.HttpResponseError, 400, "value", wrap, service, "A256KW", b"", b"k" * 31)


def every_version_opens_what_it_wrapped(vault, hsm):
    first = vault.create_rsa_key("k", size=2048, tags={"team": "storage"})
    wrapped, *_ = wrap(cryptography(first.id, CA), OAEP, b"", b"secret")
    second = vault.rotate_key("k")
    check(second.properties.version != first.properties.version and second.key.n != first.key.n, "another key")
    equal((second.properties.tags, vault.get_key("k").id), ({"team": "storage"}, second.id))
    third = vault.create_rsa_key("k", size=2048)
    equal(vault.get_key("k").id, third.id)
    versions = [version.id for version in vault.list_properties_of_key_versions("k")]
    equal(versions, sorted(each.id for each in (first, second, third)))
    equal(unwrap(cryptography(first.id, CA), OAEP, b"", wrapped, b"", b""), b"secret")
    for other in (second.id, third.id):
        refused(exceptions.HttpResponseError, 400, "value", unwrap, cryptography(other, CA), OAEP, b"", wrapped, b"", b"")
    missing = vault.vault_url + "/keys/k/" + "0" * 32
    refused(exceptions.ResourceNotFoundError, 404, "was not found", unwrap, cryptography(missing, CA), OAEP, b"", wrapped, b"", b"")
    equal(list(vault.list_properties_of_key_versions("none")), [])


def disabled_keys_do_nothing_and_those_out_of_time_open_only(vault, hsm):
    key = vault.create_rsa_key("k", size=2048)
    service = cryptography(key.id, CA)
    wrapped, *_ = wrap(service, OAEP, b"", b"secret")
    now = datetime.datetime.now(datetime.timezone.utc)

    def cannot(operation, inner, message, *call):
        error = refused(exceptions.HttpResponseError, 403, f"Operation {operation} is {message}", *call)
        equal((error.error.code, error.error.innererror["code"]), ("Forbidden", inner))

    vault.update_key_properties("k", enabled=False)
    cannot("wrapKey", "KeyDisabled", "not allowed on a disabled key.", wrap, service, OAEP, b"", b"x")
    cannot("unwrapKey", "KeyDisabled", "not allowed on a disabled key.", unwrap, service, OAEP, b"", wrapped, b"", b"")
    equal(vault.get_key("k").properties.enabled, False)
    far = now + datetime.timedelta(days=20000)
    vault.update_key_properties("k", enabled=True, not_before=far)
    cannot("wrapKey", "KeyNotYetValid", "not allowed on a not yet valid key.", wrap, service, OAEP, b"", b"x")
    equal(unwrap(service, OAEP, b"", wrapped, b"", b""), b"secret")
    past = datetime.datetime.fromtimestamp(2000, datetime.timezone.utc)
    changed = vault.update_key_properties("k", not_before=past - datetime.timedelta(seconds=1), expires_on=past)
    equal(changed.properties.expires_on, past)
    cannot("wrapKey", "KeyExpired", "not allowed on an expired key.", wrap, service, OAEP, b"", b"x")
    equal(unwrap(service, OAEP, b"", wrapped, b"", b""), b"secret")
    only = vault.create_rsa_key("only", size=2048, key_operations=[KeyOperation.wrap_key])
    equal(only.key_operations, ["wrapKey"])
    cannot("unwrapKey", "KeyOperationForbidden", "not permitted on this key.",
           unwrap, cryptography(only.id, CA), OAEP, b"", wrapped, b"", b"")
    curve = vault.create_ec_key("e", curve="P-384")
    equal((len(curve.key.x), len(curve.key.y), curve.key.crv), (48, 48, "P-384"))
    cannot("wrapKey", "KeyOperationForbidden", "not permitted on this key.", wrap, cryptography(curve.id, CA), OAEP, b"", b"x")


def deleted_keys_can_be_recovered_until_they_are_purged(vault, hsm):
    for client in (vault, hsm):
        key = client.create_rsa_key("k", size=2048)
        wrapped, *_ = wrap(cryptography(key.id, CA), OAEP, b"", b"secret")
        deleted = client.begin_delete_key("k").result()
        equal(deleted.recovery_id, client.vault_url + "/deletedkeys/k")
        equal(deleted.scheduled_purge_date - deleted.deleted_date, datetime.timedelta(days=90))
        refused(exceptions.ResourceNotFoundError, 404, "(KeyNotFound) A key with (name/id) k was not", client.get_key, "k")
        refused(exceptions.ResourceNotFoundError, 404, "k", unwrap, cryptography(key.id, CA), OAEP, b"", wrapped, b"", b"")
        error = refused(exceptions.ResourceExistsError, 409, "can only be recovered or purged", client.create_rsa_key, "k")
        equal((error.error.code, error.error.innererror["code"]), ("Conflict", "ObjectIsDeletedButRecoverable"))
        equal([each.name for each in client.list_deleted_keys()], ["k"])
        equal(client.get_deleted_key("k").id, key.id)
        equal(client.begin_recover_deleted_key("k").result().id, key.id)
        equal(unwrap(cryptography(key.id, CA), OAEP, b"", wrapped, b"", b""), b"secret")
        client.begin_delete_key("k").wait()
        equal(client.purge_deleted_key("k"), None)
        refused(exceptions.ResourceNotFoundError, 404, "Deleted Key not found: k", client.get_deleted_key, "k")
        refused(exceptions.ResourceNotFoundError, 404, "Deleted Key not found: k", client.purge_deleted_key, "k")
        equal(list(client.list_deleted_keys()), [])
        check(client.create_rsa_key("k", size=2048).id != key.id, "the name is free again")


def the_rotation_policy_rotates(vault, hsm):
    first = vault.create_rsa_key("k", size=2048)
    policy = vault.get_key_rotation_policy("k")
    equal([(action.action, action.time_before_expiry) for action in policy.lifetime_actions], [("Notify", "P30D")])
    rotate = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
    put = vault.update_key_rotation_policy("k", KeyRotationPolicy(), lifetime_actions=[rotate], expires_in="P90D")
    equal((put.expires_in, put.lifetime_actions[0].time_after_create), ("P90D", "P30D"))
    advance(29 * DAY)
    equal(vault.get_key("k").id, first.id)
    advance(1 * DAY)
    second = vault.get_key("k").properties
    check(second.id != first.id, "it was rotated")
    equal(second.expires_on - second.created_on, datetime.timedelta(days=90))
    soon = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P6D")
    refused(exceptions.HttpResponseError, 400, "at least 7 days", vault.update_key_rotation_policy, "k", KeyRotationPolicy(),
            lifetime_actions=[soon])
    refused(exceptions.ResourceNotFoundError, 404, "none", vault.get_key_rotation_policy, "none")


def everything_is_listed_page_by_page(vault, hsm):
    names = [f"k{number:02}" for number in range(28)]
    for name in names:
        hsm.create_oct_key(name, size=256, hardware_protected=True)
    equal([key.name for key in hsm.list_properties_of_keys()], names)
    pages = [[key.name for key in page] for page in hsm.list_properties_of_keys(max_page_size=10).by_page()]
    equal([len(page) for page in pages], [10, 10, 8])
    equal(sum(pages, []), names)
    for name in names[:26]:
        hsm.begin_delete_key(name).wait()
    equal([key.name for key in hsm.list_deleted_keys()], names[:26])
    refused(exceptions.HttpResponseError, 400, "maxresults", list, hsm.list_properties_of_keys(max_page_size=26))


def roles_allow_what_they_are_for(vault, hsm):
    key = vault.create_rsa_key("k", size=2048)
    as_role = lambda role: connect(vault.vault_url, CA, role)
    calls = {
        "read": lambda role: as_role(role).get_key("k"),
        "list": lambda role: list(as_role(role).list_properties_of_keys()),
        "wrap": lambda role: wrap(cryptography(key.id, CA, role), OAEP, b"", b"x"),
        "update": lambda role: as_role(role).update_key_properties("k", tags={"by": role}),
        "create": lambda role: as_role(role).create_rsa_key("k2", size=2048),
    }
    for role, may in (("cryptoUser", "read list wrap update"), ("serviceEncryptionUser", "read list wrap"),
                      ("cryptoOfficer", "read list wrap update create"), ("reader", "read list"), ("nobody", "")):
        for name, call in calls.items():
            if name in may.split():
                call(role)
                continue
            error = refused(exceptions.HttpResponseError, 403, "not authorized to perform action", call, role)
            equal(error.error.innererror["code"], "ForbiddenByRbac")
    refused(exceptions.ClientAuthenticationError, 401, "TokenExpired", calls["read"], "expired")


def tokens_are_handed_out_for_a_secret(vault, hsm):
    login = {"authority": f"https://login.localhost:{PORT}", "disable_instance_discovery": True, "connection_verify": CA}
    for url in (vault.vault_url, hsm.vault_url):
        credential = ClientSecretCredential(TENANT, "cryptoOfficer", "secret", **login)
        client = KeyClient(url, credential, **options(CA))
        equal(client.create_rsa_key("k", size=2048).name, "k")
        wrong = KeyClient(url, ClientSecretCredential(TENANT, "cryptoOfficer", "wrong", **login), **options(CA))
        try:
            wrong.get_key("k")
        except exceptions.ClientAuthenticationError as error:
            check("AADSTS7000215" in error.message, error.message)
        else:
            raise AssertionError("a wrong secret was taken")


def too_many_calls_are_told_to_wait(vault, hsm):
    vault.create_rsa_key("k", size=2048)
    post("/test/throttle?calls=1&seconds=7")
    error = refused(exceptions.HttpResponseError, 429, "(Throttled) Request was not processed", vault.get_key, "k")
    equal(error.response.headers["retry-after"], "7")
    vault.get_key("k")
    post("/test/throttle?calls=2&seconds=0")
    equal(connect(vault.vault_url, CA, retry_total=3, retry_backoff_factor=0).get_key("k").name, "k")


def keys_are_described_and_what_is_not_offered_is_refused(vault, hsm):
    key = vault.create_rsa_key("Name-1", size=4096, tags={"team": "storage"}, enabled=False)
    equal((key.name, len(key.key.n), key.properties.tags), ("Name-1", 512, {"team": "storage"}))
    equal((key.properties.enabled, key.properties.exportable, key.properties.recoverable_days), (False, False, 90))
    equal(key.properties.recovery_level, "Recoverable+Purgeable")
    equal(vault.get_key("name-1").id, key.id)
    equal(vault.update_key_properties("Name-1", tags={}).properties.tags, {})
    refused(exceptions.HttpResponseError, 400, "invalid name", vault.create_rsa_key, "no_underscores")
    refused(exceptions.HttpResponseError, 400, "key_size", vault.create_rsa_key, "k", size=1024)
    refused(exceptions.HttpResponseError, 501, "backups", vault.backup_key, "Name-1")
    refused(exceptions.HttpResponseError, 501, "import", vault.import_key, "k", key.key)
    equal(len(hsm.get_random_bytes(32)), 32)
    refused(exceptions.ResourceNotFoundError, 404, "rng", vault.get_random_bytes, 32)


def refused(kind, status, message, call, *args, **named):
    """Calls, and returns the error if it is of the very class and status and holds the message."""
    try:
        answer = call(*args, **named)
    except exceptions.HttpResponseError as error:
        equal((type(error), error.status_code), (kind, status))
        check(message in error.message, error.message)
        return error
    raise AssertionError(f"not refused ({message}): {answer}")


def advance(seconds):
    post(f"/test/advance?seconds={seconds}")


def post(path):
    request = urllib.request.Request(f"https://localhost:{PORT}{path}", data=b"")
    urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=CA)).read()


SCENARIOS = (
    wraps_by_rsa_with_the_service_and_without,
    encrypts_by_aes_gcm_with_additional_data,
    wraps_by_aes_key_wrap,
    every_version_opens_what_it_wrapped,
    disabled_keys_do_nothing_and_those_out_of_time_open_only,
    deleted_keys_can_be_recovered_until_they_are_purged,
    the_rotation_policy_rotates,
    everything_is_listed_page_by_page,
    roles_allow_what_they_are_for,
    tokens_are_handed_out_for_a_secret,
    too_many_calls_are_told_to_wait,
    keys_are_described_and_what_is_not_offered_is_refused,
)


def prepare(number, _):
    # Several runs may have one server.
    name = f"s{number}-{os.getpid()}"
    return [connect(f"https://{name}.{domain}.localhost:{PORT}", CA) for domain in ("vault", "managedhsm")]


if __name__ == "__main__":
    run(SCENARIOS, prepare)
