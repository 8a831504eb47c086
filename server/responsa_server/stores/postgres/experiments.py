"""Experiments in PostgreSQL, in `responsa.experiment` and `responsa.experiment_turn`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Precondition, Reason
from responsa_server.domain.experiments import (
    Experiment,
    ExperimentMetric,
    MeasuredArm,
    NewExperiment,
    StoppedBy,
)
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import EXPERIMENTS
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Database, Queries, shielded
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.rows import all_rows, one_row

_QUERIES: Final = Queries("experiments.sql")
_LIST: Final[SqlList[Experiment]] = SqlList(EXPERIMENTS)


class PostgresExperiments:
    """The experiments of the installation. Implements `OpenExperiments`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = AuditLog()

    @shielded
    async def create(self, experiment: NewExperiment, event: AuditEvent) -> Experiment:
        """Begin an experiment, and store the event. Raises Precondition (EXPERIMENT_RUNNING), Unavailable."""
        values = asdict(experiment)
        async with self._database.tenant(event.tenant_id) as connection:
            await connection.execute(_QUERIES["insert_lock"], values)
            if (running := await one_row(connection, _QUERIES["running"], values)) is not None:
                name = names.experiment(running["id"])
                message = (
                    f"{name} with agents/{experiment.agent} is still running. Stop it, or wait until it ends."
                )
                raise Precondition(Reason.EXPERIMENT_RUNNING, message, {"experiment": name})
            row = await one_row(connection, _QUERIES["insert"], values)
            assert row is not None, "it was inserted"
            await self._log.write(connection, event)
        return _built(row)

    @shielded
    async def get(self, identity: UUID) -> Experiment:
        """Return an experiment. Raises NotFound, Unavailable."""
        async with self._database.no_tenant_statements() as connection:
            row = await one_row(connection, _QUERIES["get"], {"id": identity})
        if row is None:
            raise NotFound.of("experiment", names.experiment(identity))
        return _built(row)

    @shielded
    async def list(self, query: ListQuery) -> Page[Experiment]:
        """Return a page of experiments. Raises Unavailable."""
        async with self._database.no_tenant_statements() as connection:
            return await _LIST.read(connection, _QUERIES["list"], query, {}, _built)

    @shielded
    async def open(self) -> Sequence[Experiment]:
        async with self._database.no_tenant_statements() as connection:
            return [_built(row) for row in await all_rows(connection, _QUERIES["open"], {})]

    @shielded
    async def stop(self, identity: UUID, by: StoppedBy, event: AuditEvent) -> bool:
        """Stop an experiment, and store the event, if it runs. Returns whether it did. Raises Unavailable."""
        async with self._database.tenant(event.tenant_id) as connection:
            row = await one_row(connection, _QUERIES["stop"], {"id": identity, "by": by.value})
            if row is not None:
                await self._log.write(connection, event)
        return row is not None

    @shielded
    async def measure(self, identity: UUID, metric: ExperimentMetric | None = None) -> Sequence[MeasuredArm]:
        """Return what was measured of an experiment by a metric, or by all, without metrics and versions that no turn
        counts for. Raises Unavailable."""
        values = {"id": identity, "metric": metric}
        async with self._database.no_tenant_statements() as connection:
            rows = await all_rows(connection, _QUERIES["measured"], values)
        return [build(MeasuredArm, row) for row in rows]

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[bool]:
        """Whether no other process is in this block; it then is not until the block ends. Raises Unavailable."""
        async with self._database.no_tenant() as connection:
            row = await one_row(connection, _QUERIES["hold"], {})
            yield row is not None and row["held"]


_built: Final = partial(build, Experiment)
