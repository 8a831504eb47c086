"""Measures parts of the product on this machine, without a server: the embedding model, the nodes that decide whether to search, and classifiers of intents.

Commands import this module late, because it loads numpy, the model's runtime and the agents, which measurements through a server do not need.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from responsa_lab.evaluation.choosing import Choice, ToolMessage
from responsa_lab.evaluation.dialogues import Spoken
from responsa_server.agents.config.build import classifiers
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHARED, SHIPPED, Folders, examine, read, read_shared
from responsa_server.agents.config.tools import LiveTools, line
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import AnyNode, Run
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.choosing import ChooserInput, ToolChooser
from responsa_server.agents.nodes.deciding import IntentOutput, NeedOutput
from responsa_server.agents.nodes.searching import Rewrite, RewriteInput
from responsa_server.agents.nodes.table import KINDS
from responsa_server.app.settings import load
from responsa_server.app.tools import checked_tools
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.intents import OUT_OF_SCOPE
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.tools import Candidate, Tool
from responsa_server.embedded import Layout
from responsa_server.providers import minilm
from responsa_server.routing.classifier import Float
from responsa_server.routing.stored import KeptClassifiers
from responsa_server.search.embedder import BlockingEmbedder


def load_embedder(stack: ExitStack) -> BlockingEmbedder:
    """Loads the embedding model of this machine's instance. `stack` closes the model.

    Raises:
        CommandFailed: the model cannot be loaded.
        SettingsError: a setting is not valid.
    """
    settings = load()
    models = Layout.of(settings.home).data / "models"
    if not models.is_dir():
        # If this machine has no instance, a measurement must leave no files behind.
        models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        embedder = minilm.load(models, threads=settings.retrieval.embedding_threads)
    except minilm.EmbeddingModelUnavailable as error:
        raise CommandFailed(str(error)) from None
    stack.callback(embedder.close)
    return embedder


DECIDERS: Final = ("retrieval_need", "intent_router")
"""The kinds of nodes that decide whether to search documents."""


@dataclass(frozen=True, slots=True)
class Decided:
    """An agent's decision about a question.

    needs_retrieval: whether the agent searches documents. query: the search query. For a follow-up, the query is the question, rewritten to make
    sense without the conversation. Otherwise the query is the question itself.
    """

    needs_retrieval: bool
    follow_up: bool
    query: str


@dataclass(slots=True)
class Deciders:
    """The deciding nodes of agents. Each node is made on first use. This class is a context manager, because it holds the embedding model."""

    _stack: ExitStack = field(default_factory=ExitStack)
    _nodes: dict[str, AnyNode] = field(default_factory=dict[str, AnyNode])
    _trainer: KeptClassifiers | None = None

    def __enter__(self) -> Deciders:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def decide(
        self, agent: str, turns: Sequence[Spoken], question: str, titles: Mapping[int, str]
    ) -> Decided:
        """Makes the decision that the agent would make without a model.

        Args: titles: the title of the document that each earlier answer cited, by the answer's index in `turns`; answers without a citation are left out.

        Raises: CommandFailed: the agent does not exist on this machine, its files are wrong, or none of its nodes makes this decision.
        """
        history = [
            Said(
                speaker=Speaker.USER if one.speaker == "user" else Speaker.ASSISTANT,
                text=one.text,
                titles=(titles[place],) if place in titles else (),
            )
            for place, one in enumerate(turns)
        ]
        node = self._nodes.get(agent) or self._made(agent)
        given = node.validate_input(
            {"question": question, "history": [one.model_dump(mode="json") for one in history]}
        )
        found = await node.process(given, _run())
        query = question
        if found.follow_up:
            rewritten = await Rewrite().process(
                RewriteInput(question=question, history=tuple(history)), _run()
            )
            query = rewritten.standalone_question or question
        return Decided(_needed(found), found.follow_up, query)

    def _made(self, agent: str) -> AnyNode:
        settings = load()
        place = Folders(settings.agents.folder or settings.home / "agents").locations().get(agent)
        if place is None:
            raise CommandFailed(f"There is no agent {agent} on this machine.", "", EXIT_USAGE)
        examined = examine(place.folder, Surroundings())
        if examined.config is None:
            raise CommandFailed(
                f"The files of the agent {agent} are wrong.",
                f"`responsa agents check {agent}` says why.",
                EXIT_USAGE,
            )
        chosen = next(
            ((name, table) for name, table in examined.config.nodes.items() if table.kind in DECIDERS), None
        )
        if chosen is None:
            raise CommandFailed(
                f"The agent {agent} has no node of a kind that decides whether to search ({', '.join(DECIDERS)}).",
                "",
                EXIT_USAGE,
            )
        name, table = chosen
        texts = {path: data.decode() for path, data in read(place.folder).files.examples.items()}
        learning = classifiers(texts, self._trained_here())
        parts = NodeParts(
            classifiers=learning, examples={path: one.examples for path, one in learning.items()}
        )
        kind = KINDS[table.kind]
        node = kind.make(parts, kind.options.model_validate(table.options), name)
        self._nodes[agent] = node
        return node

    def _trained_here(self) -> KeptClassifiers:
        """A trainer that stores nothing between runs, so that a measurement always uses the current files."""
        if self._trainer is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._trainer = KeptClassifiers(folder, load_embedder(self._stack))
        return self._trainer


_NO_DATABASE: Final = "postgresql://nobody@127.0.0.1/nothing"
"""The value of every secret of the declared tools, none of which is called."""


async def choices(
    declared: Path, given: Sequence[ToolMessage], folds: int, stack: ExitStack
) -> Sequence[Choice]:
    """The tools that an agent without a model chooses for each message, if it may use the declared tools and those that need no declaration.

    folds: the parts of a cross-validation, at least 1. The examples that are equal to a message of a part are left out when this part is measured; with 1 part, none is left out.
    Raises: CommandFailed: a declaration is wrong.
    """
    live = checked_tools(declared, lambda _: _NO_DATABASE)
    if problems := live.problems():
        raise CommandFailed(f"{declared}: {line(problems[0])}", "", EXIT_USAGE)
    trainer = KeptClassifiers(Path(stack.enter_context(tempfile.TemporaryDirectory())), load_embedder(stack))
    texts = {path: data.decode() for path, data in read_shared(SHIPPED / SHARED).examples.items()}
    examples = {path: one.examples for path, one in classifiers(texts, trainer).items()}
    found = dict[int, Choice]()
    for fold in range(folds):
        places = range(fold, len(given), folds)
        held = {given[place].text for place in places} if folds > 1 else set[str]()
        node = ToolChooser(
            NodeParts(
                tools=_Without(live, held),
                examples={
                    path: [one for one in every if one.text not in held] for path, every in examples.items()
                },
                trainer=trainer,
                traits=Traits(tools=sorted(live.names)),
            )
        )
        for place in places:
            one = given[place]
            speakers = (Speaker.USER, Speaker.ASSISTANT)
            history = tuple(
                Said(speaker=speakers[turn % 2], text=text) for turn, text in enumerate(one.history)
            )
            chosen = await node.process(ChooserInput(question=one.text, history=history), _run())
            found[place] = Choice(one, list(dict.fromkeys(call.tool for call in chosen.calls)))
    return [found[place] for place in range(len(given))]


@dataclass(frozen=True, slots=True)
class _Without:
    """The declared tools without some of their examples. Implements `Toolbox`."""

    every: LiveTools
    held: Collection[str]

    def granted(self, names: Sequence[str], who: Principal, agent: str) -> Sequence[Tool]:
        """See `Toolbox.granted`."""
        return self.every.granted(names, who, agent)

    def candidates(self, names: Sequence[str], who: Principal, agent: str) -> Sequence[Candidate]:
        """See `Toolbox.candidates`."""
        return [
            replace(one, examples=[text for text in one.examples if text not in self.held])
            for one in self.every.candidates(names, who, agent)
        ]

    def endpoint(self, tool: str) -> str:
        """See `Toolbox.endpoint`."""
        return self.every.endpoint(tool)


def _needed(found: Any) -> bool:
    if isinstance(found, NeedOutput):
        return found.needs_retrieval
    assert isinstance(found, IntentOutput)
    return found.intent not in {"chitchat", *OUT_OF_SCOPE}


def _run() -> Run:
    """A run without a caller. Its events and costs are discarded."""
    nobody = Principal("", UUID(int=0), Role.USER, "api_key")
    return Run(nobody, lambda _: None, lambda _: None)


@dataclass(frozen=True, slots=True)
class Confusion:
    """`count` messages of the intent `right` were classified as `chosen`."""

    right: str
    chosen: str
    count: int


@dataclass(frozen=True, slots=True)
class ClassifierScores:
    """The quality of a classifier. The fractions are from 0 to 1, or None if there are no messages to count.

    accuracy: the share of in-scope messages with the right intent, before rejection. oos_recall: the share of out-of-scope
    messages that score below the threshold. kept: the share of in-scope messages that score at least the threshold.
    confusions: the confusions, the most frequent first. An out-of-scope message counts as a confusion only if it passed the
    threshold. In that case, `right` is the message's out-of-scope label.
    """

    in_scope: int
    out_of_scope: int
    accuracy: float | None
    oos_recall: float | None
    kept: float | None
    confusions: Sequence[Confusion]


def score_classifier(
    scores: Float, labels: Sequence[str], right: Sequence[str], threshold: float
) -> ClassifierScores:
    """Compares the scores [n, k] of n messages for k labels with the n right labels. A message whose right label is not
    among the k labels counts as a mistake.
    """
    inside = np.array([label not in OUT_OF_SCOPE for label in right], bool)
    best = scores.argmax(axis=1)
    passed = scores.max(axis=1) >= np.float32(threshold)
    chosen = [labels[int(place)] for place in best]
    correct = np.array([one == label for one, label in zip(chosen, right, strict=True)], bool)
    mistakes = Counter(
        (label, one)
        for label, one, within, above in zip(right, chosen, inside, passed, strict=True)
        if one != label and (within or above)
    )
    return ClassifierScores(
        in_scope=int(inside.sum()),
        out_of_scope=int((~inside).sum()),
        accuracy=_fraction(correct[inside]),
        oos_recall=_fraction(~passed[~inside]),
        kept=_fraction(passed[inside]),
        confusions=[
            Confusion(label, one, count)
            for (label, one), count in sorted(mistakes.items(), key=lambda item: (-item[1], item[0]))
        ],
    )


def _fraction(these: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float | None:
    return float(these.mean()) if len(these) else None
