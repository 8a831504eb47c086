"""The testing agent's scripts, and what a script determines about its turn."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_lab.testing.script import (
    Script,
    ToolFailure,
    golden_text,
    parse,
)
from responsa_server.domain.errors import InvalidRequest, Reason
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


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("", "nothing to do"),
        ("tokens=8 tokens=9", "given twice"),
        ("tokens=0", "from 1 to 2000"),
        ("tokens=1.5", "whole number"),
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


def test_the_page_tells_every_key_and_its_default() -> None:
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| (\S*) ?\|",
            (ROOT / "docs" / "maintainers" / "campaigns.md").read_text(),
            re.MULTILINE,
        )
    )
    plain = Script()
    assert rows == {
        field.name: str(getattr(plain, field.name)).replace("-1", "never") or "empty"
        for field in fields(Script)
    }
