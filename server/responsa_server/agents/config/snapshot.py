"""What serves at one moment, and the difference between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from responsa_server.agents.config import cards
from responsa_server.agents.config.check import AGENT_FILE, Problem
from responsa_server.agents.config.making import MadeAgent
from responsa_server.domain.agents import AgentCard, Reloaded
from responsa_server.domain.ports.agents import Agent


class AgentsBroken(Exception):
    """There are no agents to begin with; `problems` say why."""

    def __init__(self, problems: Sequence[Reloaded]) -> None:
        self.problems = problems
        super().__init__(" ".join(line for one in problems for line in told(one)))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """current: agents by id; made: those of them that are from files; versions: agents by version, the current ones among them; problems: of files that are
    broken now, by id.
    """

    current: Mapping[str, Agent]
    made: Mapping[str, MadeAgent]
    versions: Mapping[str, Agent]
    cards: Mapping[str, AgentCard]
    problems: Mapping[str, Reloaded]

    @classmethod
    def of(
        cls,
        made: Mapping[str, MadeAgent],
        beside: Mapping[str, Agent],
        problems: Mapping[str, Reloaded],
        default: str,
        versions: Mapping[str, Agent] | None = None,
    ) -> Snapshot:
        """beside: agents that are code; they go before files of the same id. versions: those that stay, though they may serve no longer."""
        found = {name: one for name, one in made.items() if name not in beside}
        every = {**(versions or {}), **{one.version: one for one in beside.values()}}
        shown = {
            name: cards.card(name, one.version, one.config, one.content.chain, default=name == default)
            for name, one in found.items()
        }
        shown |= {
            name: AgentCard(name, name, "", one.version, is_default=name == default)
            for name, one in beside.items()
        }
        return cls(
            {**found, **beside},
            found,
            every,
            dict(sorted(shown.items())),
            dict(sorted(problems.items())),
        )


def reloaded(before: Snapshot, after: Snapshot) -> Sequence[Reloaded]:
    """What became of each agent, by id, those that are gone among them."""
    found: list[Reloaded] = []
    for name in sorted({*before.made, *after.made, *after.problems}):
        if name in after.problems:
            found.append(after.problems[name])
            continue
        version = after.made[name].version if name in after.made else ""
        old = before.made[name].version if name in before.made else ""
        found.append(Reloaded(name, version, changed=version != old))
    return found


def left_out(agent: str, why: str) -> Reloaded:
    """An agent that does not serve at all."""
    return Reloaded(agent, "", changed=False, problems=[cards.problem(Problem(AGENT_FILE, why))])


def told(one: Reloaded) -> Iterator[str]:
    """A line on each problem: file, line, key, what is wrong."""
    for problem in one.problems:
        place = f"{one.agent}/{problem.file}{f':{problem.line}' if problem.line else ''}"
        hint = f" Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
        yield f"{place}: {f'{problem.key}: ' if problem.key else ''}{problem.message}.{hint}"
