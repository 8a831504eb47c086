"""Compares searching ten thousand passages with just embedding the question."""

from __future__ import annotations

import time
from typing import Final

from bench import corpus
from bench.figures import Comparison, percentile
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.library import passages_of
from bench.report import Line
from bench.run import MANY, PARAGRAPHS, Run
from responsa_local.embedded import LocalLayout
from responsa_server.providers.minilm import load as load_model
from responsa_server.search.settings import RetrievalSettings

_MODES: Final = ("HYBRID", "VECTOR", "TEXT")


def measure(run: Run) -> list[Line]:
    """Measures p50 and p99 of each search mode with new questions, and the searches per second with 16 streams."""
    missing = run.pick(100, 10) - len(run.many)
    run.say(f"search: uploading {missing} documents of {PARAGRAPHS} paragraphs")
    seconds, passages = run.take_in_more(missing)
    number = passages_of(run.place, MANY)
    title = (
        f"Search in {number:,} passages, compared with a bare loop that only embeds the question (same model)"
    )
    lines = [
        Line.alone(
            title, "taking them in", "passages/s", [passages / seconds], better="more", measured=passages
        )
    ]
    rounds, a_round = run.pick(3, 2), run.pick(150, 50)
    fresh = iter(corpus.questions(run.many, 8 * rounds * a_round))
    model = load_model(
        LocalLayout.of(run.place.home).data / "models", threads=RetrievalSettings().embedding_threads
    )
    target = f"unix:{LocalLayout.of(run.place.home).server_socket}"

    def search(mode: str, streams: int) -> Outcome:
        questions = [next(fresh) for _ in range(a_round)]
        return run.caller.do(
            Job(
                Call.SEARCH,
                Transport.GRPC,
                target,
                run.place.key,
                streams=streams,
                calls=a_round,
                texts=questions,
                collection=MANY,
                mode=f"SEARCH_MODE_{mode}",
            )
        )

    def embed() -> list[float]:
        taken: list[float] = []
        for _ in range(a_round):
            question = next(fresh)
            begun = time.perf_counter()
            model.embed_sync([question])
            taken.append((time.perf_counter() - begun) * 1000)
        return taken

    try:
        for mode in _MODES:
            run.say(f"search: {mode}")
            mine, bare = interleaved(rounds, lambda _, mode=mode: search(mode, 1).totals, lambda _: embed())
            lines += [
                Line.compared(
                    title,
                    f"{mode} p{round(share * 100)}",
                    "ms",
                    "less",
                    Comparison.of(
                        [percentile(one, share) for one in mine], [percentile(one, share) for one in bare]
                    ),
                    rounds * a_round * 2,
                )
                for share in (0.5, 0.99)
            ]
        run.say("search: 16 streams")
        busy = [search("HYBRID", 16).rate for _ in range(rounds)]
        lines.append(
            Line.alone(
                title, "HYBRID, 16 streams", "searches/s", busy, better="more", measured=rounds * a_round
            )
        )
    finally:
        model.close()
    return lines
