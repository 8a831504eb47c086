"""Models that break off within an answer, at random bytes and over all three protocols, and the models that take the
answer up: well, by repeating, or by beginning again. The answer is whole, no word of it stands twice, and the text goes
on soon.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.failing_models import PREFILLS, WIRES, Act, Case, Models, answer_text, models
from tests.faults.forms import Form, Report, forms
from tests.faults.golden import kind, read
from tests.faults.readers import GrpcWay, Seen, asking, follow

AT_ONCE = 4
MOST_GAP_SECONDS = 0.3
PROMPT = """+++
variables = { question = "what is asked" }
hints = { max_output_tokens = 1024 }
+++
You answer.
=== user
{{ question }}
"""
CHAINS = [
    (first, second)
    for first in WIRES
    for second in (*(f"second-{wire}" for wire in WIRES), *(f"prefill-{prefill}" for prefill in PREFILLS))
]


def agents(folder: Path) -> Path:
    """The folder of one agent for each pair of models. An agent asks its models and does nothing else."""
    for place, (first, second) in enumerate(CHAINS):
        home = folder / f"pair{place}"
        home.mkdir(parents=True)
        (home / "agent.toml").write_text(
            f"""name = "Pair {place}"
description = "Asks {first}, then {second}."
start = "write"
model = {{ chain = ["first-{first}:m-1", "{second}:m-1"] }}

[nodes]
write = {{ kind = "prompt", prompt = "write" }}
""",
            encoding="utf-8",
        )
        (home / "prompts").mkdir()
        (home / "prompts" / "write.md").write_text(PROMPT, encoding="utf-8")
    return folder


async def one_case(way: GrpcWay, served: Models, number: int, case: Case, report: Report) -> None:
    """Ask one question, and check what came."""
    served.cases[number] = case
    first, second = CHAINS[number % len(CHAINS)]
    seen = Seen(asking(f"This is case {number}.", agent=f"agents/pair{number % len(CHAINS)}"))
    shown = list[tuple[float, str]]()

    def until(reader: Seen) -> bool:
        now = time.monotonic()
        shown.extend((now, kind(event)) for event in reader.events[len(shown) :])
        return reader.ended

    await follow(way, seen, until=until)
    reading = read(seen.events)
    assert seen.outcome == "answer", (first, second, case, seen.terminal)
    assert reading.text.decode() == seen.text == case.text, (first, second, case.act, case.answers)
    words = Counter(seen.text.split())
    assert max(count for word, count in words.items() if word != "-") == 1
    switched = [one.provider_switched for one in seen.events if kind(one) == "provider_switched"]
    assert [one.target for one in switched] == ([f"{second}:m-1"] if case.answers else [])
    withdrawn = sum(kind(one) == "attempt_restarted" for one in seen.events)
    report.count("in mid-answer", sum(one.mid_answer for one in switched))
    report.count("withdrawals", withdrawn)
    report.count(f"answers of the second that {case.act}", int(any(one.mid_answer for one in switched)))
    report.count("asked again", max(0, len(case.answers) - 1))
    if case.began:
        after = [at for at, what in shown if what == "delta" and at >= case.began[-1]]
        report.measured("gap", min(after) - case.began[-1] if after else 0.0)


@forms(short=15, long=500)
async def test_another_model_takes_up_an_answer_that_breaks_off(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = Report("failover", form)
    dice = form.dice()
    caller = await cluster.caller()
    async with models() as served, GrpcWay(cluster.target, caller.key) as way:
        replica = await cluster.soon(
            RESPONSA_AGENTS__FOLDER=str(agents(tmp_path / "agents")), **served.settings
        )
        cluster.admit(replica)
        limit = asyncio.Semaphore(AT_ONCE)

        async def ask(number: int) -> None:
            case = Case(answer_text(dice), dice.random(), list(Act)[number % len(Act)], dice)
            async with limit:
                await one_case(way, served, number, case, report)
            report.count("cuts")

        async with asyncio.TaskGroup() as group:
            for number in range(form.count):
                group.create_task(ask(number))
    report.tell(request)
    assert report.counts["in mid-answer"] > form.count // 2
    if form.limits:
        assert report.quantile("gap", 1.0) <= MOST_GAP_SECONDS
