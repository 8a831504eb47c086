"""The agents of this process: implements `Agents` and `Catalogue` over files that may change at any time.

Everything that is asked of it is answered from one immutable snapshot. A reload reads and checks what has changed, gives each new version its number in the
database, and puts one new snapshot in the old one's place. A turn keeps the version that it began with, on whichever server it goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.config import cards
from responsa_server.agents.config.check import Problem, Surroundings
from responsa_server.agents.config.content import ENGINE, Content, ContentBroken, new_version, unpacked
from responsa_server.agents.config.folders import Folders
from responsa_server.agents.config.looking import Looking, Seen
from responsa_server.agents.config.making import MadeAgent, NotMade, Prepared, Workshop, prepared
from responsa_server.agents.config.snapshot import AgentsBroken, Snapshot, left_out, reloaded, told
from responsa_server.agents.engine.agents import DEFAULT, unknown
from responsa_server.domain.agents import AgentCard, Reloaded
from responsa_server.domain.errors import NotFound, Reason, Unavailable
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agent_versions import AgentVersions, StoredVersion
from responsa_server.domain.ports.agents import Agent
from responsa_server.domain.ports.intents import ExamplesUnfit
from responsa_server.domain.ports.parts import Health, PartReport

POLL_SECONDS: Final = 5.0
KEEP_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 1.0
_MOST_TOLD: Final = 3


def _nobody() -> None:
    """There is no other process to tell."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """default: the id of the agent that answers who names none. beside: agents that are code, by id. tell: asks the other processes to read their files anew.

    strict: whether a shipped agent that is broken ends the start. poll_seconds: how often the database is asked for versions and open turns. keep_seconds: how
    long a version that serves no longer stays in memory, if no turn needs it. works: whether turns run in this process.
    """

    default: str = DEFAULT
    beside: Mapping[str, Agent] = field(default_factory=dict[str, Agent])
    tell: Callable[[], None] = _nobody
    strict: bool = True
    works: bool = True
    poll_seconds: float = POLL_SECONDS
    keep_seconds: float = KEEP_SECONDS


class LiveAgents:
    """`start` before use, `close` at the end. A `Part`, too: it tells of broken files."""

    name = "agents"

    def __init__(
        self,
        folders: Folders,
        versions: AgentVersions,
        workshop: Workshop,
        surroundings: Surroundings,
        options: LiveOptions | None = None,
    ) -> None:
        self._options = options or LiveOptions()
        self._versions = versions
        self._workshop = workshop
        self._looking = Looking(folders, surroundings, workshop.defaults)
        self._log: FilteringBoundLogger = structlog.get_logger("agents")
        self._snapshot = Snapshot.of({}, self._options.beside, {}, self._options.default)
        self._ordinal = 0
        self._unfit: set[str] = set()
        self._shipped: set[str] = set()
        self._left: dict[str, float] = {}
        # A reload has the first one until its end, and training is a part of that; what polling does, too, is done under the second.
        self._reloading = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._followed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read all agents, load what open turns need, and begin to look for what others bring. Raises AgentsBroken, Unavailable, OSError."""
        self._ordinal = await self._versions.newest()
        async with self._reloading:
            await self._reload()
        default, problems = self._options.default, self._snapshot.problems
        if default not in self._snapshot.cards:
            raise AgentsBroken([problems.get(default) or left_out(default, "there is no such agent")])
        if self._options.strict and (
            broken := [one for one in problems.values() if one.agent in self._shipped]
        ):
            raise AgentsBroken(broken)
        await self.poll()
        self._tasks = [
            asyncio.create_task(self._poll_again_and_again(), name="agents-poll"),
            asyncio.create_task(self._reload_when_wanted(), name="agents-reload"),
        ]
        self._warm(self._snapshot.made.values())

    async def close(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def snapshot(self) -> Snapshot:
        """What serves now. It never changes; a later one is another object."""
        return self._snapshot

    def named(self, identity: str) -> Agent:
        """See `Agents.named`."""
        wanted = identity or self._options.default
        found = self._snapshot.current.get(wanted)
        if found is None:
            raise self._unknown(wanted)
        return found

    def at(self, version: str) -> Agent:
        """See `Agents.at`."""
        return self._snapshot.versions[version]

    @property
    def versions(self) -> Sequence[str]:
        """See `Agents.versions`."""
        return list(self._snapshot.versions)

    def cards(self) -> Sequence[AgentCard]:
        """See `Catalogue.cards`."""
        return list(self._snapshot.cards.values())

    def card(self, identity: str) -> AgentCard:
        """See `Catalogue.card`."""
        wanted = identity or self._options.default
        if wanted not in self._snapshot.cards:
            raise self._unknown(wanted)
        return self._snapshot.cards[wanted]

    async def schema(self, who: Principal, card: AgentCard) -> Mapping[str, object]:
        """See `Catalogue.schema`."""
        return await cards.with_choices(who, card.schema, self._workshop.parts.teachers)

    def problems(self) -> Sequence[Reloaded]:
        """See `Catalogue.problems`."""
        return list(self._snapshot.problems.values())

    async def reload(self, *, follow: bool = True) -> Sequence[Reloaded]:
        """See `Catalogue.reload`. follow: whether the other processes are asked to do the same."""
        async with self._reloading:
            try:
                found = await self._reload()
            except OSError as error:
                self._log.error("agents_not_read", error=str(error))
                message = "The agents' folders cannot be read; the server's log tells why."
                raise Unavailable(Reason.PART_UNAVAILABLE, message, {"part": self.name}) from error
        if follow:
            self._options.tell()
        return found

    def want_reload(self, *, follow: bool = False) -> None:
        """Files have changed: read them soon. follow: as `reload`, if there was anything new. Returns at once."""
        self._followed = self._followed or follow
        self._wanted.set()

    async def check(self) -> PartReport:
        """See `Part.check`: whether what the files say is what serves."""
        problems = self._snapshot.problems
        if not problems:
            return PartReport(Health.OK)
        each = [line for one in problems.values() for line in told(one)]
        more = f" And {len(each) - _MOST_TOLD} more." if len(each) > _MOST_TOLD else ""
        old = [one.agent for one in problems.values() if one.version]
        serving = f" Their last sound versions still serve: {', '.join(old)}." if old else ""
        detail = f"Files of agents are wrong. {' '.join(each[:_MOST_TOLD])}{more}{serving} `responsa agents check` shows all."
        return PartReport(Health.DEGRADED, detail=detail)

    async def poll(self) -> None:
        """Load what other servers have brought and what open turns need; let go what nobody needs any more. Raises Unavailable."""
        async with self._lock:
            news = await self._versions.since(self._ordinal, ENGINE)
            needed = await self._versions.open()
            at_hand = {*self._snapshot.versions, *self._unfit, *(one.name for one in news)}
            old = await self._versions.named(set(needed) - at_hand, ENGINE)
            found = dict(self._snapshot.versions)
            for one in [*news, *old]:
                known = one.name in found or one.name in self._unfit
                if not known and (agent := await self._restored(one)) is not None:
                    found[one.name] = agent
                self._ordinal = max(self._ordinal, one.ordinal)
            kept = self._kept(found, needed)
            if kept.keys() != self._snapshot.versions.keys():
                self._snapshot = replace(self._snapshot, versions=kept)

    async def _reload(self) -> Sequence[Reloaded]:
        async with self._lock:
            seen = await asyncio.to_thread(self._looking.look)
            self._shipped = {one.identity for one in seen if one.shipped}
            versions = self._snapshot.versions.values()
            known = {one.fingerprint: one for one in versions if isinstance(one, MadeAgent)}
            fresh = [one for one in seen if one.version is not None and _key(one) not in known]
            made, failed = await self._made(fresh)
            sound = [one for one in fresh if one.identity in made]
            numbers = await self._versions.register([one.version for one in sound if one.version is not None])
            for one, number in zip(sound, numbers, strict=True):
                known[_key(one)] = MadeAgent(made[one.identity], number.name, _key(one)[1], self._workshop)
        if self._tasks and self._options.works:
            # While the old versions serve, and polling goes on: nobody is to wait for training.
            await _learnt([known[_key(one)] for one in sound], self._log)
        async with self._lock:
            return self._served(seen, known, failed)

    def _served(
        self,
        seen: Sequence[Seen],
        known: Mapping[tuple[str, bytes], MadeAgent],
        failed: Mapping[str, Sequence[Problem]],
    ) -> Sequence[Reloaded]:
        """Let what was seen serve, where it is sound. known: agents by id and hash."""
        before = self._snapshot
        current: dict[str, MadeAgent] = {}
        problems: dict[str, Reloaded] = {}
        for one in seen:
            wrong = failed.get(one.identity, one.problems)
            old = before.made.get(one.identity)
            if wrong:
                problems[one.identity] = Reloaded(
                    one.identity,
                    old.version if old is not None else "",
                    changed=False,
                    problems=[cards.problem(each) for each in wrong],
                )
                if old is not None:
                    current[one.identity] = old
            else:
                current[one.identity] = known[_key(one)]
        return self._swap(before, current, problems)

    def _swap(
        self, before: Snapshot, current: Mapping[str, MadeAgent], problems: Mapping[str, Reloaded]
    ) -> Sequence[Reloaded]:
        versions = {**before.versions, **{one.version: one for one in current.values()}}
        after = Snapshot.of(current, self._options.beside, problems, self._options.default, versions)
        self._snapshot = after
        outcome = reloaded(before, after)
        for one in outcome:
            if one.problems and before.problems.get(one.agent) != one:
                self._log.warning(
                    "agent_broken", agent=one.agent, serves=one.version, problems=list(told(one))
                )
            elif one.changed:
                self._log.info("agent_changed", agent=one.agent, version=one.version)
        if self._tasks:
            self._warm(one for name, one in current.items() if before.current.get(name) is not one)
        return outcome

    def _warm(self, agents: Iterable[MadeAgent]) -> None:
        fresh = list(agents)
        if fresh and self._options.works:
            task = asyncio.create_task(_warmed(fresh, self._log), name="agents-warm")
            self._tasks = [*(one for one in self._tasks if not one.done()), task]

    async def _made(
        self, fresh: Sequence[Seen]
    ) -> tuple[Mapping[str, Prepared], Mapping[str, Sequence[Problem]]]:
        contents = {one.identity: one.content for one in fresh if one.content is not None}
        found = await asyncio.to_thread(prepared, contents, self._workshop)
        return (
            {name: one for name, one in found.items() if isinstance(one, Prepared)},
            {name: one.problems for name, one in found.items() if isinstance(one, NotMade)},
        )

    async def _restored(self, stored: StoredVersion) -> MadeAgent | None:
        """An agent of a kept version; None where it cannot be run here, which is told once."""
        try:
            content = await self._content(stored)
            if content is None:
                raise ContentBroken("it was code, of a release that had no configurations")
            contents = {stored.agent: content}
            made = (await asyncio.to_thread(prepared, contents, self._workshop))[stored.agent]
            if isinstance(made, NotMade):
                raise made
        except (ContentBroken, NotMade) as error:
            self._unfit.add(stored.name)
            self._log.warning("agent_version_left_out", version=stored.name, why=str(error))
            return None
        return MadeAgent(made, stored.name, new_version(content).sha256, self._workshop)

    async def _content(self, stored: StoredVersion) -> Content | None:
        if stored.content:
            return unpacked(stored.content)
        # The default agent of the releases before does the same as the one that comes with this one.
        return await asyncio.to_thread(self._looking.shipped, DEFAULT) if stored.agent == DEFAULT else None

    def _kept(self, versions: Mapping[str, Agent], needed: Collection[str]) -> Mapping[str, Agent]:
        """The versions without those that nobody has needed for long."""
        now = time.monotonic()
        serving = {one.version for one in self._snapshot.current.values()}
        kept: dict[str, Agent] = {}
        left: dict[str, float] = {}
        for name, agent in versions.items():
            if name not in serving and name not in needed:
                left[name] = self._left.get(name, now)
                if now - left[name] >= self._options.keep_seconds:
                    del left[name]
                    self._log.info("agent_version_let_go", version=name)
                    continue
            kept[name] = agent
        self._left = left
        return kept

    def _unknown(self, identity: str) -> NotFound:
        return unknown(identity, self._snapshot.cards)

    async def _poll_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                await self.poll()
            except Unavailable as error:
                self._log.warning("agents_not_polled", reason=error.reason.value)
            except Exception:  # polling must go on: without it turns of new versions find no worker
                self._log.exception("agents_not_polled")

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            follow, self._followed = self._followed, False
            try:
                found = await self.reload(follow=False)
                if follow and any(one.changed for one in found):
                    self._options.tell()
            except Unavailable as error:
                self._log.warning("agents_not_reloaded", reason=error.reason.value)
                await asyncio.sleep(_RETRY_SECONDS)
                self.want_reload(follow=follow)
            except Exception:  # the next change is to be heard of, too
                self._log.exception("agents_not_reloaded")


def _key(seen: Seen) -> tuple[str, bytes]:
    assert seen.version is not None, "it is sound"
    return seen.identity, seen.version.sha256


async def _learnt(agents: Sequence[MadeAgent], log: FilteringBoundLogger) -> None:
    """Train, one after the other."""
    for agent in agents:
        try:
            await agent.learn()
        except ExamplesUnfit as error:  # the first question will hear of it, too
            log.error("agent_not_trained", agent=agent.version, error=str(error))
        except Exception:  # whatever ails one, the others are to be trained; its first question tries again
            log.exception("agent_not_trained", agent=agent.version)


async def _warmed(agents: Sequence[MadeAgent], log: FilteringBoundLogger) -> None:
    """Do what first questions would wait for."""
    for agent in agents:
        try:
            await asyncio.to_thread(agent.compile)
        except Exception:  # as with training
            log.exception("agent_not_compiled", agent=agent.version)
    await _learnt(agents, log)
