"""A pytest plugin that decides which tests run in the same process, and which begin first.

`--dist loadfile` keeps the tests of a file together. This plugin also keeps together the files that share a
slow fixture, so that the fixture starts once for each run instead of once for each process. (pytest 9.2 ignores
pytest-xdist's own marks for groups.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

SHARING: Mapping[str, Sequence[str]] = {
    "scripted": ("tests/browser/",),
    "instance": (
        "tests/cases/",
        "tests/rpc/test_leaving.py",
        "tests/system/test_bad_input.py",
        "tests/system/test_commands.py",
        "tests/system/test_journey.py",
        "tests/system/test_wire.py",
    ),
    "manual": ("tests/docs/",),
    "bench": (
        "tests/system/test_agents_whole.py",
        "tests/system/test_fallbacks.py",
        "tests/system/test_prompts_used.py",
        "tests/system/test_reload_while_answering.py",
        "tests/system/test_tutorial.py",
    ),
    "second": (
        "tests/system/test_kill.py",
        "tests/system/test_nothing_calls_out.py",
        "tests/system/test_replicas_by_hand.py",
        "tests/system/test_soak.py",
    ),
}
"""Each slow fixture, and the files of all tests that use it."""
FIRST = (
    "scripted",
    "instance",
    "second",
    "bench",
    "manual",
    "tests/embedded/",
    "tests/faults/",
    "tests/system/",
    "tests/clients/test_real_server.py",
    "tests/security/",
    "tests/gateway/",
    "tests/contract/",
)
"""The longest groups begin first, so that no process runs one of them alone at the end."""


def group_of(nodeid: str) -> str:
    """The group of a test: the fixture that the test's file shares with other files, or else the file."""
    file = nodeid.partition("::")[0]
    return next((name for name, places in SHARING.items() if file.startswith(tuple(places))), file)


def _turn(item: pytest.Item) -> int:
    group = group_of(item.nodeid)
    return next((place for place, one in enumerate(FIRST) if group.startswith(one)), len(FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests, and check `SHARING` against the fixtures that they use. Raises UsageError."""
    for item in items:
        used = [name for name in SHARING if name in getattr(item, "fixturenames", ())]
        if used and group_of(item.nodeid) not in used:
            raise pytest.UsageError(
                f"{item.nodeid} uses the fixture `{used[0]}`: its file belongs in tests/groups.py"
            )
    items.sort(key=_turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """The scheduler of `--dist loadfile`, but with these groups instead of files, and in this order."""
    if config.getoption("dist") != "loadfile":
        return None
    # pytest-xdist would sort the groups by their number of tests, and a file with one test that takes minutes would come last.
    config.option.loadscopereorder = False
    return _Groups(config, log)


class _Groups(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
