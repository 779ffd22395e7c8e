#!/usr/bin/env python3
"""Writes the test vectors of envelope format version 1 and of keystore format version 1.

Independent of the Rust code: it follows the pages in docs/spec and builds the two constructions from the
primitives of PyCA `cryptography`, with fixed salts and nonces that an ordinary writer would never take from outside.
The classes stand in `generator/`.

    generate.py             write every vector
    generate.py --check     compare with the files that are there; exit 1 on any difference
    generate.py --example   print the worked example of the specification
    generate.py --coverage  print the coverage tables of the specification
    generate.py --page      put both into the pages of docs/spec

Every byte that a writer would draw at random is SHAKE-128 of the vector's name and the byte's purpose, so that the
same files come out each time.
"""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # no __pycache__ among the vectors

from generator import armor, context, header, keystore, mac, page, passphrase, payload, recipients, records, services, success, wrap, writing
from generator.base import VECTORS

HERE = Path(__file__).resolve().parent
SECTIONS = (
    success.success,
    header.header,
    mac.mac,
    context.context,
    recipients.recipients,
    wrap.wraps,
    passphrase.passphrases,
    payload.commitment_and_payload,
    records.records,
    services.services,
    writing.writing,
    writing.rewraps,
    armor.armor,
    keystore.keystore,
)


def main():
    parser = argparse.ArgumentParser(description="Test vectors of the envelope and keystore formats, version 1")
    for option in ("check", "example", "coverage", "page"):
        parser.add_argument(f"--{option}", action="store_true")
    arguments = parser.parse_args()
    if arguments.example:
        print(page.example())
        return 0
    for section in SECTIONS:
        section()
    if arguments.coverage:
        print(page.coverage(page.ENVELOPE), page.coverage(page.KEYSTORE), sep="\n\n")
        return 0
    if arguments.page:
        page.write_pages()
        return 0
    files = {HERE / f"{name}.vec": data for name, data in VECTORS.items()}
    present = set(HERE.glob("*/*.vec"))
    if arguments.check:
        wrong = [p for p, data in files.items() if not p.exists() or p.read_bytes() != data]
        wrong += [p for p in present if p not in files]
        for path in sorted(wrong):
            print(f"differs: {path.relative_to(HERE)}")
        print(f"{len(files)} vectors, {len(wrong)} differ")
        return 1 if wrong else 0
    for path in present:
        if path not in files:
            path.unlink()
    for path, data in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    print(f"{len(files)} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
