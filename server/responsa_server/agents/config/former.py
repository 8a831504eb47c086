"""Ends the turns that began under the engine of an earlier release."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from responsa_server.agents.engine.state import has_text
from responsa_server.domain.agents import TIME_LIMIT_SECONDS, Agent, AnswerTask, Emit
from responsa_server.domain.errors import NotFound, Reason, Unavailable
from responsa_server.domain.events import Terminal
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand
from responsa_server.domain.turns import Question


class FormerVersion:
    """A version of an agent that this engine cannot run. Implements `Agent`, only for turns that are still open after an upgrade.

    Such a turn begins again, with the agent's present version. If a part of its answer was stored, or a tool was called, which must not happen twice, the turn fails instead, and the user may
    ask again.
    """

    titles = True

    def __init__(self, version: str, present: Callable[[], Agent]) -> None:
        """version: the former version's name. present: returns the present version; raises NotFound if the agent is no longer in service."""
        self.version = version
        self._present = present

    @property
    def time_limit_seconds(self) -> float:
        return TIME_LIMIT_SECONDS if (now := self._now) is None else now.time_limit_seconds

    @property
    def history_messages(self) -> int:
        return 0 if (now := self._now) is None else now.history_messages

    @property
    def older_messages(self) -> int:
        return 0 if (now := self._now) is None else now.older_messages

    @property
    def _now(self) -> Agent | None:
        with suppress(NotFound):
            return self._present()
        return None

    async def admit(self, who: Principal, question: Question) -> None:
        """See `Agent.admit`. New questions go to the present version."""
        await self._present().admit(who, question)

    def demand(self, question: Question) -> Demand | None:
        return self._present().demand(question)

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        """See `Agent.answer`. Raises Unavailable if the turn cannot begin again, and NotFound if the agent is no longer in service."""
        if task.tools or (task.resume is not None and has_text(task.resume)):
            message = "The server was upgraded while it answered, and the new release cannot continue this answer. Ask again."
            metadata = {"part": "agent", "cause": "upgraded"}
            raise Unavailable(Reason.PART_UNAVAILABLE, message, metadata, retry_after=1.0)
        return await self._present().answer(replace(task, resume=None), emit)
