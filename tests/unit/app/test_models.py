"""The people who hear that a language model costs money and that no quota limits it."""

from __future__ import annotations

from typing import Any

import pytest

from responsa_server.app.models import warn_of_spending
from responsa_server.app.settings import load

SERVERS = {
    "lab": {"url": "http://127.0.0.1:1/v1"},
    "own": {"url": "https://models.example.org/v1"},
    "gift": {"url": "https://models.example.org/v1", "price": "0,0"},
}


@pytest.mark.parametrize(
    ("models", "quota", "warned"),
    [
        (["openai:gpt-4o-mini"], {}, True),
        (["openai:a-model-whose-price-nobody-knows"], {}, True),
        (["lab:llama"], {}, False),
        (["own:llama"], {}, True),
        (["gift:llama"], {}, False),
        (["embedded:smollm2"], {}, False),
        ([], {}, False),
        (["openai:gpt-4o-mini"], {"cost_micros_per_day": 1_000_000}, False),
        (["openai:gpt-4o-mini"], {"tokens_per_month": 100_000}, False),
    ],
)
def test_a_model_with_a_price_and_without_a_quota_is_said(
    models: list[str], quota: dict[str, Any], *, warned: bool
) -> None:
    settings = load(
        models={"default": models, "servers": SERVERS},
        quotas=quota,
    )
    said = warn_of_spending(settings)
    assert (said is not None) is warned
    if said is not None:
        assert models[0] in said[0]
        assert "quotas.cost_micros_per_month" in said[1]


def test_the_model_that_judges_citations_costs_money_too() -> None:
    judge = {"judge": "openai:gpt-4o-mini"}
    said = warn_of_spending(load(models={"default": ["passages"]}, citations=judge))
    assert said is not None
    assert judge["judge"] in said[0]
