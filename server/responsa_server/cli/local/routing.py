"""What agents decide about a dialogue's last question, by the very nodes that decide it on a server, without a model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from responsa_server.agents.config.build import classifiers
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.folders import Folders
from responsa_server.agents.config.reading import examine, read
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import AnyNode, Run
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.intent_router import IntentOutput
from responsa_server.agents.nodes.retrieval_need import NeedOutput
from responsa_server.agents.nodes.rewriter import Rewrite, RewriteInput
from responsa_server.agents.nodes.table import KINDS
from responsa_server.app.settings import load
from responsa_server.cli.failures import EXIT_USAGE, CommandFailed
from responsa_server.cli.local.dialogues import Spoken
from responsa_server.cli.local.embedding import loaded
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.events import Intent
from responsa_server.domain.people import Principal, Role
from responsa_server.routing.kept import KeptClassifiers

DECIDERS = ("retrieval_need", "intent_router")
"""Kinds of nodes that tell whether documents are searched."""


@dataclass(frozen=True, slots=True)
class Decided:
    """needs_retrieval: whether documents are searched. query: what for: the question, made to stand alone where it is a follow-up."""

    needs_retrieval: bool
    follow_up: bool
    query: str


@dataclass(slots=True)
class Deciders:
    """The deciding nodes of agents, made as they are wanted. Use it as a context manager: it holds the embedding model."""

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
        """What the agent would do with the question.

        Args:
            titles: of the document that a turn's answer cited, by the turn's place, as a server knows it of its own answers.

        Raises:
            CommandFailed: there is no such agent here, its files are wrong, or it decides nothing of the kind.
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
        """Learns anew each time: a measurement is of what the files say now, and leaves nothing behind."""
        if self._trainer is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._trainer = KeptClassifiers(folder, loaded(self._stack))
        return self._trainer


def _needed(found: Any) -> bool:
    if isinstance(found, NeedOutput):
        return found.needs_retrieval
    assert isinstance(found, IntentOutput)
    return found.intent not in (Intent.CHITCHAT.value, Intent.OUT_OF_SCOPE.value)


def _run() -> Run:
    """Of nobody: nothing is told, nothing costs anything."""
    nobody = Principal("", UUID(int=0), Role.USER, "api_key")
    return Run(nobody, lambda _: None, lambda _: None)
