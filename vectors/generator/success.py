"""Class `success`, and the worked example."""

from .base import DATA_KEY, DETACHED, Env, OK, URI_AWS, URI_AZURE, URI_GCP, URI_P11, URI_VAULT, flip, put_env, rnd, simple


def success():
    for size, label in [(0, "0"), (1, "1"), (16383, "16383"), (16384, "16384"), (16385, "16385"), (32768, "32768")]:
        name = f"success/size-{label}"
        env, kek = simple(name, plaintext=rnd(name, "plaintext", size))
        put_env(name, OK, "H-1 H-2 H-3 H-6 H-7 H-8 P-1 P-3 K-3", f"A payload of {size} bytes.", env, [kek])
    name = "success/size-3-chunks"
    env, kek = simple(name, plaintext=rnd(name, "plaintext", 40000))
    put_env(name, OK, "P-1 P-3 P-4 P-6", "Two whole chunks and a short one.", env, [kek])

    name = "success/worked-example"
    env, kek = worked_example()
    put_env(
        name, OK, "K-3 K-4 K-5 K-6 P-1 P-2 W-2", "The worked example of the specification.", env, [kek],
        context=[("tenant", "42")],
    )
    for opened in (1, 2):
        name = f"success/recipients-2-opened-by-{opened}"
        env = Env(name)
        keys = [env.kek("a"), env.kek("b")]
        env.to_kek(keys[0]).to_kek(keys[1])
        put_env(name, OK, "D-2 R-5", f"Two recipients; the reader has key {opened}.", env, [keys[opened - 1]])
    name = "success/recipients-16"
    env = Env(name)
    for i in range(16):
        env.to_kek(env.kek(f"key-{i}"))
    put_env(name, OK, "H-9 D-2", "As many recipients as there may be; the reader has the last key.", env, [env.kek("key-15")])
    name = "success/recipients-two-versions-of-one-key"
    env = Env(name)
    old, new = env.kek("a", b"1"), env.kek("a", b"2")
    env.to_kek(old).to_kek(new)
    put_env(name, OK, "R-5 W-4", "One key in two versions is two recipients.", env, [old, new])
    name = "success/recipient-version-empty"
    env = Env(name)
    kek = env.kek("a", b"")
    put_env(name, OK, "R-2 K-6", "An empty key version.", env.to_kek(kek), [kek])
    name = "success/recipient-unknown-algorithm-beside"
    env = Env(name)
    kek = env.kek()
    env.other(URI_AWS, b"", b"NEW-WRAP_1.0+x").to_kek(kek)
    put_env(name, OK, "R-3 R-7", "A recipient with an algorithm nobody knows does not disturb another one.", env, [kek])
    name = "success/recipient-unknown-scheme-beside"
    env = Env(name)
    kek = env.kek()
    env.other(b"examplekms:some/key", b"v7", b"EXAMPLE").to_kek(kek)
    put_env(name, OK, "R-7 U-9", "A recipient with a scheme nobody knows does not disturb another one.", env, [kek])
    name = "success/recipient-first-broken-second-opens"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    env.recipients[0].wrapped = flip(env.recipients[0].wrapped, 40)
    put_env(name, OK, "D-3 D-8", "The first wrap is broken under a MAC that fits; the reader goes on to the second.", env, keys)
    name = "success/recipient-first-unsupported-second-opens"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0]).to_kek(keys[1])
    env.recipients[0].algorithm = b"AES-OF-TOMORROW"
    put_env(name, OK, "D-3 D-7 D-8", "The first wrap has an unknown algorithm; the reader goes on to the second.", env, keys)
    name = "success/recipient-first-wrong-dek-second-opens"
    env = Env(name)
    keys = [env.kek("a"), env.kek("b")]
    env.to_kek(keys[0], dek=env.rnd("other dek", 32)).to_kek(keys[1])
    put_env(name, OK, "D-3 D-4", "The first recipient unwraps another DEK, under which the MAC fails; the reader goes on to the second.", env, keys)
    for label, uri, version, algorithm, length, comment in [
        ("key-version-512", URI_AWS, b"v" * 512, b"AWS-KMS", 64, "The longest key version."),
        ("algorithm-255", URI_AWS, b"", b"A" * 255, 64, "The longest algorithm name."),
        ("wrapped-dek-4096", URI_AWS, b"", b"AWS-KMS", 4096, "The longest wrapped DEK."),
        ("wrapped-dek-1", URI_AWS, b"", b"AWS-KMS", 1, "The shortest wrapped DEK."),
        ("key-version-utf8", URI_AWS, "version-é".encode(), b"AWS-KMS", 64, "A key version is UTF-8."),
    ]:
        name = f"success/recipient-{label}"
        env = Env(name)
        kek = env.kek()
        env.other(uri, version, algorithm, length).to_kek(kek)
        spec = {"key": "R-2", "alg": "R-3", "wra": "R-4"}[label[:3]]
        put_env(name, OK, spec, comment, env, [kek])
    for label, uri, spec in [
        ("length-2048", b"examplekms:" + b"k" * 2037, "U-1"),
        ("scheme-characters", b"a1+b-c.d:key", "U-2"),
        ("aws", URI_AWS, "U-3"),
        ("aws-multi-region", b"awskms:///arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-0123456789abcdef", "U-3"),
        ("gcp", URI_GCP, "U-4"),
        ("azure", URI_AZURE, "U-5"),
        ("azure-managed-hsm", b"azurekeyvault://hsm.managedhsm.azure.net/keys/K", "U-5"),
        ("azure-china", b"azurekeyvault://v.vault.azure.cn/keys/K", "U-5"),
        ("azure-government", b"azurekeyvault://v.managedhsm.usgovcloudapi.net/keys/K", "U-5"),
        ("vault", URI_VAULT, "U-10"),
        ("vault-shortest", b"hashivault://t/k", "U-10"),
        ("vault-dots", b"hashivault://.../..a/_", "U-10"),
        ("pkcs11", URI_P11, "U-6"),
        ("pkcs11-all", b"pkcs11:token=t;manufacturer=m;serial=s;model=x;object=o%2F~.-_;id=%00%41%FF", "U-6"),
        ("local-other", b"local://00112233445566778899aabbccddeeff/A." + b"a" * 62, "U-7"),
        ("pkcs11-serial-and-id", b"pkcs11:serial=0;id=%01", "U-6"),
        ("pkcs11-serial-and-object", b"pkcs11:serial=0;object=kek", "U-6"),
        ("pkcs11-token-and-id", b"pkcs11:token=t;id=%01", "U-6"),
        ("pkcs11-not-utf8", b"pkcs11:token=%FF%FE;object=%C3", "U-6"),
        ("pkcs11-nul", b"pkcs11:token=a%00b;object=%00;id=%00", "U-6"),
        ("aws-characters", b"awskms:///arn:aws-iso-2:kms:a-1:000000000000:key/A-z0", "U-3"),
        ("gcp-characters", b"gcpkms://projects/P.q:r-1/locations/L-_l/keyRings/R-_r/cryptoKeys/K-_k", "U-4"),
        ("azure-characters", b"azurekeyvault://a-0.managedhsm.azure.cn/keys/A-z0", "U-5"),
        ("azure-government-vault", b"azurekeyvault://v.vault.usgovcloudapi.net/keys/K", "U-5"),
        ("local-characters", b"local://0123456789abcdef0123456789abcdef/0Az-_.", "U-7"),
        ("local-name-one-letter", b"local://0123456789abcdef0123456789abcdef/a", "U-7"),
        ("vault-key-characters", b"hashivault://a-_.B/c9/K-_.k", "U-10"),
        ("vault-key-two-letters", b"hashivault://t/ab", "U-10"),
        ("vault-key-digits", b"hashivault://t/0-Aa9", "U-10"),
        ("vault-key-ends", b"hashivault://t/A._", "U-10"),
        ("vault-key-upper-case-last", b"hashivault://t/aZZ", "U-10"),
        ("pkcs11-characters", b"pkcs11:token=Az09-._~;object=%20%7F", "U-6"),
        ("other-authority-empty", b"examplekms:///key", "U-9"),
        ("other-authority-alone", b"examplekms://vault.example.org", "U-9"),
        ("other-slash", b"examplekms:/", "U-9"),
        ("other-at-behind-authority", b"examplekms://vault.example.org/user@key", "U-9"),
        ("other-at-behind-empty-authority", b"examplekms:///user@key", "U-9"),
        ("other-characters", b"examplekms:!~", "U-1"),
        ("other-shortest", b"a:b", "U-1 U-2"),
        ("other-authority", b"vaultkms://vault.example.org:8200/transit/key@7", "U-9"),
        ("other-at", b"examplekms:user@key", "U-9"),
    ]:
        name = f"success/uri-{label}"
        env = Env(name)
        kek = env.kek()
        env.other(uri).to_kek(kek)
        put_env(name, OK, f"R-1 {spec}", f"A canonical key URI of another recipient: {uri.decode()[:40]}", env, [kek])

    contexts = [
        ("context-one", [("tenant", "42")], [("tenant", "42")], "C-8", "The reader demands the stored entry."),
        ("context-not-demanded", [("tenant", "42")], [], "C-8", "The reader demands nothing and takes what is stored."),
        ("context-subset", [("a", "1"), ("b", "2"), ("c", "3")], [("b", "2")], "C-8", "The reader demands one of three entries."),
        ("context-empty-value", [("empty", "")], [("empty", "")], "C-3", "A value may be empty."),
        ("context-64-entries", [(f"k{i:02}", str(i)) for i in range(64)], [], "C-1", "As many entries as there may be."),
        ("context-8192-bytes", [("k", "v" * (8192 - 2 - 4 - 1))], [], "C-5 C-9", "The longest context."),
        ("context-order-of-bytes", [("a", "1"), ("\uffff", "2"), ("\U00010000", "3")], [("\U00010000", "3")], "C-2",
         "U+FFFF before U+10000: the order of UTF-8, not of UTF-16."),
        ("context-case", [("A", "1"), ("Z", "2"), ("a", "3")], [], "C-2", "Upper case before lower case; three different names."),
        ("context-prefix-first", [("a", "1"), ("a\x00", "2"), ("ab", "3")], [], "C-2", "A name before the names it begins."),
        ("context-not-normalised", [("e\u0301", "1"), ("\u00e9", "2")], [("\u00e9", "2")], "C-4",
         "A composed and a decomposed letter are two names; the reader expects the composed one."),
        ("context-decomposed", [("e\u0301", "1"), ("\u00e9", "2")], [("e\u0301", "1")], "C-4",
         "A composed and a decomposed letter are two names; the reader expects the decomposed one."),
        ("context-control-characters", [("line\nend", "tab\tand=%")], [("line\nend", "tab\tand=%")], "C-4",
         "Any UTF-8 is a name or a value."),
        ("context-limits-of-utf8", [("\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff", "\x00")], [], "C-4",
         "The first and last characters of each length of UTF-8."),
    ]
    for label, stored, demanded, spec, comment in contexts:
        name = f"success/{label}"
        env, kek = simple(name, stored=stored)
        put_env(name, OK, spec, comment, env, [kek], context=demanded)
    withheld = [
        ("withheld-one", [], [("patient", "7")], "C-7 K-5", "One withheld entry."),
        ("withheld-between-stored", [("a", "1"), ("c", "3")], [("b", "2")], "K-5 C-6",
         "The full context is sorted, with withheld entries between stored ones."),
        ("withheld-64", [], [(f"k{i:02}", str(i)) for i in range(64)], "C-1", "All 64 entries withheld."),
        ("withheld-32-stored-32", [(f"a{i:02}", "") for i in range(32)], [(f"b{i:02}", "") for i in range(32)], "C-1", "64 entries, half of them withheld."),
        ("withheld-empty-value", [], [("patient", "")], "C-7", "A withheld value may be empty, and is supplied all the same."),
        ("withheld-8192-bytes", [("k", "v" * 4000)], [("w", "v" * (8192 - 2 - 8 - 2 - 4000))], "C-9", "The longest full context, half of it withheld."),
    ]
    for label, stored, held, spec, comment in withheld:
        name = f"success/{label}"
        env, kek = simple(name, stored=stored, withheld=held)
        put_env(name, OK, spec, comment, env, [kek], withheld=held)

    for label, size in [("1", 1), ("512", 512)]:
        name = f"success/padding-{label}"
        env, kek = simple(name)
        env.padding = bytes(size)
        put_env(name, OK, "H-10 H-12 K-4", f"{size} bytes of padding.", env, [kek])
    name = "success/body-len-65536"
    env, kek = simple(name)
    env.padding = bytes(65536 - len(env.body()))
    put_env(name, OK, "H-5", "The longest body.", env, [kek])
    for generation in (1, 0xFFFFFFFF):
        name = f"success/generation-{generation}"
        env, kek = simple(name)
        env.generation = generation
        put_env(name, OK, "H-12", "Any generation is valid.", env, [kek])
    for label, size in [("detached", 20), ("detached-empty", 0), ("detached-2-chunks", 20000)]:
        name = f"success/{label}"
        env, kek = simple(name, flags=DETACHED, plaintext=rnd(name, "plaintext", size))
        put_env(name, OK, "H-4 P-1", "Header and payload apart.", env, [kek])
    for label, size, stored, record, comment in [
        ("record", 10, [], [], "A record without any context."),
        ("record-empty", 0, [], [], "An empty record has 40 bytes."),
        ("record-context", 10, [], [("row", "17"), ("column", "mail")], "A record with a context of its own."),
        ("record-both-contexts", 10, [("table", "users")], [("table", "other")], "The names of data key and record may repeat."),
        ("record-20000-bytes", 20000, [], [], "A record is not cut into chunks."),
    ]:
        name = f"success/{label}"
        env, kek = simple(name, flags=DATA_KEY, stored=stored, plaintext=rnd(name, "plaintext", size))
        put_env(name, OK, "S-1 S-2 S-3 K-3", comment, env, [kek], record_context=record, context=stored)
    name = "success/record-withheld"
    env, kek = simple(name, flags=DATA_KEY, withheld=[("table", "users")])
    put_env(name, OK, "S-2 C-7 K-5", "A data key with a withheld entry.", env, [kek], withheld=[("table", "users")])

    for label, passphrase, parameters, spec, comment in [
        ("minimum", "correct horse", (19456, 1, 1), "A-1 A-3 A-4 U-8 W-1", "The least parameters."),
        ("recommended", "battery staple", (65536, 3, 4), "A-1 A-4", "What writers use."),
        ("t-12", "correct horse", (65536, 12, 1), "A-6", "The most passes over 64 MiB that a reader does unasked."),
        ("t-16", "correct horse", (19456, 16, 1), "A-1", "The most passes."),
        ("p-16", "correct horse", (19456, 1, 16), "A-1", "The most lanes."),
        ("most-work", "correct horse", (262144, 3, 4), "A-6 A-1", "The most work that a reader does unasked."),
        ("utf8", "pässwörd \U0001f511", (19456, 1, 1), "A-2", "The passphrase is UTF-8."),
        ("spaces", " two  spaces ", (19456, 1, 1), "A-2", "Spaces count, also at both ends."),
        ("percent", "100%25", (19456, 1, 1), "A-2", "A percent sign is one, in the head of a vector too."),
        ("decomposed", "e\u0301", (19456, 1, 1), "A-2", "The passphrase is not normalised (decomposed)."),
    ]:
        name = f"success/passphrase-{label}"
        env = Env(name).to_passphrase(passphrase, *parameters)
        put_env(name, OK, spec, comment, env, [], passphrase=passphrase)
    name = "success/passphrase-with-context"
    env = Env(name, stored=[("tenant", "42")], withheld=[("patient", "7")]).to_passphrase("correct horse")
    put_env(name, OK, "A-4 K-6", "A passphrase wrap is bound to the full context.", env, [], passphrase="correct horse", withheld=[("patient", "7")])
    for label in ("passphrase", "key"):
        name = f"success/passphrase-beside-a-key-opened-by-{label}"
        env = Env(name)
        kek = env.kek()
        env.to_kek(kek).to_passphrase("correct horse")
        by = {"passphrase": "correct horse"} if label == "passphrase" else {}
        put_env(name, OK, "R-6 D-2", f"A key and a passphrase; the reader has the {label}.", env, [] if by else [kek], **by)


def worked_example():
    env = Env("success/worked-example", stored=[("tenant", "42")], plaintext=b"attack at dawn")
    kek = env.kek("main")
    return env.to_kek(kek), kek
