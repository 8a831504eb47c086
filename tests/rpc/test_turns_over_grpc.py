"""What a tool has returned, over gRPC."""

from __future__ import annotations

from datetime import UTC

from tests.rpc.served import ANSWER, PAGE, Served
from tests.rpc.streams import asking


async def test_the_source_of_a_tool_is_cited_kept_and_checked(served: Served) -> None:
    caller = served.bob
    frames = await asking(served.bob, "fetch")
    (returned,) = [
        event.tool_result for frame in frames for event in frame.events if event.HasField("tool_result")
    ]
    assert [(source.uri, source.title, source.text) for source in returned.sources] == [
        (PAGE.uri, PAGE.title, PAGE.text)
    ]
    (cited,) = frames[-1].events[-1].answer.citations
    assert (cited.uri, cited.title, cited.passage, cited.document_version) == (PAGE.uri, PAGE.title, "", "")
    result = cited.tool_result
    assert (result.call_id, result.tool, result.source_index) == ("tool-1", "tools/web_search", 0)
    assert result.fetch_time.ToDatetime(UTC) == PAGE.fetch_time
    text = returned.sources[result.source_index].text.encode()
    assert text[cited.source_range.start : cited.source_range.end].decode() == cited.quote == ANSWER

    turn = await caller.GetTurn(name=frames[0].turn)
    listed = await caller.ListMessages(parent=turn.conversation)
    assert list(listed.messages[1].citations) == [cited]
    for name in (turn.name, listed.messages[1].name):
        verified = await caller.VerifyCitations(name=name)
        (check,) = verified.checks
        assert (check.verdict, check.citation, check.source_text) == (1, cited, PAGE.text)
        shown = check.source_text.encode()[check.quote_range.start : check.quote_range.end]
        assert shown.decode() == ANSWER
