"""One cluster for all campaigns of a test process; each campaign brings its own replicas and tenant."""

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
    """The shared cluster without replicas; replicas that a test starts end with it."""
    yield shared_cluster
    shared_cluster.clear()
