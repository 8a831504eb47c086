"""Each shipped agent answers with models whose servers refuse one thing, and with small windows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.agents.config.files import SHIPPED
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.tools import FixedTools
from tests.unit.agents.evidence import FixedEvidence, excerpt
from tests.unit.agents.shipping import LONG, Knows, parts_of, shipped, task_for
from tests.unit.agents.speaking import Does, answer_in, told_by
from tests.unit.agents.test_bad_models import chain
from tests.unit.providers.openai_serving import served
from tests.wire.refusing import RefusingServer, tokens, window

ANSWER: Final = "The Nile is 6,650 km long [1]."
AGENTS: Final = sorted(path.parent.name for path in SHIPPED.glob("*/agent.toml"))
_LABELS: Final = {"intents": "qa", "categories": "fact"}


class _Every(dict[str, Knows]):
    """A classifier for each file of examples, which takes all questions as ones for documents."""

    def __missing__(self, path: str) -> Knows:
        name = path.rpartition("/")[2].removesuffix(".jsonl")
        return Knows({}, _LABELS.get(name, "retrieve"))

    def __contains__(self, path: object) -> bool:
        return True


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(("size", "earlier"), [(4096, 0), (4096, 9), (None, 0)])
async def test_the_prompts_of_every_shipped_agent_fit_a_window_of_4096_with_room_for_passages(
    agent: str, size: int | None, earlier: int
) -> None:
    server = RefusingServer(window(4096), text=ANSWER)
    fixed = FixedEvidence(
        excerpt(LONG), *(excerpt(f"Passage {at}: {'the river is long, ' * 40}") for at in range(20))
    )
    async with served(server.handle, **({"window": size} if size else {})) as model:
        parts = parts_of(chain(model), fixed, classifiers=_Every(), tools=FixedTools([Does()]))
        words = [(Speaker.USER, "How long is the Nile? " * 20), (Speaker.ASSISTANT, "It is long [1]. " * 60)]
        talk = [
            Message(uuid7(), UUID(int=9), uuid7(), speaker, text, (), None, datetime.now(UTC))
            for speaker, text in words * earlier
        ]
        end = answer_in(await told_by(shipped(agent, parts), task_for(agent, talk=talk)))
    assert end.model == "p0:m"
    assert server.refused <= (0 if size else 1)
    taken = [body for body in server.bodies if tokens(body) <= 4096]
    assert len(taken) == len(server.bodies) - server.refused
    written = str(max(taken, key=tokens)["messages"])
    assert LONG in written
    assert "Passage 3" in written
