"""Class `armor`."""

import base64
import re

from .base import AUTH, DATA_KEY, DETACHED, FORMAT, OK, flip, put, rnd, simple


def pem(data, end=b"\n"):
    lines = [base64.b64encode(data[i : i + 48]) for i in range(0, len(data), 48)]
    return end.join([b"-----BEGIN ENVELOPE-----", *lines, b"-----END ENVELOPE-----", b""])


def armor():
    begin, last = b"-----BEGIN ENVELOPE-----", b"-----END ENVELOPE-----"

    def made(label, expect, spec, comment, change=lambda text: text, tail=None, **more):
        name = f"armor/{label}"
        env, kek = simple(name)
        if tail is not None:
            env.plaintext = rnd(name, "plaintext", next(n for n in range(48) if (len(env.envelope()) - len(env.plaintext) + n) % 48 == tail))
        text = change(pem(env.envelope()))
        put(name, expect, spec, comment, [], [kek], plaintext=env.plaintext, armor=text, **more)

    made("success-lf", OK, "T-1 T-2 T-4 T-5", "Line ends are LF.")
    made("success-crlf", OK, "T-5", "Line ends are CR LF.", lambda t: t.replace(b"\n", b"\r\n"))
    made("success-mixed-line-ends", OK, "T-5", "The first line ends with CR LF, the others with LF.", lambda t: t.replace(b"\n", b"\r\n", 1))
    for tail, comment in [(0, "The last line is a full one."), (1, "The last line has one byte."), (2, "The last line has two bytes."), (3, "The last line has three bytes."), (46, "The last line has 64 characters, two of them padding."), (47, "The last line has 64 characters, one of them padding.")]:
        made(f"success-tail-{tail}", OK, "T-2 T-3", comment, tail=tail)
    turn = [0]

    def every_other(match):
        turn[0] += 1
        return b"\r\n" if turn[0] % 2 else b"\n"

    made("success-line-ends-by-turns", OK, "T-5", "Lines end with CR LF and with LF by turns.", lambda t: re.sub(b"\n", every_other, t))
    made("success-last-line-crlf", OK, "T-5", "The last line ends with CR LF, the others with LF.", lambda t: t[:-1] + b"\r\n")
    for kind, flags in (("detached", DETACHED), ("record", DATA_KEY)):
        for label, end in (("lf", b"\n"), ("crlf", b"\r\n")):
            name = f"armor/success-{kind}-{label}"
            env, kek = simple(name, flags=flags)
            second = env.payload() if flags == DETACHED else env.record(plaintext=env.plaintext)
            comment = f"The text form of a header, with its {kind.replace('detached', 'payload')} in binary."
            put(name, OK, "T-1 T-2 T-5 H-11 H-13", comment, [second], [kek], plaintext=env.plaintext, kind=kind, armor=pem(env.header(), end))
        name = f"armor/{kind}-second-part-changed"
        env, kek = simple(name, flags=flags)
        second = env.payload() if flags == DETACHED else env.record(plaintext=env.plaintext)
        spec = "P-6" if flags == DETACHED else "S-2"
        put(name, AUTH, spec, "The text form is right, and a bit of the other part was changed.", [flip(second, -1)], [kek], kind=kind, armor=pem(env.header()))
        name = f"armor/{kind}-attached-envelope"
        env, kek = simple(name)
        put(name, FORMAT, "H-11", "The text form of a whole envelope, given as a header alone.", [env.payload()], [kek], kind=kind, armor=pem(env.envelope()))
        name = f"armor/{kind}-text-damaged"
        env, kek = simple(name, flags=flags)
        text = pem(env.header()).replace(b"-----END", b"----END")
        put(name, FORMAT, "T-2", "The last line of the text form has four dashes.", [env.payload()], [kek], kind=kind, armor=text)
        name = f"armor/wrong-kind-{kind}"
        env, kek = simple(name, flags=flags)
        put(name, FORMAT, "H-13", "The text form of a header alone, given as an envelope.", [], [kek], armor=pem(env.header()))

    def bad(label, spec, comment, change, tail=20):
        made(label, FORMAT, spec, comment, change, tail)

    bad("empty", "T-1", "No text.", lambda t: b"")
    bad("label-other", "T-1", "Another label.", lambda t: t.replace(b"ENVELOPE", b"MESSAGE"))
    bad("label-lower-case", "T-1", "The label in lower case.", lambda t: t.replace(b"ENVELOPE", b"envelope"))
    bad("label-of-end-differs", "T-4", "Another label in the last line.", lambda t: t.replace(last, b"-----END MESSAGE-----"))
    bad("four-dashes", "T-1", "Four dashes.", lambda t: t.replace(begin, begin[1:-1]))
    bad("text-before", "T-1", "A line before the first one.", lambda t: b"Dear reader,\n" + t)
    bad("blank-line-before", "T-1", "An empty line before the first one.", lambda t: b"\n" + t)
    bad("space-before", "T-1", "A space before the first line.", lambda t: b" " + t)
    bad("byte-order-mark", "T-1", "A byte order mark before the first line.", lambda t: b"\xef\xbb\xbf" + t)
    bad("space-after-begin", "T-1", "A space after the first line.", lambda t: t.replace(begin, begin + b" "))
    bad("tab-after-begin", "T-1", "A tab after the first line.", lambda t: t.replace(begin, begin + b"\t"))
    bad("headers", "T-2", "A header as in old PEM.", lambda t: t.replace(begin, begin + b"\nComment: x\n"))
    bad("blank-line-after-begin", "T-2", "An empty line after the first one.", lambda t: t.replace(begin, begin + b"\n"))
    bad("blank-line-before-end", "T-2", "An empty line before the last one.", lambda t: t.replace(last, b"\n" + last))
    bad("text-after", "T-4", "A line after the last one.", lambda t: t + b"Yours\n")
    bad("blank-line-after", "T-4", "An empty line after the last one.", lambda t: t + b"\n")
    bad("space-after-end", "T-4", "A space after the last line.", lambda t: t.replace(last, last + b" "))
    bad("second-message", "T-4", "A second message after the first.", lambda t: t + t)
    bad("end-missing", "T-4", "Without the last line.", lambda t: t.replace(last + b"\n", b""))
    bad("end-without-line-end", "T-4", "The last line has no line end.", lambda t: t[:-1])
    bad("end-cut", "T-4", "The last line is cut.", lambda t: t[:-5])
    bad("begin-only", "T-4", "The first line alone.", lambda t: begin + b"\n")
    bad("no-lines", "H-1 H-6", "Nothing between the first and the last line.", lambda t: begin + b"\n" + last + b"\n")

    def relines(width):
        def change(t):
            body = t[len(begin) + 1 : -len(last) - 1].replace(b"\n", b"")
            return b"\n".join([begin, *[body[i : i + width] for i in range(0, len(body), width)], last, b""])

        return change

    bad("lines-of-60", "T-2", "Lines of 60 characters.", relines(60))
    bad("lines-of-68", "T-2", "Lines of 68 characters.", relines(68))
    bad("lines-of-76", "T-2", "Lines of 76 characters, as in MIME.", relines(76))
    bad("one-line", "T-2", "All in one line.", relines(1 << 20))
    bad("short-line-in-the-middle", "T-2", "The first line of base64 is cut in two.", lambda t: t.replace(begin + b"\n", begin + b"\n", 1)[: len(begin) + 1 + 32] + b"\n" + t[len(begin) + 1 + 32 :])
    bad("padding-in-the-middle", "T-2 T-3", "The first line of base64 holds 47 bytes and padding.", lambda t: pem_uneven(t))
    bad("blank-line-alone", "T-2", "An empty line and nothing else between the first and the last line.", lambda t: begin + b"\n\n" + last + b"\n")
    bad("line-of-one-character", "T-3", "A line of one character between the first and the last line.", lambda t: begin + b"\nA\n" + last + b"\n")
    bad("line-of-65-characters", "T-2", "The first line of base64 has a character more.", lambda t: t.replace(begin + b"\n", begin + b"\nA", 1))
    bad("line-of-63-characters", "T-3", "The first line of base64 has a character less.", lambda t: t.replace(begin + b"\n", b"@", 1).replace(b"@" + t[len(begin) + 1 : len(begin) + 2], begin + b"\n", 1))
    bad("order-line-before-rest", "T-3", "A character outside the alphabet in the first line, and text after the last.", lambda t: put_at(t, len(begin) + 10, b"*") + b"Yours\n")
    bad("order-text-before-magic", "T-4", "A wrong magic, and no last line.", lambda t: pem(b"\x88" + base64.b64decode(t[len(begin) + 1 : len(begin) + 65])[1:]).replace(last + b"\n", b""))
    bad("unused-bits", "T-3", "Unused bits that are not zero.", lambda t: bump(t), 1)
    bad("padding-missing", "T-3", "The last line without its padding.", lambda t: t.replace(b"=", b""), 1)
    bad("padding-too-much", "T-3", "The last line with padding that it does not need.", lambda t: t.replace(b"\n" + last, b"====\n" + last), 21)
    bad("url-alphabet", "T-3", "A dash and underscore as in the alphabet for URLs.", lambda t: url_alphabet(t))
    bad("character-outside", "T-3", "A character outside the alphabet.", lambda t: put_at(t, len(begin) + 10, b"*"))
    bad("not-ascii", "T-3", "A byte that is not ASCII.", lambda t: put_at(t, len(begin) + 10, b"\xe9"))
    bad("nul", "T-3", "A zero byte.", lambda t: put_at(t, len(begin) + 10, b"\0"))
    bad("space-in-line", "T-3", "A space inside a line.", lambda t: put_at(t, len(begin) + 10, b" "))
    bad("tab-at-line-end", "T-2 T-3", "A tab at the end of a line.", lambda t: t[: len(begin) + 65] + b"\t" + t[len(begin) + 65 :])
    bad("space-at-line-start", "T-2 T-3", "A space at the start of a line.", lambda t: t[: len(begin) + 1] + b" " + t[len(begin) + 1 :])
    bad("cr-only", "T-5", "Line ends are CR.", lambda t: t.replace(b"\n", b"\r"))
    bad("cr-cr-lf", "T-5", "Line ends are CR CR LF.", lambda t: t.replace(b"\n", b"\r\r\n"))
    bad("vertical-tab", "T-5", "Line ends are vertical tabs.", lambda t: t.replace(b"\n", b"\v"))
    bad("utf16", "T-1", "The text in UTF-16.", lambda t: t.decode().encode("utf-16-le"))
    bad("binary-as-text", "T-1", "Binary given as text.", lambda t: base64.b64decode(t[len(begin) + 1 : -len(last) - 1].replace(b"\n", b"")))
    name = "armor/text-as-binary"
    env, kek = simple(name)
    put(name, FORMAT, "H-1", "Text given as binary.", [pem(env.envelope())], [kek])
    name = "armor/detached-header-trailing-byte"
    env, kek = simple(name, flags=DETACHED)
    put(name, FORMAT, "H-11 H-13", "The text form of a detached header and a byte, given as an envelope.", [], [kek], armor=pem(env.header() + b"\0"))
    name = "armor/payload-changed"
    env, kek = simple(name)
    put(name, AUTH, "P-6", "Right text, with one bit of the payload changed.", [], [kek], armor=pem(flip(env.envelope(), -1)))


def put_at(text, index, byte):
    return text[:index] + byte + text[index + 1 :]


def pem_uneven(text):
    lines = text.split(b"\n")
    data = base64.b64decode(b"".join(lines[1:-2]))
    rest = data[47:]
    body = [base64.b64encode(data[:47])] + [base64.b64encode(rest[i : i + 48]) for i in range(0, len(rest), 48)]
    return b"\n".join([lines[0], *body, lines[-2], b""])


def bump(text):
    """Sets an unused bit of the last base64 character before the padding."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    index = text.index(b"=") - 1
    return put_at(text, index, bytes([alphabet[alphabet.index(text[index]) | 1]]))


def url_alphabet(text):
    lines = text.split(b"\n")
    body = [line.replace(b"+", b"-").replace(b"/", b"_") for line in lines[1:-2]]
    assert body != lines[1:-2]
    return b"\n".join([lines[0], *body, *lines[-2:]])
