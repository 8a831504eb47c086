"""`responsa eval dialogues`: measures whether agents search when they should, and whether rewriting a follow-up helps the search.

Each line of the file is one JSON object: {id, agent, turns: [{speaker: user | assistant, text}], question, needs_retrieval, follow_up, source_key}.
`turns` are the messages before the question. The list may be empty; otherwise its last message is from the assistant. `needs_retrieval`
is true if the answer needs documents. It is false if the conversation contains the answer, or if the question is small talk. `follow_up`
is true if the question cannot be understood without the turns. `source_key` names the document in the agent's samples that contains the
answer, if there is such a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, model_validator

from responsa_client.aio import AsyncResponsa
from responsa_client.errors import NotFound
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.measuring import own_collections, several, source_keys
from responsa_lab.evaluation.metrics import Agreement, agreement, fraction, mean, rounded
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, one_line, print_json, print_text
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.instance import CHECKOUT

_Text = Annotated[str, Field(min_length=1, max_length=4000)]
_Id = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]


class Spoken(BaseModel):
    """One message."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    speaker: Literal["user", "assistant"]
    text: _Text


class Dialogue(BaseModel):
    """A question and the turns before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Id
    agent: _Id
    turns: tuple[Spoken, ...]
    question: _Text
    needs_retrieval: Annotated[bool, Field(strict=True)]
    follow_up: Annotated[bool, Field(strict=True)]
    source_key: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Dialogue:
        speakers = [one.speaker for one in self.turns]
        if speakers != ["user", "assistant"] * (len(speakers) // 2):
            raise ValueError(
                "the turns must alternate between user and assistant, and end with the assistant"
            )
        if self.follow_up and not self.turns:
            raise ValueError("a follow-up needs turns before the question")
        if self.source_key and not self.needs_retrieval:
            raise ValueError("a question that needs no retrieval must not have a source_key")
        return self


def dialogues(path: Path) -> Sequence[Dialogue]:
    """All dialogues of a file, in order.

    Raises:
        CommandFailed: the file is missing or empty, a line cannot be read, or an id occurs twice. The message names the line.
    """
    found: dict[str, Dialogue] = {}
    for where, one in lines(path, Dialogue, "dialogue"):
        if one.id in found:
            raise CommandFailed(f"{where}: the id {one.id} occurs twice.", "", EXIT_USAGE)
        found[one.id] = one
    if not found:
        raise CommandFailed(f"{path} holds no dialogues.", "", EXIT_USAGE)
    return list(found.values())


if TYPE_CHECKING:
    from responsa_lab.evaluation.local import Decided, Deciders

DEPTH = 5
"""The number of passages that agents read."""
DEPTHS = (1, DEPTH)
WORDS = {"followUps": "follow-ups", "standAlone": "stand alone"}
OURS = CHECKOUT / "evals" / "dialogues.jsonl"

File = Annotated[
    Path,
    typer.Argument(help="One dialogue per line, in the form of evals/dialogues.jsonl.", show_default=False),
]
Search = Annotated[
    bool,
    typer.Option(
        "--search/--no-search",
        help="Also search the server's samples. With --no-search, the command needs no server, and agents do not know the titles of the documents that answers cited.",
    ),
]
Mistakes = Annotated[int, typer.Option(min=0, help="The number of wrong decisions to show.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object: need, followUp, rewriting, agents.")
]


@dataclass(frozen=True, slots=True)
class Measured:
    """One dialogue with the agent's decision.

    as_asked, as_rewritten: the rank, from 1 to 5, of the first passage from the dialogue's source, in the search for the
    original question and in the search for the rewritten question. 0 if no passage from the source is among the first five. None if the dialogue names no source.
    """

    dialogue: Dialogue
    decided: Decided
    as_asked: int | None
    as_rewritten: int | None


def eval_dialogues(
    file: File = OURS, search: Search = True, mistakes: Mistakes = 10, json: AsJson = False
) -> None:
    """Let agents decide about dialogues, and search for their questions with and without rewriting.

    The command prints three groups of figures. need: the decisions whether to search documents. followUp: the decisions whether the question needs the earlier turns. Both groups show the accuracy and the F1 of "yes". The agents' nodes make these decisions on this machine, as on a server without a model. rewriting: how often the first passage, or one of the first five passages, is from the document with the answer, for the original and for the rewritten question. The server searches the collections of the agents'
    samples (`responsa samples load`).
    """
    # This import is late, because it loads the embedded parts, which the other measurements do not need.
    from responsa_server.cli.local.failures import reporting

    with reporting(json=json):
        given = dialogues(file)
        found = asyncio.run(_searched(given) if search else _decided(given))
        if json:
            print_json(report(found))
            return
        _print(found, mistakes)


async def _decided(given: Sequence[Dialogue]) -> Sequence[Measured]:
    from responsa_lab.evaluation.local import Deciders

    with Deciders() as deciders:
        return [
            Measured(one, await deciders.decide(one.agent, one.turns, one.question, {}), None, None)
            for one in given
        ]


async def _searched(given: Sequence[Dialogue]) -> Sequence[Measured]:
    from responsa_lab.evaluation.local import Deciders

    async with open_async_client() as client:
        with Deciders() as deciders, Progress("Asking", len(given)) as progress:
            shelves = {name: await Shelf.of(client, name) for name in sorted({one.agent for one in given})}

            async def measure(one: Dialogue) -> Measured:
                found = await _measured(one, deciders, shelves[one.agent])
                progress.advance()
                return found

            return await several(given, measure)


async def _measured(one: Dialogue, deciders: Deciders, shelf: Shelf) -> Measured:
    titles: dict[int, str] = {}
    for place, turn in enumerate(one.turns):
        if turn.speaker == "assistant":
            asked = one.turns[place - 1].text
            before = await deciders.decide(one.agent, one.turns[: place - 1], asked, titles)
            if before.needs_retrieval and (title := await shelf.title(before.query)):
                titles[place] = title
    decided = await deciders.decide(one.agent, one.turns, one.question, titles)
    if one.source_key is None:
        return Measured(one, decided, None, None)
    as_asked = await shelf.place(one.question, one.source_key)
    same = decided.query == one.question
    as_rewritten = as_asked if same else await shelf.place(decided.query, one.source_key)
    return Measured(one, decided, as_asked, as_rewritten)


@dataclass(frozen=True, slots=True)
class Shelf:
    """An agent's documents on the server. keys: the source_key of each document, by the document's name."""

    client: AsyncResponsa
    collections: Sequence[str]
    keys: Mapping[str, str]

    @classmethod
    async def of(cls, client: AsyncResponsa, agent: str) -> Shelf:
        """The documents of an agent. Raises CommandFailed if the agent has no documents."""
        collections = await own_collections(client, agent)
        keys: dict[str, str] = {}
        for one in collections:
            try:
                keys |= await source_keys(client, one)
            except NotFound:
                continue
        if not keys:
            raise CommandFailed(
                f"The server has no documents for the agent {agent}.",
                f"`responsa samples load {agent}` loads them.",
                EXIT_USAGE,
            )
        return cls(client, collections, keys)

    async def title(self, query: str) -> str:
        """The title of the first passage found, in the form in which an answer would cite it; "" if no passage is found."""
        hits = await self.client.search(query, self.collections, 1)
        return hits[0].passage.title if hits else ""

    async def place(self, query: str, source_key: str) -> int:
        """The rank, from 1 to 5, of the document's first passage; 0 if no passage of the document is among the first five."""
        hits = await self.client.search(query, self.collections, DEPTH)
        found = (
            place for place, hit in enumerate(hits, 1) if self.keys.get(hit.passage.document) == source_key
        )
        return next(found, 0)


def needs(found: Sequence[Measured]) -> Agreement:
    """How well the agents decided whether to search documents."""
    return agreement((one.decided.needs_retrieval, one.dialogue.needs_retrieval) for one in found)


def follow_ups(found: Sequence[Measured]) -> Agreement:
    """How well the agents recognised follow-ups among the questions that need documents."""
    return agreement(
        (one.decided.follow_up, one.dialogue.follow_up) for one in found if one.dialogue.needs_retrieval
    )


def report(found: Sequence[Measured]) -> dict[str, Json]:
    """All figures, for all dialogues together and for each agent."""
    agents = sorted({one.dialogue.agent for one in found})
    each = {name: [one for one in found if one.dialogue.agent == name] for name in agents}
    return {**_figures(found), "agents": {name: _figures(part) for name, part in each.items()}}


def _figures(found: Sequence[Measured]) -> dict[str, Json]:
    made: dict[str, Json] = {
        "dialogues": len(found),
        "need": _plain(needs(found)),
        "followUp": _plain(follow_ups(found)),
    }
    rewriting: dict[str, Json] = {name: _shares(part) for name, part in _searched_parts(found).items()}
    if rewriting:
        made["rewriting"] = rewriting
    return made


def _shares(part: Sequence[Measured]) -> dict[str, Json]:
    made: dict[str, Json] = {"questions": len(part)}
    for depth in DEPTHS:
        asked, rewritten = _recalls(part, depth)
        made |= {f"recallAt{depth}AsAsked": rounded(asked), f"recallAt{depth}Rewritten": rounded(rewritten)}
    return made


def _searched_parts(found: Sequence[Measured]) -> Mapping[str, Sequence[Measured]]:
    """The dialogues with a search in two parts: follow-ups and other dialogues. A part without dialogues is left out."""
    searched = [one for one in found if one.as_asked is not None]
    parts = {
        "followUps": [one for one in searched if one.dialogue.follow_up],
        "standAlone": [one for one in searched if not one.dialogue.follow_up],
    }
    return {name: part for name, part in parts.items() if part}


def _recalls(part: Sequence[Measured], depth: int) -> tuple[float | None, float | None]:
    """The recall of the original questions, and the recall of the rewritten questions."""
    return (
        mean(float(0 < (one.as_asked or 0) <= depth) for one in part),
        mean(float(0 < (one.as_rewritten or 0) <= depth) for one in part),
    )


def _plain(one: Agreement) -> dict[str, Json]:
    return {
        "accuracy": rounded(one.accuracy),
        "f1": rounded(one.f1),
        "precision": rounded(one.precision),
        "recall": rounded(one.recall),
        "always": rounded(one.always),
    }


def _print(found: Sequence[Measured], mistakes: int) -> None:
    agents = sorted({one.dialogue.agent for one in found})
    print_text(f"{'':<24}{'accuracy':>9}{'F1':>7}{'always':>8}{'':>4}n")
    for name in ("", *agents):
        part = [one for one in found if name in ("", one.dialogue.agent)]
        for what, one in (("need", needs(part)), ("follow-up", follow_ups(part))):
            shares = f"{fraction(one.accuracy):>9}{fraction(one.f1):>7}{fraction(one.always):>8}"
            print_text(f"{(name or 'all') + ', ' + what:<24}{shares}{'':>4}{one.n}")
    for what, part in _searched_parts(found).items():
        print_text(f"\n{WORDS[what]:<24}{'as asked':>9}{'rewritten':>11}{'':>4}n")
        for depth in DEPTHS:
            asked, rewritten = _recalls(part, depth)
            print_text(
                f"{f'  recall@{depth}':<24}{fraction(asked):>9}{fraction(rewritten):>11}{'':>4}{len(part)}"
            )
    wrong = [text for one in found for text in _wrong(one)]
    for text in wrong[:mistakes]:
        print_text(text if text is not wrong[0] else f"\n{text}")
    if len(wrong) > mistakes > 0:
        print_text(f"{len(wrong) - mistakes} more; --mistakes {len(wrong)} shows all of them.")


def _wrong(one: Measured) -> Sequence[str]:
    right, decided = one.dialogue, one.decided
    made: list[str] = []
    if decided.needs_retrieval != right.needs_retrieval:
        made.append("not searched" if right.needs_retrieval else "searched")
    if right.needs_retrieval and decided.follow_up != right.follow_up:
        made.append("not taken for a follow-up" if right.follow_up else "taken for a follow-up")
    if one.as_rewritten == 0:
        made.append("lost by rewriting" if one.as_asked else "not found")
    return [f"{right.agent}/{right.id}: {', '.join(made)}: {one_line(decided.query, 100)}"] if made else []
