"""Class `recipients`."""

from .base import (
    AUTH,
    Env,
    FORMAT,
    Kek,
    NOKEY,
    UNSUPPORTED,
    URI_AWS,
    URI_AZURE,
    URI_GCP,
    URI_P11,
    URI_VAULT,
    flip,
    put_env,
    simple,
)


def recipients():
    def bent(label, spec, comment, bend, expect=FORMAT, keys=None, **more):
        name = f"recipients/{label}"
        env, kek = simple(name)
        bend(env)
        put_env(name, expect, spec, comment, env, [kek] if keys is None else keys(env), **more)

    bent("count-0", "H-9", "No recipient; the MAC fits.", lambda e: e.recipients.clear())
    bent("count-17", "H-9", "17 recipients; the MAC fits.", lambda e: [e.to_kek(e.kek(f"k{i}")) for i in range(16)])
    bent("count-0-with-recipient", "H-9", "A recipient behind a count of 0; the MAC fits.", lambda e: setattr(e, "count", 0))
    bent("count-2-with-one", "H-7", "One recipient behind a count of 2; the MAC fits.", lambda e: setattr(e, "count", 2))
    bent("count-255", "H-9", "A count of 255; the MAC fits.", lambda e: setattr(e, "count", 255))
    bent("repeated", "R-5", "The same recipient twice; the MAC fits.", lambda e: e.recipients.append(e.recipients[0]))
    bent("repeated-not-adjacent", "R-5", "Key and version twice, with one between; the MAC fits.", lambda e: e.other(URI_AWS).to_kek(e.kek()))
    bent("repeated-other-algorithm", "R-5", "Key and version twice with two algorithms; the MAC fits.", lambda e: e.other(e.kek().uri, b"1", b"OTHER"))
    bent("version-513", "R-2", "A key version of 513 bytes; the MAC fits.", lambda e: e.other(URI_AWS, b"v" * 513))
    bent("version-257-letters-of-2-bytes", "R-2", "A key version of 514 bytes and 257 letters; the MAC fits.", lambda e: e.other(URI_AWS, "é".encode() * 257))
    bent("version-not-utf8", "R-2", "A key version that is not UTF-8; the MAC fits.", lambda e: e.other(URI_AWS, b"\xff"))
    bent("algorithm-empty", "R-3", "An empty algorithm; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b""))
    bent("algorithm-space", "R-3", "A space in the algorithm; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b"AWS KMS"))
    bent("algorithm-not-ascii", "R-3", "An algorithm with é; the MAC fits.", lambda e: e.other(URI_AWS, algorithm="AWS-é".encode()))
    bent("algorithm-nul", "R-3", "An algorithm with a zero byte; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b"AWS-KMS\0"))
    bent("algorithm-slash", "R-3", "A slash in the algorithm; the MAC fits.", lambda e: e.other(URI_AWS, algorithm=b"AWS/KMS"))
    bent("wrapped-dek-empty", "R-4", "An empty wrapped DEK; the MAC fits.", lambda e: e.other(URI_AWS, length=0))
    bent("wrapped-dek-4097", "R-4", "A wrapped DEK of 4097 bytes; the MAC fits.", lambda e: e.other(URI_AWS, length=4097))
    name = "recipients/two-passphrases"
    env = Env(name).to_passphrase("one")
    env.to_passphrase("two", version=b"2")
    env.recipients[1].version = b""
    put_env(name, FORMAT, "R-5 R-6", "Two passphrases; the MAC fits.", env, [], passphrase="one")
    name = "recipients/two-passphrases-with-versions"
    env = Env(name).to_passphrase("one").to_passphrase("two", version=b"2")
    put_env(name, FORMAT, "R-6", "Two passphrases told apart by a key version; the MAC fits.", env, [], passphrase="one")

    bad_uris = [
        ("empty", b"", "U-1"),
        ("one-byte", b"a", "U-2"),
        ("length-2049", b"examplekms:" + b"k" * 2038, "U-1"),
        ("space", b"examplekms:a b", "U-1"),
        ("newline", b"examplekms:ab\n", "U-1"),
        ("not-ascii", "examplekms:ké".encode(), "U-1"),
        ("not-utf8", b"examplekms:\xff", "U-1"),
        ("fragment", URI_AWS + b"#x", "U-1"),
        ("query", URI_P11 + b"?pin-value=1234", "U-1"),
        ("query-empty", URI_AWS + b"?", "U-1"),
        ("no-scheme", b"just-a-name", "U-2"),
        ("scheme-empty", b":key", "U-2"),
        ("scheme-digit-first", b"1kms:key", "U-2"),
        ("scheme-underscore", b"my_kms:key", "U-2"),
        ("scheme-upper-case", b"AWSKMS" + URI_AWS[6:], "U-2"),
        ("scheme-upper-case-other", b"ExampleKMS:key", "U-2"),
        ("aws-bare-arn", URI_AWS[10:], "U-3 U-9"),
        ("aws-two-slashes", b"awskms://" + URI_AWS[10:], "U-3"),
        ("aws-hyphenated-scheme", b"aws-kms:///" + URI_AWS[10:], "U-9"),
        ("aws-alias", b"awskms:///arn:aws:kms:eu-central-1:111122223333:alias/name", "U-3"),
        ("aws-account-11-digits", b"awskms:///arn:aws:kms:eu-central-1:11112222333:key/1", "U-3"),
        ("aws-account-13-digits", b"awskms:///arn:aws:kms:eu-central-1:1111222233334:key/1", "U-3"),
        ("aws-account-letter", b"awskms:///arn:aws:kms:eu-central-1:11112222333a:key/1", "U-3"),
        ("aws-partition-empty", b"awskms:///arn::kms:eu-central-1:111122223333:key/1", "U-3"),
        ("aws-partition-upper-case", b"awskms:///arn:AWS:kms:eu-central-1:111122223333:key/1", "U-3"),
        ("aws-partition-underscore", b"awskms:///arn:aws_cn:kms:eu-central-1:111122223333:key/1", "U-3"),
        ("aws-region-empty", b"awskms:///arn:aws:kms::111122223333:key/1", "U-3"),
        ("aws-region-dot", b"awskms:///arn:aws:kms:eu.central:111122223333:key/1", "U-3"),
        ("aws-key-id-underscore", b"awskms:///arn:aws:kms:eu-central-1:111122223333:key/mrk_1", "U-3"),
        ("aws-key-id-slash", b"awskms:///arn:aws:kms:eu-central-1:111122223333:key/a/b", "U-3"),
        ("aws-key-id-dot", b"awskms:///arn:aws:kms:eu-central-1:111122223333:key/a.b", "U-3"),
        ("aws-region-upper-case", b"awskms:///arn:aws:kms:EU-central-1:111122223333:key/1", "U-3"),
        ("aws-other-service", b"awskms:///arn:aws:s3:eu-central-1:111122223333:key/1", "U-3"),
        ("aws-key-id-empty", b"awskms:///arn:aws:kms:eu-central-1:111122223333:key/", "U-3"),
        ("gcp-bare", URI_GCP[9:], "U-2 U-4"),
        ("gcp-hyphenated-scheme", b"gcp-kms://" + URI_GCP[9:], "U-9"),
        ("gcp-version", URI_GCP + b"/cryptoKeyVersions/1", "U-4"),
        ("gcp-lower-case-segment", URI_GCP.replace(b"keyRings", b"keyrings"), "U-4"),
        ("gcp-empty-location", b"gcpkms://projects/p/locations//keyRings/r/cryptoKeys/k", "U-4"),
        ("gcp-project-underscore", URI_GCP.replace(b"p-1", b"p_1"), "U-4"),
        ("gcp-project-empty", b"gcpkms://projects//locations/l/keyRings/r/cryptoKeys/k", "U-4"),
        ("gcp-location-dot", b"gcpkms://projects/p/locations/l.m/keyRings/r/cryptoKeys/k", "U-4"),
        ("gcp-location-colon", b"gcpkms://projects/p/locations/l:m/keyRings/r/cryptoKeys/k", "U-4"),
        ("gcp-key-ring-dot", b"gcpkms://projects/p/locations/l/keyRings/r.s/cryptoKeys/k", "U-4"),
        ("gcp-key-ring-empty", b"gcpkms://projects/p/locations/l/keyRings//cryptoKeys/k", "U-4"),
        ("gcp-key-dot", b"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k.l", "U-4"),
        ("gcp-key-empty", b"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/", "U-4"),
        ("azure-https", b"https" + URI_AZURE[13:], "U-9"),
        ("azure-azurekms", b"azurekms" + URI_AZURE[13:], "U-9"),
        ("azure-version", URI_AZURE + b"/0123456789abcdef", "U-5"),
        ("azure-trailing-slash", URI_AZURE + b"/", "U-5"),
        ("azure-host-upper-case", b"azurekeyvault://Vault-1.vault.azure.net/keys/key-1", "U-5"),
        ("azure-userinfo", b"azurekeyvault://u:p@vault-1.vault.azure.net/keys/key-1", "U-5"),
        ("azure-other-host", b"azurekeyvault://vault-1.vault.azure.net.example.org/keys/key-1", "U-5"),
        ("azure-host-empty", b"azurekeyvault://.vault.azure.net/keys/key-1", "U-5"),
        ("azure-host-underscore", b"azurekeyvault://vault_1.vault.azure.net/keys/key-1", "U-5"),
        ("azure-name-underscore", b"azurekeyvault://vault-1.vault.azure.net/keys/key_1", "U-5"),
        ("azure-name-dot", b"azurekeyvault://vault-1.vault.azure.net/keys/key.1", "U-5"),
        ("azure-name-empty", b"azurekeyvault://vault-1.vault.azure.net/keys/", "U-5"),
        ("azure-port", b"azurekeyvault://vault-1.vault.azure.net:443/keys/key-1", "U-5"),
        ("azure-subdomain", b"azurekeyvault://a.b.vault.azure.net/keys/key-1", "U-5"),
        ("azure-secrets", b"azurekeyvault://vault-1.vault.azure.net/secrets/key-1", "U-5"),
        ("vault-openbao", b"openbao" + URI_VAULT[10:], "U-9"),
        ("vault-no-mount", b"hashivault://key-1", "U-10"),
        ("vault-no-authority", b"hashivault:transit/key-1", "U-10"),
        ("vault-address", b"hashivault://vault.example.org:8200/transit/key-1", "U-10"),
        ("vault-userinfo", b"hashivault://token@transit/key-1", "U-10"),
        ("vault-empty-segment", b"hashivault://teams//transit/key-1", "U-10"),
        ("vault-leading-slash", b"hashivault:///transit/key-1", "U-10"),
        ("vault-trailing-slash", b"hashivault://transit/key-1/", "U-10"),
        ("vault-parent-folder", b"hashivault://transit/../sys/key-1", "U-10"),
        ("vault-this-folder", b"hashivault://./transit/key-1", "U-10"),
        ("vault-escape", b"hashivault://transit%2Fkeys/key-1", "U-10"),
        ("vault-key-hyphen-first", b"hashivault://transit/-key", "U-10"),
        ("vault-key-tilde", b"hashivault://transit/k~y", "U-10"),
        ("vault-mount-tilde", b"hashivault://tran~sit/key", "U-10"),
        ("vault-key-empty", b"hashivault://transit/", "U-10"),
        ("vault-key-dot-first", b"hashivault://transit/.key", "U-10"),
        ("vault-key-hyphen-last", b"hashivault://transit/key-", "U-10"),
        ("vault-key-dot-last", b"hashivault://transit/key.", "U-10"),
        ("pkcs11-order", b"pkcs11:object=kek;token=my%20token", "U-6 H-12"),
        ("pkcs11-lower-case-escape", b"pkcs11:token=my%2ftoken;object=kek", "U-6"),
        ("pkcs11-needless-escape", b"pkcs11:token=%74;object=kek", "U-6"),
        *[(f"pkcs11-needless-escape-{ord(c):02x}", f"pkcs11:token=%{ord(c):02X};object=kek".encode(), "U-6") for c in "A0._~-"],
        ("pkcs11-missing-escape", b"pkcs11:token=my+token;object=kek", "U-6"),
        ("pkcs11-id-not-escaped", b"pkcs11:token=t;id=A", "U-6"),
        ("pkcs11-pin", b"pkcs11:token=t;object=kek;pin-value=1234", "U-6"),
        ("pkcs11-repeated", b"pkcs11:token=t;token=t;object=kek", "U-6"),
        ("pkcs11-empty-value", b"pkcs11:token=;object=kek", "U-6"),
        ("pkcs11-empty-attribute", b"pkcs11:token=t;;object=kek", "U-6"),
        ("pkcs11-no-token-but-manufacturer-and-model", b"pkcs11:manufacturer=m;model=x;object=kek", "U-6"),
        ("pkcs11-no-key-but-manufacturer-and-model", b"pkcs11:token=t;manufacturer=m;model=x", "U-6"),
        ("pkcs11-attribute-upper-case", b"pkcs11:Token=t;object=kek", "U-6"),
        ("pkcs11-attribute-without-value", b"pkcs11:token;object=kek", "U-6"),
        ("pkcs11-id-lower-case-escape", b"pkcs11:token=t;id=%ff", "U-6"),
        ("pkcs11-id-empty", b"pkcs11:token=t;id=", "U-6"),
        ("pkcs11-id-before-object", b"pkcs11:token=t;id=%01;object=kek", "U-6"),
        ("pkcs11-serial-before-token", b"pkcs11:serial=s;token=t;object=kek", "U-6"),
        ("pkcs11-second-equals", b"pkcs11:token=a=b;object=kek", "U-6"),
        ("pkcs11-no-token", b"pkcs11:object=kek", "U-6"),
        ("pkcs11-no-key", b"pkcs11:token=t", "U-6"),
        ("pkcs11-bad-escape", b"pkcs11:token=%4;object=kek", "U-6"),
        ("pkcs11-escape-with-sign", b"pkcs11:token=%+4;object=kek", "U-6"),
        ("local-short", b"local:main", "U-7"),
        ("local-id-upper-case", b"local://00112233445566778899AABBCCDDEEFF/main", "U-7"),
        ("local-id-31-digits", b"local://00112233445566778899aabbccddeef/main", "U-7"),
        ("local-id-33-digits", b"local://00112233445566778899aabbccddeeff0/main", "U-7"),
        ("local-id-not-hexadecimal", b"local://00112233445566778899aabbccddeefg/main", "U-7"),
        ("local-name-at", b"local://00112233445566778899aabbccddeeff/ma@in", "U-7"),
        ("local-name-tilde", b"local://00112233445566778899aabbccddeeff/ma~in", "U-7"),
        ("local-name-percent", b"local://00112233445566778899aabbccddeeff/ma%20in", "U-7"),
        ("local-name-dash-first", b"local://00112233445566778899aabbccddeeff/-main", "U-7"),
        ("local-name-underscore-first", b"local://00112233445566778899aabbccddeeff/_main", "U-7"),
        ("local-name-65", b"local://00112233445566778899aabbccddeeff/" + b"a" * 65, "U-7"),
        ("local-name-dot-first", b"local://00112233445566778899aabbccddeeff/.main", "U-7"),
        ("local-name-slash", b"local://00112233445566778899aabbccddeeff/a/b", "U-7"),
        ("local-name-empty", b"local://00112233445566778899aabbccddeeff/", "U-7"),
        ("passphrase-with-text", b"passphrase:secret", "U-8"),
        ("passphrase-slashes", b"passphrase://", "U-8"),
        ("other-empty", b"examplekms:", "U-9"),
        ("other-slashes-only", b"examplekms://", "U-9"),
        ("other-userinfo", b"vaultkms://user:pass@vault.example.org/transit/key", "U-9"),
        ("other-userinfo-without-path", b"vaultkms://user:pass@vault.example.org", "U-9"),
        ("other-userinfo-empty", b"vaultkms://@vault.example.org/transit/key", "U-9"),
        ("delete", b"examplekms:a\x7fb", "U-1"),
        ("http", b"http://vault-1.vault.azure.net/keys/key-1", "U-9"),
    ]
    for label, uri, spec in bad_uris:
        bent(f"uri-{label}", f"R-1 {spec}", "Another recipient's key URI is not canonical; the MAC fits.", lambda e, u=uri: e.other(u))

    bent("no-configured-key", "D-2", "The reader has another key.", lambda e: None, NOKEY, lambda e: [e.kek("other")])
    bent("no-key-at-all", "D-2", "The reader has no key.", lambda e: None, NOKEY, lambda e: [])
    bent("passphrase-for-a-key", "D-2", "The reader has a passphrase, the envelope none.", lambda e: None, NOKEY, lambda e: [], passphrase="correct horse")
    name = "recipients/key-for-a-passphrase"
    env = Env(name).to_passphrase("correct horse")
    put_env(name, NOKEY, "D-2", "The reader has a key, the envelope a passphrase.", env, [env.kek()])
    name = "recipients/same-secret-other-uri"
    env, kek = simple(name)
    other = Kek(env.kek("b").uri, kek.version, kek.key)
    put_env(name, NOKEY, "D-2", "The reader has the right key under another name: it does not try.", env, [other])
    name = "recipients/version-not-held"
    env, kek = simple(name)
    put_env(name, NOKEY, "W-4", "The reader has the right key in another version only.", env, [env.kek("a", b"2")])
    name = "recipients/version-leading-zero"
    env, kek = simple(name)
    env.recipients[0].version = b"01"
    put_env(name, NOKEY, "W-4", "The header names version 01, and the reader has version 1: they are compared as bytes.", env, [kek])
    several()


def several():
    """What is reported when several configured recipients fail (D-8). The MAC fits."""
    unauthentic = ("wrap", lambda r: setattr(r, "wrapped", flip(r.wrapped, 40)))
    algorithm = ("algorithm", lambda r: setattr(r, "algorithm", b"OTHER"))
    version = ("version", lambda r: setattr(r, "version", b"7"))
    dek = ("DEK", None)
    for (first, bend), (second, bend_second), expect, clause in [
        (unauthentic, algorithm, UNSUPPORTED, "W-1"),
        (algorithm, unauthentic, UNSUPPORTED, "W-1"),
        (unauthentic, version, NOKEY, "W-4"),
        (version, unauthentic, NOKEY, "W-4"),
        (algorithm, version, UNSUPPORTED, "W-1"),
        (version, algorithm, NOKEY, "W-4"),
        (unauthentic, unauthentic, AUTH, "W-2"),
        (unauthentic, dek, AUTH, "W-2"),
        (dek, unauthentic, AUTH, "K-4"),
    ]:
        name = f"recipients/several-{first}-and-{second}".lower()
        env = Env(name)
        keys = [env.kek("a"), env.kek("b")]
        for key, change in zip(keys, (bend, bend_second)):
            env.to_kek(key, dek=None if change else env.rnd("another DEK", 32))
            if change:
                change(env.recipients[-1])
        comment = f"Of the first recipient the {first} is not right, of the second the {second}."
        put_env(name, expect, f"D-8 {clause}", comment, env, keys)
