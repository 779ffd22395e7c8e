"""Canonical key URIs (U-1 to U-10)."""

import re

from failures import require

AZURE_HOSTS = (
    r"vault\.azure\.net|managedhsm\.azure\.net|vault\.azure\.cn|managedhsm\.azure\.cn"
    r"|vault\.usgovcloudapi\.net|managedhsm\.usgovcloudapi\.net"
)
# Neither `.` nor `..`.
MOUNTED = r"(?!\.{1,2}/)[A-Za-z0-9_.-]+"
# What follows the colon, and the clause that says so.
CANONICAL = {
    "awskms": ("U-3", r"///arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+"),
    "gcpkms": (
        "U-4",
        r"//projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9_-]+/keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+",
    ),
    "azurekeyvault": ("U-5", rf"//[a-z0-9-]+\.(?:{AZURE_HOSTS})/keys/[A-Za-z0-9-]+"),
    "local": ("U-7", r"//[0-9a-f]{32}/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"),
    "passphrase": ("U-8", r""),
    "hashivault": ("U-10", rf"//(?:{MOUNTED}/)+[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"),
}
PKCS11 = ("token", "manufacturer", "serial", "model", "object", "id")
NEVER_CANONICAL = ("arn", "aws-kms", "gcp-kms", "azurekms", "openbao", "https", "http")


def check_canonical(data):
    """The key URI of a header as text, refused unless it is canonical."""
    require(re.fullmatch(rb"[\x21-\x7e]{1,2048}", data), "U-1", "length or characters of a key URI")
    require(b"#" not in data, "U-1", "a fragment")
    require(b"?" not in data, "U-1", "a query")
    uri = data.decode("ascii")
    scheme, colon, rest = uri.partition(":")
    require(colon, "U-2", "no scheme")
    require(re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme), "U-2", "not a scheme")
    if scheme == "pkcs11":
        check_pkcs11(rest)
    elif scheme in CANONICAL:
        clause, form = CANONICAL[scheme]
        require(re.fullmatch(form, rest), clause, f"not a canonical URI of {scheme}")
    else:
        require(scheme not in NEVER_CANONICAL, "U-9", "a scheme that is never canonical")
        require(rest not in ("", "//"), "U-9", "no key after the scheme")
        authority = rest[2:].partition("/")[0] if rest.startswith("//") else ""
        require("@" not in authority, "U-9", "userinfo")
    return uri


def check_pkcs11(path):
    last, names = -1, set()
    for attribute in path.split(";"):
        name, _, value = attribute.partition("=")
        require(name in PKCS11, "U-6", "an unknown attribute")
        require(PKCS11.index(name) > last, "U-6", "attributes repeated or in another order")
        last = PKCS11.index(name)
        plain = r"[A-Za-z0-9._~-]|" if name != "id" else ""
        require(re.fullmatch(rf"(?:{plain}%[0-9A-F]{{2}})+", value), "U-6", "the spelling of a value")
        if name != "id":
            escaped = (chr(int(code, 16)) for code in re.findall(r"%(..)", value))
            require(not any(re.fullmatch(r"[A-Za-z0-9._~-]", each) for each in escaped), "U-6", "a needless escape")
        names.add(name)
    require(names & {"token", "serial"}, "U-6", "no token")
    require(names & {"object", "id"}, "U-6", "no key")
