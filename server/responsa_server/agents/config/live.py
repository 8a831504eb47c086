"""The agents of this process. Their files may change at any time. Implements `Agents` and `Catalogue`.

Every lookup uses one immutable snapshot. A reload reads and checks the changed files, registers each new version in
the database, and replaces the snapshot. A turn keeps the version with which it began, even if another server continues
the turn.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.config.build import (
    BuildContext,
    BuildFailed,
    BuiltVersion,
    ConfiguredAgent,
    build,
    content_from,
)
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.check.tables import missing_tools
from responsa_server.agents.config.content import ENGINE, ContentBroken, new_version, unpack
from responsa_server.agents.config.files import AgentFolders, AgentScanner, ScannedAgent
from responsa_server.agents.config.parameters import schema_of, with_choices
from responsa_server.agents.config.problems import AGENT_FILE, Problem
from responsa_server.agents.config.standard import GRAPH
from responsa_server.agents.config.tools import LiveTools
from responsa_server.domain import names
from responsa_server.domain.agents import (
    Agent,
    AgentCard,
    AgentVersions,
    NewVersion,
    Publication,
    Reloaded,
    StoredVersion,
)
from responsa_server.domain.errors import (
    Conflict,
    FieldViolation,
    InvalidRequest,
    NotFound,
    Precondition,
    Reason,
    Unavailable,
)
from responsa_server.domain.experiments import Assignment, Experiment, OpenExperiments
from responsa_server.domain.formatting import counted
from responsa_server.domain.intents import ExamplesUnfit
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.tools import EVERY_TOOL

POLL_SECONDS: Final = 5.0
KEEP_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 1.0
_MOST_SHOWN: Final = 3
_CONTENT: Final = "agent_version.content"
_MOST_IDLE: Final = 64
"""So many versions that nobody needs stay in memory."""


class AgentsBroken(Exception):
    """The server cannot start, because agents that it needs are missing or broken. `problems` lists these agents with their problems."""

    def __init__(self, problems: Sequence[Reloaded]) -> None:
        self.problems = problems
        super().__init__(" ".join(line for problem in problems for line in problem_lines(problem)))


@dataclass(frozen=True, slots=True)
class AgentSnapshot:
    """The agents at one moment.

    current: the current agents, by id. served: those of them that are configured. configured: the agents that have files, by id,
    in the versions of their files. versions: all versions in memory, by name, including old versions. problems: the agents whose files
    or forms have problems, by id.
    """

    current: Mapping[str, Agent]
    served: Mapping[str, ConfiguredAgent]
    configured: Mapping[str, ConfiguredAgent]
    versions: Mapping[str, Agent]
    cards: Mapping[str, AgentCard]
    problems: Mapping[str, Reloaded]

    @classmethod
    def of(
        cls,
        configured: Mapping[str, ConfiguredAgent],
        coded: Mapping[str, Agent],
        problems: Mapping[str, Reloaded],
        default: str,
        versions: Mapping[str, Agent] | None = None,
        published: Mapping[str, ConfiguredAgent] | None = None,
    ) -> AgentSnapshot:
        """coded: agents written in code, without files; each hides a configured agent with the same id. versions: further
        versions to keep. published: the versions that outrank the files, by the ids of their agents.
        """
        visible = {name: agent for name, agent in configured.items() if name not in coded}
        every = {**(versions or {}), **{agent.version: agent for agent in coded.values()}}
        outranking = {name: agent for name, agent in (published or {}).items() if name not in coded}
        served = {**visible, **outranking}
        cards = {
            name: _card(name, item, visible[name].version if name in visible else "", default=name == default)
            for name, item in served.items()
        }
        cards |= {
            name: AgentCard(name, name, "", agent.version, is_default=name == default)
            for name, agent in coded.items()
        }
        current = {**served, **coded}
        return cls(
            current, served, visible, every, dict(sorted(cards.items())), dict(sorted(problems.items()))
        )


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How the agents of a process are kept up to date.

    default: the id of the agent for questions that name no agent. coded: agents written in code, without files,
    by id. notify: asks the other processes to reload. strict: whether a broken shipped agent prevents the start.
    runs_turns: whether turns run in this process. poll_seconds: the interval at which new versions and open
    turns are read from the database. keep_seconds: how long an old version stays in memory after the last turn that needs it.
    tools: the tools, whose declarations are read again together with the agents; None if there are none.
    models: returns the models that `default` stands for, which another process may have changed; None if they stay the same.
    experiments: where the experiments are; None if there are none. check_prices: refuses models without a price while the tenant has
    a limit in money.
    """

    default: str
    coded: Mapping[str, Agent] = field(default_factory=dict[str, Agent])
    notify: Callable[[], None] = lambda: None
    strict: bool = True
    runs_turns: bool = True
    poll_seconds: float = POLL_SECONDS
    keep_seconds: float = KEEP_SECONDS
    tools: LiveTools | None = None
    models: Callable[[], Awaitable[Sequence[str]]] | None = None
    experiments: OpenExperiments | None = None
    check_prices: Callable[[str, Sequence[str]], Awaitable[None]] | None = None


class LiveAgents:
    """The agents in service. Call `start` before use and `close` at the end. The class also implements `ReportedPart`, and its
    health report names the broken files.
    """

    name = "agents"

    def __init__(
        self,
        folders: AgentFolders,
        versions: AgentVersions,
        context: BuildContext,
        surroundings: Surroundings,
        options: LiveOptions,
    ) -> None:
        self._options = options
        self._versions = versions
        self._context = context
        self._surroundings = surroundings
        self._scanner = AgentScanner(folders, surroundings, context.default)
        self._log: FilteringBoundLogger = structlog.get_logger("agents")
        self._snapshot = AgentSnapshot.of({}, self._options.coded, {}, self._options.default)
        self._ordinal = 0
        self._unfit: dict[str, str] = {}
        self._published: Sequence[Publication] = ()
        self._listings: Mapping[str, bool] = {}
        self._forms: Mapping[str, Mapping[str, object]] = {}
        self._experiments: Mapping[str, Experiment] = {}
        self._shipped: set[str] = set()
        self._left: dict[str, float] = {}
        # A reload holds `_reloading` to its end, also during the training. `_lock` guards the values that both reloading
        # and polling change.
        self._reloading = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._notifies = False
        self._tools_changed = False
        self._noted = frozenset[str]()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read all agents, load the versions that open turns need, and begin to poll. Raises AgentsBroken, Unavailable, OSError."""
        self._ordinal = await self._versions.newest()
        async with self._reloading:
            await self._reload()
        default, problems = self._options.default, self._snapshot.problems
        if default not in self._snapshot.cards:
            missing = [Problem(AGENT_FILE, "there is no such agent").file_problem]
            raise AgentsBroken(
                [problems.get(default) or Reloaded(default, "", changed=False, problems=missing)]
            )
        if self._options.strict and (
            broken := [
                problem
                for problem in problems.values()
                if problem.agent in self._shipped - self._snapshot.current.keys()
            ]
        ):
            raise AgentsBroken(broken)
        await self.poll()
        self._tasks = [
            asyncio.create_task(self._keep_polling(), name="agents-poll"),
            asyncio.create_task(self._keep_reloading(), name="agents-reload"),
        ]
        self._warm(self._snapshot.served.values())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def snapshot(self) -> AgentSnapshot:
        """The current snapshot. It never changes; a reload replaces it."""
        return self._snapshot

    def find(self, identity: str) -> Agent:
        """The current agent with an id, or the default agent for "". Raises NotFound; its metadata lists the known ids."""
        wanted = identity or self._options.default
        agent = self._snapshot.current.get(wanted)
        if agent is None:
            raise self._missing(wanted, self._snapshot.cards)
        return agent

    def assign(self, identity: str, user_id: UUID, conversation_id: UUID) -> tuple[Agent, Assignment | None]:
        agent = self.find(identity)
        experiment = self._experiments.get(identity or self._options.default)
        if experiment is None:
            return agent, None
        baseline = names.agent_version(experiment.agent, experiment.baseline)
        # If this server cannot run the candidate, or serves another version, its questions are not part of the experiment.
        tried = self._snapshot.versions.get(_candidate(experiment))
        if agent.version != baseline or not isinstance(tried, ConfiguredAgent):
            return agent, None
        assignment = experiment.assign(user_id, conversation_id)
        return (tried if assignment.candidate else agent), assignment

    async def check_candidate(self, identity: str, number: int) -> int:
        if (baseline := self._snapshot.served.get(identity)) is None:
            raise self._missing(identity, self._snapshot.served)
        candidate = await self.version(identity, number)
        if candidate is baseline:
            message = "is the version that answers now; name another version of the agent"
            raise InvalidRequest.of_field("experiment.candidate", "experiment.candidate", message)
        assert isinstance(candidate, ConfiguredAgent), "others are unfit"
        if schema_of(baseline.config.parameters) != schema_of(candidate.config.parameters):
            message = f"{candidate.version} has other parameters than {baseline.version}. Create a version with the same parameters."
            compared = {"baseline": baseline.version, "candidate": candidate.version}
            raise Precondition(Reason.EXPERIMENT_PARAMETERS_DIFFER, message, compared)
        return names.parse_version(baseline.version)[1]

    async def version(self, identity: str, number: int) -> Agent:
        """One version of an agent in service, or a `standard` one of any agent. A version that is not in memory is loaded from the
        database. It then stays in memory under the same rule as all other versions. Raises NotFound, Precondition, Unavailable.
        """
        name = names.agent_version(identity, number)
        if name not in self._snapshot.versions:
            async with self._lock:
                await self._load(name)
        agent = self._snapshot.versions.get(name)
        if not (isinstance(agent, ConfiguredAgent) and agent.config.standard):
            self.find(identity)
        if agent is None:
            raise _unfit(name, self._unfit[name]) if name in self._unfit else NotFound.of("agent", name)
        # Many turns end before a poll sees them, so a question counts as a use of the version.
        self._left.pop(name, None)
        return agent

    async def _load(self, name: str) -> None:
        if name in self._snapshot.versions:
            return
        for stored in await self._versions.find([name], ENGINE):
            # A version that was unfit may be fit by now, for example because its model is available again.
            if (agent := await self._restore(stored)) is not None:
                self._snapshot = replace(self._snapshot, versions={**self._snapshot.versions, name: agent})

    def at(self, version: str) -> Agent:
        """The agent of a version. Raises KeyError."""
        return self._snapshot.versions[version]

    @property
    def versions(self) -> Sequence[str]:
        return list(self._snapshot.versions)

    def _missing(self, identity: str, known: Iterable[str]) -> NotFound:
        return missing(identity, known, broken=identity in self._snapshot.problems)

    def cards(self) -> Sequence[AgentCard]:
        return [self._complete_card(card) for card in self._snapshot.cards.values()]

    def card(self, identity: str) -> AgentCard:
        """The card of the agent with an id, or of the default agent for "". Raises NotFound."""
        wanted = identity or self._options.default
        if wanted not in self._snapshot.cards:
            raise self._missing(wanted, self._snapshot.cards)
        return self._complete_card(self._snapshot.cards[wanted])

    def _complete_card(self, card: AgentCard) -> AgentCard:
        """The card with what owners have decided, and the tools that this server lacks."""
        listed, last = self._listings.get(card.id, card.listed), self._last(card.id)
        etag = f"{card.version.rpartition('/')[2]}-{last.ordinal if last is not None else 0}-{int(listed)}"
        known = {*self._options.tools.names, EVERY_TOOL} if self._options.tools is not None else card.tools
        lacking = tuple(tool for tool in card.tools if tool not in known)
        example = card.id in self._shipped and not card.is_default and card.version == card.file_version
        return replace(card, listed=listed, etag=etag, missing_tools=lacking, is_example=example)

    async def schema(self, caller: Principal, card: AgentCard) -> Mapping[str, object]:
        """The schema of an agent's parameters, with the records that the caller may choose from. Raises Unavailable."""
        return await with_choices(caller, card.schema, self._context.parts.teachers)

    def problems(self) -> Sequence[Reloaded]:
        """The agents whose files have problems, by id."""
        return list(self._snapshot.problems.values())

    async def create(
        self, identity: str, document: Mapping[str, object], card: str, event: AuditEvent
    ) -> StoredVersion:
        config = document.get("config")
        standard = isinstance(config, Mapping) and config.get("standard") is True  # pyright: ignore[reportUnknownMemberType] - of JSON
        if identity not in self._snapshot.served and (not standard or identity in self._snapshot.current):
            raise self._missing(identity, self._snapshot.served)
        version = await asyncio.to_thread(self._examine, document, identity)
        return await self._versions.create(version, card, event)

    def _examine(self, document: Mapping[str, object], identity: str) -> NewVersion:
        try:
            content = content_from(document, identity, self._surroundings, self._scanner.default)
            # JSON has no type for whole numbers, so a document may say 1 where a file says 1.0.
            agents = (*self._snapshot.configured.values(), *self._snapshot.served.values())
            known = (agent.content for agent in agents)
            version = new_version(next((other for other in known if other == content), content))
            build(content, self._context)
        except BuildFailed as error:
            wrong, first = [_violation(problem) for problem in error.problems], str(error.problems[0])
        except ContentBroken as error:
            wrong, first = [FieldViolation(_CONTENT, "agent.size", str(error))], str(error)
        else:
            return version
        message = f"The configuration has mistakes; the first is: {first}"
        raise InvalidRequest(Reason.INVALID_FIELD, message, {"violations": str(len(wrong))}, wrong)

    async def publish(self, identity: str, number: int, event: AuditEvent, etag: str = "") -> None:
        await self.reload()  # the publication counts for the files as they are now
        self._check_etag(identity, etag)
        agent, files = await self.version(identity, number), self._snapshot.configured.get(identity)
        standard = isinstance(agent, ConfiguredAgent) and agent.config.standard
        if files is None and (not standard or identity in self._options.coded):
            raise self._missing(identity, self._snapshot.served)
        if isinstance(agent, ConfiguredAgent) and self._options.check_prices is not None:
            await self._options.check_prices(event.tenant_id, agent.content.chain)
        # The version of the files gives way to the next files, as it does without a publication.
        digest = files.fingerprint[1] if files is not None and (not standard or agent is files) else b""
        before = self._last(identity)
        after = None if not etag else before.ordinal if before is not None else 0
        await self._versions.publish(Publication(identity, number, digest), event, after)
        await self.reload()
        last = self._last(identity)
        if last is None or (last.number, last.files_sha256) != (number, digest):
            raise Conflict.of_etag(names.agent(identity))  # another owner was faster

    async def list_agent(self, identity: str, *, listed: bool, event: AuditEvent, etag: str = "") -> None:
        await self.reload()
        if identity not in self._snapshot.served:
            raise self._missing(identity, self._snapshot.served)
        self._check_etag(identity, etag)
        await self._versions.list_agent(identity, listed=listed, event=event)
        await self.reload()

    def _check_etag(self, identity: str, etag: str) -> None:
        if etag and (identity not in self._snapshot.cards or self.card(identity).etag != etag):
            raise Conflict.of_etag(names.agent(identity))

    def _last(self, identity: str) -> Publication | None:
        return next((publication for publication in self._published if publication.agent == identity), None)

    async def roll_back(self, identity: str, number: int, event: AuditEvent) -> None:
        name, last = names.agent_version(identity, number), self._last(identity)
        if identity not in self._snapshot.served and last is None:
            raise self._missing(identity, self._snapshot.served)
        served = self._snapshot.served.get(identity)
        # Another default model, or another release, gives a form's version another number.
        if last is not None and not last.files_sha256 and served is not None and served.version == name:
            number = last.number
        if not await self._versions.roll_back(identity, number, event):
            message = f"{name} is not the version that was published last, so it cannot be rolled back. ListAgents shows what answers now."
            raise Precondition(Reason.AGENT_VERSION_NOT_PUBLISHED, message, {"agent_version": name})
        await self.reload()

    async def reload(self, *, notify: bool = True) -> Sequence[Reloaded]:
        """Read the files again, and return the outcome for each agent.

        notify: whether to ask the other processes to reload too. Raises Unavailable.
        """
        async with self._reloading:
            try:
                outcomes = await self._reload()
            except OSError as error:
                self._log.error("agents_not_read", error=str(error))
                message = "The agents' folders cannot be read; the server's log says why."
                raise Unavailable(Reason.PART_UNAVAILABLE, message, {"part": self.name}) from error
        if notify:
            self._options.notify()
        return outcomes

    def want_reload(self, *, notify: bool = False) -> None:
        """Reload soon. Returns at once. notify: whether to ask the other processes to reload too if an agent has changed."""
        self._notifies = self._notifies or notify
        self._wanted.set()

    async def check(self) -> PartReport:
        """The health: degraded while any agent's files have problems, with a line for each agent."""
        problems = self._snapshot.problems
        if not problems:
            return PartReport(Health.OK)
        lines = [_describe(problem) for problem in problems.values()]
        if (more := len(lines) - _MOST_SHOWN) > 0:
            lines[_MOST_SHOWN:] = [
                f"{counted(more, 'further agent')} with problems: see `responsa agents check`."
            ]
        return PartReport(Health.DEGRADED, detail="\n".join(lines))

    async def poll(self) -> None:
        """Load versions that other servers registered or that open turns need, and drop versions that are no longer
        needed. Reload soon if `default` stands for other models, or another server has published a version. Raises Unavailable.
        """
        async with self._lock:
            if self._options.experiments is not None:
                self._experiments = {trial.agent: trial for trial in await self._options.experiments.open()}
            news = await self._versions.since(self._ordinal, ENGINE)
            needed = {*await self._versions.open(), *map(_candidate, self._experiments.values())}
            at_hand = {*self._snapshot.versions, *self._unfit, *(version.name for version in news)}
            old = await self._versions.find(needed - at_hand, ENGINE)
            versions = dict(self._snapshot.versions)
            for version in [*news, *old]:
                known = version.name in versions or version.name in self._unfit
                if not known and (agent := await self._restore(version)) is not None:
                    versions[version.name] = agent
                self._ordinal = max(self._ordinal, version.ordinal)
            remaining = self._retain(versions, needed)
            if remaining.keys() != self._snapshot.versions.keys():
                self._snapshot = replace(self._snapshot, versions=remaining)
            published = await self._versions.publications(), await self._versions.listings()
            if await self._remodelled() or published != (self._published, self._listings):
                self.want_reload()

    async def _reload(self) -> Sequence[Reloaded]:
        async with self._lock:
            await self._remodelled()
            tools = self._options.tools
            retooled = tools is not None and await asyncio.to_thread(tools.reload)
            if tools is not None:
                tools.release()
            self._tools_changed = self._tools_changed or retooled
            scanned = await asyncio.to_thread(self._scanner.scan)
            self._shipped = {agent.identity for agent in scanned if agent.shipped}
            versions = self._snapshot.versions.values()
            known = {
                version.fingerprint: version for version in versions if isinstance(version, ConfiguredAgent)
            }
            published, listings = await self._versions.publications(), await self._versions.listings()
            forms = await self._of_forms(published)
            read = {_fingerprint(scan): scan for scan in (*scanned, *forms) if scan.version is not None}
            fresh = [scan for mark, scan in read.items() if mark not in known]
            outcomes = await asyncio.to_thread(_build, fresh, self._context)
            failed = {mark: end.problems for mark, end in outcomes.items() if isinstance(end, BuildFailed)}
            tried = ((scan, outcomes[_fingerprint(scan)]) for scan in fresh)
            built = [(scan, new) for scan, new in tried if isinstance(new, BuiltVersion)]
            numbers = await self._versions.register(
                [scan.version for scan, _ in built if scan.version is not None]
            )
            added: list[ConfiguredAgent] = []
            for (scan, new), number in zip(built, numbers, strict=True):
                agent = ConfiguredAgent(new, number.name, _fingerprint(scan)[1], self._context)
                known[agent.fingerprint] = agent
                added.append(agent)
            for publication in published:
                if (publication.agent, publication.files_sha256) in known:
                    await self._load(publication.name)
            # if one was not loaded, the next poll finds the difference again
            self._published, self._listings = published, listings
        if self._tasks and self._options.runs_turns:
            # The lock is free during the training, so that old versions continue to serve and polling continues.
            await _train(added, self._log)
        async with self._lock:
            reloaded = self._replace(scanned, forms, known, failed)
            if retooled and self._tasks:
                self._warm(self._snapshot.served.values())
            self._note_missing_tools()
            return reloaded

    async def _of_forms(self, published: Sequence[Publication]) -> Sequence[ScannedAgent]:
        """The published versions that outrank all files, with the graph of this release and today's default model. Raises Unavailable."""
        wanted = {publication.name: publication for publication in published if not publication.files_sha256}
        for stored in await self._versions.find(wanted.keys() - self._forms.keys(), ENGINE):
            config = json.loads(stored.content)["config"].items()
            self._forms = {**self._forms, stored.name: {k: v for k, v in config if k not in GRAPH}}
        self._forms = {name: config for name, config in self._forms.items() if name in wanted}
        return [
            await asyncio.to_thread(self._of_form, wanted[name].agent, config)
            for name, config in self._forms.items()
        ]

    def _of_form(self, identity: str, config: Mapping[str, object]) -> ScannedAgent:
        try:
            content = content_from({"config": config}, identity, self._surroundings, self._scanner.default)
            return ScannedAgent(identity, shipped=False, content=content, version=new_version(content))
        except (BuildFailed, ContentBroken) as error:
            wrong = error.problems if isinstance(error, BuildFailed) else [Problem(AGENT_FILE, str(error))]
            return ScannedAgent(identity, shipped=False, problems=wrong)

    async def _remodelled(self) -> bool:
        """Whether `default` stands for other models than before, which the next scan then uses. Raises Unavailable."""
        return self._options.models is not None and self._scanner.use_models(await self._options.models())

    def _note_missing_tools(self) -> None:
        """Log each tool that an agent names and the server does not have, once."""
        if self._options.tools is None:
            return
        names_of_tools = self._options.tools.names
        notes = {
            f"{identity}/{note}"
            for identity, agent in self._snapshot.served.items()
            for note in missing_tools(agent.config, names_of_tools)
        }
        for note in sorted(notes - self._noted):
            self._log.warning("agent_without_tool", note=note)
        self._noted = frozenset(notes)

    def _replace(
        self,
        scanned: Sequence[ScannedAgent],
        forms: Sequence[ScannedAgent],
        known: Mapping[tuple[str, bytes], ConfiguredAgent],
        failed: Mapping[tuple[str, bytes], Sequence[Problem]],
    ) -> Sequence[Reloaded]:
        """Replace the snapshot with a new snapshot, which holds the scanned agents and above them those of forms. An agent with
        problems keeps its last version; at the start, the files answer in place of a form. known: the agents by fingerprint.
        """
        before = self._snapshot
        current: dict[str, ConfiguredAgent] = {}
        published: dict[str, ConfiguredAgent] = {}
        problems: dict[str, Reloaded] = {}
        for entry, into in (*((scan, current) for scan in scanned), *((form, published) for form in forms)):
            old = (before.configured if into is current else before.served).get(entry.identity)
            if wrong := failed.get(_fingerprint(entry), entry.problems) if entry.version else entry.problems:
                reports = [each.file_problem for each in wrong]
                version = before.current[entry.identity].version if old is not None else ""
                problems[entry.identity] = Reloaded(entry.identity, version, changed=False, problems=reports)
                if old is not None:
                    into[entry.identity] = old
            else:
                into[entry.identity] = known[_fingerprint(entry)]
        versions = {
            **before.versions,
            **{agent.version: agent for agent in (*current.values(), *published.values())},
        }
        for publication in self._published:
            files, agent = current.get(publication.agent), versions.get(publication.name)
            counts = files is not None and files.fingerprint[1] == publication.files_sha256
            if counts and isinstance(agent, ConfiguredAgent):
                published[publication.agent] = agent
        self._snapshot = AgentSnapshot.of(
            current, self._options.coded, problems, self._options.default, versions, published
        )
        outcome = _changes(before, self._snapshot)
        for entry in outcome:
            if entry.problems and before.problems.get(entry.agent) != entry:
                lines = problem_lines(entry)
                self._log.warning("agent_broken", agent=entry.agent, serves=entry.version, problems=lines)
            elif entry.changed:
                self._log.info("agent_changed", agent=entry.agent, version=entry.version)
        if self._tasks:
            agents = self._snapshot.current.values()
            served = (agent for agent in agents if isinstance(agent, ConfiguredAgent))
            self._warm(agent for agent in served if before.current.get(agent.content.agent) is not agent)
        return outcome

    def _warm(self, agents: Iterable[ConfiguredAgent]) -> None:
        fresh = list(agents)
        if fresh and self._options.runs_turns:
            task = asyncio.create_task(_prepare(fresh, self._log), name="agents-warm")
            self._tasks = [*(task for task in self._tasks if not task.done()), task]

    async def _restore(self, stored: StoredVersion) -> ConfiguredAgent | None:
        """The agent of a registered version; None if the version cannot run here. The log reports such a version once."""
        try:
            content = unpack(stored.content)
            built = await asyncio.to_thread(build, content, self._context)
        except (ContentBroken, BuildFailed) as error:
            if stored.name not in self._unfit:
                self._log.warning("agent_version_left_out", version=stored.name, why=str(error))
            self._unfit[stored.name] = str(error)
            return None
        self._unfit.pop(stored.name, None)
        return ConfiguredAgent(built, stored.name, new_version(content).sha256, self._context)

    def _retain(self, versions: Mapping[str, Agent], needed: Collection[str]) -> Mapping[str, Agent]:
        """The versions, except those that have not been needed for `keep_seconds`, and of the others that are not
        needed the most recent _MOST_IDLE."""
        now = time.monotonic()
        snapshot = self._snapshot
        serving = {agent.version for agent in (*snapshot.current.values(), *snapshot.configured.values())}
        retained: dict[str, Agent] = {}
        left: dict[str, float] = {}
        for name, agent in versions.items():
            if name not in serving and name not in needed:
                left[name] = self._left.get(name, now)
                if now - left[name] >= self._options.keep_seconds:
                    del left[name]
                    self._log.info("agent_version_let_go", version=name)
                    continue
            retained[name] = agent
        for name in sorted(left, key=left.__getitem__, reverse=True)[_MOST_IDLE:]:
            del left[name], retained[name]
        self._left = left
        return retained

    async def _keep_polling(self) -> None:
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                await self.poll()
            except Unavailable as error:
                self._log.warning("agents_not_polled", reason=error.reason.value)
            except Exception:  # without polling, no worker would take the turns of new versions
                self._log.exception("agents_not_polled")

    async def _keep_reloading(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            notify, self._notifies = self._notifies, False
            try:
                outcomes = await self.reload(notify=False)
                changed, self._tools_changed = self._tools_changed, False
                if notify and (changed or any(outcome.changed for outcome in outcomes)):
                    self._options.notify()
            except Unavailable as error:
                self._log.warning("agents_not_reloaded", reason=error.reason.value)
                await asyncio.sleep(_RETRY_SECONDS)
                self.want_reload(notify=notify)
            except Exception:  # the loop must continue, so that the next change is read
                self._log.exception("agents_not_reloaded")


def problem_lines(outcome: Reloaded) -> Sequence[str]:
    """A line for each problem: file, line, key, message and suggestion."""
    return [f"{outcome.agent}/{problem}" for problem in outcome.problems]


def _describe(outcome: Reloaded) -> str:
    """What a broken agent does, and its first problem."""
    does = "stays in its last valid version" if outcome.version else "is left out"
    more = len(outcome.problems) - 1
    others = f" `responsa agents check` shows {counted(more, 'further problem')}." if more else ""
    return f"The agent {outcome.agent} {does}: {problem_lines(outcome)[0]}{others}"


def _changes(before: AgentSnapshot, after: AgentSnapshot) -> Sequence[Reloaded]:
    outcomes: list[Reloaded] = []
    for name in sorted({*before.served, *after.served, *after.problems}):
        if name in after.problems:
            outcomes.append(after.problems[name])
            continue
        new, old = (side.served[name].version if name in side.served else "" for side in (after, before))
        outcomes.append(Reloaded(name, new, changed=new != old))
    return outcomes


def _card(identity: str, agent: ConfiguredAgent, file_version: str, *, default: bool) -> AgentCard:
    config = agent.config
    return AgentCard(
        id=identity,
        display_name=config.name,
        description=config.description,
        version=agent.version,
        schema=schema_of(config.parameters),
        examples=config.questions,
        collections=config.retrieval.collections,
        models=agent.content.chain,
        history_messages=config.history.messages,
        is_default=default,
        tools=config.tools.use,
        file_version=file_version,
        writes_json=agent.alone is not None and agent.alone.writes_json,
        listed=config.listed,
        greeting=config.greeting,
    )


def _violation(problem: Problem) -> FieldViolation:
    """A mistake at its value in `agent.toml`, or in the content as a whole."""
    if problem.file != AGENT_FILE or not problem.key:
        return FieldViolation(_CONTENT, "agent.problem", str(problem))
    hint = f". Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
    return FieldViolation(f"{_CONTENT}.config.{problem.path}", "agent.problem", problem.message + hint)


def missing(identity: str, known: Iterable[str], *, broken: bool) -> NotFound:
    """The error for an agent that is not in service, with the ids of the known agents. broken: whether its files are not valid."""
    error, ids = NotFound.of("agent", names.agent(identity)), sorted(known)
    message = (
        f"The files of the agent {identity} are broken; ask an administrator to run `responsa agents check {identity}`"
        if broken
        else f"{error.message}; choose one of {', '.join(ids)}"
        if ids
        else error.message
    )
    return NotFound(error.reason, message, {**error.metadata, "known": ",".join(ids)})


def _candidate(experiment: Experiment) -> str:
    return names.agent_version(experiment.agent, experiment.candidate)


def _unfit(name: str, cause: str) -> Precondition:
    message = f"This server cannot run {name}: {cause.rstrip('.')}. Ask for another version."
    return Precondition(Reason.AGENT_VERSION_UNFIT, message, {"agent_version": name, "cause": cause})


def _fingerprint(scanned: ScannedAgent) -> tuple[str, bytes]:
    assert scanned.version is not None, "it has no problems"
    return scanned.identity, scanned.version.sha256


def _build(
    scanned: Sequence[ScannedAgent], context: BuildContext
) -> Mapping[tuple[str, bytes], BuiltVersion | BuildFailed]:
    results: dict[tuple[str, bytes], BuiltVersion | BuildFailed] = {}
    for scan in scanned:
        assert scan.content is not None, "it has no problems"
        try:
            results[_fingerprint(scan)] = build(scan.content, context)
        except BuildFailed as error:
            results[_fingerprint(scan)] = error
    return results


async def _train(agents: Sequence[ConfiguredAgent], log: FilteringBoundLogger) -> None:
    for agent in agents:
        try:
            await agent.train()
        except ExamplesUnfit as error:  # the first question reports the error, too
            log.error("agent_not_trained", version=agent.version, error=str(error))
        except (
            Exception
        ):  # the other agents must still be trained; the first question to this agent tries again
            log.exception("agent_not_trained", version=agent.version)


async def _prepare(agents: Sequence[ConfiguredAgent], log: FilteringBoundLogger) -> None:
    """Compile the graphs and train the classifiers, so that an agent's first question need not wait for this work."""
    for agent in agents:
        try:
            await asyncio.to_thread(agent.compile)
        except Exception:  # the other agents must still be compiled
            log.exception("agent_not_compiled", version=agent.version)
    await _train(agents, log)
