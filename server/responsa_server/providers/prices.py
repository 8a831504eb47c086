"""The prices of models, from prices.json. tools/prices.py makes that file, with its date and its source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from responsa_server.domain.models import Price, Spent


def price_of(read: Decimal, written: Decimal) -> Price:
    """The price of a model for the tokens that it reads and writes, in US dollars per million."""
    return Price(read, read, read, written)


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
    """Implements `PriceTable`. own: the prices that the list cannot know, by `provider:model`, or by provider for those of its
    models that the list does not have."""

    def __init__(self, known: PriceList, own: Mapping[str, Price] = MappingProxyType({})) -> None:
        self._known = known
        self.own = own
        self._find = lru_cache(1000)(self._look_up)

    def replace_own(self, own: Mapping[str, Price]) -> Prices:
        """The same list with other own prices."""
        return Prices(self._known, own)

    def price(self, model: str, at: date) -> Price | None:
        """See `PriceTable.price`. An own price of the model has precedence, then a row for the exact name, then the row with
        the longest matching prefix. Among the rows for that name or prefix, the latest row that is valid on that day applies.
        """
        known = self.own.get(model) or self._find(model, at)
        return known or self.own.get(model.partition(":")[0])

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
        return None if best is None else best.price


def load_shipped() -> PriceList:
    """The price list that comes with this version of Responsa. Every call reads the file again."""
    return PriceList.model_validate_json(
        files("responsa_server.providers").joinpath("prices.json").read_bytes()
    )
