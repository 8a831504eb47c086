"""The state of a run, as milestones keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from responsa_server.agents.engine.state import (
    ENGINE_KEYS,
    StateError,
    fallbacks_of,
    plain_fallback,
    restore,
    to_milestone,
)
from responsa_server.domain.events import Fallback, FallbackKind


def test_a_milestone_has_the_node_and_the_state_that_were_kept() -> None:
    state = {"text": "Größe. A draft", "complete": True, "bytes_sent": 8, "steps": 4}
    milestone = to_milestone("check", state)
    assert restore(milestone) == ("check", state)
    assert to_milestone(*restore(milestone)) == milestone  # pyright: ignore[reportArgumentType]  # a TypedDict is a mapping


def test_a_key_that_the_graph_does_not_have_is_refused_unless_it_has_it() -> None:
    milestone = to_milestone("a", {"persona": "You teach."})
    with pytest.raises(StateError, match="unknown keys: persona"):
        restore(milestone)
    assert restore(milestone, {"persona"}) == ("a", {"persona": "You teach."})


def test_fallbacks_are_kept_in_order_each_once() -> None:
    by_rule = Fallback(FallbackKind.RULE, "a", "b", "why")
    other = Fallback(FallbackKind.PROVIDER, "a", "b", "why")
    state: Mapping[str, Sequence[object]] = {
        "fallbacks": [plain_fallback(fell) for fell in (other, by_rule, other)]
    }
    _, back = restore(to_milestone("a", state))
    assert fallbacks_of(cast("Any", back)) == [other, by_rule]
    assert "fallbacks" in ENGINE_KEYS
