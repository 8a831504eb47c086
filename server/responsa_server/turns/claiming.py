"""While this process has room, claims turns that have no worker. Also records the turns that run in this process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from responsa_server.domain.agents import Agent, Agents
from responsa_server.domain.background import Background
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.faults import Fault
from responsa_server.domain.relay import EpochAdvanced, Relay, Work
from responsa_server.domain.turns import Claim, ClaimedTurn, LogRow
from responsa_server.telemetry import instruments
from responsa_server.telemetry.unexpected import keep_going
from responsa_server.turns.admission import Admission
from responsa_server.turns.runtime import retry
from responsa_server.turns.worker import RunOutcome, RunServices, TurnRun

_MOST_AT_ONCE: Final = 32
# The last part of the grace period, in which a drain stops and releases the turns that still run.
_MARGIN_SECONDS: Final = 2.0
_MARGIN_SHARE: Final = 0.25
# A release that fails is repeated for the first of these times. All of it takes at most the second one, and so does
# recording the usage of the released turns.
_RELEASE_PATIENCE_SECONDS: Final = 2.0
_RELEASE_SECONDS: Final = 3.0
# The minimum time that a drain waits for a claim in flight.
_CLAIM_SECONDS: Final = 2.0
# How long a drain waits for runs to stop. A run stops its agent and then writes once more; each step also has its own limit.
_GIVE_UP_SECONDS: Final = 5.0
# How long it is tried to record that a turn no longer runs alone; without this record, other turns wait for its end.
_ALONE_PATIENCE_SECONDS: Final = 60.0
# How often a worker looks for other workers that have ended. A worker that has only lost its connection has a new one
# well within `_LOST_AFTER_SECONDS`, because it looks as often itself.
_LOOK_SECONDS: Final = 0.25
# How often it does so while no turn runs, here or elsewhere.
_IDLE_SECONDS: Final = 1.0
# The longest pause between two claims while nobody tells this process of new turns.
_UNTOLD_SECONDS: Final = 0.25
# How long a worker's connection to the store is closed before it counts as ended.
_LOST_AFTER_SECONDS: Final = 0.5


Ahead = tuple[TurnRun, asyncio.Task[RunOutcome]]
"""A run that has begun before its turn was accepted."""


class Claiming:
    """The turns that run in this process. Call `start` before use and `drain` at the end."""

    def __init__(self, parts: RunServices, agents: Agents, relay: Relay) -> None:
        self._parts = parts
        self._agents = agents
        self._relay = relay
        self._options = parts.runtime.options
        self._log = parts.runtime.log
        self.admission = Admission(self._options.slots, self._options.answer_seconds)
        """Counts the turns that ask no models. They have slots of their own, and `max_running` is the limit of all others."""
        self._running: dict[UUID, tuple[TurnRun, asyncio.Task[RunOutcome]]] = {}
        # Runs that were stopped for another worker (`RunOutcome.GIVEN_UP`). Their turns are still this process's.
        self._to_release: list[TurnRun] = []
        self._background = Background()
        self._reserved = 0
        # A turn that may be the cause of lost workers. While it is quarantined, no other turn begins here.
        self._suspect: TurnRun | None = None
        self._quarantined = False
        # Set when a run may have stopped, or when a reserved place was released. `_run_alone` waits for it.
        self._capacity_changed = asyncio.Event()
        self._was_full = False
        self._draining = False
        self._wake = asyncio.Event()
        # When the latest claim began, in nanoseconds since 1970.
        self._claim_begun = 0
        self._no_claim_in_flight = asyncio.Event()
        self._no_claim_in_flight.set()
        self._loop: asyncio.Task[None] | None = None
        self._lost_worker_task: asyncio.Task[None] | None = None
        self._turn_begun = asyncio.Event()

    def start(self) -> None:
        """Begin to claim, if this process runs turns."""
        if self._options.works:
            self._loop = asyncio.create_task(self._claim_again_and_again(), name="turns-claims")
            looking = keep_going(
                self._expire_lost, _LOOK_SECONDS, self._log, "lost_workers", self._parts.runtime.errors
            )
            self._lost_worker_task = asyncio.create_task(looking, name="turns-lost-workers")

    def wake(self) -> None:
        """Look for turns to claim, because there may be some."""
        self._wake.set()

    @asynccontextmanager
    async def place(self, agent: Agent) -> AsyncGenerator[bool]:
        """A block in which a turn of this agent is accepted, and may begin to run here. Yields whether a place is
        reserved for it; False if no place is free.

        Raises Exhausted (OVERLOADED) if the agent asks no models and this process has as many such turns as it finishes in time.
        """
        paced = not agent.asks_models  # see `TurnRun.paced`
        if not self._options.works:
            free = False
        elif paced:
            self.admission.admit()
            free = not (self._draining or self._quarantined)
        else:
            free = await self._free()
        if not free:
            yield False
            return
        self._reserved += 1
        if paced:
            self.admission.begin()
        try:
            yield True
        finally:  # if the turn began to run here, it already counts as a running turn
            self._reserved -= 1
            if paced:
                self.admission.end(finished=False)
            self._capacity_changed.set()

    async def _free(self) -> bool:
        if self._room() <= 0 and len(self._running) - self.admission.unfinished < self._options.max_running:
            await (
                self._no_claim_in_flight.wait()
            )  # a claim in flight has reserved the last places, but usually finds no turns
        return not self._draining and self._room() > 0

    def ahead(self, claimed: ClaimedTurn) -> Ahead:
        """Run a turn while it is being accepted here. It writes and shows nothing before it is given to `begin`. The
        caller cancels the task if `begin` has not shown it: the turn was not accepted here, or it already runs under a
        newer claim. The agent must ask no model, so that a question that is refused costs nothing."""
        run = self._run(claimed)
        return run, self._background.start(run.run())

    def _run(self, claimed: ClaimedTurn, claimed_from: int | None = None) -> TurnRun:
        agent = self._agents.at(claimed.agent_version)
        slots = None if agent.asks_models else self.admission.slots
        return TurnRun(self._parts, agent, claimed, claimed_from, slots)

    def begin(
        self,
        claimed: ClaimedTurn,
        first: LogRow | None = None,
        *,
        watched: bool | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        """Run a claimed turn. first: the row of event 1, if the turn was accepted here. watched: see `Hub.open`.
        ahead: its run, if that has begun. Raises KeyError if this process lacks the agent's version."""
        turn_id = claimed.claim.turn_id
        before = self._running.get(turn_id)
        if before is not None:
            if (
                before[0].claim.epoch >= claimed.claim.epoch
            ):  # the reply to an accept came late: this process already runs the turn under a newer claim
                return
            before[0].abort_lost()  # the older run was ending, and this process has claimed the turn again
        run, task = ahead or (self._run(claimed, None if first else self._claim_begun), None)
        origin = "queue" if first is None else "caller"
        instruments.CLAIMS.add(1, "worker" if claimed.attempt > 1 else origin)
        run.show(self._parts.hub.open(turn_id, claimed.caller, claimed.last_seq, first, watched=watched))
        if run.paced:
            self.admission.begin()
        if run.suspect:
            self._suspect, self._quarantined = run, True
        if task is None:
            running = self._run_alone(run) if run.suspect else run.run()
            task = asyncio.create_task(running, name=f"turn-{turn_id}")
        self._running[turn_id] = (run, task)
        self._turn_begun.set()
        task.add_done_callback(lambda done: self._forget(turn_id, run, done))

    def note_claim(self, turn_id: UUID, epoch: int) -> None:
        """Note that a turn now has this epoch (see `Claim`). If the turn runs here under an older
        epoch, that run stops."""
        running = self._running.get(turn_id)
        if running is not None and running[0].claim.epoch < epoch:
            running[0].abort_lost()
            self._capacity_changed.set()

    def announce_epoch(self, turn_id: UUID, epoch: int) -> None:
        """Announce that a turn now has this epoch. A worker that still runs the turn under an older epoch then stops,
        in this process and in others."""
        self.note_claim(turn_id, epoch)
        self._relay.tell_all(EpochAdvanced(turn_id, epoch))

    def running(self) -> Collection[UUID]:
        """The turns that run here."""
        return self._running.keys()

    def abort_forbidden(self, turn_ids: Collection[UUID]) -> None:
        """Stop those of these turns that run here. They end with a refusal (NOT_PERMITTED)."""
        for turn_id in turn_ids:
            running = self._running.get(turn_id)
            if running is not None:
                running[0].abort_forbidden()
                self._capacity_changed.set()

    def announce_claimable(self) -> None:
        """Announce that a turn may now be claimed, here or elsewhere."""
        self.wake()
        self._relay.tell_all(Work())

    async def drain(self, deadline: float) -> None:
        """Claim no more turns, let running turns end for most of the grace period, and release the rest for other workers.

        deadline: the end of the grace period, by the loop's clock. If the store does not respond, the drain takes a few
        seconds longer at most.
        """
        loop = asyncio.get_running_loop()
        grace = max(deadline - loop.time(), 0.0)
        stop_at = loop.time() + grace - min(_MARGIN_SECONDS, grace * _MARGIN_SHARE)
        self._draining = True
        self.wake()
        if self._lost_worker_task is not None:
            self._lost_worker_task.cancel()
            self._lost_worker_task = None
        if self._loop is not None:
            # The drain waits for a claim in flight: the claimed turns begin, and are released below. If the
            # claim does not return, the turns that it took do not begin here, and their leases expire.
            await asyncio.wait({self._loop}, timeout=max(stop_at - loop.time(), _CLAIM_SECONDS))
            self._loop.cancel()
            self._loop = None
        while self._running and (left := stop_at - loop.time()) > 0:
            tasks = [task for _, task in self._running.values()]
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for run, _ in tuple(self._running.values()):
            run.stop_for_release()
        self._capacity_changed.set()
        if tasks := [task for _, task in self._running.values()]:
            _, hanging = await asyncio.wait(tasks, timeout=_GIVE_UP_SECONDS)
            for task in hanging:  # the store is unavailable, so the leases of these turns will expire
                task.cancel()
            if hanging:
                await asyncio.wait(hanging, timeout=_GIVE_UP_SECONDS)
        to_release, self._to_release = self._to_release, []
        if to_release:
            await self._release(to_release)

    async def _release(self, runs: Sequence[TurnRun]) -> None:
        claims = sorted((run.claim for run in runs), key=lambda claim: claim.turn_id)
        for run in runs:
            run.stop_renewing()
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await retry(lambda: self._parts.turns.release(claims), _RELEASE_PATIENCE_SECONDS)
        except (Unavailable, TimeoutError) as error:
            self._log.error("turns_not_released", turns=len(claims), error=type(error).__name__)
            return
        self._log.info("turns_released", turns=len(claims))
        self._relay.tell_all(Work())
        booking = [asyncio.create_task(run.record_usage()) for run in runs]
        _, unbooked = await asyncio.wait(booking, timeout=_RELEASE_SECONDS)
        for task in unbooked:
            task.cancel()

    async def _run_alone(self, run: TurnRun) -> RunOutcome:
        """Run a turn that may have stopped its workers, if possible as the only turn of this process. A worker that is
        lost meanwhile shows that the turn is the cause. Other turns wait for a limited time only.
        """
        seconds = self._options.alone_seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while run.goes_on and not self._is_alone(run):
                    self._capacity_changed.clear()
                    await self._capacity_changed.wait()
        if not (run.goes_on and self._is_alone(run)):
            self._admit_others(run)
            return await run.run()
        # If the mark fails, it may still have been committed, so the turn runs alone in any case.
        with suppress(Unavailable):
            await self._parts.turns.mark_alone(run.claim, True)
        admitting = asyncio.create_task(
            self._admit_others_after(seconds, run), name=f"alone-{run.claim.turn_id}"
        )
        try:
            return await run.run()
        finally:
            admitting.cancel()

    async def _admit_others_after(self, seconds: float, run: TurnRun) -> None:
        await asyncio.sleep(seconds)
        try:
            await retry(lambda: self._parts.turns.mark_alone(run.claim, False), _ALONE_PATIENCE_SECONDS)
        except Unavailable as error:  # others wait until the turn has ended
            self._log.warning("turn_stays_alone", reason=error.reason.value, **run.ids)
            return
        self._admit_others(run)

    def _is_alone(self, run: TurnRun) -> bool:
        return self._reserved == 0 and all(other is run for other, _ in self._running.values())

    def _admit_others(self, suspect: TurnRun) -> None:
        if self._suspect is suspect:
            self._quarantined = False
            self.wake()

    def _room(self) -> int:
        if self._quarantined:
            return 0
        others = len(self._running) + self._reserved - self.admission.unfinished
        return self._options.max_running - others

    def _forget(self, turn_id: UUID, run: TurnRun, task: asyncio.Task[RunOutcome]) -> None:
        mine = self._running.get(turn_id)
        if mine is not None and mine[0] is run:
            del self._running[turn_id]
        self._capacity_changed.set()
        if self._suspect is run:
            self._admit_others(run)
            self._suspect = None
        outcome = RunOutcome.ABANDONED
        if not task.cancelled():
            if (error := task.exception()) is not None:
                self._log.error("turn_run_failed", **run.ids, exc_info=error)
            else:
                outcome = task.result()
        finished = outcome in (RunOutcome.ENDED, RunOutcome.PROMOTED)
        if run.paced:
            self.admission.end(finished=finished)
        if not finished:
            instruments.UNFINISHED_RUNS.add(1, outcome.name.lower())
        if outcome is RunOutcome.GIVEN_UP:
            self._to_release.append(run)
        elif outcome is RunOutcome.PROMOTED:
            self.announce_claimable()
        if self._was_full:
            self.wake()

    async def _claim_again_and_again(self) -> None:
        away = False
        while not self._draining:
            self._wake.clear()
            try:
                await self._claim()
                away = False
            except Unavailable as error:
                if not away:  # one line for an outage, however long it is
                    self._log.warning("turns_not_claimed", reason=error.reason.value)
                away = True
            except Exception:  # claiming must continue: the next round may succeed
                self._log.exception("turns_not_claimed")
            often = self._options.sweep_seconds
            if self._relay.away:
                often = min(often, _UNTOLD_SECONDS)
            pause = often * random.uniform(0.8, 1.0)  # noqa: S311 - spreads workers
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _expire_lost(self) -> None:
        other_workers, expired_leases = await self._parts.turns.expire_lost(
            self._options.lease_seconds, _LOST_AFTER_SECONDS
        )
        if expired_leases:
            self._log.warning("workers_lost", turns=expired_leases)
            self.announce_claimable()
        if not other_workers and not self._running:
            self._turn_begun.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_SECONDS - _LOOK_SECONDS):
                    await self._turn_begun.wait()

    async def _claim(self) -> None:
        while not self._draining:
            room = self._room()
            versions = self._agents.versions
            if not self.admission.may_claim:
                versions = [version for version in versions if self._agents.at(version).asks_models]
            self._was_full = room <= 0 or len(versions) < len(self._agents.versions)
            if room <= 0:
                return
            # The claim uses only half of the free places, so that a question that is accepted meanwhile begins at once.
            limit = min(_MOST_AT_ONCE, (room + 1) // 2)
            self._reserved += limit
            self._no_claim_in_flight.clear()
            self._claim_begun = time.time_ns()
            try:
                # Turns that run here must not be claimed again, even if their leases expired while the store
                # was unavailable.
                here = [turn_id for turn_id, (run, _) in self._running.items() if run.goes_on]
                claimed = await self._parts.turns.claim(
                    self._parts.hub.process,
                    versions,
                    self._options.lease_seconds,
                    limit,
                    here,
                    self._options.alone_after_losses,
                    suspects=self._suspect is None,
                )
            finally:
                self._reserved -= limit
                self._no_claim_in_flight.set()
            await self._begin_all(claimed)
            if len(claimed) < limit:
                return

    async def _begin_all(self, claimed: Sequence[ClaimedTurn]) -> None:
        without_version: list[Claim] = []
        for turn in claimed:
            turn_id = turn.claim.turn_id
            await self._parts.runtime.faults.at(Fault.AFTER_CLAIM, turn_id)
            if turn.attempt > 1:
                self._relay.tell_all(EpochAdvanced(turn_id, turn.claim.epoch))
                self._log.warning("turn_taken_over", **turn.ids, attempt=turn.attempt, losses=turn.losses)
            try:
                self.begin(turn)
            except KeyError:
                # The agent's version was removed here during the claim. Another process may still have it.
                self._log.warning("turn_given_back", **turn.ids)
                without_version.append(turn.claim)
        if without_version:
            # After all others have begun: if this fails, only these turns wait until their leases expire.
            await self._parts.turns.release(without_version)
