"""Sources on the page of administrators, and the records of persons: one journey, also in dark colours and on a narrow screen."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from responsa.knowledge.v1 import reader_pb2
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from tests.browser.accounts import account, button, enter
from tests.browser.person import Person
from tests.browser.rules import flaws
from tests.browser.test_administration import administer, rows
from tests.instance import Instance

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAPPING = """connection = "staff"
collection = "people"

[queries.people]
sql = "SELECT id, name, subject, role FROM employee ORDER BY id"
columns = { id = "integer", name = "text", subject = "text", role = "text" }

[documents.profile]
query = "people"
key = "{{ id }}"
title = "Profile of {{ name }}"
subject = "{{ subject }}"
text = "# {{ name }}\\n\\n{{ name }} works as a {{ role }}."
"""


@pytest.fixture
def staff(instance: Instance) -> Iterator[Path]:
    """A connection to a small database, of which one row lacks a value."""
    folder = instance.home / "connections"
    folder.mkdir()
    try:
        with closing(sqlite3.connect(folder / "staff.db")) as connection, connection:
            connection.execute("CREATE TABLE employee (id integer, name text, subject text, role text)")
            people = [(n, f"Person {n}", f"p{n}", "roofer") for n in range(1, 5)]
            connection.executemany("INSERT INTO employee VALUES (?, ?, ?, ?)", people)
            connection.execute("UPDATE employee SET role = NULL WHERE id = 4")
        (folder / "staff.toml").write_text('kind = "sqlite"\nfile = "staff.db"\ntenants = ["*"]\n')
        yield folder / "staff.db"
    finally:
        shutil.rmtree(folder)


class Room:
    """The receiver of a webhook, which accepts nothing at first."""

    def __init__(self) -> None:
        self.status = 500

    async def answer(self, exchange: LoopbackExchange) -> None:
        await exchange.reply(self.status, b"")


@pytest_asyncio.fixture(loop_scope="session")
async def room(instance: Instance) -> AsyncIterator[Room]:
    """A declared webhook."""
    opened = Room()
    server, folder = LoopbackServer(opened.answer), instance.home / "webhooks"
    await server.start()
    folder.mkdir()
    try:
        (folder / "key").write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
        (folder / "room.toml").write_text(
            f'url = "{server.url}/"\nsecret = {{ file = "key" }}\ntenants = ["*"]\nallow_private = ["127.0.0.1"]\n'
        )
        yield opened
    finally:
        shutil.rmtree(folder)
        await server.close()


async def test_a_source_is_made_run_and_shown_to_its_subjects(
    person: Person, staff: Path, room: Room
) -> None:
    person.client.create_collection("people", readers=[reader_pb2.Reader(everyone=True)])
    tab = await administer(person, "sources")
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await expect(page.get_by_text("No sources yet.")).to_be_visible()
    await page.get_by_role("link", name="New source").click()
    await expect(page.get_by_text("Connections that mappings can name: staff.")).to_be_visible()

    # A mistake names its key. That of syntax names its line, and the line is selected.
    mapping = page.get_by_label("Mapping", exact=True)
    await page.get_by_label("Start with").select_option("Pages of a website")
    await expect(mapping).to_have_value(re.compile(r"^\[pages\]$", re.MULTILINE))
    await page.get_by_label("Id", exact=True).fill("people")
    await mapping.fill(MAPPING.replace("{{ role }}", "{{ rloe }}"))
    await button(tab, "Preview").click()
    mistakes = page.get_by_role("list", name="Mistakes in the mapping")
    await expect(mistakes).to_contain_text("there is no column “rloe”")
    await mapping.fill(MAPPING.replace("text = ", "text = = "))
    await button(tab, "Preview").click()
    await expect(mapping).to_be_focused()
    await expect(mapping).to_have_attribute("aria-invalid", "true")
    chosen = await mapping.evaluate("(one) => one.value.slice(one.selectionStart, one.selectionEnd)")
    assert chosen.startswith("text = = ")
    line = len(MAPPING[: MAPPING.index("text = ")].splitlines()) + 1
    await expect(page.locator(".line-numbers .wrong")).to_have_text(str(line))
    heights = await mapping.evaluate("(one) => [one.previousElementSibling.clientHeight, one.clientHeight]")
    assert heights[0] == heights[1]  # all numbers can be seen
    await expect(mistakes.get_by_role("button", name=f"Line {line}")).to_be_visible()
    assert await flaws(page) == []

    await mapping.fill(MAPPING)
    await expect(mistakes).to_have_count(0)
    await button(tab, "Preview").click()
    previewed = rows(tab, "Documents of the preview")
    await expect(previewed).to_have_count(4)
    await expect(previewed.first).to_contain_text("Profile of Person 1")
    await expect(previewed.last).to_contain_text("The column “role” is NULL")
    await button(tab, "Save").click()
    await expect(page.get_by_role("heading", name="people")).to_be_visible()
    assert page.url.endswith("#/administration/sources?source=people")

    await button(tab, "Check now").click()
    runs = page.get_by_role("region", name="Checks")
    await expect(runs).to_contain_text("3 documents created, 1 row failed, 0 unchanged.")
    await expect(rows(tab, "Failed rows")).to_contain_text("profile 4The column “role” is NULL")

    # Many rows are gone: nothing is deleted without a confirmation.
    with closing(sqlite3.connect(staff)) as connection, connection:
        connection.execute("DELETE FROM employee WHERE id IN (2, 3)")
    await button(tab, "Check now").click()
    await expect(runs.get_by_role("alert").first).to_contain_text("would delete 2 of the 3 documents")
    await page.reload()  # the newest run is shown again
    await button(tab, "Delete them").click()
    await expect(dialog).to_contain_text("2 of its 3 documents")
    await dialog.get_by_role("button", name="Check and delete").click()
    await expect(runs).to_contain_text("2 documents deleted, 1 row failed, 1 unchanged.")
    with closing(sqlite3.connect(staff)) as connection, connection:
        connection.execute("UPDATE employee SET role = 'joiner' WHERE id = 4")
    await button(tab, "Try them again now").click()
    await expect(rows(tab, "Failed rows")).to_have_text(["No row has failed."])
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 360, "height": 700})
    assert await flaws(page) == []
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")

    # The notification about the run that wanted a confirmation was refused, and is sent again.
    await page.get_by_role("link", name="All sources").click()
    await page.locator("summary", has_text="Notifications").click()
    notification = rows(tab, "Notifications")
    await expect(notification).to_contain_text("room: needs confirmation")
    await expect(notification).to_contain_text(re.compile(r"\d attempts? failed; the server will try again"))
    await expect(notification).to_contain_text("The receiver answered with the status 500.")
    room.status = 204
    await button(tab, "Send again").click()
    await expect(notification).to_contain_text("delivered")
    await expect(button(tab, "Send again")).to_be_focused()
    assert await flaws(page) == []
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")

    # The subject sees the record, and so do administrators; another user does not.
    ada = account(person.client, "Ada")
    person.client.update_user(ada.user.name, subject="p1")
    theirs = await enter(person, ada, place="#/profile")
    record = theirs.page.get_by_role("region", name="My record")
    await expect(record).to_contain_text("profile · changed")
    await record.get_by_role("link", name="Profile of Person 1").click()
    await expect(theirs.source).to_contain_text("Person 1 works as a roofer.")
    await page.goto(f"{person.url}/#/administration/users?user={ada.user.name}")
    await expect(page.get_by_role("region", name="Record")).to_contain_text("Profile of Person 1")
    assert await flaws(page) == []
    # A record that arrives late is not shown on the page of another user.
    arrived, answered = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        arrived.set()
        await answered.wait()
        await route.continue_()

    profiles = "**/responsa.knowledge.v1.KnowledgeService/GetSubjectProfile"
    await page.route(profiles, late)
    await page.reload()
    await arrived.wait()
    await page.goto(f"{person.url}/#/administration/users?user=users/{uuid.UUID(int=7)}")
    await expect(page.get_by_text("This user doesn’t exist")).to_be_visible()
    async with page.expect_response(profiles) as late_record:
        answered.set()
    await (await late_record.value).finished()
    await page.evaluate("new Promise((painted) => setTimeout(() => requestAnimationFrame(painted)))")
    await expect(page.get_by_role("region", name="Record")).to_have_count(0)
    await page.unroute(profiles)
    await page.goto(f"{person.url}/#/profile")
    await expect(button(tab, "Save")).to_be_visible()
    await expect(page.get_by_role("region", name="My record")).to_have_count(0)

    # The subject's question, and the opinion of its answer.
    await theirs.page.goto(f"{person.url}/{ada.query()}#/")
    await theirs.ask("What does Person 1 work as?")
    helpful = theirs.page.get_by_role("button", name="Helpful", exact=True)
    await helpful.click()
    await expect(helpful).to_have_attribute("aria-pressed", "true")
    await button(theirs, "Comment").click()
    await theirs.page.get_by_role("dialog").get_by_label("Comment").fill("It is right.")
    await theirs.page.get_by_role("dialog").get_by_role("button", name="Send").click()
    await expect(theirs.page.get_by_role("button", name="Edit the comment")).to_be_visible()
    await theirs.page.reload()
    await expect(helpful).to_have_attribute("aria-pressed", "true")
    await expect(theirs.page.get_by_role("button", name="Edit the comment")).to_be_visible()
    assert await flaws(theirs.page) == []


async def test_a_folder_is_connected_and_disconnected(person: Person) -> None:
    folder = Path(person.client.connections().folder_paths[0]) / "rules"
    folder.mkdir(parents=True)
    (folder / "boats.md").write_text("# Boats\n\nBoats are painted each spring.")
    (folder / "empty.md").write_text("")
    tab = await administer(person, "sources")
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    await page.get_by_role("link", name="Connect a folder").click()
    await expect(page.get_by_text(f"Folders below {folder.parent} can be connected.")).to_be_visible()
    address = page.get_by_role("textbox", name="Folder", exact=True)
    await address.fill("/etc")
    await page.get_by_label("Collection", exact=True).fill("House rules")
    await button(tab, "Connect").click()
    await expect(address).to_be_focused()
    await expect(page.get_by_text("the setting sources.paths")).to_be_visible()
    assert await flaws(page) == []
    await address.fill(str(folder))
    await button(tab, "Connect").click()
    await expect(page.get_by_role("heading", name="rules")).to_be_visible()
    await expect(page.get_by_text("1 document created, 1 file failed, 0 unchanged")).to_be_visible()
    await expect(rows(tab, "Failed files")).to_contain_text("empty.md")
    await expect(page.get_by_text("1 file, 1 not read")).to_be_visible()
    await page.get_by_role("link", name="All sources").click()
    await expect(rows(tab, "Sources")).to_contain_text("1 file, 1 not read")
    assert [one.source_key for one in person.client.documents("house-rules")] == ["rules/boats.md"]
    assert await flaws(page) == []
    await page.get_by_role("link", name="rules", exact=True).click()
    await button(tab, "Delete the source").click()
    await dialog.get_by_label("Delete these documents, too").check()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("No sources yet.")).to_be_visible()
    assert list(person.client.documents("house-rules")) == []
