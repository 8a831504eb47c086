"""The events of A2A's tasks: what a client has that appends and replaces as they say."""

from __future__ import annotations

import pytest

from responsa.chat.v1 import turn_pb2 as pb
from responsa.chat.v1.chat_service_pb2 import AskResponse
from responsa_server.domain.errors import Unavailable
from responsa_server.transports.a2a.tasks import TaskEvents


def delta(text: str) -> pb.TurnEvent:
    return pb.TurnEvent(delta=pb.TurnDelta(text=text))


def restarted(keep: int) -> pb.TurnEvent:
    return pb.TurnEvent(attempt_restarted=pb.TurnAttemptRestarted(keep_bytes=keep))


def answer(text: str) -> pb.TurnEvent:
    return pb.TurnEvent(answer=pb.TurnAnswer(text=text))


@pytest.mark.parametrize(
    "frames",
    [
        [[delta("Six "), delta("in the")], [delta(" morning.")], [answer("Six in the morning.")]],
        [
            [delta("Sïx at night")],
            [restarted(5)],
            [delta("in the morning.")],
            [answer("Sïx in the morning.")],
        ],
        [[delta("Seven"), restarted(0), delta("Six")], [answer("Six in the morning.")]],
        [[delta("Seven")], [answer("Six.")]],
        [[answer("Six.")]],
        [[pb.TurnEvent(snapshot=pb.TurnSnapshot(terminal_event=answer("Six.")))]],
    ],
    ids=["whole", "sentence withdrawn", "all withdrawn", "another text", "no pieces", "pruned"],
)
def test_the_pieces_are_the_answer(frames: list[list[pb.TurnEvent]]) -> None:
    reading, text, updates = TaskEvents("t", "c"), "", []
    for events in frames:
        for found in reading.events(AskResponse(events=events)):
            if found.HasField("artifact_update"):
                updates.append(found.artifact_update)
                piece = "".join(part.text for part in updates[-1].artifact.parts)
                text = (text if updates[-1].append else "") + piece
    last = frames[-1][-1]
    assert text == (last.snapshot.terminal_event if last.HasField("snapshot") else last).answer.text
    assert [one.last_chunk for one in updates] == [False] * (len(updates) - 1) + [True]


def test_a_reader_is_sent_elsewhere() -> None:
    with pytest.raises(Unavailable, match="subscribe"):
        list(TaskEvents("t", "c").events(AskResponse(events=[pb.TurnEvent(reconnect=pb.TurnReconnect())])))
