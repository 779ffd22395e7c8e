"""Cobblestone-256 of this library against that of PyCA's cryptography.

Usage: differential.py PIPE [--messages N] [--seed N]

PIPE is the built example cobblestone_pipe. Each random message is sealed here
and opened there, sealed there and opened here, and refused by both after a bit
of it was changed.
"""

import argparse
import random
import struct
import subprocess
import sys

from cryptography.exceptions import InvalidTag
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

CHUNK = 16384


class Pipe:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, verb, key, context, message):
        """The message, sealed or opened, or None when it does not open."""
        request = [verb, key, struct.pack(">I", len(context)), context, struct.pack(">I", len(message)), message]
        self.process.stdin.write(b"".join(request))
        self.process.stdin.flush()
        (length,) = struct.unpack(">I", self.read(4))
        return None if length == 0xFFFFFFFF else self.read(length)

    def read(self, length):
        answer = self.process.stdout.read(length)
        if len(answer) != length:
            sys.exit("cobblestone_pipe ended")
        return answer

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("cobblestone_pipe failed")


def seal(key, context, message):
    encryptor = Cobblestone256Encryptor(key, context)
    return encryptor.update(message) + encryptor.finalize()


def open_(key, context, message):
    try:
        decryptor = Cobblestone256Decryptor(key, context)
        return decryptor.update(message) + decryptor.finalize()
    except (InvalidTag, ValueError):
        return None


def random_message(source):
    """Most are short. The others end at a chunk's boundary or near it."""
    kind = source.randrange(8)
    if kind == 0:
        length = source.randrange(1, 6) * CHUNK + source.randrange(-17, 18)
    elif kind == 1:
        length = source.randrange(5 * CHUNK)
    else:
        length = source.randrange(300)
    return source.randbytes(32), source.randbytes(source.randrange(200)), source.randbytes(length)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pipe")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    print(f"PyCA: {arguments.messages} messages, seed {arguments.seed}", flush=True)
    source = random.Random(arguments.seed)
    pipe = Pipe(arguments.pipe)
    for number in range(1, arguments.messages + 1):
        key, context, message = random_message(source)
        of = f"message {number} of seed {arguments.seed} ({len(message)} bytes)"
        if pipe.ask(b"o", key, context, seal(key, context, message)) != message:
            sys.exit(f"sealed by PyCA, not opened here: {of}")
        sealed = pipe.ask(b"s", key, context, message)
        if open_(key, context, sealed) != message:
            sys.exit(f"sealed here, not opened by PyCA: {of}")
        changed = bytearray(sealed)
        changed[source.randrange(len(sealed))] ^= 1 << source.randrange(8)
        cut = sealed[: source.randrange(len(sealed))]
        for wrong in (bytes(changed), cut):
            if pipe.ask(b"o", key, context, wrong) is not None or open_(key, context, wrong) is not None:
                sys.exit(f"opened although it was changed: {of}")
    pipe.close()
    print(f"PyCA: {arguments.messages} messages agree in both directions")


if __name__ == "__main__":
    main()
