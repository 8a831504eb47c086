"""Collections, uploads with progress, and documents that are large, changed or deleted."""

from __future__ import annotations

import asyncio
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.person import Person, until
from tests.browser.texts import BAKERY, LAST_KEEPER, LIGHTHOUSE, RYE_BREAD, WHO_BUILT
from tests.callers import Registry

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_document_is_uploaded_with_progress_and_then_asked_about(
    person: Person, registry: Registry
) -> None:
    tab = await person.sign_in()
    await tab.open_documents()
    row = tab.upload_of("bakery.md")
    await tab.page.get_by_text("Documents about one person", exact=True).click()
    await tab.page.get_by_label("Subject of added documents").fill("baker-7")
    await expect(tab.page.get_by_text("Added documents are about baker-7", exact=True)).to_be_visible()
    with registry.holding("passage"):
        await tab.upload(("bakery.md", BAKERY.encode()))
        await expect(row.get_by_role("progressbar", name="Progress of bakery.md")).to_be_visible()
        await tab.sent("bakery.md")
        await expect(tab.page.locator(".documents")).to_contain_text("No documents yet")
    await expect(row).to_contain_text("searchable")
    await expect(tab.page.get_by_role("button", name="Brunmåla bakery", exact=True)).to_be_visible()
    await expect(tab.live).to_have_text("bakery.md is searchable.")
    await expect(tab.collection).to_have_text("My documents1 document")
    assert [document.subject for document in person.client.documents("default")] == ["baker-7"]
    await tab.page.get_by_role("link", name="Ask", exact=True).click()
    await tab.ask(RYE_BREAD)
    await expect(tab.answers).to_contain_text("nineteen hours")


async def drop(page: Page, *paths: Path) -> None:
    """Drag files and folders from the system's file manager onto the page."""
    session = await page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        await session.send(  # pyright: ignore[reportUnknownMemberType]: the library's type has a dict without parameters
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": 300,
                "y": 300,
                "data": {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1},
            },
        )
    await session.detach()


async def test_every_file_of_a_folder_is_accounted_for_and_the_queue_is_stopped_and_goes_on(
    person: Person, registry: Registry, tmp_path: Path
) -> None:
    guide = tmp_path / "guide"
    (guide / "parts").mkdir(parents=True)
    (guide / ".git").mkdir()
    for number in range(4):
        (guide / "parts" / f"{number}.md").write_text(f"# Part {number}\n\n{BAKERY}", encoding="utf-8")
    (guide / ".git" / "config").write_text("x", encoding="utf-8")
    (guide / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (guide / "tool.md").write_bytes(b"MZ\x90\x00" + bytes(400))
    keys = [f"guide/parts/{number}.md" for number in range(4)]
    tab = await person.sign_in()
    await tab.open_documents()
    total = tab.page.locator("#uploads-sum")
    with registry.holding("passage"):
        await tab.page.get_by_label("Add a folder").set_input_files(guide)
        await expect(tab.upload_of("guide/.git")).to_contain_text("skipped: hidden")
        await expect(tab.page.get_by_text("1 file can’t be read: .png", exact=True)).to_be_visible()
        await expect(tab.upload_of("guide/photo.png")).to_have_count(0)
        await tab.sent("guide/parts/1.md")
        await tab.page.get_by_role("button", name="Stop").click()
    # The two files that were under way are read to their end, and no other is sent.
    await expect(total).to_have_text("4 of 7 files: 2 added, 2 skipped.")
    await expect(tab.upload_of("guide/parts/0.md")).to_contain_text("searchable")
    await expect(tab.upload_of("guide/parts/3.md")).to_contain_text("waiting")
    await expect(tab.page.locator(".uploads")).to_contain_text("You stopped the uploads. No more files")
    assert [document.source_key for document in person.client.documents("default")] == keys[:2]
    await tab.page.get_by_role("button", name="Continue").click()
    await expect(total).to_have_text("7 files: 4 added, 1 refused, 2 skipped.")
    await expect(tab.upload_of("guide/tool.md").locator(".state")).to_contain_text("Windows program")
    await expect(tab.live).to_contain_text("All uploads have finished. 7 files: 4 added")
    assert [document.source_key for document in person.client.documents("default")] == keys

    await tab.page.get_by_role("button", name="Clear the list").click()
    (guide / "parts" / "2.md").write_text(f"# Part two\n\n{LIGHTHOUSE}", encoding="utf-8")
    with zipfile.ZipFile(guide / "old.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("parts/new.md", "photo.png", "../escape.md"):
            archive.writestr(name, LIGHTHOUSE)
    # Files can be dropped anywhere, and the tray of uploads stays.
    await tab.page.get_by_role("link", name="Ask", exact=True).click()
    await drop(tab.page, guide, guide / "photo.png")
    await expect(total).to_have_text("11 files: 1 added, 1 replaced, 3 unchanged, 2 refused, 4 skipped.")
    await tab.page.get_by_label("Show", exact=True).select_option(label="Refused (2)")
    await expect(tab.page.locator(".uploads li .name")).to_have_text(
        ["guide/tool.md", "guide/old.zip/../escape.md"]
    )
    stored = {document.source_key: document.version for document in person.client.documents("default")}
    assert stored == {**dict.fromkeys(keys, 1), keys[2]: 2, "guide/old.zip/parts/new.md": 1}


async def test_documents_are_found_sorted_selected_and_deleted_together(person: Person) -> None:
    for name in ("a", "b", "c", "d"):
        person.add(f"# Story {name.upper()}\n\n{BAKERY}", f"{name}/story.md")
    person.add(LIGHTHOUSE, "z.md")
    tab = await person.sign_in()
    await tab.open_documents()
    titles = tab.page.locator(".documents .name")
    await tab.page.get_by_label("Sort by").select_option(label="Path, Z to A")
    await expect(titles).to_have_text(
        ["The lighthouse of Korsholm", "Story D", "Story C", "Story B", "Story A"]
    )
    find = tab.page.get_by_label("Find a title or path")
    await find.fill("sToRy")
    await expect(titles).to_have_text(["Story D", "Story C", "Story B", "Story A"])
    await find.fill('b/ "')
    await expect(tab.page.locator(".documents")).to_have_text("No documents match.")
    await find.fill("/story")
    await expect(titles).to_have_count(4)
    await tab.page.get_by_text("More filters").click()
    condition = tab.page.get_by_label("Filter", exact=True)
    await condition.fill("colour = red")
    await condition.press("Enter")
    await expect(tab.alert).to_contain_text("there is no field `colour` (character 1)")
    await condition.fill('source_key = "b/*" OR source_key = "c/*"')
    await condition.press("Enter")
    await expect(titles).to_have_text(["Story C", "Story B"])
    await condition.fill("")
    await condition.press("Enter")
    await expect(titles).to_have_count(4)
    await tab.page.get_by_label("State").select_option(label="Failed")
    await expect(tab.page.locator(".documents")).to_have_text("No documents match.")
    await tab.page.get_by_label("State").select_option(label="Any")

    await tab.page.get_by_label("Select all shown").check()
    await tab.page.get_by_label("Select Story D").uncheck()
    await expect(tab.page.locator(".bulk")).to_contain_text("3 documents selected")
    await expect(tab.page.get_by_label("Select all shown")).to_have_js_property("indeterminate", value=True)
    person.client.delete_document(
        next(
            document.name
            for document in person.client.documents("default")
            if document.source_key == "b/story.md"
        )
    )
    await tab.page.get_by_role("button", name="Delete selected").click()
    dialog = tab.page.get_by_role("dialog", name="Delete 3 documents?")
    await expect(dialog).to_contain_text("“Story C”, “Story B”, “Story A” will be deleted")
    await dialog.get_by_role("button", name="Delete 3 documents").click()
    results = tab.page.get_by_role("region", name="Deletion")
    await expect(results).to_contain_text("2 of 3 documents deleted.")
    await expect(results.locator("li")).to_have_text(
        ["Story Cdeleted", "Story Bsomebody else has deleted it already", "Story Adeleted"]
    )
    await expect(titles).to_have_text(["Story D"])
    await results.get_by_role("button", name="Close").click()
    await find.fill("")
    await expect(titles).to_have_text(["The lighthouse of Korsholm", "Story D"])
    assert [document.source_key for document in person.client.documents("default")] == ["d/story.md", "z.md"]


async def test_a_long_list_has_pages(person: Person, registry: Registry) -> None:
    operations = [
        person.client.create_document(f"Line {number}.", source_key=f"{number:03}.md", title=f"Text {number}")
        for number in range(52)
    ]
    for operation in operations:
        person.client.wait(operation)
    tab = await person.sign_in()
    await tab.open_documents()
    titles = tab.page.locator(".documents .name")
    await expect(titles).to_have_count(50)
    with registry.holding("passage"):
        reading = person.client.create_document("Line 52.", source_key="052.md", title="Text 52")
        await tab.page.get_by_role("button", name="Next page").click()
        await expect(titles).to_have_count(3)
        await expect(tab.page.locator(".documents")).to_contain_text("being read…")
        # The focus moves at once, not when the last document has been read.
        await expect(tab.page.get_by_role("button", name="Previous page")).to_be_focused()
    person.client.wait(reading)
    await expect(titles).to_have_text(["Text 50", "Text 51", "Text 52"])
    await tab.page.get_by_label("Select all shown").check()
    await tab.page.get_by_role("button", name="Delete selected").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete 3 documents").click()
    # The second page is empty now, so the first one is shown.
    await expect(titles).to_have_count(50)
    await expect(tab.page.get_by_role("button", name="Next page")).to_be_hidden()


async def test_an_upload_whose_connection_breaks_is_sent_again_and_taken_once(person: Person) -> None:
    tab = await person.sign_in()
    await tab.open_documents()
    sent: list[str] = []

    async def lose_the_answer(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) == 1:
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await tab.page.route("**/v1/uploads?*", lose_the_answer)
    await tab.upload(("bakery.md", BAKERY.encode()))
    await expect(tab.upload_of("bakery.md")).to_contain_text("searchable")
    assert len(sent) == 2
    assert sent[0] == sent[1]
    (document,) = person.client.documents("default")
    assert document.version == 1


async def test_an_upload_cancelled_before_its_response_is_cancelled_on_the_server(
    person: Person, registry: Registry
) -> None:
    """The server has the whole file, but the browser does not have the name of the operation yet."""
    tab = await person.sign_in()
    await tab.open_documents()
    browser: Any = await tab.page.context.new_cdp_session(tab.page)
    paused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def pause(event: dict[str, str]) -> None:
        paused.set_result(event["requestId"])

    browser.on("Fetch.requestPaused", pause)
    pattern = {"urlPattern": "*/v1/uploads?*", "requestStage": "Response"}
    await browser.send("Fetch.enable", {"patterns": [pattern]})
    state = tab.upload_of("bakery.md").locator(".state")
    # The worker waits before it writes. With the table of passages locked, it would wait in a transaction, and the
    # cancellation would wait for that.
    with registry.holding("embedding_cache"):
        await tab.upload(("bakery.md", BAKERY.encode()))
        response = await paused
        await expect(state).to_have_text("sent")
        await tab.page.get_by_role("button", name="Cancel: bakery.md").click()
        await expect(state).to_have_text("Cancelled.")
        async with tab.page.expect_response("**/google.longrunning.Operations/CancelOperation"):
            await browser.send("Fetch.continueResponse", {"requestId": response})
    (operation,) = person.client.operations()

    async def has_ended() -> bool:
        return person.client.get_operation(operation.name).done

    await until(has_ended, "the end of the operation")
    assert "cancelled" in person.client.get_operation(operation.name).error.message
    assert list(person.client.documents("default")) == []


async def test_the_list_outlives_a_lost_connection_while_a_document_is_read(
    person: Person, registry: Registry
) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in()
    rows = tab.page.locator(".documents li")
    with registry.holding("passage"):
        reading = person.client.create_document("Line.", source_key="line.md", title="Line")
        await tab.open_documents()
        await expect(rows).to_have_count(2)
        lost: list[str] = []

        async def lose(route: Route) -> None:
            lost.append(route.request.url)
            await route.abort("connectionreset")

        async def is_lost_twice() -> bool:
            assert await rows.count() == 2
            return len(lost) >= 2

        await tab.page.route("**/responsa.knowledge.v1.KnowledgeService/ListDocuments", lose)
        await until(is_lost_twice, "two lost connections")
        await tab.page.unroute("**/responsa.knowledge.v1.KnowledgeService/ListDocuments", lose)
    person.client.wait(reading)
    await expect(tab.page.locator(".documents")).not_to_contain_text("being read…")
    await expect(rows).to_have_count(2)


async def test_a_new_try_waits_until_the_cancelled_upload_has_ended(
    person: Person, registry: Registry
) -> None:
    tab = await person.sign_in()
    await tab.open_documents()
    released = asyncio.Event()

    async def delay(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await tab.page.route("**/google.longrunning.Operations/CancelOperation", delay)
    state = tab.upload_of("bakery.md").locator(".state")
    # The cancellation needs the table of passages.
    with registry.holding("embedding_cache"):
        await tab.upload(("bakery.md", BAKERY.encode()))
        await tab.sent("bakery.md")
        await tab.page.get_by_role("button", name="Cancel: bakery.md").click()
        await tab.page.get_by_role("button", name="Try again: bakery.md").click()
        await expect(state).to_have_text("waiting")
        released.set()
        await expect(state).not_to_have_text("waiting")
    await expect(state).to_have_text("searchable")


async def test_no_further_file_is_sent_after_the_user_has_signed_out(
    person: Person, registry: Registry
) -> None:
    tab = await person.sign_in()
    await tab.open_documents()
    with registry.holding("passage"):
        await tab.upload(*((f"{name}.md", BAKERY.encode()) for name in ("a", "b", "third")))
        await tab.sent("b.md")
        await tab.sign_out()
        await expect(tab.page.get_by_role("alert")).to_have_text("You are signed out.")
    # The browser does not load the page again, so a file that still waited would be sent in the new session.
    await tab.page.goto(person.link())
    await tab.question.wait_for()
    await tab.open_documents()
    await tab.upload(("last.md", BAKERY.encode()))
    await expect(tab.upload_of("last.md")).to_contain_text("searchable")
    assert not any("third.md" in request.url for request in person.requests)


async def test_collections_are_made_chosen_and_deleted(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.open_documents()
    await tab.page.get_by_role("button", name="New collection").click()
    dialog = tab.page.get_by_role("dialog", name="New collection")
    await dialog.get_by_label("Name").fill("Brot & Café")
    await expect(dialog).to_contain_text("The collection’s id will be brot-cafe")
    await dialog.get_by_role("button", name="Create").click()
    await expect(tab.collection).to_contain_text("Brot & Café")
    await tab.upload(("bakery.md", BAKERY.encode()))
    await expect(tab.upload_of("bakery.md")).to_contain_text("searchable")

    await tab.page.get_by_role("button", name="New collection").click()
    await dialog.get_by_label("Name").fill("Brot   Café")
    await dialog.get_by_label("Name").press("Enter")
    await expect(dialog.get_by_role("alert")).to_contain_text("brot-cafe")
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(tab.page.get_by_role("button", name="New collection")).to_be_focused()

    # A chosen collection stays for its conversation, and no longer than until a click.
    await tab.page.get_by_role("button", name="Ask this collection").click()
    await expect(tab.page.get_by_text("Asking Brot & Café")).to_be_visible()
    await tab.page.get_by_role("button", name="Search all collections").click()
    await expect(tab.page.get_by_text("Asking all collections")).to_be_visible()
    await tab.open_documents()
    await tab.page.get_by_role("button", name="Ask this collection").click()
    await expect(tab.page.get_by_text("Asking Brot & Café")).to_be_visible()
    await tab.ask(WHO_BUILT)
    await expect(tab.answers.nth(0).locator(".refusal h3")).to_have_text("Closest passages")
    await expect(tab.chips).to_have_count(1)
    await expect(tab.live).to_have_text(
        re.compile("^Closest passages. I searched the chosen collections for ")
    )
    await tab.answers.nth(0).get_by_role("button", name="Helpful", exact=True).click()
    await expect(tab.live).to_have_text("Feedback saved.")
    await tab.ask(RYE_BREAD)
    await expect(tab.answers.nth(1)).to_contain_text("nineteen hours")

    await tab.open_documents()
    await expect(tab.collection).to_contain_text("Brot & Café")
    await tab.page.go_back()
    await tab.page.reload()
    await expect(tab.page.get_by_text("Asking Brot & Café")).to_be_visible()
    await expect(tab.answers.nth(0).locator(".refusal h3")).to_have_text("Closest passages")
    rated = tab.answers.nth(0).get_by_role("button", name="Helpful", exact=True)
    await expect(rated).to_have_attribute("aria-pressed", "true")
    # The ways on: the other collections, and a document that answers.
    await tab.answers.nth(0).get_by_role("button", name="Search all collections").click()
    await expect(tab.answers.nth(2)).to_contain_text("Axel Hampus Dalström")
    await expect(tab.page.get_by_text("Asking all collections")).to_be_visible()
    await tab.answers.nth(0).get_by_role("link", name="Add a document").click()
    await expect(tab.page.get_by_role("status").filter(has_text=WHO_BUILT)).to_contain_text("Add a document")
    await expect(tab.collection).to_contain_text("Brot & Café")  # a reload has not changed the choice
    await tab.page.get_by_role("button", name="Edit collection").click()
    editing = tab.page.get_by_role("dialog", name="Edit the collection")
    await expect(editing).to_contain_text("id stays brot-cafe")
    await editing.get_by_label("Name").fill("Bread")
    await editing.get_by_label("Suggested questions").fill(f"\n{RYE_BREAD}\n")
    await editing.get_by_role("button", name="Save").click()
    await expect(tab.collection).to_have_text("Bread1 document")
    await tab.page.get_by_role("link", name="Ask", exact=True).click()
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(tab.page.get_by_text("Asking all collections")).to_be_visible()
    await tab.page.get_by_role("button", name=RYE_BREAD, exact=True).click()
    await expect(tab.question).to_have_value(RYE_BREAD)
    await tab.open_documents()
    await tab.page.get_by_role("button", name="Delete collection").click()
    await expect(tab.page.get_by_role("dialog")).to_contain_text("“Bread” has 1 document, which will be")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(tab.collection).to_have_attribute("data-name", "collections/default")
    assert [collection.name for collection in person.client.collections()] == ["collections/default"]


async def test_a_deleted_document_is_not_answered_from_and_its_citation_says_so(person: Person) -> None:
    person.add(LIGHTHOUSE, "lighthouse.md")
    tab = await person.sign_in()
    await tab.ask(LAST_KEEPER)
    await expect(tab.texts).to_contain_text("My documents")
    answer = await tab.texts.text_content()
    await tab.open_documents()
    await tab.page.get_by_role("button", name="Delete The lighthouse of Korsholm").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(tab.page.locator(".documents")).to_contain_text("No documents yet")
    assert list(person.client.documents("default")) == []

    await tab.page.go_back()
    await expect(tab.texts).to_have_text(answer or "")
    quote = (
        list(person.client.messages(next(iter(person.client.conversations())).name))[-1].citations[0].quote
    )
    await tab.chips.first.click()
    await expect(tab.source).to_contain_text("was deleted")
    await expect(tab.source).to_contain_text("no longer stored")
    assert await tab.source.locator("blockquote").text_content() == quote
    await tab.page.keyboard.press("Escape")
    await tab.ask(WHO_BUILT)
    await expect(tab.answers.nth(1).locator(".refusal")).to_be_visible()


async def test_a_large_document_is_read_no_further_than_it_is_looked_at(person: Person) -> None:
    """The cited sentence is far from both ends of the document. Each character of the document has one or two bytes."""
    filler = "höö " * 14_000
    person.client.wait(
        person.client.upload(f"{filler}\n\n{LIGHTHOUSE}\n\n{filler}".encode(), source_key="large.txt")
    )
    tab = await person.sign_in()
    await tab.ask(LAST_KEEPER)
    await tab.chips.first.click()
    await expect(tab.mark).to_contain_text("Märta Öhman")
    await expect(tab.mark).to_be_in_viewport()
    text = tab.source.locator(".document-text")

    async def length() -> int:
        return len(await text.text_content() or "")

    first = await length()
    assert first < 40_000
    before = tab.page.get_by_role("button", name="Show the text before")
    await before.scroll_into_view_if_needed()
    place = await tab.mark.bounding_box()
    await before.click()
    second = await length()
    assert first < second < first + 70_000
    moved = await tab.mark.bounding_box()
    assert place is not None
    assert moved is not None
    assert abs(moved["y"] - place["y"]) <= 1, "the text in view must not move"
    await tab.page.get_by_role("button", name="Show the text after").click()

    async def grown() -> bool:
        return await length() > second

    await until(grown, "more of the text")
    assert await length() < second + 70_000
    await expect(tab.page.get_by_role("button", name="Show the text after")).to_be_focused()
