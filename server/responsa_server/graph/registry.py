"""The table of nodes. A new node is one file in `nodes/` and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from responsa_server.domain.ports.answers import EvidenceSource, Extractor
from responsa_server.domain.ports.models import ChatModel
from responsa_server.domain.ports.tools import Tool
from responsa_server.graph.node import Node
from responsa_server.graph.nodes.answer import Answer
from responsa_server.graph.nodes.grade import Grade
from responsa_server.graph.nodes.prompt import Prompt
from responsa_server.graph.nodes.refuse import Refuse
from responsa_server.graph.nodes.retrieve import Retrieve
from responsa_server.graph.nodes.rewrite import Rewrite
from responsa_server.graph.nodes.tool import CallTool

AnyNode = Node[Any, Any]
Part = TypeVar("Part")


class PartMissing(Exception):
    """A node needs a part that this server does not have; the message says which."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What nodes may be made of; None where there is none."""

    source: EvidenceSource | None = None
    extractor: Extractor | None = None
    model: ChatModel | None = None
    tools: Sequence[Tool] = ()


NODES: Final[Mapping[str, Callable[[NodeParts], AnyNode]]] = {
    "rewrite": lambda _: Rewrite(),
    "retrieve": lambda parts: Retrieve(_there(parts.source, "source of evidence")),
    "grade": lambda parts: Grade(_there(parts.extractor, "extractor")),
    "answer": lambda _: Answer(),
    "refuse": lambda _: Refuse(),
    "prompt": lambda parts: Prompt(_there(parts.model, "model")),
    "tool": lambda parts: CallTool(parts.tools),
}


def _there(part: Part | None, name: str) -> Part:
    if part is None:
        raise PartMissing(f"there is no {name}")
    return part
