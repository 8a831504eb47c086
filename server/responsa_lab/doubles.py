"""Scripted models and the testing agent, which a server can use instead of real models and agents."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from responsa_lab.scripted import PRICED, PRICES, scripted_models
from responsa_server.domain.agents import Agent
from responsa_server.domain.faults import Faults

__all__ = ["PRICED", "PRICES", "TESTING", "scripted_models", "testing_agent"]

TESTING: Final = "testing"
"""The testing agent's id."""


async def testing_agent(model_url: str, tool_url: str, faults: Faults, stack: AsyncExitStack) -> Agent:
    """The testing agent. `stack` closes its model and its tool. `responsa_lab.testing.agent.open_agent` describes the URLs."""
    # This import is late, so that a server without the testing agent does not load the agent's HTTP servers.
    from responsa_lab.testing.agent import open_agent

    return await stack.enter_async_context(open_agent(model_url, tool_url, faults=faults))
