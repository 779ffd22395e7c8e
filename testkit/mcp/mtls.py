"""The Python SDK of MCP against a server over mTLS: mtls.py URL FOLDER, with what scripts/mcp-certificates writes into FOLDER.

Calls every tool that takes no arguments, in both modes of the SDK, and lists resources and prompts; then is refused without a
certificate. Needs the packages of requirements.txt.
"""

import asyncio
import ssl
import sys
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


def context(folder: Path, client: str | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=folder / "ca.pem")
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    if client:
        made.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    return made


async def talk(url: str, folder: Path, mode: str) -> None:
    async with httpx2.AsyncClient(verify=context(folder, "agent"), trust_env=False) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            version = client.protocol_version
            assert (version >= "2026-07-28") == (mode == "auto"), version
            tools = (await client.list_tools()).tools
            assert tools
            called = 0
            for tool in tools:
                if not tool.input_schema.get("required"):
                    answer = await client.call_tool(tool.name, {})
                    assert answer.content or answer.structured_content, tool.name
                    called += 1
            print(f"mTLS, mode {mode}, protocol {version}: {len(tools)} tools, {called} called")


async def is_refused(url: str, folder: Path) -> None:
    async with httpx2.AsyncClient(verify=context(folder, None), trust_env=False) as http:
        try:
            await http.post(url, json={})
        except (httpx2.TransportError, ssl.SSLError) as error:
            print(f"without a certificate: refused ({type(error).__name__})")
        else:
            raise AssertionError("answered without a certificate")


async def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    for mode in ("legacy", "auto"):
        await talk(url, folder, mode)
    await is_refused(url, folder)


asyncio.run(main())
