"""The optimisers of DSPy over an agent's decision. A candidate's prompt is the one that the agent sends, and every call of a model goes to a `Record`: DSPy itself calls no model.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

# Set before the import: the progress bars of DSPy would mix with what the command prints.
os.environ["TQDM_DISABLE"] = "1"

import dspy
import optuna
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from dspy.teleprompt import BootstrapFewShotWithRandomSearch, MIPROv2

from responsa_lab.optimising.data import Labelled
from responsa_lab.optimising.data import Message as LabelledMessage
from responsa_lab.optimising.decision import Decision, asker, decision
from responsa_lab.optimising.record import Record, Stopped
from responsa_server.agents.config.content import Content
from responsa_server.domain.intents import Example
from responsa_server.domain.models import ChatModel, ModelPrompt, PromptMessage, Role

VERSION: Final = str(dspy.__version__)
_PROPOSAL_TOKENS: Final = 1000
_SEED: Final = 9
_TRACES: Final = 8
"""The most demonstrations that a candidate takes from what the model got right; the others are drawn from the labelled messages."""
_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an optimiser found best. instruction: as in `Decision`. first: the examples to show first."""

    instruction: str
    first: Sequence[Example]


class _Engine:
    """Implements DSPy's port to models. prompts: the agent's prompts by their texts, because DSPy passes on nothing but texts."""

    def __init__(self, record: Record, loop: asyncio.AbstractEventLoop) -> None:
        self._record = record
        self._loop = loop
        self.prompts = dict[Sequence[str], ModelPrompt]()

    def complete(self, request: Request) -> Response:
        text = asyncio.run_coroutine_threadsafe(self._record.ask(self._prompt(request)), self._loop).result()
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text or " ")]),
            finish_reason="stop",
            usage=Usage(),
        )

    def _prompt(self, request: Request) -> ModelPrompt:
        system = request.system or ""
        said = system if isinstance(system, str) else "".join(part.text for part in system)
        texts = (said, *(message.text or "" for message in request.messages))
        if (known := self.prompts.get(texts)) is not None:
            return known
        return ModelPrompt(
            [PromptMessage(Role.SYSTEM, said), *(PromptMessage(Role.USER, one) for one in texts[1:])],
            "optimise",
            max_tokens=_PROPOSAL_TOKENS,
            temperature=request.config.temperature,
            purpose="optimise",
        )


class _Adapter(dspy.ChatAdapter):
    """Asks the agent's own prompt for the decision. All other questions, those for instructions, are asked in DSPy's form; a small model that does not keep to it has answered with its whole text."""

    def __init__(self, base: Decision, model: ChatModel, engine: _Engine) -> None:
        super().__init__(use_json_adapter_fallback=False)
        self._base = base
        self._model = model
        self._engine = engine

    def format(
        self, signature: Any, demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        if "message" not in signature.input_fields:
            return super().format(signature, demos, inputs)
        content = self._base.version(signature.instructions, _examples(demos))
        shown = decision(content, self._base.node, self._model)
        prompt = shown.asking(inputs["message"], asker(content, self._model))
        self._engine.prompts[tuple(message.text for message in prompt.messages)] = prompt
        return [{"role": message.role.value, "content": message.text} for message in prompt.messages]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        if "label" in signature.output_fields:
            return {"label": self._base.label(completion)}
        try:
            return super().parse(signature, completion)
        except dspy.utils.exceptions.AdapterParseError:
            if len(signature.output_fields) != 1:
                raise
            return {next(iter(signature.output_fields)): completion.strip()}


Metric = Callable[[str, str], bool]
"""Whether an answer is good, from the right label and the label that the model chose."""


async def search(
    base: Decision,
    data: Labelled,
    metric: Metric,
    record: Record,
    model: ChatModel,
    *,
    instructions: bool,
    trials: int,
) -> Candidate:
    """The best candidate.

    Args:
        instructions: whether MIPROv2 also has the model write instructions. Otherwise, only examples are chosen, by a random search.
        trials: the number of candidates that are compared.

    Raises Stopped.
    """
    engine = _Engine(record, asyncio.get_running_loop())
    lm = dspy.LM(record.name, engine=engine, cache=False, num_retries=0)
    adapter = _Adapter(base, model, engine)

    def good(right: Any, found: Any, trace: object = None) -> bool:
        return metric(right.label, found.label)

    def run() -> Any:
        logging.getLogger("dspy").setLevel(logging.CRITICAL)
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        student = dspy.Predict(dspy.Signature("message -> label", base.instruction or "-"))
        common = {
            "max_bootstrapped_demos": _TRACES,
            "max_labeled_demos": _SHOWN,
            "num_threads": 4,
            "max_errors": 1,
        }
        sets = {"trainset": _given(data.examples), "valset": _given(data.chosen)}
        with (
            dspy.context(lm=lm, adapter=adapter),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            if not instructions:
                found = BootstrapFewShotWithRandomSearch(good, num_candidate_programs=trials, **common)
                return found.compile(student, **sets)
            found = MIPROv2(good, auto=None, num_candidates=max(2, trials // 2), seed=_SEED, **common)
            return found.compile(
                student, num_trials=trials, minibatch=False, program_aware_proposer=False, **sets
            )

    try:
        best = await asyncio.to_thread(run)
    except asyncio.CancelledError:
        record.stopped = Stopped("The run was stopped.")  # the thread goes on until its next call
        raise
    except Exception as error:
        # DSPy wraps what a call raises, and goes on after some failures.
        raise record.stopped or error from None
    if record.stopped is not None:
        raise record.stopped
    instruction, first = best.signature.instructions if base.instruction else "", _examples(best.demos)
    if instruction != base.instruction:
        # DSPy keeps a new instruction that is merely as good, even if the model pays no attention to it.
        old, new = [
            await right(base.version(one, first), base.node, model, data.chosen, metric, record)
            for one in (base.instruction, instruction)
        ]
        instruction = instruction if sum(new) > sum(old) else base.instruction
    return Candidate(instruction, first)


async def right(
    content: Content,
    node: str,
    model: ChatModel,
    messages: Sequence[LabelledMessage],
    metric: Metric,
    record: Record,
) -> Sequence[bool]:
    """Whether a version's answer to each message is good, in the order of the messages. Raises Stopped."""
    shown, asks = decision(content, node, model), asker(content, model)
    answers = await asyncio.gather(*(record.ask(shown.asking(one.text, asks)) for one in messages))
    return [metric(one.label, shown.label(answer)) for one, answer in zip(messages, answers, strict=True)]


def _given(messages: Sequence[LabelledMessage]) -> Sequence[Any]:
    return [dspy.Example(message=one.text, label=one.label).with_inputs("message") for one in messages]


def _examples(demos: Sequence[Mapping[str, Any]]) -> Sequence[Example]:
    return [Example(one["message"], one["label"]) for one in demos if one["label"]]
