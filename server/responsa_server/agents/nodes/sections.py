"""The nodes that answer with whole sections of documents: the one that fits best, or all that were found, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from responsa_server.agents.engine.citations import AnswerModel, compose, plain
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Policy, Run
from responsa_server.domain.answers import Evidence, Extraction, Quote, SectionSource
from responsa_server.domain.events import Step


class SectionAnswerOptions(NodeOptions):
    """most_bytes: the maximum size of the section. Of a longer section, the answer shows the blocks around the best sentence; code is never cut."""

    most_bytes: Annotated[int, Field(ge=500, le=20_000)] = 8000


class SectionAnswerInput(NodeModel):
    """The evidence for the question, and the sentences that answer it."""

    evidence: Evidence
    extraction: Extraction


class RawSectionsOptions(NodeOptions):
    """most: the maximum number of sections. most_bytes: the maximum size of each, as in `SectionAnswerOptions`."""

    most: Annotated[int, Field(ge=1, le=20)] = 5
    most_bytes: Annotated[int, Field(ge=500, le=20_000)] = 4000


class RawSectionsInput(NodeModel):
    """The evidence for the question."""

    evidence: Evidence


class SectionsOutput(NodeModel):
    """The sections as an answer. Each part of it has its citation."""

    answer: AnswerModel


class SectionAnswer(Node[SectionAnswerInput, SectionsOutput]):
    """Shows the best section with its code, word for word. If the documents have been deleted since the search, shows the sentences."""

    name = "section_answer"
    input_model = SectionAnswerInput
    output_model = SectionsOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1)

    def __init__(self, source: SectionSource, most_bytes: int) -> None:
        self._source = source
        self._most_bytes = most_bytes

    async def process(self, given: SectionAnswerInput, run: Run) -> SectionsOutput:
        """Find the section, and send it with its citations."""
        found = await self._source.sections(run.who, given.evidence, 1, self._most_bytes, divided=True)
        quotes = found[0] if found else given.extraction.quotes
        return SectionsOutput(answer=_sent(quotes, given.evidence, run))


class RawSections(Node[RawSectionsInput, SectionsOutput]):
    """Shows the sections that were found, best first, without an answer."""

    name = "raw_sections"
    input_model = RawSectionsInput
    output_model = SectionsOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")
    policy = SectionAnswer.policy

    def __init__(self, source: SectionSource, most: int, most_bytes: int) -> None:
        self._source = source
        self._most = most
        self._most_bytes = most_bytes

    async def process(self, given: RawSectionsInput, run: Run) -> SectionsOutput:
        """Find the sections, and send them with their citations."""
        found = await self._source.sections(
            run.who, given.evidence, self._most, self._most_bytes, divided=False
        )
        return SectionsOutput(answer=_sent([quote for one in found for quote in one], given.evidence, run))


def _sent(quotes: Sequence[Quote], evidence: Evidence, run: Run) -> AnswerModel:
    composed = compose(quotes)
    for event in composed.events:
        run.emit(event)
    return AnswerModel(
        text=composed.text,
        citations=tuple(plain(one) for one in composed.citations),
        outcome=composed.outcome,
        passages_used=evidence.passages,
        collections=tuple(dict.fromkeys(one.passage.collection_id for one in quotes)),
    )


SECTION_ANSWER: Final = NodeKind(
    lambda parts, options, _: SectionAnswer(
        required(parts.sections, "source of sections"), options.most_bytes
    ),
    SectionAnswerInput,
    SectionsOutput,
    SectionAnswerOptions,
    streams=True,
    needs_test="extraction",
)

RAW_SECTIONS: Final = NodeKind(
    lambda parts, options, _: RawSections(
        required(parts.sections, "source of sections"), options.most, options.most_bytes
    ),
    RawSectionsInput,
    SectionsOutput,
    RawSectionsOptions,
    streams=True,
    needs_test="evidence",
)
