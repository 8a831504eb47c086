"""The prices of models, from prices.json. tools/prices.py makes that file, with its date and its source."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from responsa_server.domain.models import Price, Spent

FREE: Final = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
"""The price of models that cost nothing."""


class PriceRow(BaseModel):
    """The prices, from the day `since` on, of one model or of all models whose names begin with a prefix. The unit is US dollars
    per million tokens, or per million search units.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    provider: str
    match: Literal["exact", "prefix"]
    model: str = Field(min_length=1)
    since: date = Field(alias="from")
    input: Decimal = Field(ge=0)
    cached_input: Decimal = Field(ge=0)
    cache_write: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    search: Decimal = Field(default=Decimal(0), ge=0)

    @cached_property
    def price(self) -> Price:
        """The prices of this row as the domain's `Price`."""
        return Price(self.input, self.cached_input, self.cache_write, self.output, self.search)


class PriceList(BaseModel):
    """The content of prices.json. as_of: the day on which the file was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    as_of: date
    currency: Literal["USD"]
    source: str
    models: Sequence[PriceRow]


class Prices:
    """Implements `PriceTable`. free: the providers whose models cost nothing unless a row gives them a price."""

    def __init__(self, known: PriceList, free: Collection[str] = ()) -> None:
        self._known = known
        self._free = frozenset(free)
        self._find = lru_cache(1000)(self._look_up)

    def price(self, model: str, at: date) -> Price | None:
        """See `PriceTable.price`. A row for the exact name has precedence, then the row with the longest matching
        prefix. Among the rows for that name or prefix, the latest row that is valid on that day applies.
        """
        return self._find(model, at)

    def cost_micros(self, spent: Spent, at: date) -> int | None:
        if (price := self.price(spent.model, at)) is None:
            return None
        cached, written = spent.cached_input_tokens, spent.cache_write_tokens
        plain = max(0, spent.usage.input_tokens - cached - written)
        # Dollars per million tokens equal micro-dollars per token.
        return math.ceil(
            plain * price.input
            + cached * price.cached_input
            + written * price.cache_write
            + spent.usage.output_tokens * price.output
            + spent.searches * price.search
        )

    def _look_up(self, model: str, at: date) -> Price | None:
        provider, _, name = model.partition(":")
        fitting = [
            row
            for row in self._known.models
            if row.provider == provider
            and row.since <= at
            and (name == row.model if row.match == "exact" else name.startswith(row.model))
        ]
        best = max(fitting, key=lambda row: (row.match == "exact", len(row.model), row.since), default=None)
        if best is None:
            return FREE if provider in self._free else None
        return best.price


def load_shipped() -> PriceList:
    """The price list that comes with this version of Responsa. Every call reads the file again."""
    return PriceList.model_validate_json(
        files("responsa_server.providers").joinpath("prices.json").read_bytes()
    )
