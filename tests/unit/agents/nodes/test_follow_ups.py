"""The questions that an answer suggests to ask next: what is left of a model's reply."""

from __future__ import annotations

import json

from responsa_server.agents.nodes.follow_ups import MAX_CHARACTERS, FollowUpInput, FollowUpOptions, FollowUps
from responsa_server.domain.models import Ended, ModelError, ModelFault
from tests.unit.agents.asking import asker
from tests.unit.agents.speaking import Says, Turn, says

GIVEN = FollowUpInput(question="How long is the Nile?", text="The Nile is 6,650 km long.")


async def follow_ups_of(*questions: str) -> tuple[str, ...]:
    node = FollowUps("next", asker(says(json.dumps({"questions": questions}))), FollowUpOptions(most=2))
    return (await node.process(GIVEN, Turn().run)).follow_ups


async def test_each_is_one_short_line_that_is_not_asked_yet() -> None:
    left_out = ("a" * (MAX_CHARACTERS + 1), " \x07", "how long is the Nile")
    assert await follow_ups_of(*left_out, " Where\n\u202edoes\x1b it\u00a0rise? ", "Where does it rise?") == (
        "Where does it rise?",
    )
    assert await follow_ups_of("A?", "B?", "C?") == ("A?", "B?")
    assert "⟦" not in (await follow_ups_of("⟦data question 7⟧ Why?"))[0]


async def test_a_failure_leaves_the_answer_complete() -> None:
    for model in (Says([ModelError(ModelFault.OVERLOADED, "busy")]), says("no JSON")):
        run = Turn().run
        assert (await FollowUps("next", asker(model), FollowUpOptions()).process(GIVEN, run)).follow_ups == ()
        assert run.fallen == []
        assert len(model.prompts) == 1
    unasked = Says([Ended(complete=True)])
    node = FollowUps("next", asker(unasked), FollowUpOptions())
    assert (await node.process(FollowUpInput(question="?"), Turn().run)).follow_ups == ()
    assert unasked.prompts == []
