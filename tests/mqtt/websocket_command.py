"""Send one command to Home Assistant's WebSocket API; runs where Home Assistant is installed.

Arguments: the base URL, an access token, the command as JSON. Prints the result as JSON.
"""

import asyncio
import json
import sys
from typing import Any


async def send(url: str, token: str, command: dict[str, Any]) -> object:
    """Return the result of a command."""
    import aiohttp  # type: ignore[import-not-found]  # noqa: PLC0415 - only Home Assistant has it

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/api/websocket") as ws:
        await ws.receive_json()
        await ws.send_json({"type": "auth", "access_token": token})
        await ws.receive_json()
        await ws.send_json({"id": 1, **command})
        response = await ws.receive_json()
    if not response["success"]:
        raise SystemExit(f"{command['type']}: {response['error']}")
    result: object = response["result"]
    return result


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(asyncio.run(send(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
    )
