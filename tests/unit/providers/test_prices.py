"""The prices of models, and their start dates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from responsa_server.domain.events import Usage
from responsa_server.domain.models import FREE, Price, Spent
from responsa_server.providers.prices import PriceList, Prices, load_shipped, price_of

DAY = date(2026, 11, 20)


def row(match: str, model: str, price: int, since: str = "2020-01-01") -> dict[str, object]:
    prices = {"input": price, "cached_input": "0.1", "cache_write": "1.25", "output": 2 * price}
    return {"provider": "lab", "match": match, "model": model, "from": since, **prices}


def listed(*rows: dict[str, object]) -> PriceList:
    head = {"as_of": "2026-11-20", "currency": "USD", "source": "here"}
    return PriceList.model_validate({**head, "models": rows})


TABLE = Prices(
    listed(
        row("prefix", "m", 1),
        row("prefix", "m-long", 2),
        row("exact", "m-long-one", 3),
        row("exact", "m-long-one", 4, "2026-11-21"),
    ),
    {"home": FREE, "home:priced": price_of(Decimal(7), Decimal(8)), "lab:m-own": FREE},
)


@pytest.mark.parametrize(
    ("model", "day", "price"),
    [
        ("lab:m-2026-01-01", DAY, 1),
        ("lab:m-long-2026", DAY, 2),
        ("lab:m-long-one", DAY, 3),
        ("lab:m-long-one", date(2026, 11, 21), 4),
        ("lab:m-long-one", date(2019, 1, 1), None),
        ("lab:other", DAY, None),
        ("other:m", DAY, None),
        ("m", DAY, None),
        ("home:anything", DAY, 0),
        ("home:priced", DAY, 7),
        ("lab:m-own", DAY, 0),
    ],
)
def test_the_row_that_fits_best_holds(model: str, day: date, price: int | None) -> None:
    found = TABLE.price(model, day)
    assert (found and found.input) == (None if price is None else price)


def test_tokens_from_the_cache_and_into_it_have_their_own_price() -> None:
    spent = Spent(Usage(0, 1000, 100), "lab:m", cached_input_tokens=600, cache_write_tokens=40)
    assert TABLE.cost_micros(spent, DAY) == 360 * 1 + 60 + 50 + 100 * 2
    assert TABLE.cost_micros(Spent(Usage(0, 1, 0), "lab:m", cached_input_tokens=1), DAY) == 1
    assert TABLE.cost_micros(Spent(Usage(0, 1000, 100), "home:m"), DAY) == 0
    assert TABLE.cost_micros(Spent(Usage(0, 1000, 100), "lab:other"), DAY) is None


def test_the_list_that_is_shipped_is_dated_and_knows_the_vendors() -> None:
    known = load_shipped()
    assert known.as_of >= DAY
    assert "genai-prices" in known.source
    assert {model.provider for model in known.models} == {"openai", "anthropic", "gemini", "cohere", "voyage"}
    table = Prices(known)
    assert table.price("openai:gpt-4o", DAY) == Price(*map(Decimal, ("2.5", "1.25", "2.5", "10")))
    assert table.price("gemini:gemini-2.5-pro", DAY) is not None
    assert table.price("anthropic:claude-sonnet-4-5-20250929", DAY) is not None
    # A price may be known before it applies.
    now, later = (table.price("gemini:gemini-3.6-flash", day) for day in (DAY, date(2027, 1, 1)))
    assert now is not None
    assert later is not None
    assert now.input < later.input


@pytest.mark.parametrize(
    "change", [{"input": -1}, {"match": "regex"}, {"model": ""}, {"from": "soon"}, {"currency": "EUR"}]
)
def test_a_list_that_is_wrong_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        listed({**row("exact", "m", 1), **change})
