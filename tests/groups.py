"""A pytest plugin that decides which tests run in the same process, which begin first, and when a slow fixture ends.

`--dist loadfile` keeps the tests of a file together. This plugin also keeps together the files that share a
slow fixture, so that the fixture starts once for each run instead of once for each process. (pytest 9.2 ignores
pytest-xdist's own marks for groups.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial

import pytest
from _pytest.fixtures import SubRequest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

SHARING: Mapping[str, Sequence[str]] = {
    "scripted": ("tests/browser/",),
    "instance": (
        "tests/cases/",
        "tests/real/test_buckets.py",
        "tests/rpc/test_leaving.py",
        "tests/system/test_backup.py",
        "tests/system/test_bad_input.py",
        "tests/system/test_call.py",
        "tests/system/test_commands.py",
        "tests/system/test_every_transport.py",
        "tests/system/test_fairness.py",
        "tests/system/test_foreign_pages.py",
        "tests/system/test_folders.py",
        "tests/system/test_fuzzed_doors.py",
        "tests/system/test_generated_clients.py",
        "tests/system/test_hostile_set.py",
        "tests/system/test_journey.py",
        "tests/system/test_limits.py",
        "tests/system/test_mixed_folder.py",
        "tests/system/test_monitoring.py",
        "tests/system/test_openapi_calls.py",
        "tests/system/test_old_clients.py",
        "tests/system/test_original_paths.py",
        "tests/system/test_previews.py",
        "tests/system/test_sign_in_attacks.py",
        "tests/system/test_accounts_by_mail.py",
        "tests/system/test_signing_in.py",
        "tests/system/test_traces.py",
        "tests/system/test_widget.py",
        "tests/system/test_wire.py",
    ),
    "manual": ("tests/docs/",),
    "shared_cluster": ("tests/faults/",),
    "bench": (
        "tests/system/test_agents_whole.py",
        "tests/system/test_fallbacks.py",
        "tests/system/test_form_agents.py",
        "tests/system/test_hostile_answers.py",
        "tests/system/test_prompts_used.py",
        "tests/system/test_reload_while_answering.py",
        "tests/system/test_tutorial.py",
    ),
    "second": (
        "tests/system/test_a2a.py",
        "tests/system/test_conformance_cuts.py",
        "tests/system/test_kill.py",
        "tests/system/test_killed_server.py",
        "tests/system/test_mcp.py",
        "tests/system/test_nothing_calls_out.py",
        "tests/system/test_oauth.py",
        "tests/system/test_openai.py",
        "tests/system/test_query_tools.py",
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
    "tests/local/embedded/",
    "shared_cluster",
    "tests/system/",
    "tests/security/",
    "tests/gateway/",
    "tests/contract/",
    "tests/etl/",
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


_ends: dict[str, Callable[[], None]] = {}
"""How to end each slow fixture that has started in this process."""


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: SubRequest
) -> Generator[None, object, object]:
    """Remember how to end a slow fixture."""
    value = yield
    if fixturedef.argname in SHARING:
        _ends[fixturedef.argname] = partial(fixturedef.finish, request)
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """End a slow fixture after the last test of its group. An idle instance uses two percent of a core, and pytest
    would keep it until the end of the run."""
    yield
    group = group_of(item.nodeid)
    if nextitem is not None and group_of(nextitem.nodeid) != group and group in _ends:
        _ends.pop(group)()


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
