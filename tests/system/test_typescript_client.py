"""The example and the first program of the TypeScript client, with the built package and a running instance."""

from __future__ import annotations

import os
import re
import subprocess

from tests.callers import Tenant
from tests.clients.drivers import command
from tests.instance import ROOT, Instance

PACKAGE = ROOT / "clients" / "typescript"


def test_the_example_and_the_first_program_run(instance: Instance, tenant: Tenant) -> None:
    command("typescript")
    environment = {**os.environ, "RESPONSA_URL": instance.url, "RESPONSA_API_KEY": tenant.key()}

    def run(*words: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["node", *words],
            cwd=PACKAGE,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    shown = run("examples/tour.mjs")
    for line in (
        "sent 100 %",
        "found: Tides",
        "answer of turns/",
        "the same text: true",
        "INVALID_FIELD",
        "agent: response",
    ):
        assert line in shown, shown
    assert "The turn was cancelled by its owner." in shown or "ended before: " in shown
    block = re.search(r"```js\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    first = block[1].replace("http://127.0.0.1:8080", instance.url).replace("load a folder", "find the tides")
    assert len(first.splitlines()) <= 10
    assert "Tides: " in run("--input-type=module", "-", stdin=first)
