"""Each client asks a real instance through a proxy that cuts its connections at random, and sees what a reader sees whose connection is whole."""

from __future__ import annotations

import pytest

from clients.conformance.runner import run_cuts
from tests.clients.drivers import DRIVERS, command
from tests.faults.forms import Form, forms
from tests.instance import Instance


@pytest.mark.parametrize("client", DRIVERS)
@forms(short=10, long=200)
async def test_a_client_whose_connections_are_cut_at_random(
    second: Instance, client: str, form: Form
) -> None:
    text = "tokens=200 pace_ms=2 seed={n}"
    done = await run_cuts(
        command(client),
        second.target,
        second.key,
        form.count,
        port=int(second.settings["RESPONSA_ALLOWED_HOSTS"].rpartition(":")[2]),
        agent="testing",
        text=text,
        seed=form.seed,
    )
    assert (done.problems, done.cuts >= form.count) == ([], True), done
