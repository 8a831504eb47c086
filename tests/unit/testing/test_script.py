"""The testing agent's scripts, and what a script determines about its turn."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_lab.testing.script import (
    WORDS,
    Script,
    ToolFailure,
    answer_tokens,
    collapsed,
    golden_events,
    golden_text,
    golden_usage,
    parse,
    token,
)
from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    Answered,
    Delta,
    Status,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.tools import Effect
from tests.instance import ROOT

scripts = st.builds(
    Script,
    tokens=st.integers(1, 200),
    pace_ms=st.integers(0, 100),
    first_ms=st.integers(0, 100),
    opening=st.integers(0, 20),
    tool=st.sampled_from(Effect),
    tool_ms=st.integers(0, 100),
    tool_fail=st.sampled_from(ToolFailure),
    seed=st.integers(0, 2**31 - 1),
    fail_after=st.integers(-1, 250),
    stall_after=st.integers(-1, 250),
    note=st.text("abcü=-", max_size=8),
)


@given(scripts)
def test_a_script_and_its_question_say_the_same(script: Script) -> None:
    assert parse(script.question) == script


def test_a_question_is_keys_and_values() -> None:
    assert parse(" tokens=8\npace_ms=0  tool=once tool_ms=200 seed=7 fail_after=3 note=a=b ") == Script(
        tokens=8, pace_ms=0, tool=Effect.ONCE, tool_ms=200, seed=7, fail_after=3, note="a=b"
    )
    assert parse("seed=1") == Script()


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("", "nothing to do"),
        ("hello", "not key=value"),
        ("tokens=8 tokens=9", "given twice"),
        ("tokens=0", "from 1 to 2000"),
        ("tokens=2001", "from 1 to 2000"),
        ("tokens=1.5", "whole number"),
        ("tokens=--1", "whole number"),
        ("tokens=²", "whole number"),
        ("seed=99999999999999999999999999", "whole number"),
        ("tool=twice", "none, idempotent, once"),
        ("colour=red", "no key “colour”"),
    ],
)
def test_nonsense_is_a_typed_error_that_says_what_helps(question: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        parse(question)
    assert caught.value.reason is Reason.INVALID_FIELD
    assert "tokens=64" in caught.value.message


def test_the_text_is_the_same_for_ever() -> None:
    """Stored logs and expected results on other machines may contain the text, so the text must not change."""
    text = golden_text(Script(tokens=400, seed=1))
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN_SHA256
    assert golden_text(Script(tokens=3, seed=2)) != golden_text(Script(tokens=3, seed=3))


GOLDEN_SHA256 = "27ea01b0825da9b2719a27bac9384b2c52f88e6284da4c1df45139b52a3c5b68"


@given(st.integers(0, 2**31 - 1), st.integers(1, 60), st.integers(0, 20))
def test_a_shorter_text_is_the_beginning_of_a_longer_one(seed: int, tokens: int, opening: int) -> None:
    longer = golden_text(Script(tokens=tokens + 10, seed=seed))
    assert longer.startswith(golden_text(Script(tokens=tokens, seed=seed)))
    apart = Script(tokens=tokens, opening=opening, seed=seed)
    assert golden_text(apart) == golden_text(Script(tokens=tokens + opening, seed=seed))
    assert "".join(answer_tokens(apart)) == golden_text(apart)[-len("".join(answer_tokens(apart))) :]


def test_words_are_words_of_many_scripts_and_the_longest_answer_fits() -> None:
    assert {len(character.encode()) for word in WORDS for character in word} == {1, 2, 3, 4}
    assert all(len(token(seed, place)) >= 1 for seed in range(20) for place in range(50))
    for seed in range(5):
        assert len(golden_text(Script(tokens=2000, opening=200, seed=seed)).encode()) <= MAX_ANSWER_BYTES


@given(scripts)
def test_golden_events_hang_together(script: Script) -> None:
    events = golden_events(script)
    told = [one for one in events if isinstance(one, Delta)]
    end = 0
    for delta in told:
        assert delta.byte_offset == end
        end += len(delta.text.encode())
    text = "".join(one.text for one in told)
    assert golden_text(script).startswith(text)
    stops = any(0 <= after < script.tokens for after in (script.fail_after, script.stall_after))
    if stops:
        assert not isinstance(events[-1], Answered)
    else:
        assert isinstance(events[-1], Answered)
        assert text == events[-1].text == golden_text(script)
        assert events[-1].usage == golden_usage(script)
    kinds = [type(one) for one in collapsed(events)]
    tool = [Status, ToolCalled, ToolReturned] if script.tool is not Effect.NONE else []
    assert [one for one in kinds if one is not Delta] == [*tool, Status, *([] if stops else [Answered])]
    assert all(not (one is other is Delta) for one, other in pairwise(kinds))


def test_what_a_turn_costs_is_counted_in_words() -> None:
    plain = Script(tokens=10, seed=3)
    assert golden_usage(plain) == Usage(input_tokens=2 + 2, output_tokens=10)
    assert golden_usage(plain, "seed=3 tokens=10 note=x") == Usage(input_tokens=6, output_tokens=10)
    tool = Script(tokens=10, opening=4, tool=Effect.ONCE)
    assert golden_usage(tool) == Usage(input_tokens=3 + 3 + 4 + 1, output_tokens=4 + 8 + 10)


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (ToolFailure.NONE, ToolOutcome.OK),
        (ToolFailure.ERROR, ToolOutcome.ERROR),
        (ToolFailure.CUT, ToolOutcome.UNKNOWN),
    ],
)
def test_a_tools_failure_is_told(failure: ToolFailure, outcome: ToolOutcome) -> None:
    (returned,) = [
        one
        for one in golden_events(Script(tool=Effect.ONCE, tool_fail=failure))
        if isinstance(one, ToolReturned)
    ]
    assert returned.outcome is outcome


def test_the_page_tells_every_key_and_its_default() -> None:
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| (\S*) ?\|", (ROOT / "docs" / "testing-agent.md").read_text(), re.MULTILINE
        )
    )
    plain = Script()
    assert rows == {
        one.name: str(getattr(plain, one.name)).replace("-1", "never") or "empty" for one in fields(Script)
    }
