"""What the paths of questions make of a turn."""

from __future__ import annotations

from responsa.chat.v1.turn_pb2 import ToolOutcome, Turn, TurnEvent, TurnToolCall, TurnToolResult
from responsa_server.transports.http.original_paths.questions import ROWS


def test_a_query_returns_what_each_tool_returned() -> None:
    (row,) = (row for row in ROWS if row.path == "/agent/query")
    result = TurnToolResult(call_id="1", outcome=ToolOutcome.TOOL_OUTCOME_OK, content="12 degrees")
    events = [
        TurnEvent(seq=2, tool_call=TurnToolCall(call_id="1", tool="tools/weather")),
        TurnEvent(seq=3, tool_result=result),
    ]
    reply = row.shape(Turn(name="turns/1", text="How warm is it?"), {"events": events})
    assert reply is not None
    assert reply["tool_results"] == [{"tool": "weather", "outcome": "ok", "content": "12 degrees"}]
    assert row.events is not None
    assert row.events(Turn(name="turns/1")) == "turns/1"
