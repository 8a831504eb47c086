"""Answers without a language model: shows the best passages as they are, each below its title and headings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Final

from responsa_server.agents.engine.answer_text import emit_cited
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import SEPARATOR, AnswerModel, first_part, plain
from responsa_server.agents.engine.config import PASSAGES
from responsa_server.agents.engine.failed_tools import NO_MODEL, tools_unused
from responsa_server.agents.engine.kinds import NodeKind, NodeParts, require
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, Run
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.events import (
    AnswerOutcome,
    ByteRange,
    Citation,
    Excerpt,
    Fallback,
    FallbackKind,
    JudgeVerdict,
    QuoteOrigin,
    Step,
)
from responsa_server.text.disarming import Disarmer
from responsa_server.text.shown import escaped

_JOINT: Final = " › "


class PassagesOptions(NodeOptions):
    """tools: whether a turn without a model reports the tools that a model could have called; false for questions on
    which the agent calls none."""

    tools: bool = True


_DEFAULT_OPTIONS: Final = PassagesOptions()


class PassagesInput(NodeModel):
    """What to show, the evidence that it is from, the results of tools, and the fallbacks of the turn so far."""

    ranking: Ranking
    evidence: Evidence
    results: tuple[ResultModel, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()


class PassagesOutput(NodeModel):
    """The passages as an answer, with a citation of each. model: `passages`."""

    answer: AnswerModel
    model: str


class Passages(Node[PassagesInput, PassagesOutput]):
    """Shows the excerpts of the ranking."""

    input_model = PassagesInput
    output_model = PassagesOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")

    def __init__(
        self, parts: NodeParts, name: str = "passages", options: PassagesOptions = _DEFAULT_OPTIONS
    ) -> None:
        self.name = name
        self._parts = parts
        self._options = options

    async def process(self, inputs: PassagesInput, run: Run) -> PassagesOutput:
        """Send the excerpts with their citations, and report what the turn did without."""
        report_without_model(
            self._parts,
            run,
            self.name,
            inputs.results,
            inputs.fallbacks,
            replaced=True,
            tools=self._options.tools,
        )
        answer = await show(self._parts, inputs.evidence, inputs.ranking, run)
        return PassagesOutput(answer=answer, model=PASSAGES)


async def show(parts: NodeParts, evidence: Evidence, ranking: Ranking, run: Run) -> AnswerModel:
    """Send the excerpts of a ranking as an answer."""
    if not ranking.made:
        ranking = await require(parts.source, "source of evidence").excerpts(evidence, ranking)
    excerpts = ranking.excerpts
    run.read(excerpt.read for excerpt in excerpts)
    text, citations = "", list[Citation]()
    disarmer = Disarmer(lambda: [excerpt.text for excerpt in excerpts])
    for excerpt in excerpts:
        named = heading(excerpt)
        above = (SEPARATOR if text else "") + (f"**{escaped(named)}**{SEPARATOR}" if named else "")
        text += disarmer.feed(above) + disarmer.end()
        start = len(text.encode())
        text += disarmer.feed(excerpt.markdown) + disarmer.end()
        citations.append(_citation(excerpt, ByteRange(start, len(text.encode()))))
    emit_cited(text, citations, run)
    return AnswerModel(
        text=text,
        citations=tuple(plain(citation) for citation in citations),
        outcome=AnswerOutcome.COMPLETE,
        passages_used=evidence.passages,
        collections=tuple(dict.fromkeys(excerpt.collection_id for excerpt in excerpts)),
        excerpts=len(excerpts),
    )


def heading(excerpt: Excerpt) -> str:
    """The title and the headings of an excerpt in one line, without repetitions."""
    parts = (excerpt.title or excerpt.uri, *excerpt.headings)
    return _JOINT.join(dict.fromkeys(" ".join(part.split()) for part in parts if part.strip()))


def _citation(excerpt: Excerpt, answer: ByteRange) -> Citation:
    """The citation of an excerpt, which quotes its marked cell or its piece. answer: where the answer shows it."""
    quoted, offset = excerpt.quoted, excerpt.source.start
    quote = first_part(excerpt.text.encode()[quoted.start - offset : quoted.end - offset].decode())
    first = quoted.start
    return Citation(
        passage_id=excerpt.passage_id,
        document_id=excerpt.document_id,
        version=excerpt.version,
        title=excerpt.title,
        uri=excerpt.uri,
        source=ByteRange(first, first + len(quote.encode())),
        quote=quote,
        sha256=hashlib.sha256(quote.encode()).digest(),
        answer=answer,
        score=min(max(excerpt.score, 0.0), 1.0),
        page=excerpt.page,
        boxes=excerpt.boxes,
        path=excerpt.path,
        date=excerpt.date,
        quote_origin=QuoteOrigin.COPIED,
        verdict=JudgeVerdict.NONE,
    )


def report_without_model(
    parts: NodeParts,
    run: Run,
    name: str,
    results: Sequence[ResultModel],
    fallbacks: Collection[Fallback],
    *,
    replaced: bool = False,
    tools: bool = True,
) -> None:
    """Report what a turn without a language model did without: the model itself if its answer was replaced and the
    agent would have asked one, and each tool that only a model could have chosen (`tools`). Nothing is reported if a
    model was available.

    name: the node that reports. results, fallbacks: those of the turn so far.
    """
    failed = next((fallback.cause for fallback in fallbacks if fallback.kind is FallbackKind.PASSAGES), "")
    if parts.model is None and replaced and not parts.traits.model.asks_none:
        run.fell_back(Fallback(FallbackKind.PASSAGES, "model", name, NO_MODEL))
    if parts.model is not None and not failed:
        return
    if tools:
        tools_unused(parts, run, failed or NO_MODEL, {result.call.tool for result in results})


KIND: Final = NodeKind(
    lambda parts, options, name: Passages(parts, name, options),
    PassagesInput,
    PassagesOutput,
    PassagesOptions,
    needs_test="ranking",
)
