"""The optimisers of DSPy over a node of an agent. A candidate is the node of a version, and every call of a model goes
to a `Record`: DSPy itself calls no model.

Import this module late: it needs the extra `optimise`.
"""

# DSPy has no type hints that pyright could check.
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedBaseClass=false

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Final

# Set before the import: the progress bars of DSPy would mix with what the command prints.
os.environ["TQDM_DISABLE"] = "1"

import dspy
import optuna
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from dspy.teleprompt import BootstrapFewShotWithRandomSearch, MIPROv2

from responsa_lab.optimising.data import Item, LabelledSet
from responsa_lab.optimising.nodes import TunedNode
from responsa_lab.optimising.record import Record, Stopped
from responsa_server.domain.intents import Example
from responsa_server.domain.models import ModelPrompt, PromptMessage, Role

VERSION: Final = str(dspy.__version__)
_PROPOSAL_TOKENS: Final = 1000
_SEED: Final = 9
_TRACES: Final = 8
"""The most demonstrations that a candidate takes from what the model got right; the others are drawn from the labelled messages."""
_SHOWN: Final = 24
_NONE: Final = "-"
"""The instruction of a node whose instruction cannot be replaced."""


@dataclass(frozen=True, slots=True)
class CandidatePrompt:
    """What an optimiser compares. instruction: as in `TunedNode`. first: the examples to show first."""

    instruction: str
    first: tuple[Example, ...]


Labels = Callable[[CandidatePrompt, str], Coroutine[Any, Any, str]]
"""The label that a candidate gives a text; "" if the model's answer has not the right shape."""
Score = Callable[[str, str], Coroutine[Any, Any, float]]
"""How good a label is for a text, from 0 to 1."""


class _Engine:
    """Implements DSPy's port to models, for its questions for instructions."""

    def __init__(self, record: Record, loop: asyncio.AbstractEventLoop) -> None:
        self._record = record
        self._loop = loop

    def complete(self, request: Request) -> Response:
        system = request.system or ""
        instruction = system if isinstance(system, str) else "".join(part.text for part in system)
        prompt = ModelPrompt(
            [
                PromptMessage(Role.SYSTEM, instruction),
                *(PromptMessage(Role.USER, message.text or "") for message in request.messages),
            ],
            "optimise",
            max_tokens=_PROPOSAL_TOKENS,
            temperature=request.config.temperature,
            purpose="optimise",
        )
        text = asyncio.run_coroutine_threadsafe(self._record.ask(prompt), self._loop).result()
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text or " ")]),
            finish_reason="stop",
            usage=Usage(),
        )


class _Adapter(dspy.ChatAdapter):
    """Has a candidate label a text. Questions for instructions are asked in DSPy's form; a small model that does not
    keep to it has answered with its whole text."""

    def __init__(self, label: Callable[[CandidatePrompt, str], str]) -> None:
        super().__init__(use_json_adapter_fallback=False)
        self._label = label

    def __call__(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Any,
        demos: Sequence[Mapping[str, Any]],
        inputs: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        if "label" not in signature.output_fields:
            return super().__call__(lm, lm_kwargs, signature, demos, inputs)
        return [{"label": self._label(_candidate(signature, demos), inputs["message"])}]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        try:
            return super().parse(signature, completion)
        except dspy.utils.exceptions.AdapterParseError:
            if len(signature.output_fields) != 1:
                raise
            return {next(iter(signature.output_fields)): completion.strip()}


async def search(
    base: TunedNode,
    data: LabelledSet[Any],
    labels: Labels,
    score: Score,
    record: Record,
    *,
    instructions: bool,
    trials: int,
) -> CandidatePrompt:
    """The best candidate.

    Args:
        instructions: whether MIPROv2 also has the model write instructions. Otherwise, only examples are chosen, by a random search.
        trials: the number of candidates that are compared.

    Raises Stopped.
    """
    loop = asyncio.get_running_loop()
    lm = dspy.LM(record.name, engine=_Engine(record, loop), cache=False, num_retries=0)

    def label(candidate: CandidatePrompt, text: str) -> str:
        return asyncio.run_coroutine_threadsafe(labels(candidate, text), loop).result()

    def good(right: Any, prediction: Any, trace: object = None) -> float:
        return asyncio.run_coroutine_threadsafe(score(right.message, prediction.label), loop).result()

    def run() -> Any:
        logging.getLogger("dspy").setLevel(logging.CRITICAL)
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        student = dspy.Predict(dspy.Signature("message -> label", base.instruction or _NONE))
        common = {
            "max_bootstrapped_demos": _TRACES,
            # Nobody has labelled the best queries.
            "max_labeled_demos": _SHOWN if base.decides else 0,
            "metric_threshold": 1.0,
            "num_threads": 4,
            "max_errors": 1,
        }
        sets = {"trainset": _to_examples(data.examples), "valset": _to_examples(data.chosen)}
        with (
            dspy.context(lm=lm, adapter=_Adapter(label)),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            if not instructions:
                proposer = BootstrapFewShotWithRandomSearch(good, num_candidate_programs=trials, **common)
                return proposer.compile(student, **sets)
            proposer = MIPROv2(good, auto=None, num_candidates=max(2, trials // 2), seed=_SEED, **common)
            return proposer.compile(
                student, num_trials=trials, minibatch=False, program_aware_proposer=False, **sets
            )

    try:
        program = await asyncio.to_thread(run)
    except asyncio.CancelledError:
        record.stopped = Stopped("The run was stopped.")  # the thread goes on until its next call
        raise
    except Exception as error:
        # DSPy wraps what a call raises, and goes on after some failures.
        raise record.stopped or error from None
    if record.stopped is not None:
        raise record.stopped
    best = _candidate(program.signature, program.demos)
    if best.instruction != base.instruction:
        # DSPy keeps a new instruction that is merely as good, even if the model pays no attention to it.
        old = replace(best, instruction=base.instruction)
        if await _total(best, data.chosen, labels, score) <= await _total(old, data.chosen, labels, score):
            return old
    return best


async def _total(candidate: CandidatePrompt, items: Sequence[Item], labels: Labels, score: Score) -> float:
    async def score_of(text: str) -> float:
        return await score(text, await labels(candidate, text))

    return sum(await asyncio.gather(*(score_of(item.text) for item in items)))


def _to_examples(items: Sequence[Any]) -> Sequence[Any]:
    return [dspy.Example(message=item.text, label=item.group).with_inputs("message") for item in items]


def _candidate(signature: Any, demos: Sequence[Mapping[str, Any]]) -> CandidatePrompt:
    text = "" if signature.instructions == _NONE else signature.instructions
    return CandidatePrompt(
        text, tuple(Example(demo["message"], demo["label"]) for demo in demos if demo["label"])
    )
