"""What servers with OpenAI's protocol have been seen to send, beside what OpenAI sends. Each row is one server's habit:
the data of the events, and what it means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from responsa_server.domain.models import ModelFault, ModelPiece, ToolRequest


@dataclass(frozen=True, slots=True)
class Odd:
    """data: of the events. pieces: what the answer is, its text in one piece; or the fault with which it ends after its text."""

    data: Sequence[str]
    text: str = ""
    calls: Sequence[ModelPiece] = ()
    fault: ModelFault | None = None
    complete: bool = True


def chunk(finish: str | None = None, **delta: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def call(index: int | None, id_: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": id_, "type": "function", "function": function}


def _said(*texts: str, finish: str = "stop") -> Sequence[str]:
    return [*(chunk(content=one) for one in texts), chunk(finish)]


def _cut(reason: str) -> Odd:
    return Odd(_said("The gate opens at", finish=reason), "The gate opens at", fault=ModelFault.CUT)


_TWO: Final = [ToolRequest("a", "search", {"text": "x"}), ToolRequest("b", "note", {})]

ODD: Final[Mapping[str, Odd]] = {
    "Mistral: an error in the middle is a finish reason": _cut("error"),
    "DeepSeek: the machine is full": _cut("insufficient_system_resource"),
    "vLLM: the request was aborted": _cut("abort"),
    "a reason of tomorrow": _cut("paused"),
    "TGI: the end of a sequence": Odd(_said("Yes.", finish="eos_token"), "Yes."),
    "Mistral: the context is full": Odd(_said("Yes", finish="model_length"), "Yes", complete=False),
    "Ollama: all parallel calls have the index 0": Odd(
        [
            chunk(tool_calls=[call(0, "a", "search", '{"text":"x"}')]),
            chunk("tool_calls", tool_calls=[call(0, "b", "note", "{}")]),
        ],
        calls=_TWO,
    ),
    "LM Studio: the id and the name come with each part": Odd(
        [
            chunk(tool_calls=[call(0, "a", "search", '{"te')]),
            chunk(tool_calls=[call(0, "a", "search", 'xt":"x"}')]),
            chunk("tool_calls", tool_calls=[call(1, "b", "note", "{}")]),
        ],
        calls=_TWO,
    ),
    "Groq: parts after the first have neither id nor name": Odd(
        [
            chunk(tool_calls=[call(None, "a", "search", '{"te')]),
            chunk(tool_calls=[call(None, None, None, 'xt":"x"}')]),
            chunk("tool_calls", tool_calls=[call(None, "b", "note", "")]),
        ],
        calls=_TWO,
    ),
    "Mistral: a content is a list of parts": Odd(
        [
            chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "The user asks"}]}]),
            chunk(content=[{"type": "text", "text": "At "}, {"type": "reference", "reference_ids": [1]}]),
            chunk("stop", content=[{"type": "text", "text": "nine."}]),
        ],
        "At nine.",
    ),
    "gpt-oss: messages in channels": Odd(
        _said(
            "<|channel|>ana",
            "lysis<|message|>The user asks <think>.<|end|><|start|>assistant<|channel|>fin",
            "al<|message|>At nine.<|ret",
            "urn|>",
        ),
        "At nine.",
    ),
    "gpt-oss: the final channel alone": Odd(_said("<|channel|>final<|message|>At nine."), "At nine."),
    "gpt-oss: a call of a tool that was not read": Odd(
        _said('<|channel|>commentary to=functions.search<|message|>{"text":"x"}<|call|>'),
        fault=ModelFault.EMPTY,
    ),
    "Magistral: reasoning in brackets": Odd(
        _said("[THI", "NK]Hm [1].[/THINK]", "At nine [1]."), "At nine [1]."
    ),
    "A model told to think aloud: a longer name": Odd(
        _said("<think", "ing>Hm.</thinking>At nine."), "At nine."
    ),
    "Kimi: reasoning between triangles": Odd(_said("◁think▷Hm.◁/think", "▷At nine."), "At nine."),
    "Gemma: reasoning in a channel": Odd(_said("<|channel>thought\nHm.<channel|>At nine."), "At nine."),
    "Seed: a name before the mark": Odd(_said("<seed:think>Hm.</seed:think>At nine."), "At nine."),
}
