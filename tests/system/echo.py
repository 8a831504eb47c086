"""A server of language models that answers with the end of its instructions, or as the test says, once the test allows the answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.wire.openai import OpenAi
from tests.wire.speaking import Scene

SAY = "Say: "


class Echo:
    """Uses OpenAI's protocol. The answer, a text, a scene or its events, is what `says` makes of the request's body: by
    default, the rest of the line after the last `Say: ` in the first message."""

    def __init__(self, says: Callable[[Any], str | Scene | Iterator[bytes]] | None = None) -> None:
        self.says = says or _said
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Semaphore(0)
        """One event for each received request."""
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                echo.waiting.release()
                echo.open.wait()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                said = echo.says(body)
                scene = Scene([said]) if isinstance(said, str) else said
                with suppress(OSError):  # nobody reads any more
                    for event in OpenAi().events(scene) if isinstance(scene, Scene) else scene:
                        self.wfile.write(event)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class uses this name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The value for the setting `models.servers.NAME.url`."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        """Answer all waiting requests, and end the server."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _said(body: Any) -> str:
    instructions = str(body["messages"][0]["content"])
    return instructions.rpartition(SAY)[2].partition("\n")[0]
