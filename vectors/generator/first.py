"""Which clause refuses a vector first, in the order of checks of the pages.

A vector's `spec` says what it shows, which may be a clause that refuses nothing by itself: a MAC made under another key
shows K-3, and K-4 refuses it.
"""

import sys

REFUSING = set(
    "H-1 H-2 H-3 H-4 H-5 H-6 H-7 H-8 H-9 H-10 H-11 H-13 C-1 C-2 C-3 C-4 C-5 C-6 C-7 C-8 C-9 R-2 R-3 R-4 R-5 R-6 U-1 U-2 U-3 U-4"
    " U-5 U-6 U-7 U-8 U-9 U-10 K-4 W-1 W-2 W-3 W-4 W-6 W-7 W-8 W-9 W-10 A-1 A-3 A-4 A-6 P-2 P-3 P-6 S-2 S-3 S-7 T-1 T-2 T-3 T-4"
    " D-2 G-4 F-1 F-2 F-3 F-4 J-1 J-2 J-3 J-4 J-5 J-6 J-7 J-8 E-1 E-3 E-4 E-5".split()
)
# Where more than one clause of `spec` refuses, or none of them.
FIRST_OF = {
    "armor": {
        "H-13": "detached-header-trailing-byte",
        "H-6": "no-lines",
        "T-1": "cr-cr-lf cr-only vertical-tab",
        "T-2": "label-of-end-differs padding-in-the-middle space-after-end space-at-line-start tab-at-line-end",
        "T-3": "headers",
    },
    "commitment": {
        "P-2": "binding-purpose-2 binding-other-envelope-id binding-stored-context-only binding-suite-2 under-the-dek"
        " under-the-header-key without-binding",
    },
    "context": {
        "C-1": "stored-count-beyond",
        "P-2": "entry-boundary-moved",
        "W-2": "withheld-empty withheld-wrong",
    },
    "header": {
        "H-13": "kind-data-key-as-envelope kind-detached-as-envelope",
        "H-6": "truncated-empty truncated-magic-cut",
    },
    "keystore": {
        "F-2": "byte-order-mark created-date generation-hexadecimal generation-leading-zero generation-null"
        " generation-plus generation-string members-moved not-after-array not-after-before-created"
        " not-after-behind-wrapped-kek not-after-date not-after-leading-zero not-after-string not-after-true"
        " state-null state-number version-2-cut version-2-not-utf-8 version-2-with-infinity version-2-with-nan"
        " version-is-array version-is-exponent version-is-fraction-2 version-is-fraction version-is-leading-zero"
        " version-is-minus-zero version-is-negative version-is-null version-is-over-64-bits version-is-string-2"
        " version-is-string version-is-true",
        "F-3": "version-1-and-2 version-2-and-1 version-2-and-2-escaped version-2-and-2 version-2-and-3 version-2-and-null",
        "F-4": "not-after-twice repeated-key repeated-member size-limit",
        "J-3": "version-number-over-32-bits versions-from-0",
    },
    "mac": {
        "K-4": "derived-from-other-envelope-id purpose-2-for-a-payload under-the-content-key under-the-dek",
    },
    "passphrase": {
        "A-4": "composed-for-decomposed dek-31-bytes dek-33-bytes trailing-space wrong-case",
    },
    "payload": {
        "P-3 P-6": "first-chunk-flipped-last-cut",
        "P-6": "authentic-chunk-after-the-last byte-appended chunk-appended chunk-repeated chunk-with-aad chunks-swapped"
        " counter-from-one counter-little-endian envelope-appended first-chunk-cut first-chunk-dropped"
        " middle-chunk-dropped one-long-chunk zeros-appended",
    },
    "recipients": {
        "R-5": "two-passphrases",
        "U-2": "uri-gcp-bare",
        "U-9": "uri-aws-bare-arn",
    },
    "records": {
        "K-4": "header-generation-changed header-mac-flipped",
        "S-2": "byte-appended last-byte-dropped",
    },
    "wrap": {
        "W-2": "dek-0-bytes dek-31-bytes dek-33-bytes dek-64-bytes other-full-context stored-context-only"
        " uri-relabelled-same-bytes version-relabelled-same-bytes version-relabelled without-binding",
    },
}
FIRST = {
    f"{folder}/{name}": clause
    for folder, clauses in FIRST_OF.items()
    for clause, names in clauses.items()
    for name in names.split()
}


def first_of(name, spec):
    refusing = [clause for clause in spec.split() if clause in REFUSING]
    if name in FIRST:
        return FIRST[name]
    if len(refusing) != 1:
        sys.exit(f"{name}: which of {refusing} refuses first?")
    return refusing[0]
