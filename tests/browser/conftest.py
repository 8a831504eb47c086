"""The real page in headless Chromium, served by a whole real instance."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from responsa_client import Responsa
from tests.browser.person import PATIENCE, Person
from tests.callers import Credential, Registry
from tests.instance import Instance, instance_in, short_folder
from tools.programs import BROWSERS

# Chromium opens two hidden pages for the address bar of each window, which take a second of CPU time. It asks its user
# before pages of another origin call this
# machine. The other features are those that Playwright switches off: of two lists, Chromium reads only the last.
NO_FEATURES = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "LocalNetworkAccessChecks",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
ARGUMENTS = (
    f"--disable-features={','.join(NO_FEATURES)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


ELSEWHERE = "http://elsewhere.localhost"
"""An origin whose pages may call the instance."""


def chromium() -> str:
    """The path of the system's Chromium, or of its headless shell. Without Chromium, the tests fail; they are never skipped."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.fail("Chromium is missing: `make ready` installs it")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser per run; each `Person` has separate profiles."""
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield started
        finally:
            await started.close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[Instance]:
    """An instance for these tests. It has the agents in the folder `agents` and the testing agent, whose answers take as long as the
    question says.

    Tests may kill the server of this instance. The server then restarts.
    """
    with short_folder() as folder:
        # Tests break some of the agents, so the instance gets a copy.
        agents = shutil.copytree(Path(__file__).parent / "agents", folder / "agents")
        with instance_in(
            folder,
            RESPONSA_DOCS="none",
            RESPONSA_TESTING__AGENT="true",
            RESPONSA_MODELS__SCRIPTED="true",
            RESPONSA_AGENTS__FOLDER=str(agents),
            RESPONSA_ALLOWED_ORIGINS=ELSEWHERE,
            RESPONSA_SOURCES__PATHS=str(folder / "shared" / "{tenant}"),
            RESPONSA_RETRIEVAL__SEARCH_SECONDS="30",  # tests lock tables, and a search must then wait
        ) as one:
            yield one


@pytest.fixture(scope="session")
def instance(scripted: Instance) -> Instance:
    """The instance of `scripted`. All tests can share it, because every user at a browser has separate documents."""
    return scripted


@pytest.fixture(scope="session")
def registry(scripted: Instance) -> Iterator[Registry]:
    """The registry of the instance that the browser tests share."""
    found = Registry(scripted)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def client(instance: Instance, registry: Registry) -> Iterator[Responsa]:
    """The public client of the administrator of this test's tenant. Tests use it to prepare the tenant and to read the server's state."""
    with Responsa(instance.url, api_key=registry.new_tenant().key(Credential.ADMIN)) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def person(instance: Instance, browser: Browser, client: Responsa) -> AsyncIterator[Person]:
    """The tenant's administrator at a browser. At the end, the page must not have reported an error or a breach of its security policy."""
    async for one in at_browser(instance, browser, client):
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def colleague(instance: Instance, browser: Browser, registry: Registry) -> AsyncIterator[Person]:
    """A user at a browser without the role ADMIN."""
    with Responsa(instance.url, api_key=registry.new_tenant().key(Credential.USER)) as client:
        async for one in at_browser(instance, browser, client):
            yield one


@pytest_asyncio.fixture(loop_scope="session")
async def owner(instance: Instance, browser: Browser) -> AsyncIterator[Person]:
    """The owner of the installation at a browser."""
    with Responsa(instance.url, api_key=instance.key) as client:
        async for one in at_browser(instance, browser, client):
            yield one


@pytest_asyncio.fixture(loop_scope="session")
async def asker(instance: Instance, browser: Browser, client: Responsa) -> AsyncIterator[Person]:
    """Like `person`, but asks the scripted agent."""
    async for one in at_browser(instance, browser, client):
        one.agent = "testing"
        yield one


async def at_browser(instance: Instance, browser: Browser, client: Responsa) -> AsyncIterator[Person]:
    """A user at a browser. After the test, the page must not have reported an error."""
    one = Person(instance.url, browser, client)
    try:
        yield one
        assert one.troubles == []
    finally:
        await one.leave()
