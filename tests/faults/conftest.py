"""One cluster for all campaigns of a test process. Each campaign has its own replicas and its own tenant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.cluster import Cluster, clusters


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    with clusters() as found:
        yield found


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster without replicas. Replicas that a test starts are killed after the test."""
    yield shared_cluster
    shared_cluster.clear()
