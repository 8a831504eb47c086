"""Reads streams of turns."""

from __future__ import annotations

from collections.abc import Sequence

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import turn_pb2
from responsa_server.turns.settings import TurnOptions
from tests.rpc.served import Sender

QUICK = TurnOptions(lease_seconds=2.0, sweep_seconds=0.05, poll_seconds=0.05, disconnect_seconds=0.05)
"""Short intervals, for tests that do not check times: longer ones would only slow them down."""
Frames = Sequence[pb.AskResponse] | Sequence[pb.ResumeTurnResponse]


async def asking(
    sender: Sender, text: str, *, include_deltas: bool = False, **fields: object
) -> list[pb.AskResponse]:
    """All frames of a question."""
    return [frame async for frame in sender.Ask(text=text, include_deltas=include_deltas, **fields)]


async def resumed(
    sender: Sender, turn: str, after_seq: int = 0, *, include_deltas: bool = False
) -> list[pb.ResumeTurnResponse]:
    """All frames of a turn after a seq."""
    return [
        frame
        async for frame in sender.ResumeTurn(turn=turn, after_seq=after_seq, include_deltas=include_deltas)
    ]


def events(frames: Frames, after_seq: int = 0) -> list[turn_pb2.TurnEvent]:
    """The log's events, after a check that the frames are contiguous. Events that are not in the log, such as
    heartbeats, are left out; their frames cover no seqs.
    """
    at = after_seq
    result: list[turn_pb2.TurnEvent] = []
    for frame in frames:
        assert frame.after_seq == at
        assert frame.turn == frames[0].turn
        assert all(at < event.seq <= frame.through_seq for event in frame.events if event.seq)
        if frame.through_seq == at:
            assert [event.seq for event in frame.events] == [0]
        at = frame.through_seq
        result += [event for event in frame.events if event.seq]
    return result


def kinds(frames: Frames, after_seq: int = 0) -> list[str | None]:
    """The kinds of the log's events."""
    return [event.WhichOneof("event") for event in events(frames, after_seq)]
