"""A replica of the server with injected faults: `python -m tests.faults.replica ORDER`. ORDER is the JSON of an `Order`.

The replica uses the product's own wiring. The order contains the differences from `responsa serve`: faults at named
places, and removed guards.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from responsa_etl.stores.source_runs import PostgresSourceRuns
from responsa_local.embedded import LocalLayout
from responsa_server.app import assemble
from responsa_server.app.serve import serve
from responsa_server.app.settings import environment, load
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.turns.settings import TurnOptions
from tests.faults.guards import Guard, without
from tests.faults.placed import Placed, PlacedFaults


@dataclass(frozen=True, slots=True)
class Order:
    """The settings of a replica. environment: the server's settings as environment variables. log: the file for the
    replica's output; "" to use the output of this process. sync_deaths: methods of the store of runs of sources after
    which the process is killed, with the number of calls before that. turns: options of `TurnOptions` that are no settings.
    job_losses: how many workers a job may lose.
    """

    name: str
    environment: Mapping[str, str]
    log: str = ""
    faults: Sequence[Placed] = ()
    guards_out: Sequence[Guard] = ()
    seed: int = 0
    sync_deaths: Mapping[str, int] = field(default_factory=dict[str, int])
    turns: Mapping[str, float] = field(default_factory=dict[str, float])
    job_losses: int = 1

    def to_json(self) -> str:
        """The order as one line of JSON."""
        return json.dumps(
            {
                "name": self.name,
                "environment": dict(self.environment),
                "log": self.log,
                "faults": [fault.to_json() for fault in self.faults],
                "guards_out": [one.value for one in self.guards_out],
                "seed": self.seed,
                "sync_deaths": dict(self.sync_deaths),
                "turns": dict(self.turns),
                "job_losses": self.job_losses,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The order from the JSON that `to_json` returned."""
        value: dict[str, Any] = json.loads(text)
        value["faults"] = [Placed.from_json(one) for one in value["faults"]]
        value["guards_out"] = [Guard(one) for one in value["guards_out"]]
        return cls(**value)


def _die_after(name: str, calls: int) -> None:
    """Kill this process with SIGKILL at the end of one of the calls of a method of `PostgresSourceRuns`."""
    method = getattr(PostgresSourceRuns, name)
    left = itertools.count(calls, -1)

    @functools.wraps(method)
    async def dying(*arguments: Any, **named: Any) -> Any:
        found = await method(*arguments, **named)
        if next(left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(PostgresSourceRuns, name, dying)


def main(order: Order) -> None:
    """Run the replica in this process, with the order's environment."""
    environment().update(order.environment)
    for name, calls in order.sync_deaths.items():
        _die_after(name, calls)
    vars(assemble).update(
        TurnOptions=functools.partial(TurnOptions, **order.turns),
        JobQueue=functools.partial(JobQueue, max_losses=order.job_losses),
    )
    faults = PlacedFaults(order.faults, order.seed)
    settings = load()
    layout = LocalLayout.of(settings.home)
    asyncio.run(serve(settings, layout, faults=faults, turn_queries=without(order.guards_out)))


if __name__ == "__main__":
    main(Order.from_json(sys.argv[1]))
