"""Circuit breakers of tools: which failures open them, and what a call gets that is not made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from responsa_server.agents.engine.calling import CallModel
from responsa_server.agents.engine.config import CallLimits, Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.tool_circuits import KIND, KIND_OF_USERS, tool_of, tool_of_user
from responsa_server.agents.nodes.tool_calls import CallTool, CallToolInput
from responsa_server.domain.breakers import OPEN_SECONDS, Breakers, CircuitsPart
from responsa_server.domain.events import ToolFault, ToolOutcome, ToolReturned
from responsa_server.domain.parts import Health
from responsa_server.domain.tools import Effect, FixedTools, Tool, ToolCall, ToolResult
from tests.unit.agents.evidence import WHO
from tests.unit.agents.speaking import Does, Turn
from tests.unit.providers.test_chain import Clock

CALL = CallModel(call_id="c", tool="note", arguments={"text": "x"})
SHORT = 0.1
"""The time limit of calls that are to fail. A call that does not wait must keep it even on a loaded machine."""
BUSY = "The tool did not answer in time a moment ago, so it was not called. It is tried again in 30 seconds."


class Declared(FixedTools):
    """Tools of a declaration."""

    def endpoint(self, tool: str) -> str:
        return "notes"


class Fails(Does):
    """A tool that fails in this way; None: it hangs."""

    def __init__(
        self, fault: ToolFault | None = None, *, broken: bool = False, effect: Effect = Effect.NONE
    ) -> None:
        error = ToolFault.TIMEOUT if fault is None else fault
        super().__init__(effect, ToolResult(ToolOutcome.ERROR, "no", error=error, broken=broken))
        self.hangs = fault is None
        self.asked = asyncio.Event()

    async def call(self, call: ToolCall) -> ToolResult:
        result = await super().call(call)
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        return result


async def results_of(
    breakers: Breakers,
    *tools: Tool,
    seconds: float = 30.0,
    calls: int = 1,
    tenant: str = WHO.tenant_id,
    user: int = 1,
) -> list[ToolReturned]:
    """One question of a user that calls the tool."""
    turn = Turn()
    traits = Traits(calls=CallLimits(seconds=seconds))
    node = CallTool(NodeParts(tools=Declared(tools), traits=traits, breakers=breakers))
    each = [CALL.model_copy(update={"arguments": {"text": str(place)}}) for place in range(calls)]
    run = replace(turn.run, caller=replace(WHO, tenant_id=tenant, user_id=UUID(int=user)))
    await node.process(CallToolInput(calls=tuple(each)), run)
    return [event for event in turn.events if isinstance(event, ToolReturned)]


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_dead_tool_costs_its_timeout_once_and_not_with_each_question(effect: Effect) -> None:
    clock = Clock()
    breakers, dead = Breakers(clock), Fails(effect=effect)
    [first] = await results_of(breakers, dead, seconds=0.05)
    assert first.fault is ToolFault.TIMEOUT
    for _ in range(25):
        [later] = await results_of(breakers, dead, seconds=0.05)
        # A call that was not made has had no effect.
        assert (later.outcome, later.fault, later.content) == (ToolOutcome.ERROR, ToolFault.UNREACHABLE, BUSY)
    assert len(dead.calls) == 1
    clock.now = OPEN_SECONDS
    alive = Does(effect)
    assert [one.outcome for one in await results_of(breakers, alive)] == [ToolOutcome.OK]
    assert [one.outcome for one in await results_of(breakers, alive, calls=2)] == [ToolOutcome.OK] * 2


async def test_one_call_at_a_time_tries_a_tool_that_has_failed() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    await results_of(breakers, Fails(), seconds=SHORT)
    clock.now = OPEN_SECONDS
    dead = Fails()
    found = await results_of(breakers, dead, seconds=SHORT, calls=3)
    assert sorted(one.fault or "" for one in found) == ["timeout", "unreachable", "unreachable"]
    assert len(dead.calls) == 1
    # A cancelled call says nothing about the tool: the next one may try.
    clock.now += OPEN_SECONDS
    dead.asked.clear()
    calling = asyncio.create_task(results_of(breakers, dead))
    await dead.asked.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [one.outcome for one in await results_of(breakers, Does())] == [ToolOutcome.OK]


async def test_a_tenant_does_not_stop_the_calls_of_another() -> None:
    breakers, dead = Breakers(Clock()), Fails()
    for user in (1, 2, 3):
        await results_of(breakers, dead, seconds=SHORT, tenant="rival", user=user)
    assert [one.outcome for one in await results_of(breakers, Does(), seconds=SHORT)] == [ToolOutcome.OK]
    [later] = await results_of(breakers, dead, seconds=SHORT, tenant="rival", user=4)
    assert (later.fault, len(dead.calls)) == (ToolFault.UNREACHABLE, 3)


@pytest.mark.parametrize("slow", [Fails(), Fails(ToolFault.STATUS, broken=True)], ids=["late", "broken"])
async def test_the_arguments_of_two_users_do_not_stop_the_calls_of_others(slow: Fails) -> None:
    clock = Clock()
    breakers, times = Breakers(clock), 1 if slow.hangs else 2
    for _ in range(5):
        await results_of(breakers, slow, seconds=SHORT)
    assert len(slow.calls) == times, "the user waits once"
    for _ in range(5):
        await results_of(breakers, slow, seconds=SHORT, user=2)
    assert len(slow.calls) == 2 * times
    await results_of(breakers, slow, seconds=SHORT, user=3)
    assert len(slow.calls) == 2 * times + 1, "two users stop nobody else"
    [other] = await results_of(breakers, Does(), seconds=SHORT, user=4)
    assert other.fault is ToolFault.UNREACHABLE, "three users have failed"
    # Trials of two users keep the tool from nobody else.
    clock.now = OPEN_SECONDS
    await results_of(breakers, slow, seconds=SHORT)
    await results_of(breakers, slow, seconds=SHORT, user=2)
    assert [one.outcome for one in await results_of(breakers, Does(), seconds=SHORT, user=4)] == [
        ToolOutcome.OK
    ]
    [own] = await results_of(breakers, Does(), seconds=SHORT)
    assert own.fault is ToolFault.UNREACHABLE
    # After the success, a user's failure does not count with earlier ones.
    await results_of(breakers, slow, seconds=SHORT, user=3)
    assert [one.outcome for one in await results_of(breakers, Does(), seconds=SHORT, user=4)] == [
        ToolOutcome.OK
    ]


@pytest.mark.parametrize(
    ("tenant", "owner", "named"),
    [
        ("rival", False, "The tool notes"),
        ("acme", False, ""),
        ("acme", True, "The tool notes in the tenant rival"),
    ],
)
def test_the_status_names_a_tool_to_its_tenant_and_to_owners(tenant: str, owner: bool, named: str) -> None:
    who = replace(WHO, tenant_id=tenant, owner=owner)
    assert tool_of("rival/notes", who, {"notes"}) == named
    assert tool_of("rival/notes", who, {"other"}) == "", "no longer declared"
    of_user = tool_of_user(f"rival/notes/{who.user_id}", who, {"notes"})
    assert of_user == (named and f"{named} (in the calls of one user)")


def test_a_check_of_the_health_counts_the_circuits_of_all_tenants_but_of_no_user() -> None:
    assert tool_of("rival/notes", None, {"notes"})
    assert not tool_of_user(f"rival/notes/{WHO.user_id}", None, {"notes"})


@pytest.mark.parametrize(
    ("fault", "broken", "calls"),
    [
        (ToolFault.UNREACHABLE, False, 2),
        (ToolFault.STATUS, True, 2),
        (ToolFault.STATUS, False, 5),
        (ToolFault.REFUSED, False, 5),
        (ToolFault.MALFORMED, False, 5),
        (ToolFault.SCHEMA, False, 5),
        (ToolFault.LOST, False, 5),
    ],
)
async def test_only_failures_of_the_other_side_open_a_circuit(
    fault: ToolFault, broken: bool, calls: int
) -> None:
    breakers, fails = Breakers(Clock()), Fails(fault, broken=broken)
    for _ in range(5):
        await results_of(breakers, fails)
    assert len(fails.calls) == calls
    kinds = {KIND: "The tool {}".format, KIND_OF_USERS: "The tool {}".format}
    part = await CircuitsPart("tools", breakers, kinds).check()
    assert part.health is (Health.DEGRADED if calls == 2 else Health.OK)


async def test_the_status_names_what_fails() -> None:
    breakers = Breakers(Clock())
    parts = CircuitsPart(
        "models", breakers, {"model:": "The model {}".format, "key:": "The provider {}".format}
    )
    assert (await parts.check()).health is Health.OK
    for name in ("model:lab:qwen3", "tool:web", "key:openai"):
        breakers.open(name, "timeout")
    found = await parts.check()
    assert found.health is Health.DEGRADED
    assert found.detail == "The model lab:qwen3 has failed. The provider openai has failed."
