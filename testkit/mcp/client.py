"""The Python SDK as a client of `envctl mcp`, in both of its modes: every tool on a real tree, each answer against the schema
that the server declares, no secret anywhere.

Usage: client.py ENVCTL
"""

import json
import sys
import tempfile

import anyio
import jsonschema
from mcp import Client, StdioServerParameters

from tree import CANARY, Tree


def require(holds, what):
    if not holds:
        raise SystemExit(f"does not hold: {what}")


CALLS = [
    ("list_keys", {}),
    ("list_keys", {"state": "compromised", "limit": 1}),
    ("describe_key", {"key": "main"}),
    ("keys_due", {}),
    ("inspect_envelope", {"path": "{archive}/a.pdf.envelope"}),
    ("find_envelopes", {"key": "old", "alone": True}),
    ("key_usage", {}),
    ("rotation_plan", {"to": ["main"], "rate": 10}),
    ("rotation_status", {"path": "{archive}/job"}),
    ("audit_search", {}),
    ("audit_verify", {}),
    ("policy_explain", {"actor": "mcp:local", "operation": "wrap", "key": "main"}),
    ("explain_error", {"exit_code": 4}),
    ("doctor", {}),
]


def parameters(tree):
    return StdioServerParameters(command=tree.envctl, args=["--config", str(tree.config), "mcp"], env=tree.environment())


async def look(tree, mode):
    said = []
    async with Client(parameters(tree), mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        require(set(tools) == {name for name, _ in CALLS}, f"these tools and no others: {sorted(tools)}")
        require(all(tool.annotations.read_only_hint for tool in tools.values()), "every tool only reads")
        answers = {}
        for name, arguments in CALLS:
            arguments = json.loads(json.dumps(arguments).replace("{archive}", str(tree.archive)))
            result = await client.call_tool(name, arguments)
            require(not result.is_error, f"{name}: {result.content}")
            jsonschema.validate(result.structured_content, tools[name].output_schema,
                                cls=jsonschema.Draft202012Validator)
            answers[name] = result.structured_content
            said.append(result.model_dump_json())
        for resource in (await client.list_resources()).resources:
            said.append((await client.read_resource(str(resource.uri))).model_dump_json())
        for prompt in (await client.list_prompts()).prompts:
            said.append((await client.get_prompt(prompt.name, {"key": "old"})).model_dump_json())
        wrong = await client.call_tool("inspect_envelope", {"path": "/etc/passwd"})
        require(wrong.is_error and "key-refused" in wrong.content[0].text, f"no file elsewhere is read: {wrong}")
        said.append(wrong.model_dump_json())
    require(not any(CANARY in text for text in said), "no secret is told")
    require(all(len(text) <= 64 * 1024 for text in said), "answers are bounded")
    found = answers["find_envelopes"]["envelopes"]
    require([one["path"] for one in found] == [f"{tree.archive}/2026/c.pdf.envelope"], f"only one: {found}")
    plan = answers["rotation_plan"]
    require((plan["to_change"], plan["in_target_state"]) == (3, 0), f"all three would change: {plan}")
    require(answers["audit_verify"]["valid"], "the log is whole")
    require(answers["policy_explain"]["allowed"] is False, "a client may wrap nothing")
    print(f"ok: {len(CALLS)} calls, mode {mode}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(sys.argv[1], folder)
        (tree.archive / "job").write_text('{"envelope_rotation":1,"job":"0011223344556677"}\n')
        for mode in ("auto", "legacy"):
            anyio.run(look, tree, mode)


main()
