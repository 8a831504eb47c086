"""The command `responsa optimise`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from responsa_lab.evaluation.metrics import Interval, camel, fraction, plain, rounded, share
from responsa_server.cli.output import EXIT_FAILED, EXIT_USAGE, CommandFailed, print_json, print_text
from responsa_server.cli.session import open_async_client
from responsa_server.domain.words import counted

_MISSING: Final = CommandFailed(
    "DSPy is not installed.",
    "Install the extra: pip install 'responsa[optimise]', or in a checkout: make optimise.",
    EXIT_USAGE,
)
_FOLDER: Final = "optimise"
_MOST_USD: Final = 1_000_000


class Metric(StrEnum):
    """What makes an answer good. RIGHT: the label is right. REFUSED: the message is out of scope, or not, as the label says."""

    RIGHT = "right"
    REFUSED = "refused"

    def good(self, right: str, found: str) -> bool:
        """Whether the label that the model chose is good; "" if its answer had no label."""
        from responsa_lab.optimising.decision import OUT_OF_SCOPE

        if self is Metric.RIGHT:
            return found == right
        return bool(found) and (found == OUT_OF_SCOPE) == (right == OUT_OF_SCOPE)


class Optimiser(StrEnum):
    """EXAMPLES: BootstrapFewShotWithRandomSearch. INSTRUCTION: MIPROv2."""

    EXAMPLES = "examples"
    INSTRUCTION = "instruction"


@dataclass(frozen=True, slots=True)
class _Task:
    agent: str
    data: Path
    metric: Metric
    budget: Decimal
    node: str
    optimiser: Optimiser
    trials: int
    model: str
    json: bool


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(optimise)


def optimise(
    agent: Annotated[str, typer.Argument(help="The agent's id.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="A file with one JSON object {id, text, label, part} on each line. The part is train or test.",
        ),
    ],
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            metavar="USD",
            help="The most that the model's calls may cost, with those of earlier runs that this run goes on from.",
        ),
    ],
    metric: Annotated[
        Metric,
        typer.Option(
            "--metric",
            help="What makes an answer good: the right label, or whether the message is refused as out of scope.",
        ),
    ] = Metric.RIGHT,
    node: Annotated[
        str, typer.Option("--node", help="The agent's node that decides; needed if the agent has several.")
    ] = "",
    optimiser: Annotated[
        Optimiser,
        typer.Option(
            "--optimiser",
            help="What to look for: better examples (random search), or a better instruction too (MIPROv2).",
        ),
    ] = Optimiser.EXAMPLES,
    trials: Annotated[
        int, typer.Option("--trials", min=2, max=200, help="How many candidates to compare.")
    ] = 10,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="The model, as provider:model. By default, the first model of the agent."
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Improve how a model of an agent sorts messages, on labelled messages, and create a version of the agent with the result. The version does not answer until an owner publishes it.

    The command calls the model itself, with the settings of this machine. Only owners of the installation may use it. A run that stopped goes on if the same command is run again.
    """
    from responsa_server.cli.local.failures import reporting

    with reporting(json=json):
        if find_spec("dspy") is None or find_spec("optuna") is None:
            raise _MISSING
        try:
            most = Decimal(budget)
        except ArithmeticError:
            most = Decimal("nan")
        if not most.is_finite() or not 0 <= most <= _MOST_USD:
            raise CommandFailed(
                f"--budget {budget} is not an amount.", "Give US dollars, for example 2.50.", EXIT_USAGE
            )
        asyncio.run(_run(_Task(agent, data, metric, most, node, optimiser, trials, model, json)))


async def _run(task: _Task) -> None:
    # These imports are late, because they load the agents' engine and DSPy, which the command line otherwise does not need.
    from responsa_lab.optimising import program
    from responsa_lab.optimising.data import read
    from responsa_lab.optimising.decision import decision
    from responsa_lab.optimising.record import Record, Stopped
    from responsa_server.agents.config.content import Content, packed
    from responsa_server.app.models import model_table
    from responsa_server.app.settings import load
    from responsa_server.calls.convert import structs
    from responsa_server.embedded.layout import Layout

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_async_client())
        base = await client.agent_version((await client.agent(task.agent)).version)
        if not base.HasField("content"):
            raise CommandFailed(
                "Only owners of the installation see what a version contains.",
                "Use the key of an owner.",
                EXIT_USAGE,
            )
        content = Content.model_validate(structs.whole("content", base.content))
        settings = load()
        models = model_table(settings.language_models, Layout.of(settings.home))
        stack.push_async_callback(models.close)
        name = task.model or next(iter(content.chain), "")
        if not name:
            raise CommandFailed(
                f"The agent “{task.agent}” has no model.", "Name one with --model.", EXIT_USAGE
            )
        if (problem := models.problem(name)) is not None or (model := models.chain([name])) is None:
            raise CommandFailed(
                problem or f"{name} is not a model.", "Name another one with --model.", EXIT_USAGE
            )
        if (price := models.price(name)) is None:
            raise CommandFailed(
                f"The price of {name} is not known, so a budget cannot be kept.",
                "Name another model with --model.",
                EXIT_USAGE,
            )
        before = decision(content, task.node, model)
        if task.optimiser is Optimiser.INSTRUCTION and not before.instruction:
            raise CommandFailed(
                f"The instruction of the prompt “{before.prompt}” cannot be replaced, because it does not include parts/examples.md.",
                "Use --optimiser examples.",
                EXIT_USAGE,
            )
        data = read(task.data, before.labels, {plain(one.text): one.label for one in before.examples})
        key = hashlib.sha256(packed(content) + f"{data.sha256} {name} {before.node}".encode()).hexdigest()
        budget, small = int(task.budget * 1_000_000), name in models.small([name])
        record = Record(settings.home / _FOLDER / key[:16], name, model, price, budget, small=small)

        async def measured(content: Content) -> Mapping[Metric, Interval]:
            shares = {
                metric: share(
                    await program.right(content, before.node, model, data.test, metric.good, record)
                )
                for metric in Metric
            }
            return {metric: one for metric, one in shares.items() if one is not None}

        try:
            first = await measured(content)
            best = await program.search(
                before,
                data,
                task.metric.good,
                record,
                model,
                instructions=task.optimiser is Optimiser.INSTRUCTION,
                trials=task.trials,
            )
            better = before.version(best.instruction, best.first)
            second = await measured(better)
        except Stopped as stopped:
            raise CommandFailed(str(stopped), "", EXIT_FAILED) from None
        if better == before.version(before.instruction, ()):
            raise CommandFailed(
                f"No candidate is better than {base.name} on the messages that decide, so no version is made.",
                "Give other messages, or more --trials.",
            )
        card: dict[str, Any] = {
            "made_by": "responsa optimise",
            "base": base.name,
            "node": before.node,
            "model": name,
            "metric": task.metric.value,
            "optimiser": f"{task.optimiser.value}, {task.trials} trials, DSPy {program.VERSION}",
            "data": {
                "sha256": data.sha256,
                "train": len(data.examples) + len(data.chosen),
                "test": len(data.test),
            },
            "before": _plain(first),
            "after": _plain(second),
            "calls": record.calls,
            "cost_usd": record.spent_micros / 1e6,
        }
        made = await client.create_agent_version(
            task.agent, content=better.model_dump(mode="json", by_alias=True), card=card
        )
        _print(made.name, card, first, second, task.json)


def _plain(shares: Mapping[Metric, Interval]) -> dict[str, list[float | None]]:
    return {
        metric.value: [rounded(one.value), rounded(one.low), rounded(one.high)]
        for metric, one in shares.items()
    }


def _print(
    version: str,
    card: Mapping[str, Any],
    before: Mapping[Metric, Interval],
    after: Mapping[Metric, Interval],
    json: bool,
) -> None:
    if json:
        print_json({"version": version, **{camel(name): value for name, value in card.items()}})
        return
    print_text(f"{'':<8}  {'before':<22}  after")
    for metric in Metric:
        shown = [
            f"{fraction(one.value)} [{fraction(one.low)}, {fraction(one.high)}]"
            for one in (before[metric], after[metric])
        ]
        print_text(f"{metric.value:<8}  {shown[0]:<22}  {shown[1]}")
    print_text(
        f"{card['data']['test']} messages measured, with 95 % intervals. {counted(card['calls'], 'call')} of {card['model']} cost ${card['cost_usd']:.4f}."
    )
    print_text(f"{version} is made. It does not answer until it is published.")
