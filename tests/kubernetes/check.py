"""Checks manifests against the schema of a Job, and that shards and completions fit together.

`job.json` is made from Kubernetes' own OpenAPI document of batch/v1 (v1.24.0, and backoffLimitPerIndex of v1.29.0; Apache-2.0): what a Job refers to, without
descriptions, and strict: a member that the API does not know is an error, since the API server drops it without a word.
"""

import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).parent
SCHEMA = json.loads((HERE / "job.json").read_text())
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float), "integer": int}


def check(value, schema, place):
    """Yields what is wrong with `value`."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        yield from check(value, SCHEMA["definitions"][name], place)
        return
    # A quantity, or a port: Kubernetes calls it a string and takes a number too.
    if schema.get("format") == "int-or-string" or "oneOf" in schema:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            yield f"{place}: neither a number nor a text"
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (kind != "boolean" and isinstance(value, bool))):
        yield f"{place}: {value!r} is no {kind}"
        return
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name in schema.get("required", []):
            if name not in value:
                yield f"{place}: {name} is missing"
        for name, member in value.items():
            if name in known:
                yield from check(member, known[name], f"{place}.{name}")
            elif isinstance(others, dict):
                yield from check(member, others, f"{place}.{name}")
            elif not others:
                yield f"{place}: there is no {name}"
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from check(member, schema.get("items", {}), f"{place}[{number}]")


def check_shards(job):
    """Each part of the work must have a pod, and each pod a part."""
    spec = job["spec"]
    if spec.get("completionMode") != "Indexed":
        yield "spec: not Indexed, so that no pod knows its part"
    if "backoffLimitPerIndex" not in spec or spec["template"]["spec"].get("restartPolicy") != "Never":
        yield "spec: a part that fails ends the others in the middle"
    container = spec["template"]["spec"]["containers"][0]
    shards = [entry["value"] for entry in container["env"] if entry["name"] == "SHARDS"]
    if shards != [str(spec["completions"])]:
        yield f"spec: {spec['completions']} completions and {shards} shards"
    script = " ".join(container["args"])
    if '--shard "$((JOB_COMPLETION_INDEX + 1))/$SHARDS"' not in script:
        yield "args: the shard is not that of the index"


def main():
    # That the checker finds anything at all.
    wrong = {"kind": "Job", "spec": {"template": {"spec": {"containers": [{"name": 1, "imag": "x"}]}}, "parallelism": "4"}}
    found = list(check(wrong, SCHEMA, ""))
    assert len(found) == 3, found

    failures = []
    manifests = sorted((HERE.parent.parent / "docs/kubernetes").glob("*.yaml"))
    for path in manifests:
        job = yaml.safe_load(path.read_text())
        if (job.get("apiVersion"), job.get("kind")) != ("batch/v1", "Job"):
            failures.append(f"{path.name}: not a Job of batch/v1")
            continue
        failures += [f"{path.name}: {failure}" for failure in (*check(job, SCHEMA, "job"), *check_shards(job))]
    print("\n".join(failures) or f"{len(manifests)} manifest of Kubernetes fits its schema")
    return 1 if failures or not manifests else 0


if __name__ == "__main__":
    sys.exit(main())
