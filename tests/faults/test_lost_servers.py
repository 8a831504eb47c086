"""The server of a whole `responsa up` is killed, stopped or wedged under 50 streams. The supervisor replaces it, and
every question is answered."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from responsa_local.embedded import EmbeddedPostgres, LocalLayout, RestartPolicy
from tests.faults.askers import Askers, all_answered, hold, question
from tests.faults.cluster import Caller
from tests.faults.forms import Form, Report, forms
from tests.faults.golden import kind
from tests.faults.invariants import Ledger
from tests.faults.readers import Seen
from tests.instance import Instance, instance_in

STREAMS = 50
STRIKES = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "wedged": signal.SIGUSR1}
# On SIGUSR1, the server works without an end, and lets none of its other threads run.
WEDGE = """import re, signal, sys
if "serve" in sys.orig_argv:
    signal.signal(signal.SIGUSR1, lambda *_: re.match("(a|a)*b", "a" * 64))
"""
SILENT = "The server has not answered"
NOTICED_SECONDS = 15.0
HEALTHY_SECONDS = RestartPolicy().healthy_after + 1.0


@pytest.fixture
def supervised(folder: Path) -> Iterator[tuple[Instance, Caller]]:
    """An instance whose server can be wedged, and its administrator."""
    (folder / "sitecustomize.py").write_text(WEDGE)
    settings = {
        "RESPONSA_DOCS": "none",
        "RESPONSA_TESTING__AGENT": "true",
        # The campaign strikes from outside, so no turn is the cause.
        "RESPONSA_TURNS__MAX_LOSSES": "100",
        "RESPONSA_TURNS__ALONE_AFTER_LOSSES": "100",
        "PYTHONPATH": str(folder),
    }
    with instance_in(folder, **settings) as instance:
        dsn = EmbeddedPostgres(LocalLayout.of(instance.home)).dsn("superuser")
        with psycopg.connect(dsn) as connection:
            (tenant,) = connection.execute("SELECT id FROM responsa.tenant").fetchone() or ("",)
        ledger = Ledger(dsn, tenant)
        yield instance, Caller(tenant, instance.key, instance.key, ledger)
        ledger.close()


async def strike(instance: Instance, askers: Askers, how: str, report: Report) -> None:
    """Strike the server while all streams are open, and wait until another one has ended all of them."""
    server, told = instance.processes()["server"], instance.said().count(SILENT)
    # If a server dies again and again soon after its start, the supervisor gives up.
    await askers.until(lambda: time.time() - server.create_time() > HEALTHY_SECONDS, "a healthy server")

    def streaming() -> list[Seen]:
        return [one for one in askers.seen[-2 * STREAMS :] if not one.ended and one.through > 2]

    await askers.until(lambda: len(streaming()) == STREAMS, f"{STREAMS} streams")
    before = streaming()
    os.kill(server.pid, STRIKES[how])
    struck = time.monotonic()
    if how != "killed":
        await askers.until(lambda: instance.said().count(SILENT) > told, "a word about its silence")
        report.measured(f"{how}: noticed", time.monotonic() - struck)
    await askers.until(lambda: not psutil.pid_exists(server.pid), "its end")
    await askers.until(lambda: all(one.ended for one in before), "the ends of the streams")
    report.measured(f"{how}: ended", time.monotonic() - struck)
    report.measured(
        f"{how}: taken over",
        [
            at - struck
            for one in before
            for event, at in zip(one.events, one.arrivals, strict=True)
            if kind(event) == "attempt_restarted" and at > struck
        ],
    )
    report.count(how)


@forms(long=100)
async def test_all_is_answered_whatever_becomes_of_the_server(
    supervised: tuple[Instance, Caller], form: Form, request: pytest.FixtureRequest
) -> None:
    instance, caller = supervised
    report, strikes = Report("lost_servers", form), itertools.cycle(STRIKES)
    ask = question(tokens=80, pace_ms=100)
    async with Askers(instance.target, caller, form.dice(), STREAMS, ask) as askers:
        for _ in range(form.count):
            await strike(instance, askers, next(strikes), report)
    hold(caller, askers.seen, report)
    all_answered(askers.seen, LocalLayout.of(instance.home).logs)
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    report.tell(request)
    for how in STRIKES:
        assert report.quantile(f"{how}: noticed", 1.0) <= NOTICED_SECONDS
