"""Workers are killed after their turns have found passages. Before another worker goes on, the document is replaced,
deleted or unshared. No turn fails, and no answer has words that its reader may no longer read."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from responsa.chat.v1 import turn_pb2
from responsa.knowledge.v1 import reader_pb2
from responsa_client.aio.client import AsyncResponsa
from responsa_server.domain.faults import Fault
from tests.faults.askers import hold
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.golden import kind
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

PLACES = (Fault.AFTER_APPEND, Fault.BETWEEN_CHUNKS, Fault.BEFORE_FINISH, Fault.BEFORE_APPEND)
CHANGES = ("replace", "delete", "unshare")
MOST_SKIPPED = 4
AGENT = """name = "Finder"
description = "Finds passages before it asks a model for anything."
start = "retrieve"
model = { chain = ["scripted:strong"], max_output_tokens = 500 }
history = { messages = 0 }
limits = { seconds = 900 }

[nodes]
retrieve = { kind = "retriever" }
rank = { kind = "ranker" }
sort = { kind = "question_categoriser", prompt = "sort", examples = "examples/sorts.jsonl" }
write = { kind = "prompt", prompt = "response_synthesis", cites = true }
cite = { kind = "citation_checker" }
refuse = { kind = "refuse" }

[graph]
edges = [
  { from = "retrieve", to = "refuse", when = { field = "evidence.passages", below = 1 } },
  { from = "retrieve", to = "rank" },
  { from = "rank", to = "sort" },
  { from = "sort", to = "write" },
  { from = "write", to = "refuse", when = { field = "declined", is = true } },
  { from = "write", to = "cite", when = { field = "marks", empty = false } },
  { from = "write", to = "finish" },
]
"""
PROMPT = """+++
variables = { categories = "the kinds to choose from", formats = "the JSON Schema of the answer", question = "the question" }
schema = "category"
+++
Sort the question: {{ categories | join(", ") }}.
{% include "parts/json.md" +%}
=== user
{{ question }}
"""
EXAMPLES = "".join(
    f'{{"text": "{text}", "label": "{label}"}}\n'
    for label, texts in {
        "gate": ("What opens gate 3?", "Which word opens gate 8?", "How does gate 5 open?"),
        "road": ("Where does the road end?", "How long is the north road?", "Who built the road?"),
    }.items()
    for text in texts
)


def write_agent(folder: Path) -> dict[str, str]:
    """Write the agent's files. Returns the settings of every server."""
    for name, text in {
        "agent.toml": AGENT,
        "prompts/sort.md": PROMPT,
        "examples/sorts.jsonl": EXAMPLES,
    }.items():
        path = folder / "finder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {
        "RESPONSA_MODELS__SCRIPTED": "true",
        "RESPONSA_AGENTS__FOLDER": str(folder),
        "RESPONSA_AGENTS__WATCH": "false",
    }


class Gates:
    """The documents: each says which word opens a gate. Everybody may read them."""

    def __init__(self, client: AsyncResponsa, dice: random.Random) -> None:
        self._client = client
        self._dice = dice

    async def add(self, number: int) -> str:
        """Add the document of a gate to a collection of its own. Returns the word."""
        await self._client.create_collection(
            f"gate-{number}", readers=[reader_pb2.Reader(everyone=True)], display_name=f"Gate {number}"
        )
        return await self._write(number)

    async def change(self, number: int, how: str) -> None:
        if how == "replace":
            await self._write(number)
            await self._write(number)
        elif how == "delete":
            async for document in self._client.documents(f"gate-{number}"):
                await self._client.delete_document(document.name)
        else:
            await self._client.update_collection(f"gate-{number}", readers=[])

    async def _write(self, number: int) -> str:
        word = f"w{self._dice.randrange(1 << 40):x}"
        text = f"# Gate {number}\n\nGate {number} opens with the word {word}.\n"
        operation = await self._client.upload(
            text.encode(), collection=f"gate-{number}", source_key=f"gate-{number}.md"
        )
        await self._client.wait(operation)
        return word


@forms(short=3, long=300)
async def test_no_turn_fails_whatever_happens_to_the_documents_that_it_has_found(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = Report("changed_documents", form)
    caller, dice = await cluster.caller(), form.dice()
    settings = write_agent(tmp_path)
    cluster.admit(await cluster.soon("rpc", **settings))
    await cluster.soon("jobs", **settings)
    readers: list[Seen] = []
    rounds = zip(itertools.count(1), itertools.cycle(CHANGES), strict=False)
    async with (
        AsyncResponsa(f"http://{cluster.target}", caller.admin_key) as client,
        GrpcWay(cluster.target, caller.key) as way,
    ):
        gates = Gates(client, dice)
        while report.counts.get("kills", 0) < form.count:
            number, how = next(rounds)
            word = await gates.add(number)
            place = PLACES[(number - 1) // len(CHANGES) % len(PLACES)]
            fault = Placed(place, Act.KILL, skip=dice.randrange(MOST_SKIPPED) if form.limits else 0)
            worker = await cluster.soon("answers", faults=[fault], **settings)
            reader = Seen(asking(f"Which word opens gate {number}?", agent="agents/finder"))
            readers.append(reader)
            following = asyncio.create_task(follow(way, reader))
            await asyncio.to_thread(
                eventually, lambda worker=worker, reader=reader: not worker.alive or reader.ended, "a kill"
            )
            killed = not worker.alive
            if killed:
                report.count("kills")
                report.count(f"{how} at {place.value}")
                await gates.change(number, how)
                worker = await cluster.soon("answers", **settings)
            await following
            await asyncio.to_thread(worker.kill)
            # A stream whose reader loses the document ends with a refusal that the log does not have.
            snapshot = reader.snapshot
            end = reader.terminal if snapshot is None else snapshot.snapshot.terminal_event
            report.count(kind(end))
            assert kind(end) in ("answer", "refused"), end
            if kind(end) == "answer":
                kinds = {fallback.kind for fallback in end.answer.fallbacks}
                report.count("searched again", int(turn_pb2.FALLBACK_KIND_SEARCHED_AGAIN in kinds))
                assert end.answer.text.count(word) <= int(how == "replace" or not killed), end
    hold(caller, [reader for reader in readers if reader.snapshot is None], report, script=False)
    report.tell(request)
