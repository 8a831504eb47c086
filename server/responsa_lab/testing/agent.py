"""The agent `agents/testing`. A model decides, the agent calls a tool if the script says so, and the model writes the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from responsa_lab.testing.script import (
    MODEL,
    TOOL_CALL_TOKENS,
    TOOLS,
    ScriptedCut,
    parse,
    read_tokens,
    speak,
    tool_arguments,
)
from responsa_lab.testing.servers import ModelServer, ToolSink, endpoint
from responsa_server.agents.engine.agent import AgentOptions, PlannedAgent
from responsa_server.agents.engine.config import CallLimits, Traits
from responsa_server.agents.engine.graph import BEGIN, FINISH, Plan, Route
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.prompt import Prompt, PromptOptions
from responsa_server.agents.nodes.tool_calls import CallTool
from responsa_server.domain.agents import AnswerTask, Emit
from responsa_server.domain.events import Terminal, Usage
from responsa_server.domain.faults import Faults
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Role,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand
from responsa_server.domain.tools import MAX_RESULT_BYTES, Effect, FixedTools, Tool, ToolCard
from responsa_server.domain.turns import Question
from responsa_server.outbound.connector import Connector
from responsa_server.providers.openai_chat import OpenAiChat
from responsa_server.providers.settings import CompatibleSettings
from responsa_server.tools.endpoint import Endpoint
from responsa_server.tools.http_api import HttpApiTool, RequestTemplate


class ScriptedModel:
    """A `ChatModel` that sends the same replies as `ModelServer`, chunk by chunk, but without a socket."""

    name = "scripted"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        script = parse([message.text for message in prompt.messages if message.role is Role.USER][-1])
        decides = bool(prompt.tools)
        read, written = read_tokens(prompt.messages), 0
        yield Spent(Usage(input_tokens=read))
        try:
            async for text in speak(script, decides=decides):
                written += 1
                yield TextPiece(text)
        except ScriptedCut:
            raise ModelError(ModelFault.CUT, "as the script says") from None
        if decides and script.tool is not Effect.NONE:
            written += TOOL_CALL_TOKENS
            yield ToolRequest("call-1", TOOLS[script.tool], tool_arguments(script))
        yield Spent(Usage(input_tokens=read, output_tokens=written))
        yield Ended(complete=True)


VERSION: Final = "agents/testing/versions/1"
NO_SOCKET: Final = "in-process"
"""This value in place of a model's URL selects the scripted model without a server."""


def plan(model: ChatModel, tools: Sequence[Tool], time_limit_seconds: float) -> Plan:
    """The graph: the step that decides, then the tool if the model requests one, then the step that writes.
    time_limit_seconds: the limit of the calls of tools."""
    # No usage events are sent, because they would come between the deltas that the fault campaigns compare. The cost of
    # the calls is only in the turn's terminal event.
    traits = Traits(calls=CallLimits(seconds=time_limit_seconds))
    parts = NodeParts(model=model, tools=FixedTools(tools), traits=traits)
    decide = Prompt(parts, "decide", PromptOptions(tools=True), announcement=None, reports_usage=False)
    write = Prompt(parts, "write", reports_usage=False)
    return Plan(
        {"decide": decide, "tool": CallTool(parts), "write": write},
        [
            Route(BEGIN, ("decide",)),
            Route("decide", ("tool", "write"), lambda state: "tool" if state.get("calls") else "write"),
            Route("tool", ("write",)),
            Route("write", (FINISH,)),
        ],
    )


class ScriptedAgent:
    """An `Agent` that follows the question's script. A question that is not a script fails with InvalidRequest before any step runs."""

    history_messages = 0
    older_messages = 0
    titles = True
    asks_models = True

    def __init__(
        self,
        model: ChatModel,
        tools: Sequence[Tool],
        *,
        time_limit_seconds: float = 600.0,
        faults: Faults | None = None,
    ) -> None:
        options = AgentOptions(VERSION, time_limit_seconds, history_messages=0)
        self._agent = PlannedAgent(plan(model, tools, time_limit_seconds), options, faults=faults)

    @property
    def version(self) -> str:
        return self._agent.version

    @property
    def time_limit_seconds(self) -> float:
        return self._agent.time_limit_seconds

    async def admit(self, caller: Principal, question: Question) -> None:
        """See `Agent.admit`. This agent accepts any parameters."""

    def demand(self, question: Question) -> Demand | None:
        return self._agent.demand(question)

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        """See `Agent.answer`. Raises InvalidRequest at once if the question is not a script."""
        parse(task.question.text)
        return await self._agent.answer(task, emit)


def tool_cards() -> dict[Effect, ToolCard]:
    """The cards of the testing agent's two tools. The tools differ in the effect of a repeated call."""
    parameters = {
        "type": "object",
        "properties": {
            "note": {"type": "string"},
            "pause_ms": {"type": "integer"},
            "fail": {"type": "string", "enum": ["none", "error", "cut"]},
        },
        "required": ["note"],
    }
    return {
        effect: ToolCard(name, "Writes down a note, and counts the notes that it has written.", parameters)
        for effect, name in TOOLS.items()
    }


@asynccontextmanager
async def open_agent(
    model_url: str = "",
    tool_url: str = "",
    *,
    time_limit_seconds: float = 600.0,
    faults: Faults | None = None,
) -> AsyncGenerator[ScriptedAgent]:
    """The agent with its model and its tools.

    model_url: the URL of a scripted model server, with `/v1`. tool_url: the URL of a tool sink. If a URL is "", this
    process starts the server, on the loopback interface. If model_url is NO_SOCKET, the agent calls no model server.
    """
    async with AsyncExitStack() as stack:
        if not tool_url:
            sink = ToolSink()
            await sink.start()
            stack.push_async_callback(sink.close)
            tool_url = sink.url
        model = await _model(model_url, stack)
        connector = Connector()
        stack.push_async_callback(connector.close)
        tools: list[HttpApiTool] = []
        for effect, card in tool_cards().items():
            url = endpoint(tool_url, effect)
            # The tool's server is on the loopback interface, or where the command line says.
            reached = Endpoint(
                connector,
                url,
                allow_private=(str(urlsplit(url).hostname),),
                effect=effect,
                limit=MAX_RESULT_BYTES,
            )
            tools.append(
                HttpApiTool(
                    card,
                    reached,
                    RequestTemplate("POST", url, {}, {}, None),
                    effect=effect,
                    timeout_seconds=time_limit_seconds,
                    result="text",
                )
            )
        yield ScriptedAgent(model, tools, time_limit_seconds=time_limit_seconds, faults=faults)


async def _model(url: str, stack: AsyncExitStack) -> ChatModel:
    if url == NO_SOCKET:
        return ScriptedModel()
    if not url:
        server = ModelServer()
        await server.start()
        stack.push_async_callback(server.close)
        url = server.url
    model = OpenAiChat(CompatibleSettings(url=url, continuous_usage=True), MODEL)
    stack.push_async_callback(model.close)
    return model
