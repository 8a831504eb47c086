"""The table of nodes. A new node is one file in `nodes/` and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from responsa_server.domain.ports.answers import EvidenceSource, Extractor
from responsa_server.graph.node import Node
from responsa_server.graph.nodes.answer import Answer
from responsa_server.graph.nodes.grade import Grade
from responsa_server.graph.nodes.refuse import Refuse
from responsa_server.graph.nodes.retrieve import Retrieve
from responsa_server.graph.nodes.rewrite import Rewrite

AnyNode = Node[Any, Any]


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What nodes may be made of."""

    source: EvidenceSource
    extractor: Extractor


NODES: Final[Mapping[str, Callable[[NodeParts], AnyNode]]] = {
    "rewrite": lambda _: Rewrite(),
    "retrieve": lambda parts: Retrieve(parts.source),
    "grade": lambda parts: Grade(parts.extractor),
    "answer": lambda _: Answer(),
    "refuse": lambda _: Refuse(),
}
