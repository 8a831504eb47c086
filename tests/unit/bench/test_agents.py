from __future__ import annotations

from bench import engine
from bench.agents import OPTIONS
from bench.peers import deltas, paced
from responsa_server.domain import names


async def test_the_engine_and_the_graph_by_hand_give_the_same_answer() -> None:
    (line,) = await engine.compared(rounds=1, turns=1)
    assert line.unit == "ms"


def test_the_agents_of_peers_have_versions_that_a_server_can_read() -> None:
    for agent in (deltas.agent(OPTIONS), paced.agent()):
        assert names.parse_agent_version(agent.version)[0] == "default"
