"""python -m responsa_lab.testing [--model-port N] [--tool-port N] [--until-eof]

Serves the scripted model and the counting tool on the loopback interface until SIGTERM or SIGINT. With --until-eof, the
end of stdin also ends this process, so that it ends together with its parent process. First it prints two lines of
JSON: {"part":"model","url":…,"stats_url":…} and {"part":"tool","url":…,"stats_url":…}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading

from responsa_lab.testing.servers import ModelServer, ToolSink


async def serve(model_port: int, tool_port: int, *, until_eof: bool) -> None:
    """Serves the model and the tool until a signal or the end of stdin."""
    model, sink = ModelServer(), ToolSink()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await model.start(model_port)
    await sink.start(tool_port)
    if until_eof:

        def wait() -> None:
            while sys.stdin.buffer.read(4096):
                pass
            loop.call_soon_threadsafe(stop.set)

        # A daemon thread never keeps the process alive. Therefore a read that waits for stdin cannot delay the exit.
        threading.Thread(target=wait, daemon=True).start()
    for line in (
        {"part": "model", "url": model.url, "stats_url": f"{model.root}/stats"},
        {"part": "tool", "url": sink.url, "stats_url": f"{sink.url}/calls"},
    ):
        print(json.dumps(line), flush=True)
    await stop.wait()
    await model.close()
    await sink.close()


def main() -> None:
    """Reads the arguments and serves."""
    parser = argparse.ArgumentParser(prog="python -m responsa_lab.testing", description=__doc__)
    parser.add_argument("--model-port", type=int, default=0)
    parser.add_argument("--tool-port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve(options.model_port, options.tool_port, until_eof=options.until_eof))


if __name__ == "__main__":
    main()
