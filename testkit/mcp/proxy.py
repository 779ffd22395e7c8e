"""A door in front of a server over mTLS for clients that speak plain HTTP only: proxy.py LISTEN HOST PORT FOLDER.

Listens on the port LISTEN of 127.0.0.1, says so, and hands every byte on, with the certificate `agent` of FOLDER. For tests: whoever
reaches the port is that client.
"""

import asyncio
import ssl
import sys
from pathlib import Path


async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        to.close()


async def main() -> None:
    listen, host, port, folder = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "agent.pem", folder / "agent.key")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        except (OSError, ssl.SSLError) as error:
            print(f"proxy: {error}", file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(pump(reader, server[1]), pump(server[0], writer))

    listening = await asyncio.start_server(relay, "127.0.0.1", listen)
    print("listening", flush=True)
    await listening.serve_forever()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
