"""Two hundred questions at once, through Envoy, with two API keys of one person, never use more than the person's quota."""

from __future__ import annotations

import asyncio

from responsa_client import AsyncResponsa
from responsa_client.errors import ResourceExhausted
from tests.callers import Credential, Tenant
from tests.cases.test_cases import cast_of
from tests.instance import Instance
from tests.transports import Ways

QUESTION = "What does an answer cost?"
COST = 536
"""What an answer of the scripted model to this question costs, in millionths of a dollar."""
LIMIT = 20 * COST
QUESTIONS = 200


def test_two_hundred_questions_at_once_never_cost_more_than_the_quota(
    instance: Instance, ways: Ways, tenant: Tenant
) -> None:
    with cast_of(instance, ways):
        asyncio.run(_use_up(instance.url, tenant))


async def _use_up(url: str, tenant: Tenant) -> None:
    async with (
        AsyncResponsa(url, tenant.key(Credential.USER)) as first,
        AsyncResponsa(url, tenant.key(Credential.ADMIN)) as admin,
    ):
        await admin.update_user_quota((await first.me()).name, {"cost_usd_micros_per_day": LIMIT})
        key = (await first.create_api_key("second")).secret
        async with AsyncResponsa(url, key) as second:
            ends = await asyncio.gather(*(_ask((first, second)[one % 2]) for one in range(QUESTIONS)))
            assert set(ends) <= {"answer", "refused", "QUOTA_EXHAUSTED"}
            assert "QUOTA_EXHAUSTED" in ends
            day = (await second.usage()).day
            assert day.cost_usd_micros.reserved == 0
            assert day.cost_usd_micros.used == COST * ends.count("answer") <= LIMIT
            # The server recorded nothing of a question that it did not accept.
            assert day.message_count == QUESTIONS - ends.count("QUOTA_EXHAUSTED")
        # What the refused questions did not use is still there.
        while (await first.usage()).day.cost_usd_micros.used <= LIMIT - 2 * COST:
            assert await _ask(first) == "answer"
        assert await _ask(first) in ("refused", "QUOTA_EXHAUSTED")
        assert (await first.usage()).day.cost_usd_micros.used == LIMIT - COST


async def _ask(client: AsyncResponsa) -> str:
    """The kind of the turn's end, or the reason of the refusal. The request's limit makes the reservation small, so
    that many turns run at once."""
    try:
        turn = await client.answer(QUESTION, agent="costly", max_cost_usd_micros=2 * COST)
    except ResourceExhausted as error:
        return error.reason
    return turn.terminal_event.WhichOneof("event") or ""
