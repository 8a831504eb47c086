"""Sends questions over a WebSocket through Envoy, as a web page does."""

from __future__ import annotations

import json
import time

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from bench.jobs import Job
from responsa.chat.v1.chat_service_pb2 import AskRequest


class SocketCaller:
    """A socket that stays open between questions. Only one thread may use it."""

    def __init__(self, job: Job) -> None:
        protocols = [Subprotocol("responsa.v1"), Subprotocol(f"bearer.{job.key}")]
        self._opening = connect(f"ws://{job.target}/ws/chat", subprotocols=protocols, proxy=None)
        self._socket = self._opening.__enter__()

    def call(self, request: bytes) -> tuple[float, int, bool]:
        """Asks a question. Returns the time of the first frame (time.perf_counter), the number of frames, and whether
        the turn ended with an answer."""
        question = AskRequest.FromString(request)
        # The default agent of a WebSocket differs from the default agent of gRPC-Web.
        message = {"content": question.text, "agent": "default", "deltas": question.include_deltas}
        self._socket.send(json.dumps(message))
        first, frames = 0.0, 0
        while True:
            frame = json.loads(self._socket.recv(60))
            if frame["type"] == "heartbeat":
                continue
            frames += 1
            if frames == 1:
                first = time.perf_counter()
            if frame["type"] in ("message", "error"):
                return first, frames, frame["type"] == "message" and "outcome" not in frame["metadata"]

    def close(self) -> None:
        """Closes the socket."""
        self._opening.__exit__(None, None, None)
