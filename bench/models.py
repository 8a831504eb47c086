"""Measures the path from a model's server to the reader: the time of each word, and the effect of two hundred concurrent answers on a worker's event loop."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from bench.figures import percentile
from bench.peers.parts import EvidenceKind
from bench.processes import ROOT, BenchError, free_port, peer, peer_process
from bench.report import Line
from bench.run import Run
from bench.stamps import FOUNDS, READINGS, Found, Reading

TITLE: Final = "Models: from the provider's words to the reader's; provider and reader in separate processes"
_STREAMS: Final = 200
_PACE_MS: Final = 50
"""The number of milliseconds between two words, for twenty words per second."""
_LAGS: Final = TypeAdapter(list[float])
_MOST_RUNNING: Final = {"RESPONSA_TURNS__MAX_RUNNING": "400"}


def measure(run: Run) -> list[Line]:
    """Measures the adapter alone, and the whole path (adapter, graph, log, gRPC)."""
    lines: list[Line] = []
    rounds, words = run.pick(3, 1), run.pick(300, 60)
    with provider(run) as url:
        run.say("models: one answer at a time, through the adapter alone")
        single = Reading(1, 20, 5, rounds=run.pick(100, 20), url=url)
        alone = [read(single) for _ in range(rounds)]
        run.say(f"models: {_STREAMS} answers at a time, through the adapter alone")
        many = Reading(_STREAMS, words, _PACE_MS, url=url, warm_up=20)
        crowd = [read(many) for _ in range(rounds)]
        lines += _lines("adapter alone", alone, crowd, [one.lags for one in crowd])
        lines.append(
            Line.alone(
                TITLE,
                f"adapter alone, {_STREAMS} answers: CPU per word",
                "µs",
                [one.cpu / (_STREAMS * words) * 1e6 for one in crowd],
            )
        )
        run.say("models: one answer at a time, over gRPC")
        with serving(run, url) as (target, _):
            asked = Reading(1, 20, 5, rounds=single.rounds, target=target, key=run.place.key)
            read(Reading(1, 2, 1, rounds=10, target=target, key=run.place.key))
            one_turn = [read(asked) for _ in range(rounds)]
        turns: list[Found] = []
        lags: list[Sequence[float]] = []
        for _ in range(rounds):
            run.say(f"models: {_STREAMS} answers at a time, over gRPC")
            with serving(run, url) as (target, looks):
                turns.append(
                    read(
                        Reading(
                            _STREAMS, words, _PACE_MS, target=target, key=run.place.key, warm_up=words // 3
                        )
                    )
                )
            # The lag is sampled every five milliseconds. There are no streams at the start, so only the last samples count: as
            # many as fit into half the duration of a stream.
            lags.append(looks[-int(words * _PACE_MS / 5 / 2) :])
        lines += _lines("durable turn over gRPC", one_turn, turns, lags)
    return lines


def _lines(
    what: str, alone: Sequence[Found], crowd: Sequence[Found], lags: Sequence[Sequence[float]]
) -> list[Line]:
    streams = f"{what}, {_STREAMS} answers of {1000 // _PACE_MS} words per second"

    def line(name: str, values: Sequence[Sequence[float]], share: float) -> Line:
        figures = [percentile(one, share) for one in values]
        return Line.alone(TITLE, name, "ms", figures, measured=sum(map(len, values)))

    return [
        line(
            f"{what}: from the provider's first byte to the first delta, p50 (limit: 5 ms)",
            [one.firsts for one in alone],
            0.5,
        ),
        line(f"{what}: the same, p99", [one.firsts for one in alone], 0.99),
        line(f"{streams}: time of a word, p50", [one.words for one in crowd], 0.5),
        line(f"{streams}: time of a word, p99", [one.words for one in crowd], 0.99),
        line(f"{streams}: the loop's lag, p99 (limit: 20 ms)", lags, 0.99),
    ]


@contextmanager
def provider(run: Run) -> Generator[str]:
    """Runs the model's server. Yields the URL for the adapter."""
    port = free_port()
    with peer(run.place, "bench.peers.provider", "--port", str(port)):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def serving(run: Run, url: str, more: Mapping[str, str] | None = None) -> Generator[tuple[str, list[float]]]:
    """Runs a durable server with an agent that calls this model. more: further settings. Yields the server's gRPC target and a list. When the server has ended, the list receives the
    lags of the server's event loop.
    """
    settings = {
        **_MOST_RUNNING,
        **(more or {}),
        "RESPONSA_MODELS__SERVERS__BENCH__URL": url,
        "RESPONSA_MODELS__SERVERS__BENCH__CONCURRENT": "400",
    }
    with tempfile.TemporaryDirectory(prefix="responsa-lags-") as folder:
        file, lags = Path(folder) / "lags.json", list[float]()
        ended = ["--evidence", EvidenceKind.MODEL, "--lags", str(file)]
        with peer_process(run.place, "bench.peers.durable", *ended, settings=settings) as (target, _):
            yield target, lags
        lags += _LAGS.validate_json(file.read_bytes())


def read(reading: Reading) -> Found:
    """Does a reading in a separate process. Raises BenchError."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.stamps"],
        cwd=ROOT,
        input=READINGS.dump_json(reading).decode() + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    line = done.stdout.strip()
    if done.returncode != 0 or not line:
        raise BenchError(f"the reading process ended: {done.stderr[-2000:]}")
    found = json.loads(line)
    if "error" in found:
        raise BenchError(f"{reading.streams} streams of stamps: {found['error']}")
    return FOUNDS.validate_python(found)
