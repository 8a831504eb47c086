"""Instances and callers for tests of the whole."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.callers import Registry, Tenant
from tests.instance import Instance, instance_in
from tests.transports import Ways

FERRY = "# A ferry\n\nThe ferry to Skye leaves from Mallaig at six in the morning.\n"
"""What an instance of these tests has in the place of Responsa's own docs."""


class Listener:
    """Somebody else's collector of traces: counts who calls."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.calls = 0
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        # Wakes the thread from `accept`, which closing alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture(scope="session")
def collector() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


@pytest.fixture(scope="session")
def second(collector: Listener) -> Iterator[Instance]:
    """Another instance, beside the shared one, whose parts tests may kill; each leaves it ready. Its user traces LangChain programs."""
    folder = Path(tempfile.mkdtemp(prefix="rss-"))
    docs = folder / "docs"
    docs.mkdir()
    (docs / "ferry.md").write_text(FERRY)
    settings = {
        "RESPONSA_DOCS": str(folder),
        "RESPONSA_TESTING__AGENT": "true",
        "LANGSMITH_TRACING": "true",
        "LANGCHAIN_TRACING_V2": "true",
        "LANGSMITH_API_KEY": "lsv2_none",
        "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "LANGCHAIN_ENDPOINT": f"http://127.0.0.1:{collector.port}",
    }
    try:
        with instance_in(folder, None, **settings) as one:
            yield one
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def ways(instance: Instance) -> Iterator[Ways]:
    """All ways into the shared instance."""
    with Ways(instance.target) as found:
        yield found


@pytest.fixture
def tenant(registry: Registry) -> Tenant:
    """A tenant of the test's own in the shared instance."""
    return registry.new_tenant()
