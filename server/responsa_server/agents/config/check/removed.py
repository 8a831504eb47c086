"""Names in agents' files that an earlier release knew, and what replaces them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from responsa_server.agents.config.problems import Key, Problem

KINDS: Final[Mapping[str, str]] = {
    "grader": "use “ranker”, and let edges test “ranking.near” instead of “extraction.supported”",
    "extractive_answer": "use “passages”, which shows the best passages",
    "record_reader": "use “retriever” with retrieval.subject = “caller”, and then “ranker”",
    "record_checker": "use “citation_checker” with hold = true",
}
"""For each removed kind of node, the remedy."""
FIELDS: Final[Mapping[str, str]] = {
    "extraction": "test “ranking.near” or “ranking.excerpts”",
    "unanswered": "leave the edge out; the model says what has no answer",
}
"""For each field of the state that no kind writes any more, the remedy."""
MODELS: Final[Mapping[str, str]] = {"extractive": "passages"}
"""For each removed name in a chain, the new name."""
_KEYS: Final[Mapping[Key, str]] = {
    ("retrieval", "context_bytes"): "use “context_tokens”, a quarter of the number",
    (
        "retrieval",
        "support",
    ): "leave it out; the model, or the ranking without one, decides whether the passages answer",
    ("retrieval", "last_collections"): "leave it out; all collections are compared by one score",
}
_OPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("retriever", "divides"): "leave it out; the model answers a message with several questions as a whole",
}


def explained(problems: Iterable[Problem], kinds: Mapping[str, str]) -> Iterator[Problem]:
    """The problems. Those about unknown keys and options that an earlier release knew name the remedy. kinds: the kinds of the nodes, by the nodes' names."""
    for problem in problems:
        remedy = _KEYS.get(problem.key)
        if remedy is None and len(problem.key) == 3 and problem.key[0] == "nodes":
            remedy = _OPTIONS.get((kinds.get(str(problem.key[1]), ""), str(problem.key[2])))
        if remedy is None:
            yield problem
        else:
            yield replace(problem, message=f"“{problem.key[-1]}” no longer exists; {remedy}", suggestion="")
