"""Builds the limits of callers."""

from __future__ import annotations

from contextlib import AsyncExitStack

from responsa_server.app.resources import redis_url
from responsa_server.app.settings import Settings
from responsa_server.embedded import Layout
from responsa_server.identity.limits import LimitBook, Limiter
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.rates import LocalRates, Reach, RedisHolds, RedisMessages, RedisRates, Reserved


def build_limiter(settings: Settings, layout: Layout, database: Database, stack: AsyncExitStack) -> Limiter:
    """Build the limits on an open database and Redis; Redis need not be there."""
    url = redis_url(settings, layout)
    reach = Reach(url)
    rates, holds, messages = RedisRates(url, reach), RedisHolds(url, reach=reach), RedisMessages(url, reach)
    for part in (rates, holds, messages):
        stack.push_async_callback(part.close)
    store = PostgresLimits(database)
    book = LimitBook(settings.limits, store, PostgresUsers(database))
    limiter = Limiter(settings.limits, book, store, Reserved(rates), Reserved(LocalRates()), holds, messages)
    stack.push_async_callback(limiter.close)
    return limiter
