"""The text form (T)."""

import base64
import binascii

from failures import require

FIRST, LAST = b"-----BEGIN ENVELOPE-----", b"-----END ENVELOPE-----"


def dearmor(text):
    """The bytes of a text form. Lines are read one after the other, so that the first one that is wrong refuses."""
    rest = text

    def line(clause):
        nonlocal rest
        found, end, after = rest.partition(b"\n")
        require(end, clause, "a line without an end, or none at all")
        rest = after
        return found.removesuffix(b"\r")

    require(line("T-1") == FIRST, "T-1", "not the first line")
    out, ended = b"", False
    while (each := line("T-4")) != LAST:
        require(not ended, "T-2", "a line after a short one")
        require(len(each) >= 1, "T-2", "an empty line")
        require(len(each) <= 64, "T-2", "a line that is too long")
        decoded = canonical(each)
        ended = len(decoded) < 48
        out += decoded
    require(not rest, "T-4", "more text")
    return out


def canonical(line):
    try:
        decoded = base64.b64decode(line, validate=True)
    except binascii.Error:
        decoded = b""
    require(base64.b64encode(decoded) == line, "T-3", "not base64 in its one spelling")
    return decoded
