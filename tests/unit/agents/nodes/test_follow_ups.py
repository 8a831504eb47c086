"""The questions that an answer suggests to ask next: those of the model that can be shown as they are."""

from __future__ import annotations

import json

from responsa_server.agents.nodes.follow_ups import MAX_CHARACTERS, FollowUpInput, FollowUpOptions, FollowUps
from responsa_server.domain.models import Ended, ModelError, ModelFault
from tests.unit.agents.asking import asker
from tests.unit.agents.speaking import Says, Turn, says

GIVEN = FollowUpInput(question="How long is the Nile?", text="The Nile is 6,650 km long.")


async def asked(*questions: str) -> tuple[str, ...]:
    node = FollowUps("next", asker(says(json.dumps({"questions": questions}))), FollowUpOptions(most=2))
    return (await node.process(GIVEN, Turn().run)).follow_ups


async def test_only_distinct_questions_on_one_line_are_left() -> None:
    hostile = (
        "a" * (MAX_CHARACTERS + 1),
        "Two\nlines?",
        "A bell\x07?",
        "Which way\u202e?",
        "A ⟦mark⟧?",
        "",
    )
    twice = ("how long is the Nile", " Where does it rise? ", "Where does it rise?")
    assert await asked(*hostile, *twice) == ("Where does it rise?",)
    assert await asked("A?", "B?", "C?") == ("A?", "B?")


async def test_a_failure_leaves_the_answer_complete() -> None:
    for model in (Says([ModelError(ModelFault.OVERLOADED, "busy")]), says("no JSON")):
        run = Turn().run
        assert (await FollowUps("next", asker(model), FollowUpOptions()).process(GIVEN, run)).follow_ups == ()
        assert run.fallen == []
        assert len(model.asked) == 1
    unasked = Says([Ended(complete=True)])
    node = FollowUps("next", asker(unasked), FollowUpOptions())
    assert (await node.process(FollowUpInput(question="?"), Turn().run)).follow_ups == ()
    assert unasked.asked == []
