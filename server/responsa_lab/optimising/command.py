"""The command `responsa optimise`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from responsa_lab.evaluation.metrics import camel, fraction, plain, round_off, share
from responsa_server.cli.output import EXIT_FAILED, EXIT_USAGE, CommandFailed, print_json, print_text
from responsa_server.cli.session import open_async_client
from responsa_server.domain.formatting import counted

_MISSING: Final = CommandFailed(
    "DSPy is not installed.",
    "Install the extra: pip install 'responsa[optimise]'.",
    EXIT_USAGE,
)
_FOLDER: Final = "optimise"
_MOST_USD: Final = 1_000_000


class AnswerMetric(StrEnum):
    """What makes an answer good. RIGHT: the label is right. REFUSED: the message is out of scope, or not, as the label
    says. CITED: the queries find a document that must be cited."""

    RIGHT = "right"
    REFUSED = "refused"
    CITED = "cited"


class Optimiser(StrEnum):
    """EXAMPLES: BootstrapFewShotWithRandomSearch. INSTRUCTION: MIPROv2."""

    EXAMPLES = "examples"
    INSTRUCTION = "instruction"


@dataclass(frozen=True, slots=True)
class _Task:
    agent: str
    data: Path
    metric: AnswerMetric | None
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
    agent: str,
    data: Annotated[Path, typer.Option("--data")],
    budget: Annotated[str, typer.Option("--budget", metavar="USD")],
    metric: Annotated[AnswerMetric | None, typer.Option("--metric")] = None,
    node: Annotated[str, typer.Option("--node")] = "",
    optimiser: Annotated[Optimiser, typer.Option("--optimiser")] = Optimiser.EXAMPLES,
    trials: Annotated[int, typer.Option("--trials", min=2, max=200)] = 10,
    model: Annotated[str, typer.Option("--model")] = "",
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Improve how a model of an agent sorts messages or writes queries, on labelled ones, and create a version of the
    agent with the result. The version does not answer until an owner publishes it.

    The command calls the model itself, with the settings of this machine. Only owners of the installation may use it. A
    run that stopped goes on if the same command is run again.

    Args:
        agent: The agent's id.
        data: A file with one JSON object on each line: {id, text, part, label}, or for queries {id, text, part,
            documents, contains, refused, parameters}. The part is train or test.
        budget: The most that the model's calls may cost, with those of earlier runs that this run goes on from.
        metric: What decides: the right label (default), or whether the message is refused as out of scope; for
            queries, whether they find what must be cited.
        node: The agent's node that decides or writes queries; needed if the agent has several.
        optimiser: What to look for: better examples (random search), or a better instruction too (MIPROv2).
        trials: How many candidates to compare.
        model: The model, as provider:model. By default, the first model of the agent.
        json: Print one JSON object.
    """
    from responsa_local.commands.failures import reporting

    with reporting(json=json):
        if find_spec("dspy") is None or find_spec("optuna") is None:
            raise _MISSING
        try:
            limit = Decimal(budget)
        except ArithmeticError:
            limit = Decimal("nan")
        if not limit.is_finite() or not 0 <= limit <= _MOST_USD:
            raise CommandFailed(
                f"--budget {budget} is not an amount.", "Give US dollars, for example 2.50.", EXIT_USAGE
            )
        asyncio.run(_run(_Task(agent, data, metric, limit, node, optimiser, trials, model, json)))


async def _run(task: _Task) -> None:
    # These imports are late, because they load the agents' engine and DSPy, which the command line otherwise does not need.
    from responsa_lab.optimising import program
    from responsa_lab.optimising.messages import Messages
    from responsa_lab.optimising.nodes import Answering, find_tunable, rename_prompt
    from responsa_lab.optimising.questions import Questions, documents
    from responsa_lab.optimising.record import Record, Stopped
    from responsa_local.embedded.layout import LocalLayout
    from responsa_server.agents.config.content import Content, pack, unpack
    from responsa_server.agents.engine.config import AgentConfig
    from responsa_server.app.models import model_table
    from responsa_server.app.settings import load
    from responsa_server.calls.convert import structs

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_async_client())
        base = await client.agent_version((await client.agent(task.agent)).version)
        if not base.HasField("content"):
            raise CommandFailed(
                "Only owners of the installation see what a version contains.",
                "Use the key of an owner.",
                EXIT_USAGE,
            )
        # The keys of a message have no order. That of the stored version makes equal prompts.
        content = unpack(pack(Content.model_validate(structs.whole("content", base.content))))
        settings = load()
        models = model_table(settings.models, LocalLayout.of(settings.home))
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
        node = await find_tunable(content, task.node)
        # The server asks the agent's own models about questions.
        asked = [name] if node.decides else [name, *content.chain]
        prices = {name: models.price(name) for name in asked}
        if unpriced := [key for key, price in prices.items() if price is None]:
            raise CommandFailed(
                f"The price of {unpriced[0]} is not known, so a budget cannot be kept.",
                "Name another model with --model."
                if unpriced == [name]
                else "Choose an agent whose models have known prices.",
                EXIT_USAGE,
            )
        if task.optimiser is Optimiser.INSTRUCTION and not node.instruction:
            why = "its prompt does not include parts/examples.md" if node.decides else "it writes queries"
            raise CommandFailed(
                f"The instruction of the node “{node.name}” cannot be replaced, because {why}.",
                "Use --optimiser examples.",
                EXIT_USAGE,
            )
        metric = task.metric or (AnswerMetric.RIGHT if node.decides else AnswerMetric.CITED)
        if (metric is AnswerMetric.CITED) is node.decides:
            raise CommandFailed(
                f"The metric “{metric.value}” does not fit the node “{node.name}”.",
                "Leave --metric out.",
                EXIT_USAGE,
            )
        config, known = AgentConfig.model_validate(content.config), {plain(row.text) for row in node.examples}
        if node.decides:
            work = Messages(node, task.data, known, metric)
        else:
            free = not any(price.input or price.output for price in prices.values() if price)
            work = Questions(
                client,
                config,
                task.data,
                known,
                await documents(client),
                free=free,
                small=bool(models.small(content.chain)),
            )
        data, price = work.data, prices[name]
        assert price is not None
        key = hashlib.sha256(pack(content) + f"{data.sha256} {name} {node.name}".encode()).hexdigest()
        budget, small = int(task.budget * 1_000_000), name in models.small([name])
        record = Record(settings.home / _FOLDER / key[:16], name, model, price, budget, small=small)
        card: dict[str, Any] = {
            "made_by": "responsa optimise",
            "base": base.name,
            "node": node.name,
            "model": name,
            "metric": metric.value,
            "optimiser": f"{task.optimiser.value}, {task.trials} trials, DSPy {program.VERSION}",
            "data": {
                "sha256": data.sha256,
                "train": len(data.examples) + len(data.chosen),
                "test": len(data.test),
            },
        }
        candidates = dict[program.CandidatePrompt, Answering]()

        async def label(candidate: program.CandidatePrompt, text: str) -> str:
            if candidate not in candidates:
                version = node.version(candidate.instruction, candidate.first)
                candidates[candidate] = Answering(version, node.name, record)
            return node.label(await candidates[candidate].output(text))

        async def create(content: Content, card: Mapping[str, Any]) -> str:
            document = content.model_dump(mode="json", by_alias=True)
            document["config"].pop("standard", None)  # it has prompts and steps of its own now
            return (await client.create_agent_version(task.agent, content=document, card=card)).name

        try:
            best = await program.search(
                node,
                data,
                label,
                work.score,
                record,
                instructions=task.optimiser is Optimiser.INSTRUCTION,
                trials=task.trials,
            )
            if best == program.CandidatePrompt(node.instruction, ()):
                raise CommandFailed(
                    f"No candidate is better than {base.name} on the {data.what}s that decide, so no version is made.",
                    f"Give other {data.what}s, or more --trials.",
                )
            better = node.version(best.instruction, best.first)
            first = await work.measure(content, base.name, record)
            if not node.decides:
                # Only a server asks a whole version, and a version's card does not change. So the version that is
                # measured has another name for the file of its prompt.
                card["measured"] = await create(
                    rename_prompt(better, node.options.prompt), {**card, "trial": True}
                )
            second = await work.measure(better, card.get("measured", ""), record)
        except Stopped as stopped:
            raise CommandFailed(str(stopped), "", EXIT_FAILED) from None
        card |= {
            "before": _figures(first),
            "after": _figures(second),
            "calls": record.calls,
            "cost_usd": record.spent_micros / 1e6,
        }
        _print(await create(better, card), data.what, card, task.json)


def _figures(results: Mapping[str, Sequence[bool]]) -> dict[str, list[float | None]]:
    """The share of each metric, and its interval."""
    shares = {metric: ci for metric, values in results.items() if (ci := share(values)) is not None}
    return {
        metric: [round_off(part) for part in (ci.value, ci.low, ci.high)] for metric, ci in shares.items()
    }


def _print(version: str, what: str, card: Mapping[str, Any], json: bool) -> None:
    if json:
        print_json({"version": version, **{camel(name): value for name, value in card.items()}})
        return
    print_text(f"{'':<8}  {'before':<22}  after")
    for metric in card["before"]:
        shown = ["{} [{}, {}]".format(*map(fraction, card[when][metric])) for when in ("before", "after")]
        print_text(f"{metric:<8}  {shown[0]:<22}  {shown[1]}")
    print_text(
        f"{card['data']['test']} {what}s measured, with 95 % intervals. {counted(card['calls'], 'call')} cost ${card['cost_usd']:.4f}."
    )
    print_text(f"{version} is made. It does not answer until it is published.")
