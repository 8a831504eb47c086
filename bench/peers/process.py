"""The common code of all peer processes: it reads the arguments, serves, prints that it is ready, and ends together with its parent."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.peers.parts import EvidenceKind

READY = "ready"
"""The line that a peer prints once it serves."""


@dataclass(frozen=True, slots=True)
class PeerArguments:
    """The arguments of a peer. address: a gRPC target, `unix:PATH`. alone: whether every event has its own message."""

    address: str
    evidence: EvidenceKind
    alone: bool


def arguments(description: str, arguments: Sequence[str] | None = None) -> PeerArguments:
    """Reads the arguments from the command line. Exits with a message if they are wrong."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--listen", required=True, metavar="TARGET")
    parser.add_argument(
        "--evidence", type=EvidenceKind, default=EvidenceKind.LIBRARY, choices=list(EvidenceKind)
    )
    parser.add_argument("--one-event-a-message", action="store_true")
    found = parser.parse_args(arguments)
    return PeerArguments(found.listen, found.evidence, found.one_event_a_message)


async def until_told() -> None:
    """Prints that the peer serves, and then waits for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(READY, flush=True)
    await stop.wait()
    sys.stdout.flush()
