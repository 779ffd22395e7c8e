"""Makes mutants of the Python reader and shows that a vector notices each of them.

    mutants_reader.py [WORD]...

A mutant leaves one check out, moves one bound by one, or lets one pattern match more or less than the page says. WORD: only
mutants whose description holds it. Fails when one survives that docs/mutants.md does not explain, and when one that it
explains is noticed or is no more.
"""

import ast
import copy
import functools
import re
import signal
import sys
import time
import types
from pathlib import Path

import argon2.low_level

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# In the order in which they import each other.
MODULES = ["failures", "key_uris", "text_form", "constructions", "services", "read_envelope", "read_keystore", "write_envelope", "vector_files"]
MUTATED = ["key_uris", "text_form", "constructions", "services", "read_envelope", "read_keystore"]
# What is no check of the format: the command line, and what parses vectors.
SKIPPED = {"decrypt", "main", "shown", "printed"}

# Of all vectors under one mutant: they take less than two.
MOST_SECONDS = 60

REAL_HASH = argon2.low_level.hash_secret_raw


# Argon2id is no part of what is changed, and takes nearly all of the time.
@functools.lru_cache(None)
def hashed_once(secret, salt, passes, memory, lanes, *rest, **named):
    if passes * memory > 786432:
        raise MemoryError("no vector that opens asks for so much")
    return REAL_HASH(secret, salt, passes, memory, lanes, *rest, **named)


argon2.low_level.hash_secret_raw = hashed_once


# --- mutants --------------------------------------------------------------------------------------------------------


def mutants(name, tree):
    """Descriptions and changed trees. Nodes are found again in a copy by their number."""
    for number, node in enumerate(ast.walk(tree)):
        for what, change in changes(node):
            changed = copy.deepcopy(tree)
            target = next(each for at, each in enumerate(ast.walk(changed)) if at == number)
            change(target)
            yield f"tests/interop/{name}.py: {what}", changed


def changes(node):
    if is_check(node):
        yield f"without {ast.unparse(node)}", lambda node: node.__setattr__("value", ast.Constant(None))
    if isinstance(node, ast.Compare):
        for place, each in enumerate([node.left, *node.comparators]):
            for path, value in integers(each):
                for step in (-1, 1):
                    what = f"{value + step} for {value} in {ast.unparse(node)}"
                    yield what, lambda node, place=place, path=path, step=step: move(node, place, path, step)
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        for what, text in patterns(node.value):
            yield what, lambda node, text=text: node.__setattr__("value", text)
    if isinstance(node, (ast.Tuple, ast.Call)):
        elements = node.elts if isinstance(node, ast.Tuple) else node.args
        words = [each for each in elements if isinstance(each, ast.Constant)]
        if isinstance(node, ast.Tuple) and len(words) < len(elements):
            return  # Not a list of what is allowed.
        if isinstance(node, ast.Tuple) and len(words) == len(elements):
            for at, word in enumerate(words):
                if isinstance(word.value, str):
                    yield f"without {word.value!r} in {ast.unparse(node)}", lambda node, at=at: node.elts.pop(at)
        for at, each in enumerate(elements):
            if isinstance(each, ast.Constant) and type(each.value) is int and name_of(node) not in IN_BYTES:
                for step in (-1, 1):
                    what = f"{each.value + step} for {each.value} in {ast.unparse(node)}"
                    yield what, lambda node, at=at, step=step: moved(node, at, step)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and type(node.value.value) is int:
        for step in (-1, 1):
            what = f"{node.value.value + step} for {node.value.value} in {ast.unparse(node)}"
            yield what, lambda node, step=step: setattr(node.value, "value", node.value.value + step)


# Numbers that are lengths of fields, and no bounds.
IN_BYTES = {"to_bytes", "bytes", "enumerate", "HKDFExpand", "hash_secret_raw", "divmod", "range"}


def name_of(node):
    if not isinstance(node, ast.Call):
        return None
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)


def moved(node, at, step):
    constant = (node.elts if isinstance(node, ast.Tuple) else node.args)[at]
    constant.value += step


def is_check(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "require"


def integers(node):
    """Integers of one side of a comparison: itself, or those that it is computed from."""
    for number, each in enumerate(ast.walk(node)):
        if isinstance(each, ast.Subscript):
            return
        if isinstance(each, ast.Constant) and type(each.value) is int:
            yield number, each.value


def move(node, place, path, step):
    side = [node.left, *node.comparators][place]
    constant = next(each for number, each in enumerate(ast.walk(side)) if number == path)
    constant.value += step


CLASS = r"\[(?:\\.|[^\]\\])+\]"


def patterns(value):
    """A pattern with one class or repetition that takes more or less, or one alternative less."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    if "\n" in text or " " in text:  # Words for people.
        return
    if re.search(CLASS, text) is None and "\\." not in text:
        return
    encode = (lambda text: text) if isinstance(value, str) else (lambda text: text.encode("latin-1"))
    for found in re.finditer(CLASS, text):
        put = lambda new: encode(text[: found.start()] + new + text[found.end() :])
        yield f"any character for {found.group()} at {found.start()} of {text}", put(r"[^\n]")
        inside = found.group()[1:-1].removeprefix("^")
        items = re.findall(r"(?:\\x..|\\.|.)-(?:\\x..|\\.|.)|\\x..|\\.|.", inside)
        for at in range(len(items)) if len(items) > 1 else []:
            start = "[^" if found.group().startswith("[^") else "["
            rest = start + "".join(items[:at] + items[at + 1 :]) + "]"
            yield f"{rest} for {found.group()} at {found.start()} of {text}", put(rest)
    for found in re.finditer(r"\{(\d+)(?:,(\d+))?\}", text):
        low, high = found.groups()
        for step in (-1, 1):
            bounds = [f"{int(low) + step}" + ("" if high is None else f",{high}")]
            bounds += [] if high is None else [f"{low},{int(high) + step}"]
            for each in bounds:
                least, _, most = each.partition(",")
                if 0 <= int(least) <= int(most or least):
                    new = encode(text[: found.start()] + "{" + each + "}" + text[found.end() :])
                    yield f"{{{each}}} for {found.group()} at {found.start()} of {text}", new
    for found in re.finditer(r"(?<=[\])])[+*]", text):
        other = {"+": "*", "*": "+"}[found.group()]
        yield f"{other} for {found.group()} at {found.start()} of {text}", encode(text[: found.start()] + other + text[found.end() :])
    if "|" in text and "[" not in text:
        words = text.strip("|").split("|")
        for word in words:
            yield f"without {word} in {text}", encode("|".join(each for each in words if each != word))


# --- running --------------------------------------------------------------------------------------------------------


def load(code, instead=None):
    """The modules anew, one of them changed."""
    for name in MODULES:
        sys.modules.pop(name, None)
    for name in MODULES:
        module = types.ModuleType(name)
        module.__file__ = str(HERE / f"{name}.py")
        sys.modules[name] = module
        exec(instead[1] if instead and instead[0] == name else code[name], module.__dict__)
    return sys.modules["vector_files"]


class Vectors:
    """All vectors, quickest first."""

    def __init__(self, files):
        self.all = []
        for path in sorted((ROOT / "vectors").glob("*/*.vec")):
            data = path.read_bytes()
            begun = time.perf_counter()
            vector = files.Vector(data)
            problem = vector.mismatch()
            if problem:
                sys.exit(f"{path}: {problem}")
            # What Argon2id takes, it takes once.
            if "passphrase" in vector.fields:
                begun = time.perf_counter()
                vector.mismatch()
            clauses = set(" ".join(vector.all("spec") + vector.all("first")).split())
            self.all.append((time.perf_counter() - begun, path, data, vector.kind == "keystore", clauses))
        self.all.sort(key=lambda each: each[0])

    def killer(self, files, keystore, clauses):
        """The first vector that notices, those of these clauses first."""
        chosen = [each for each in self.all if keystore is None or each[3] == keystore]
        for *_, path, data, _, shown in sorted(chosen, key=lambda each: not (each[4] & clauses)):
            try:
                problem = files.Vector(data).mismatch()
            except Exception as error:
                problem = repr(error)
            if problem:
                return path
        return None


def runs_for_ever(*_):
    raise TimeoutError("it does not end")


def main():
    words = sys.argv[1:]
    signal.signal(signal.SIGALRM, runs_for_ever)
    source = {name: (HERE / f"{name}.py").read_text() for name in MODULES}
    code = {name: compile(text, str(HERE / f"{name}.py"), "exec") for name, text in source.items()}
    vectors = Vectors(load(code))
    count, survived, begun = 0, [], time.monotonic()
    for name in MUTATED:
        tree = ast.parse(source[name])
        tree.body = [each for each in tree.body if getattr(each, "name", None) not in SKIPPED]
        for what, changed in mutants(name, tree):
            if not all(word in what for word in words):
                continue
            # Whole again: the reader calls what is no check too.
            changed.body += [each for each in ast.parse(source[name]).body if getattr(each, "name", None) in SKIPPED - {"main"}]
            count += 1
            clauses = set(re.findall(r"[A-Z]-\d+", what))
            keystore = {"read_keystore": True, "constructions": None}.get(name, False)
            signal.alarm(MOST_SECONDS)
            try:
                files = load(code, (name, compile(ast.fix_missing_locations(changed), name, "exec")))
                killer = vectors.killer(files, keystore, clauses)
            except (Exception, SystemExit) as error:  # Not even loaded.
                killer = error
            signal.alarm(0)
            if killer is None:
                survived.append(what)
                print(f"survived: {what}", flush=True)
    print(f"{count} mutants, {len(survived)} survived, {time.monotonic() - begun:.0f} s")
    explained = re.findall(r"^\| `(tests/interop/[^`]+)` \|", (ROOT / "docs" / "mutants.md").read_text(), re.M)
    unexplained = [what for what in survived if shown(what) not in explained]
    gone = [what for what in explained if what not in map(shown, survived)] if not words else []
    for what in unexplained:
        print(f"docs/mutants.md does not say why this survives: {shown(what)}")
    for what in gone:
        print(f"in docs/mutants.md, and noticed or gone now: {what}")
    return 1 if unexplained or gone else 0


def shown(what):
    """As a cell of a table holds it."""
    return what.replace("|", "¦").replace("`", "'")


if __name__ == "__main__":
    sys.exit(main())
