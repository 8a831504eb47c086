"""State across releases: a run continues from the state of an earlier release, and the stored bytes stay the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from bench.agents import GraphAgent
from responsa_lab.testing.agent import ScriptedAgent
from responsa_lab.testing.script import Script
from responsa_server.agents.engine.state import (
    ENGINE_KEYS,
    StateError,
    fallbacks_of,
    kept,
    plain_fallback,
    restored,
)
from responsa_server.agents.nodes.prompt import PromptInput
from responsa_server.agents.nodes.searching import RankInput
from responsa_server.domain.answers import Evidence
from responsa_server.domain.events import Answered, Delta, Fallback, FallbackKind, Status, Step
from responsa_server.domain.models import Ended, TextPiece
from tests.unit.agents.evidence import Shelf, excerpt, task
from tests.unit.agents.speaking import Says, answer_in, told_by

# A release in which agents had no files wrote this state.
WRITE = bytes.fromhex(
    "0192a5777269746584a474657874a74772c3b6c39f65a8636f6d706c657465c3a563616c6c7390a7726573756c74739183a463616c6c83a763616c6c5f6964a663616c"
    "6c2d31a4746f6f6cab7265636f72642d6f6e6365a9617267756d656e747382a46e6f7465a6736565642d31a870617573655f6d7300a76f7574636f6d65a26f6ba7636f"
    "6e74656e74a27b7d"
)
GRADE = bytes.fromhex(
    "0192a5677261646582b37374616e64616c6f6e655f7175657374696f6ea0a865766964656e636583a8706173736167657301b0656d62656464696e675f746f6b656e73"
    "07a7636f6e74656e7481a6706c616365739301cb4004000000000000c0"
)

RANK = kept("rank", cast("Mapping[str, object]", restored(GRADE)[1]))
# Written by the release of 8e1076a, which stored `bytes_sent` as `told`: of “Größe. A draft”, “Größe.” was sent.
TOLD = bytes.fromhex(
    "0192a5636865636b84a474657874b04772c3b6c39f652e2041206472616674a8636f6d706c657465c3a4746f6c6408a5737465707304"
)


@pytest.mark.parametrize(("milestone", "name"), [(WRITE, "write"), (GRADE, "grade")])
def test_what_a_release_before_has_kept_is_read_and_kept_as_it_was(milestone: bytes, name: str) -> None:
    next_node, state = restored(milestone)
    assert next_node == name
    assert kept(next_node, cast("Mapping[str, object]", state)) == milestone


def test_what_a_release_before_has_kept_fits_the_nodes_of_today() -> None:
    _, state = restored(WRITE)
    given = PromptInput.model_validate(
        {"question": "?", **{key: state.get(key) for key in ("text", "results")}}
    )
    assert (given.text, given.results[0].call.signature) == ("Größe", "")
    _, state = restored(GRADE)
    graded = RankInput.model_validate({"question": "?", **cast("dict[str, Any]", state)})
    assert (graded.evidence.passages, graded.evidence.degraded) == (1, "")


async def test_a_turn_of_a_release_before_goes_on() -> None:
    script = Script(tokens=1, pace_ms=0)
    agent = ScriptedAgent(Says([TextPiece(" und"), Ended(complete=True)]), [])
    asked = task(script.question)
    events = await told_by(agent, replace(asked, resume=WRITE))
    assert [one for one in events if isinstance(one, Delta)] == [Delta(" und", 7)]
    end = answer_in(events)
    assert end.text == "Größe und"
    shelf = Shelf(excerpt("The Nile is long."), contents=restored_evidence())
    events = await told_by(GraphAgent(shelf), replace(task("How long is the Nile?"), resume=RANK))
    assert [one.step for one in events if isinstance(one, Status)] == [Step.GRADING, Step.GENERATING]
    assert isinstance(events[-1], Answered)


def restored_evidence() -> Evidence:
    """The evidence in the milestone GRADE."""
    return RankInput.model_validate({"question": "?", **cast("dict[str, Any]", restored(GRADE)[1])}).evidence


def test_a_key_of_an_earlier_release_is_kept_under_its_name_of_today() -> None:
    _, state = restored(TOLD)
    expected = {"text": "Größe. A draft", "complete": True, "bytes_sent": 8, "steps": 4}
    assert state == expected
    _, again = restored(kept("check", cast("Mapping[str, object]", state)))
    assert again == expected


def test_a_former_name_may_be_the_name_of_a_nodes_own_field() -> None:
    milestone = kept("a", {"told": "a story", "bytes_sent": 8})
    assert restored(milestone, {"told", "bytes_sent"}) == ("a", {"told": "a story", "bytes_sent": 8})


def test_a_key_that_the_graph_does_not_have_is_refused_unless_it_has_it() -> None:
    milestone = kept("a", {"persona": "You teach."})
    with pytest.raises(StateError, match="unknown keys: persona"):
        restored(milestone)
    assert restored(milestone, {"persona"}) == ("a", {"persona": "You teach."})


def test_fallbacks_are_kept_in_order_each_once() -> None:
    by_rule = Fallback(FallbackKind.RULE, "a", "b", "why")
    other = Fallback(FallbackKind.PROVIDER, "a", "b", "why")
    state: Mapping[str, Sequence[object]] = {
        "fallbacks": [plain_fallback(fell) for fell in (other, by_rule, other)]
    }
    _, back = restored(kept("a", state))
    assert fallbacks_of(cast("Any", back)) == [other, by_rule]
    assert "fallbacks" in ENGINE_KEYS
