"""Calls LangGraph Agent Server over its own HTTP API with server-sent events."""

from __future__ import annotations

import http.client
import json
import time

from bench.jobs import Job
from bench.web import WebProblem, lines
from responsa.chat.v1 import chat_service_pb2


class AgentServerCaller:
    """A connection that stays open between calls. Only one thread may use it."""

    def __init__(self, job: Job) -> None:
        host, _, port = job.target.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)

    def call(self, request: bytes) -> tuple[float, int, bool]:
        """Runs the graph. Returns the time of the first event (time.perf_counter), the number of events, and whether
        the run ended with the right text."""
        question = chat_service_pb2.AskRequest.FromString(request).text
        body = {
            "assistant_id": "agent",
            "input": {"question": question},
            "stream_mode": ["custom", "values"],
        }
        self._connection.request(
            "POST", "/runs/stream", json.dumps(body), {"content-type": "application/json"}
        )
        response = self._connection.getresponse()
        if response.status != http.client.OK:
            raise WebProblem(f"HTTP {response.status}: {response.read(500)!r}")
        first, messages, last = 0.0, 0, b""
        custom = False
        for line in lines(response):
            if line.startswith(b"event: "):
                messages += 1
                custom = custom or line.startswith(b"event: custom")
            elif line.startswith(b"data: "):
                last = line
                if custom and not first:
                    first = time.perf_counter()
        response.read()
        return first, messages, b'"text":"word00 and' in last

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
