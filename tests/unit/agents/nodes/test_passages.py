"""Answers from passages: without a model, with a model that writes, and with one that says that the passages do not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from responsa_server.agents.engine.declining import NO_ANSWER
from responsa_server.domain.agents import AgentEvent
from responsa_server.domain.events import (
    Answered,
    ByteRange,
    Cited,
    Delta,
    Fallback,
    FallbackKind,
    Grade,
    RefusalReason,
    Refused,
)
from responsa_server.domain.models import ChatModel, ModelError, ModelFault, TextPiece
from responsa_server.domain.tools import FixedTools
from tests.unit.agents.asking import NOTE
from tests.unit.agents.evidence import FixedEvidence, evidence, excerpt
from tests.unit.agents.shipping import LONG, QUOTE, parts_of, shipped, task_for
from tests.unit.agents.speaking import Says, answer_in, refusal_in, says, text, told_by
from tests.unit.agents.test_bad_models import chain

NILE = excerpt(f"It rises in Burundi. {LONG}")
AMAZON = excerpt("The Amazon is shorter.", title="*Amazon*", grade=Grade.PERHAPS)
WRITERS = ["default", "chat", "tutor", "cairo", "scarb"]
UNREACHABLE = ModelError(ModelFault.UNREACHABLE, "away")


def fixed(*, near: bool = True) -> FixedEvidence:
    return FixedEvidence(NILE, AMAZON, near=near, more=[excerpt("Rivers flow.")], quotes=[QUOTE])


async def events_of(
    agent: str, model: ChatModel | None, books: FixedEvidence | None = None
) -> list[AgentEvent]:
    return await told_by(shipped(agent, parts_of(model, books or fixed())), task_for(agent))


def answered(events: Sequence[AgentEvent]) -> Answered:
    end = answer_in(events)
    assert end.text == text(events)
    assert [event.citation for event in events if isinstance(event, Cited)] == list(end.citations)
    return end


def refused(events: Sequence[AgentEvent]) -> Refused:
    end = refusal_in(events)
    assert not [event for event in events if isinstance(event, Delta)]
    return end


async def test_a_marked_cell_is_what_its_citation_quotes() -> None:
    row = excerpt("Köln | 405 | 1084831")
    cell = replace(row, marked=ByteRange(108, 111), marked_shown=ByteRange(8, 11))
    [cited] = answered(await events_of("default", None, FixedEvidence(cell))).citations
    assert (cited.quote, cited.source) == ("405", ByteRange(108, 111))


async def test_without_a_model_the_best_passages_are_shown_and_cited() -> None:
    end = answered(await events_of("default", None))
    assert end.text == (
        f"**Rivers › Long ones**\n\n{NILE.markdown}\n\n**\\*Amazon\\* › Long ones**\n\n{AMAZON.markdown}"
    )
    assert [citation.quote for citation in end.citations] == [NILE.text, AMAZON.text]
    data = end.text.encode()
    assert [data[citation.answer.start : citation.answer.end].decode() for citation in end.citations] == [
        NILE.text,
        AMAZON.text,
    ]
    assert (end.model, end.excerpts, len(end.more_excerpts)) == ("passages", (NILE, AMAZON), 1)
    assert (end.collection_id, end.support) == ("default", 0.9)
    assert end.fallbacks == (Fallback(FallbackKind.PASSAGES, "model", "passages", "no_model"),)


async def test_the_citation_of_a_long_excerpt_quotes_its_beginning() -> None:
    long = "The Nile is long. " * 99
    cut = replace(NILE, text=long, source=ByteRange(100, 100 + len(long)), markdown="It rises … long.")
    (one,) = answered(await events_of("default", None, FixedEvidence(cut))).citations
    assert (len(one.quote) <= 1024, long.startswith(one.quote)) == (True, True)
    assert (one.source.start, one.source.end) == (100, 100 + len(one.quote))
    assert one.answer.end - one.answer.start == len(cut.markdown.encode())


@pytest.mark.parametrize("agent", WRITERS)
async def test_what_is_not_near_is_refused_with_the_closest_passages(agent: str) -> None:
    end = refused(await events_of(agent, None, fixed(near=False)))
    assert (end.reason, end.excerpts, end.support) == (RefusalReason.NO_SUPPORT, (NILE, AMAZON), 0.1)


@pytest.mark.parametrize("agent", WRITERS)
@pytest.mark.parametrize("near", [True, False])
async def test_a_model_writes_from_the_passages_however_they_were_graded(agent: str, near: bool) -> None:
    model = says(f"{LONG} [1]")
    end = answered(await events_of(agent, model, fixed(near=near)))
    assert (end.text, [citation.quote for citation in end.citations]) == (LONG, [LONG])
    assert (end.excerpts, end.unsupported, end.collection_id) == ((), 0, "default")
    (prompt,) = [one for one in model.prompts if one.cites]
    shown = "".join(message.text for message in prompt.messages)
    assert "Rivers › Long ones (2026-05-01)" in shown
    assert f"write only {NO_ANSWER}" in prompt.messages[0].text


@pytest.mark.parametrize("agent", WRITERS)
@pytest.mark.parametrize(
    "pieces", [(NO_ANSWER,), tuple(NO_ANSWER), ("[[no", " answer]]\n", "They do not say.")]
)
async def test_a_model_that_finds_no_answer_refuses_and_nothing_is_sent(
    agent: str, pieces: tuple[str, ...]
) -> None:
    events = await events_of(agent, says(*pieces))
    end = refused(events)
    assert (end.reason, end.excerpts) == (RefusalReason.NO_SUPPORT, (NILE, AMAZON))
    assert not [fallback for fallback in end.fallbacks if fallback.kind is FallbackKind.PASSAGES]


async def test_an_answer_streams_from_its_first_characters_on() -> None:
    events = await events_of("default", says("[[no", "body knows. ", f"{LONG} [1]"))
    assert [event.text for event in events if isinstance(event, Delta)] == ["[[nobody knows.", f" {LONG}"]


async def test_a_late_mark_is_removed_and_counted() -> None:
    end = answered(await events_of("default", says(f"{LONG} [1] [[no", " answer]] Its age?")))
    assert end.text == f"{LONG} Its age?"
    assert end.fallbacks == (Fallback(FallbackKind.RULE, "m", "write", "late_mark"),)


@pytest.mark.parametrize(("written", "source"), [("It is long.", "write"), ("It is short. [7]", "cite")])
async def test_an_answer_without_a_citation_stands_and_says_so(written: str, source: str) -> None:
    end = answered(await events_of("default", says(written)))
    assert end.fallbacks == (Fallback(FallbackKind.UNCITED, "m", source, "no_marks"),)
    assert (len(end.citations), end.unsupported) == (0, 0)
    # The reader gets the passages beside it.
    assert (end.excerpts, tuple(end.more_excerpts[:2])) == ((), (NILE, AMAZON))


@pytest.mark.parametrize("agent", WRITERS)
@pytest.mark.parametrize("near", [True, False])
async def test_without_a_model_that_answers_the_passages_are_shown(agent: str, near: bool) -> None:
    events = await events_of(agent, Says([UNREACHABLE]), fixed(near=near))
    if not near:
        assert refused(events).excerpts == (NILE, AMAZON)
        return
    end = answered(events)
    assert end.model == "passages"
    where = "section" if agent in ("cairo", "scarb") else "passages"
    cause = "model_unavailable:unreachable"
    assert Fallback(FallbackKind.PASSAGES, "model", where, cause) in end.fallbacks
    assert end.excerpts == (() if where == "section" else (NILE, AMAZON))


class TestFailover:
    """The mark and models that take up an answer."""

    @pytest.mark.parametrize("begun", ["[[no ans", "[["])
    async def test_a_mark_that_breaks_off_is_not_a_part_of_the_next_models_answer(self, begun: str) -> None:
        cut = Says([TextPiece(begun), ModelError(ModelFault.CUT, "cut")])
        end = answered(await events_of("default", chain(cut, says(f"{LONG} [1]"))))
        assert end.text == LONG

    async def test_the_next_model_may_find_no_answer_if_nothing_was_sent(self) -> None:
        cut = Says([TextPiece("[[no"), ModelError(ModelFault.CUT, "cut")])
        assert (
            refused(await events_of("default", chain(cut, says(NO_ANSWER)))).reason
            is RefusalReason.NO_SUPPORT
        )

    async def test_after_text_was_sent_the_mark_is_only_removed(self) -> None:
        begun = f"{LONG} [1] It flows north through eleven countries. And"
        cut = Says([TextPiece(begun), ModelError(ModelFault.CUT, "cut")])
        end = answer_in(await events_of("default", chain(cut, says(f"{NO_ANSWER} So much is known."))))
        assert NO_ANSWER not in end.text
        assert end.text.startswith(LONG)
        assert "late_mark" in [fallback.cause for fallback in end.fallbacks]


@pytest.mark.parametrize("agent", ["default", "chat", "tutor", "scarb"])
async def test_nothing_found_is_refused_before_a_model_is_asked_for_an_answer(agent: str) -> None:
    model = says("The Nile is long.")
    end = refused(await events_of(agent, model, FixedEvidence(contents=evidence(0), near=False)))
    assert end.reason is RefusalReason.NO_SUPPORT
    assert not [one for one in model.prompts if one.cites]


async def test_tools_that_only_a_model_can_choose_are_named() -> None:
    agent = shipped("default", parts_of(None, fixed(), tools=FixedTools([NOTE])), tools=("note",))
    end = answered(await told_by(agent, task_for("default")))
    assert Fallback(FallbackKind.WITHOUT_TOOL, "note", "", "no_model") in end.fallbacks


@pytest.mark.parametrize(
    ("intent", "said"), [("qa", LONG), ("chitchat", "uses no language model"), ("post", "Chat uses none")]
)
async def test_an_agent_that_asks_no_model_misses_none(intent: str, said: str) -> None:
    agent = shipped("chat", parts_of(None, fixed()), chain=["passages"])
    end = (await told_by(agent, task_for("chat", intent=intent)))[-1]
    assert isinstance(end, Answered | Refused)
    assert end.fallbacks == ()
    assert said in (end.text if isinstance(end, Answered) else end.message)


@pytest.mark.parametrize("intent", ["post", "linkedin"])
@pytest.mark.parametrize("model", [None, Says([UNREACHABLE])])
async def test_a_post_needs_a_model(intent: str, model: Says | None) -> None:
    question = task_for("chat", "The Nile, please.", intent=intent)
    end = refused(await told_by(shipped("chat", parts_of(model, fixed())), question))
    assert (end.reason, end.intent) == (RefusalReason.NEEDS_MODEL, intent)
    # No passage was shown instead.
    assert end.fallbacks == ()
    assert "needs a language model" in end.message
    assert ("none is configured" in end.message) is (model is None)
