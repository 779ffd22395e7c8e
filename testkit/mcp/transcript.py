"""An agent's session, scripted: plans the rotation of a real tree and finds the one file that only a compromised key opens.
Written to standard output as Markdown, the same each time but for ids.

Usage: transcript.py ENVCTL
"""

import json
import re
import sys
import tempfile

import anyio
from mcp import Client, StdioServerParameters

from tree import Tree

SHOWN = ("unverified", "next_cursor", "unavailable", "unreadable", "unreadable_examples", "hidden_by_policy", "others")


def plain(text, tree):
    text = text.replace(str(tree.archive), "/srv/archive")
    text = re.sub(r"local://[0-9a-f]{32}/", "local://5f0c…/", text)
    text = re.sub(r'"(envelope_id)": "[0-9a-f]{32}"', r'"\1": "…"', text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-11-29T10:00:00Z", text)


async def talk(tree):
    server = StdioServerParameters(command=tree.envctl, args=["--config", str(tree.config), "mcp"], env=tree.environment())

    async def ask(why, tool, **arguments):
        result = await client.call_tool(tool, arguments)
        answer = {name: value for name, value in result.structured_content.items() if name not in SHOWN}
        asked = plain(json.dumps(arguments), tree)
        print(f"{why}\n\n`{tool}` {asked}\n\n```json\n{plain(json.dumps(answer, indent=1), tree)}\n```\n")
        return answer

    async with Client(server) as client:
        keys = await ask("**Is any key compromised?**", "list_keys", state="compromised")
        key = keys["keys"][0]["key"]
        found = await ask("**What does nothing else open?**", "find_envelopes", key=key, alone=True)
        if len(found["envelopes"]) != 1:
            raise SystemExit("there is not the one file")
        plan = await ask("**What would it take to bring all to the other key?**", "rotation_plan", to=["main"], **{"from": ["main", "old"]})
        await ask("**Who may do that?**", "policy_explain", actor="cli:alice", operation="rewrap", key="main")
    commands = "\n".join(plain(command, tree) for command in plan["commands_for_a_person"])
    print("The agent's answer ends in what a person runs. The compromised key opens `2026/c.pdf.envelope` alone, and so is named once more to open it. "
          f"What it protected counts as read: the person may prefer `--reencrypt`.\n\n```sh\n{commands}\n```")


def main():
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(talk, Tree(sys.argv[1], folder))


main()
