"""Says which tools failed, in fixed sentences: neither a model nor another system chooses the words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Run
from responsa_server.domain.events import Fallback, FallbackKind, ToolFault, ToolOutcome
from responsa_server.domain.tools import KNOWLEDGE_SEARCH

_SENTENCES: Final[Mapping[ToolFault, str]] = {
    ToolFault.TIMEOUT: "did not answer in time",
    ToolFault.UNREACHABLE: "could not be reached",
    ToolFault.REFUSED: "could not be called, because this server does not allow it",
    ToolFault.STATUS: "reported a failure",
    ToolFault.MALFORMED: "sent a response that cannot be read",
    ToolFault.TOO_LARGE: "sent a response that is too large",
    ToolFault.SCHEMA: "sent a response in the wrong form",
    ToolFault.ARGUMENTS: "could not be used for this request",
    ToolFault.LOST: "did not answer, because the connection was lost",
    ToolFault.PAUSED: "was not called, because this instance was restored from a backup and is paused",
}
_FAILED: Final = "failed"
_UNKNOWN: Final = ", so it is not known whether the call took effect"
# These mistakes are the caller's, and only its failure to correct them matters to people.
_CORRECTED: Final = frozenset({ToolFault.ARGUMENTS, ToolFault.REFUSED})


def failures_of(results: Sequence[ResultModel]) -> Sequence[ResultModel]:
    """The failed calls that people must know of. Left out: a call of a tool that does not exist, and a call that was
    not made because the request was wrong if another call of the same tool succeeded.
    """
    done = {result.call.tool for result in results if result.outcome is ToolOutcome.OK}
    return [
        result
        for result in results
        if result.outcome is not ToolOutcome.OK
        and result.fault is not ToolFault.UNKNOWN_TOOL
        and not (result.fault in _CORRECTED and result.call.tool in done)
    ]


def failures_said(results: Sequence[ResultModel]) -> str:
    """A sentence for each tool and fault, such as “The web search did not answer in time.”; "" if nothing failed."""
    done = {result.call.tool for result in results if result.outcome is ToolOutcome.OK}
    return " ".join(
        dict.fromkeys(
            _sentence(failed_call, again=failed_call.call.tool in done)
            for failed_call in failures_of(results)
        )
    )


def without_documents(fallbacks: Sequence[Fallback], traits: Traits) -> str:
    """The agent's sentence for an answer without the documents; "" if they were searched."""
    lost = any(fallback.kind is FallbackKind.WITHOUT_RETRIEVAL for fallback in fallbacks)
    return traits.without_retrieval if lost else ""


def title_of(result: ResultModel) -> str:
    """The name of a result's tool at the beginning of a sentence."""
    tool = result.title or result.call.tool
    return tool[:1].upper() + tool[1:]


def _sentence(result: ResultModel, *, again: bool) -> str:
    """again: whether another call of the tool succeeded."""
    subject = f"A call of {result.title or result.call.tool}" if again else title_of(result)
    what = _SENTENCES.get(result.fault, _FAILED) if result.fault is not None else _FAILED
    return f"{subject} {what}{_UNKNOWN if result.outcome is ToolOutcome.UNKNOWN else ''}."


NO_MODEL: Final = "no_model"
"""The cause if the agent has no model."""
SMALL_MODEL: Final = "small_model"
"""The cause if all models of the agent are small. Small models choose no tools, because they choose badly."""
MOST_REPORTED: Final = 12
"""The maximum number of tools that a turn reports, so that its other fallbacks are shown too."""


def tools_unused(parts: NodeParts, run: Run, cause: str, called: Collection[str] = ()) -> None:
    """Report a fallback for each tool that the agent uses and the user may use. Searches in the documents are left out,
    because the agent answers from these without them.

    cause: NO_MODEL, SMALL_MODEL, or the model's failure. called: the tools that the turn has called; they are left out, too.
    """
    if not parts.traits.tools:
        return
    ids = [
        candidate.tool.card.id
        for candidate in parts.candidates(run.caller)
        if candidate.kind != KNOWLEDGE_SEARCH
    ]
    for tool in [tool for tool in ids if tool not in called][:MOST_REPORTED]:
        run.fell_back(Fallback(FallbackKind.WITHOUT_TOOL, tool, "", cause))
