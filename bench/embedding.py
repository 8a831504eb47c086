"""The server of embedding models that benchmarks use where a model in the server's own process would hide what is measured."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from responsa_lab.testing.embeddings import EmbeddingServer


@contextmanager
def embedding_server() -> Generator[str]:
    """Runs the server of the embedding models in another process. Yields its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield str(ours.recv())
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection) -> None:
    async def work() -> None:
        server = EmbeddingServer(384)
        await server.start()
        pipe.send(server.url)
        await asyncio.Event().wait()

    asyncio.run(work())
