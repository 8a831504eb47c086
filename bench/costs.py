"""`python -m bench.costs`: the CPU time of server and PostgreSQL for a turn without a language model, and for a search; on Responsa's own documents, and on ten thousand passages.

With `--compare CHECKOUT`, an instance of another checkout makes the same calls in alternation; the checkout needs its packages (`make packages`). With ten thousand passages, hardly any question
finds passages that an earlier one found, so no cache of analysed passages helps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console

from bench import corpus
from bench.figures import Comparison
from bench.library import make_collection, take_in
from bench.processes import ROOT, Place, leave_in_order, place, running
from bench.report import Line, Machine, show
from bench.run import MANY, PARAGRAPHS
from responsa_client.aio import AsyncResponsa

TITLE: Final = "CPU time of server and PostgreSQL, without a language model"
DOCS: Final = "responsa-docs"
_QUESTIONS: Final = ("fit", "choose", "look")
_PARTS: Final = ("postgres", "responsa_server")


@dataclass(frozen=True, slots=True)
class OtherPlace(Place):
    """The place of an instance of another checkout."""

    checkout: Path = ROOT

    @property
    def executable(self) -> str:
        """The command `responsa` of that checkout."""
        return str(self.checkout / ".venv" / "bin" / "responsa")


def cpu_seconds(at: Place) -> float:
    """The CPU time so far of the instance's server processes and of those of its PostgreSQL, with that of children that have ended: PostgreSQL replaces its processes at any time."""
    home, total = str(at.home), 0.0
    for process in psutil.process_iter():
        try:
            own = home in process.cwd() or process.environ().get("RESPONSA_HOME") == home
            if own and any(part in name for part in _PARTS for name in (process.name(), *process.cmdline())):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def own_questions() -> list[str]:
    """The questions of evals/reading about Responsa's own documents."""
    files = [ROOT / "evals" / "reading" / f"{part}.jsonl" for part in _QUESTIONS]
    lines = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line["question"] for line in lines if line["source"] == "responsa"]


def cost(at: Place, call: Callable[[AsyncResponsa, str], Awaitable[object]], texts: Sequence[str]) -> float:
    """The CPU time of a call in milliseconds; the calls are made one after the other."""

    async def work() -> None:
        async with AsyncResponsa(f"http://{at.target}", at.key) as client:
            for text in texts:
                await call(client, text)

    begun = cpu_seconds(at)
    asyncio.run(work())
    return (cpu_seconds(at) - begun) * 1000 / len(texts)


def measure(places: Sequence[Place], rounds: int, a_round: int, say: Callable[[str], None]) -> list[Line]:
    """The lines of all four measurements. places: ours, and possibly that of the other checkout."""
    documents = corpus.documents(100 if rounds > 2 else 5, PARAGRAPHS)
    for at in places:
        say(f"uploading {len(documents)} documents to {at.home}")
        make_collection(at, MANY)
        take_in(at, MANY, documents)

    async def turn(collection: str, client: AsyncResponsa, text: str) -> object:
        return await client.answer(text, collections=[collection])

    async def search(collection: str, client: AsyncResponsa, text: str) -> object:
        return await client.search(text, [collection])

    lines: list[Line] = []
    for name, collection, asked in (
        ("own documents", DOCS, own_questions()),
        (
            f"{len(documents) * PARAGRAPHS:,} passages",
            MANY,
            corpus.questions(documents, 2 * (rounds + 1) * a_round),
        ),
    ):
        questions = cycle(asked)
        for what, call in (("a turn", turn), ("a search", search)):
            say(f"{what}, {name}")
            values: list[list[float]] = [[] for _ in places]
            for number in range(rounds + 1):
                texts = list(islice(questions, a_round))
                for step in range(len(places)):
                    side = (number + step) % len(places)
                    used = cost(places[side], partial(call, collection), texts)
                    if number:  # the first round fills caches
                        values[side].append(used)
            title, measured = f"{what}, {name}", rounds * a_round
            lines.append(
                Line.compared(TITLE, title, "ms", "less", Comparison.of(*values), 2 * measured)
                if len(places) > 1
                else Line.alone(TITLE, title, "ms", values[0], measured=measured)
            )
    return lines


def main(given: Sequence[str] | None = None) -> int:
    """Makes the measurements and prints them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="measure this checkout too")
    parser.add_argument("--quick", action="store_true", help="short rounds, to test the bench itself")
    options = parser.parse_args(given)
    leave_in_order()
    messages, machine = Console(stderr=True), Machine.here()

    def say(what: str) -> None:
        messages.print(f"[dim]{what}[/dim]", highlight=False)

    with ExitStack() as stack:
        ours = stack.enter_context(place())
        places: list[Place] = [ours]
        if options.compare is not None:
            other = stack.enter_context(place())
            places.append(OtherPlace(other.home, other.port, checkout=options.compare.resolve()))
        for at in places:
            say(f"starting {at.executable}")
            stack.enter_context(running(at))
        rounds, a_round = (1, 5) if options.quick else (7, 40)
        lines = measure(places, rounds, a_round, say)
    say(str(machine))
    show(lines, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
