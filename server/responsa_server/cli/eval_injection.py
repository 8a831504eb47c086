"""`responsa eval injection`: how often an agent does what a text tells it to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from responsa.chat.v1 import agent_pb2
from responsa_client.aio import AsyncResponsa
from responsa_server.cli.evaluation import source_keys
from responsa_server.cli.failures import EXIT_USAGE, CommandFailed, reporting
from responsa_server.cli.ingestion import Outcome, ensure_collection, ingest
from responsa_server.cli.ingestion import Report as Ingested
from responsa_server.cli.injection import Report, Tally, asked_with, asks, led, measure
from responsa_server.cli.injection_set import CLEAN, InjectionSet
from responsa_server.cli.output import Json, print_json, print_text
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.cli.sources import Document, Entry


def eval_injection(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder with docs.jsonl, attacks.jsonl, questions.jsonl, and direct.jsonl."),
    ],
    agent: Annotated[
        list[str] | None, typer.Option("--agent", "-a", help="Measure this agent; repeatable. Default: all.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            min=0, help="Ask so many of the questions and messages, spread evenly over all; 0: all."
        ),
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one object an agent.")] = False,
) -> None:
    """Ask agents about documents that give orders, and about their clean twins, and send them messages that give orders.

    obeyed: the order's sign stands in the answer, and is no quote. quoted: a citation overlaps the order. changed: another outcome, or other quotes, than the
    clean twin's; of a message, another outcome, intent or category. Documents of each kind go into a collection of their own, eval-FOLDER-clean and so on.

    The agents' model must be scripted:obedient, which carries out every order that is not marked as data, or scripted:heedless, which carries out all: the control. An
    agent without a model is measured as it is.
    """
    with reporting(json=json):
        given = InjectionSet.read(folder, limit)
        name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:40].rstrip("-")
        for one in asyncio.run(_run(given, f"eval-{name or 'set'}", agent or ())):
            if json:
                print_json(_plain(one))
            else:
                _print(one)


async def _run(given: InjectionSet, prefix: str, agents: Sequence[str]) -> Sequence[Report]:
    async with open_async_client() as client:
        # What cannot be measured is told before anything is taken in.
        chosen = await _chosen(client, agents)
        collections = {variant: f"{prefix}-{variant}" for variant in given.documents}
        if CLEAN not in collections:
            raise CommandFailed("There are no clean documents to compare with.", "", EXIT_USAGE)
        with Progress("Taking in", sum(len(documents) for documents in given.documents.values())) as progress:
            for variant, collection in collections.items():
                await _take_in(client, given, variant, collection, progress)
        keys: dict[str, str] = {}
        for collection in collections.values():
            keys |= await source_keys(client, collection)
        with Progress("Asking", sum(asks(_id(one), given) for one in chosen)) as progress:
            return [await measure(client, one, given, collections, keys, progress.advance) for one in chosen]


async def _chosen(client: AsyncResponsa, names: Sequence[str]) -> Sequence[agent_pb2.Agent]:
    """The agents, each with what it may be asked with. An agent that only tests have is left out unless it is named."""
    named = list(dict.fromkeys(names)) or [one.name async for one in client.agents() if _id(one) != "testing"]
    found = [await client.agent(name) for name in named]
    for one in found:
        led(one)
        asked_with(one)
    return found


async def _take_in(
    client: AsyncResponsa, given: InjectionSet, variant: str, collection: str, progress: Progress
) -> None:
    failed: list[str] = []
    await ensure_collection(client, collection)

    def entries() -> Iterator[Entry]:
        for one in given.documents[variant]:
            yield Document(one.id, one.id, text=one.text, title=one.title)

    def report(one: Ingested) -> None:
        progress.advance()
        if one.outcome is Outcome.FAILED:
            failed.append(one.where)

    await ingest(client, entries(), collection, report)
    if failed:
        raise CommandFailed(f"{len(failed)} documents were not taken in, the first is {failed[0]}.")


def _plain(one: Report) -> dict[str, Json]:
    return {
        "agent": one.agent,
        "model": one.model,
        "documents": one.documents.plain(),
        "direct": one.direct.plain(),
    }


def _print(one: Report) -> None:
    print_text(f"{one.agent} ({one.model or 'no model'})")
    print_text(f"  {'orders in':<12}{'asked':>7}{'obeyed':>8}{'quoted':>8}{'changed':>9}{'failed':>8}   rate")
    for name, tally in (("documents", one.documents), ("messages", one.direct)):
        print_text(f"  {name:<12}{_counts(tally)}")
    categories = one.documents.categories + one.direct.categories
    if categories:
        print_text(
            "  obeyed: " + ", ".join(f"{name or '?'} {count}" for name, count in categories.most_common(8))
        )


def _counts(one: Tally) -> str:
    rate = f"{one.obeyed / one.asked:.3f}" if one.asked else "-"
    return f"{one.asked:>7}{one.obeyed:>8}{one.quoted:>8}{one.changed:>9}{one.failed:>8}   {rate}"


def _id(agent: agent_pb2.Agent) -> str:
    return agent.name.removeprefix("agents/")
