"""The nodes that answer with whole sections of documents: the one that fits best, or all that were found, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from responsa_server.agents.engine.citations import AnswerModel, compose, plain
from responsa_server.agents.engine.config import PASSAGES
from responsa_server.agents.engine.kinds import NodeKind, NodeParts, require
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Policy, Run
from responsa_server.agents.nodes.passages import report_without_model, show
from responsa_server.domain.answers import Evidence, Quote, Ranking, SectionSource
from responsa_server.domain.events import Fallback, Step


class SectionAnswerOptions(NodeOptions):
    """most_bytes: the maximum size of the section. Of a longer section, the answer shows the blocks around the best
    sentence; code is never cut."""

    most_bytes: Annotated[int, Field(ge=500, le=20_000)] = 8000


class SectionAnswerInput(NodeModel):
    """The evidence for the question, what an answer without sections shows, and the fallbacks of the turn so far."""

    evidence: Evidence
    ranking: Ranking
    fallbacks: tuple[Fallback, ...] = ()


class RawSectionsOptions(NodeOptions):
    """most: the maximum number of sections. most_bytes: the maximum size of each, as in `SectionAnswerOptions`."""

    most: Annotated[int, Field(ge=1, le=20)] = 5
    most_bytes: Annotated[int, Field(ge=500, le=20_000)] = 4000


class RawSectionsInput(NodeModel):
    """The evidence for the question."""

    evidence: Evidence


class SectionsOutput(NodeModel):
    """The sections as an answer. Each part of it has its citation. model: `passages`."""

    answer: AnswerModel
    model: str = PASSAGES


class SectionAnswer(Node[SectionAnswerInput, SectionsOutput]):
    """Shows the best section with its code, word for word. If the documents have been deleted since the search, shows the excerpts."""

    input_model = SectionAnswerInput
    output_model = SectionsOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1)

    def __init__(self, parts: NodeParts, name: str, most_bytes: int) -> None:
        """Raises PartMissing if there is no source of sections."""
        self.name = name
        self._parts = parts
        self._source = require(parts.sections, "source of sections")
        self._most_bytes = most_bytes

    async def process(self, inputs: SectionAnswerInput, run: Run) -> SectionsOutput:
        report_without_model(self._parts, run, self.name, (), inputs.fallbacks, replaced=True)
        sections = await self._source.sections(run.caller, inputs.evidence, 1, self._most_bytes, divided=True)
        if not sections:
            return SectionsOutput(answer=await show(self._parts, inputs.evidence, inputs.ranking, run))
        return SectionsOutput(answer=_send(sections[0], inputs.evidence, run))


class RawSections(Node[RawSectionsInput, SectionsOutput]):
    """Shows the sections that were found, best first, without an answer."""

    name = "raw_sections"
    input_model = RawSectionsInput
    output_model = SectionsOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")
    policy = SectionAnswer.policy

    def __init__(self, source: SectionSource, limit: int, most_bytes: int) -> None:
        self._source = source
        self._most = limit
        self._most_bytes = most_bytes

    async def process(self, inputs: RawSectionsInput, run: Run) -> SectionsOutput:
        sections = await self._source.sections(
            run.caller, inputs.evidence, self._most, self._most_bytes, divided=False
        )
        quotes = [quote for section in sections for quote in section]
        return SectionsOutput(answer=_send(quotes, inputs.evidence, run))


def _send(quotes: Sequence[Quote], evidence: Evidence, run: Run) -> AnswerModel:
    composed = compose(quotes)
    run.read(quote.passage.read for quote in quotes)
    for event in composed.events:
        run.emit(event)
    return AnswerModel(
        text=composed.text,
        citations=tuple(plain(citation) for citation in composed.citations),
        outcome=composed.outcome,
        passages_used=evidence.passages,
        collections=tuple(dict.fromkeys(quote.passage.collection_id for quote in quotes)),
    )


SECTION_ANSWER: Final = NodeKind(
    lambda parts, options, name: SectionAnswer(parts, name, options.most_bytes),
    SectionAnswerInput,
    SectionsOutput,
    SectionAnswerOptions,
    needs_test="ranking",
)

RAW_SECTIONS: Final = NodeKind(
    lambda parts, options, _: RawSections(
        require(parts.sections, "source of sections"), options.most, options.most_bytes
    ),
    RawSectionsInput,
    SectionsOutput,
    RawSectionsOptions,
    needs_test="evidence",
)
