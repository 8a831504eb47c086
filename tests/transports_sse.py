"""Event streams as a further transport, for Ask and ResumeTurn."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse, ResumeTurnRequest
from tests.transports import HTTP, Call, Json, Outcome

METHODS = ("Ask", "ResumeTurn")


class Sse:
    """The REST paths of both methods with `accept: text/event-stream`."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def call(self, call: Call) -> Outcome:
        """Make the call. The messages of the outcome are the frames in the stream's events."""
        self._http.cookies.clear()
        headers = {"accept": "text/event-stream", **call.headers}
        request = call.messages[0] if call.raw is None else None
        if isinstance(request, ResumeTurnRequest):
            # Resume as an EventSource does, with the id of the last event that it received.
            last = {"last-event-id": str(request.after_seq)} if request.after_seq > 0 else {}
            # No event has a negative id, so a negative seq can only come from the query.
            after = {"afterSeq": str(request.after_seq)} if request.after_seq < 0 else {}
            deltas = {"includeDeltas": "true"} if request.include_deltas else {}
            path = f"/v1/{request.turn}/events"
            response = self._http.get(path, params={**deltas, **after}, headers={**headers, **last})
        else:
            response = self._http.post(
                "/v1/turns:ask",
                content=call.raw if request is None else _body(request),
                headers={"content-type": "application/json", **headers},
            )
        if response.status_code == 204:
            return Outcome([], None)
        if response.status_code != 200:
            problem = _problem(response.text)
            assert response.status_code == HTTP[problem["code"]]
            return Outcome([], problem)
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        messages: list[Json] = []
        for event in events_in(response.text):
            if event.get("event") == "error_status":
                return Outcome(messages, _problem(event["data"]))
            frame = json_format.Parse(event["data"], AskResponse())
            assert event["id"] == str(frame.through_seq)
            messages.append(json_format.MessageToDict(frame))
        return Outcome(messages, None)


def events_in(text: str) -> Iterator[dict[str, str]]:
    """The events of a stream, each as its fields. Comments, which are heartbeats, are left out."""
    assert text.endswith("\n\n")
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        fields = {name: value for name, _, value in lines}
        if fields.keys() - {"retry"}:
            yield fields


def _body(request: Message) -> str:
    assert isinstance(request, AskRequest)
    return json.dumps(json_format.MessageToDict(request))


def _problem(text: str) -> Json:
    return json_format.MessageToDict(json_format.Parse(text, Status()))
