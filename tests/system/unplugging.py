"""An instance with parts that a test can disable. Its agents have a chain of models, and a test can unplug each model.
The module also reads the reports about the agents' turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.system.conftest import Bench
from tests.transports import Json, Way, Ways, events_of

QUESTION = "What does the Plus plan cost a month?"
NAMES = ("alpha", "beta", "gamma")
AGENT = """\
name = "Unplugged"
start = "retrieve"
model = {{ chain = ["{0}", "{1}", "{2}", "passages"] }}
retrieval = {{ collections = ["chat"] }}
[nodes]
retrieve = {{ kind = "retriever" }}
rank = {{ kind = "ranker" }}
write = {{ kind = "prompt", prompt = "response_synthesis", cites = true }}
cite = {{ kind = "citation_checker" }}
passages = {{ kind = "passages" }}
refuse = {{ kind = "refuse" }}
[graph]
edges = [
  {{ from = "retrieve", to = "rank" }},
  {{ from = "rank", to = "write", when = {{ field = "ranking.near", is = true }} }},
  {{ from = "rank", to = "refuse" }},
  {{ from = "write", to = "refuse", when = {{ field = "declined", is = true }} }},
  {{ from = "write", to = "cite", when = {{ field = "marks", empty = false }} }},
  {{ from = "write", to = "finish" }},
  {{ from = "write", to = "passages", on = "unavailable" }},
]
"""


@dataclass(frozen=True)
class Chain:
    """An agent and the names of its models. The models run on different servers, in the order of the chain."""

    agent: str
    models: Sequence[str]


@dataclass
class Harness:
    """The bench with the agents of these tests, and all transports of the bench."""

    bench: Bench
    ways: Ways
    made: list[str]

    def chain(self, suffix: str = "") -> Chain:
        """A new agent with models that were not used before, because the server does not call a failed model for a while."""
        number = len(self.made)
        chain = Chain(f"unplugged-{number}", [f"{name}{suffix}:m-{number}" for name in NAMES])
        folder = self.bench.agents / chain.agent
        folder.mkdir(parents=True)
        self.made.append(chain.agent)
        (folder / "agent.toml").write_text(AGENT.format(*chain.models))
        self.call("AdminService/ReloadAgents", {})
        assert self.bench.version(chain.agent)
        return chain

    def call(self, name: str, request: Json, way: Way = Way.GRPC) -> Any:
        """The response messages of a successful call."""
        headers = {"authorization": f"Bearer {self.bench.instance.key}"}
        outcome = self.ways.call(name, request, headers, way)
        assert outcome.problem is None, outcome
        return outcome.messages

    def ask(
        self, agent: str, way: Way = Way.GRPC, question: str = QUESTION, **more: Any
    ) -> tuple[list[Json], Json]:
        """The events of a turn, and the result of a later GetTurn. Both have the same terminal event."""
        request = {"text": question, "agent": f"agents/{agent}", "includeDeltas": True, **more}
        frames = self.call("ChatService/Ask", request, way)
        events = events_of(frames)
        (turn,) = self.call("ChatService/GetTurn", {"name": frames[0]["turn"]})
        for kind in ("answer", "refused", "failed"):
            assert turn["terminalEvent"].get(kind) == events[-1].get(kind)
            assert turn.get("fallbacks") == turn["terminalEvent"].get(kind, turn).get("fallbacks")
        return events, turn

    def messages(self, conversation: str) -> list[Json]:
        """All messages of a conversation."""
        (found,) = self.call("ChatService/ListMessages", {"parent": conversation})
        return found.get("messages", [])

    def counted(self, agent: str, kind: str) -> int:
        """The number of times this fallback occurred, as the server reports it."""
        (status,) = self.call("AdminService/GetSystemStatus", {})
        wanted = {"agent": agent, "kind": kind}
        return sum(
            int(one["value"])
            for one in status.get("counters", [])
            if one["name"] == "fallbacks" and one["labels"] == wanted
        )


def of_kind(events: Sequence[Json], kind: str) -> list[Json]:
    return [event[kind] for event in events if kind in event]


def text_of(events: Sequence[Json]) -> str:
    """The text that stands at the end: later events may withdraw a part of what was sent."""
    text = b""
    for event in events:
        if "attemptRestarted" in event:
            text = text[: int(event["attemptRestarted"].get("keepBytes", 0))]
        elif "delta" in event:
            text += event["delta"]["text"].encode()
    return text.decode()


def detail(status: Json, kind: str) -> Json:
    """The only detail of this type in a google.rpc.Status."""
    (found,) = [one for one in status["details"] if one["@type"].endswith(f"/google.rpc.{kind}")]
    return found
