"""What operators see on the page: health and figures, feedback to deal with, and agents with their versions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from playwright.async_api import expect

from responsa.admin.v1.insight_pb2 import QuestionPattern
from tests.browser.person import Person, Tab, until
from tests.browser.rules import NARROW, broken_words, flaws, flaws_in_all_colours
from tests.browser.texts import BAKERY, RYE_BREAD
from tests.instance import Instance

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def broken(instance: Instance) -> Iterator[Path]:
    """A folder for an agent of this test. The folder is removed after the test."""
    folder = Path(instance.settings["RESPONSA_AGENTS__FOLDER"]) / "mine"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def operate(person: Person, part: str, **options: Any) -> Tab:
    tab = await person.sign_in(**options)
    await tab.page.goto(f"{person.url}/#/administration/{part}")
    return tab


async def test_figures_lead_to_feedback_that_is_dealt_with(person: Person) -> None:
    person.add(BAKERY, "bakery.md")
    tab = await person.sign_in(**NARROW)
    page, dialog, found = tab.page, tab.page.get_by_role("dialog"), dict[str, list[str]]()

    async def look(state: str) -> None:
        found[state] = await flaws_in_all_colours(page)
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), state

    await tab.ask(RYE_BREAD)
    await page.get_by_role("button", name="Not helpful").click()
    await dialog.get_by_label("Show this question and answer to administrators?").check()
    await look("consent")
    await dialog.get_by_role("button", name="Send").click()
    await page.goto(f"{person.url}/#/administration/overview?time=day")
    await expect(page.get_by_text("0 of 1 rating")).to_be_visible()
    await expect(page.locator(".uplot")).to_have_count(4)
    await page.get_by_label("Questions as a table").click()
    last = page.get_by_role("table", name="Questions").get_by_role("row").nth(1)
    # Without a model, the question counts as one to which passages were shown.
    await expect(last.get_by_role("cell").first).to_have_text("0")
    await expect(last.get_by_role("cell").nth(1)).to_have_text("1")
    await page.get_by_role("button", name="Set a budget…").click()
    await dialog.get_by_label("US dollars a month").fill("20")
    await dialog.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("The budget is 20.00 USD a month.")).to_be_visible()
    await expect(page.get_by_role("button", name="Change the budget…")).to_be_focused()
    await page.get_by_label("Questions as a table").click()
    await last.get_by_role("button").click()
    turn = page.get_by_role("list", name="Answers of").get_by_role("listitem")
    await expect(turn).to_contain_text("Not helpful")
    await turn.get_by_text("Details").click()
    await expect(turn).to_contain_text("No language model is configured.")
    await page.get_by_label("Outcome").select_option(label="Failed")
    await expect(turn).to_contain_text("No answers")
    behind = page.get_by_role("list", name="Feedback of")
    await expect(behind.get_by_text("Read the question and answer")).to_be_visible()
    await expect(behind.get_by_text("The question is hidden")).to_have_count(0)
    await look("overview")

    await tab.show_part("Answers", "Inbox")
    await page.get_by_role("button", name="Show the questions…").click()
    await dialog.get_by_role("button", name="Show the questions").click()
    feedback = page.get_by_role("list", name="Not helpful").locator("> li")
    await expect(feedback).to_contain_text(RYE_BREAD)
    await feedback.get_by_text("Read the question and answer").click()
    await expect(feedback.get_by_role("link", name="Brunmåla bakery")).to_be_visible()
    await expect(feedback).to_contain_text(f"“{RYE_BREAD}”")  # also if questions are hidden
    await expect(feedback.get_by_role("link", name="Correct the agent")).to_be_visible()
    await look("inbox")
    await feedback.get_by_role("button", name="Done").click()
    await dialog.get_by_label("What was done").fill("A document was added.")
    await dialog.get_by_role("button", name="Done").click()
    await expect(feedback).to_contain_text("Nothing here")
    await page.get_by_label("Show", exact=True).select_option(label="Done")
    await expect(feedback).to_contain_text("A document was added.")
    await feedback.get_by_role("link", name="Add a document").click()
    kept = page.get_by_role("status").filter(has_text=RYE_BREAD)
    await expect(kept).to_contain_text("Add a document that answers")
    await look("the question to answer")
    await page.mouse.move(0, 0)  # a tray below the pointer stays
    await tab.upload(("rye.md", BAKERY.encode()))
    await expect(kept).to_contain_text("A document was added")
    await expect(page.locator(".uploads")).to_be_hidden()  # nothing went wrong, so the tray closes
    await page.get_by_role("button", name="Ask again").click()
    await expect(tab.answers).to_contain_text("nineteen hours")
    await expect(tab.questions).to_contain_text(RYE_BREAD)
    await expect(page.locator(".scope summary")).to_have_text("Asking My documents")
    assert {state: ones for state, ones in found.items() if ones} == {}


async def test_questions_without_an_answer_are_assigned_and_dealt_with_until_somebody_asks_again(
    person: Person,
) -> None:
    tab = await person.sign_in(**NARROW)
    page, dialog, me = tab.page, tab.page.get_by_role("dialog"), person.client.me()
    missing = page.get_by_role("list", name="Without an answer").get_by_role("listitem")

    async def shown(text: str, before: Sequence[QuestionPattern] = ()) -> None:
        """Wait until the server has grouped the last question, and the page shows it. A page that is loaded again and
        again would take many seconds of CPU time."""

        async def grouped() -> bool:
            return [*person.client.question_patterns()] != [*before]

        async def there() -> bool:
            await page.reload()
            await expect(page.get_by_role("list", name="Without an answer")).not_to_have_attribute(
                "aria-busy", "true"
            )
            return text in await missing.first.inner_text()

        await until(grouped, "a pattern of the question")
        await until(there, text)

    await tab.ask(RYE_BREAD)
    await page.goto(f"{person.url}/#/administration/inbox")
    await page.get_by_role("button", name="Show the questions…").click()
    await dialog.get_by_role("button", name="Show the questions").click()
    await expect(page.get_by_role("button", name="Hide the questions")).to_be_visible()
    await shown(RYE_BREAD)
    await missing.get_by_role("button", name="Assign").click()
    await dialog.get_by_label("Administrator").fill(me.display_name)
    assert await flaws_in_all_colours(page) == []
    await dialog.get_by_role("button", name="Assign").click()
    await expect(missing).to_contain_text(f"Assigned to {me.display_name}")

    async def deal(note: str) -> None:
        await missing.get_by_role("button", name="Done").click()
        await dialog.get_by_label("What was done").fill(note)
        await dialog.get_by_role("button", name="Done").click()
        await expect(missing).to_contain_text("Nothing here")

    await deal("They were told.")
    before = [*person.client.question_patterns()]
    person.client.answer(RYE_BREAD)
    await shown("asked again since then and not answered", before)
    await expect(missing).to_contain_text("They were told.")
    assert await flaws_in_all_colours(page) == []
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")

    [pattern] = person.client.question_patterns()
    person.client.update_question_pattern(pattern.name, note="They were told twice.")
    await missing.get_by_role("button", name="Assign").click()
    await dialog.get_by_role("button", name="Assign").click()  # nobody
    await expect(page.get_by_role("alert").filter(has_text="Somebody else changed this")).to_be_visible()
    await expect(missing).to_contain_text("They were told twice.")
    await expect(missing).to_contain_text("Assigned to")

    await missing.get_by_role("link", name="Add a document").click()
    await tab.upload(("rye.md", BAKERY.encode()))
    await page.get_by_role("button", name="Ask again").click()
    await expect(tab.answers).to_contain_text("nineteen hours")
    await page.goto(f"{person.url}/#/administration/inbox")
    await deal("A document was added.")
    states = page.get_by_role("tabpanel", name="Inbox").get_by_label("Show")
    await states.select_option(label="Done")
    await expect(missing).to_contain_text("A document was added.")
    await missing.get_by_role("button", name="Reopen").click()
    await expect(missing).to_contain_text("No questions are marked as done.")
    await states.select_option(label="Open")
    await expect(missing).to_contain_text("2 without an answer")


def write_broken(folder: Path) -> None:
    folder.mkdir()
    text = 'name = "Mine"\nstart = "retrieve"\n[nodes]\nretrieve = { kind = "retreiver" }\n'
    (folder / "agent.toml").write_text(text, encoding="utf-8")


async def test_owners_see_what_is_wrong_with_the_files_of_agents(owner: Person, broken: Path) -> None:
    tab = await operate(owner, "agents")
    versions = tab.page.get_by_role("listitem").filter(has=tab.page.get_by_text("Tutor", exact=True))
    await tab.page.get_by_text("Examples", exact=True).click()
    await versions.get_by_text("Versions").click()
    await versions.get_by_role("button", name="Show version 1 of Tutor").click()
    await expect(tab.page.get_by_role("dialog")).to_contain_text("agent: tutor")
    await tab.page.get_by_role("button", name="Close").click()
    assert await flaws(tab.page) == []
    part = tab.page.get_by_role("region", name="Agents’ files")
    write_broken(broken)
    await part.get_by_role("button", name="Read the files again").click()
    await expect(part).to_contain_text("the files of 1 agent are not valid: mine")
    await expect(part.locator("code").first).to_contain_text("agent.toml")
    await expect(part).to_contain_text("did you mean retriever?")
    # Whoever is sent to this agent learns of it, and is shown ways on.
    await tab.page.goto(f"{owner.url}/?agent=mine")
    await expect(tab.alert).to_contain_text("There is no agent “mine” here")
    assert await flaws(tab.page) == []
    await tab.page.get_by_role("button", name="Ask Responsa instead").click()
    await expect(tab.page.get_by_text("What would you like to know?")).to_be_visible()
    await expect(tab.agent.locator("option:checked")).to_have_text("Responsa")
    await tab.page.reload()
    await tab.page.get_by_role("link", name="See what is wrong with the files").click()
    await expect(part).to_contain_text("Some files are not valid")
    shutil.rmtree(broken)
    await part.get_by_role("button", name="Read the files again").click()
    await expect(part).not_to_contain_text("not valid")
    await tab.page.reload()
    await expect(part).to_contain_text("All files are valid.")


async def test_owners_publish_versions_and_compare_them(owner: Person) -> None:
    answers = owner.client.agent("agents/tutor").version
    content = MessageToDict(owner.client.agent_version(answers).content)
    content["config"]["description"] = "Explains in other words."
    made = owner.client.create_agent_version("tutor", content)
    number = made.name.rpartition("/")[2]
    tab = await operate(owner, "agents", **NARROW)
    page, dialog = tab.page, tab.page.get_by_role("dialog")
    tutor = page.get_by_role("listitem").filter(has=page.get_by_text("Tutor", exact=True))
    experiments = page.get_by_role("list", name="Experiments", include_hidden=True).get_by_role(
        "listitem", include_hidden=True
    )

    await page.get_by_text("Examples", exact=True).click()
    await tutor.get_by_text("Versions").click()
    await tutor.get_by_role("button", name=f"Try version {number} of Tutor in an experiment").click()
    await dialog.get_by_label("Percentage of questions").fill("20")
    await dialog.get_by_label("Decided by").select_option(label="seconds")
    assert await flaws_in_all_colours(page) == []
    await dialog.get_by_role("button", name="Start").click()
    await expect(experiments.first).to_contain_text("20% of the questions")
    # Before, the rows above are replaced, and a click would miss.
    await page.locator("summary", has_text="More").click()
    await experiments.first.get_by_role("button", name="Report").click()
    await expect(dialog).to_contain_text("there may be no difference")
    await expect(dialog.get_by_role("row", name="refusals")).to_contain_text("too early")
    assert await flaws_in_all_colours(page) == []
    await dialog.get_by_role("button", name="Close").click()
    await experiments.first.get_by_role("button", name="Stop").click()
    await dialog.get_by_role("button", name="Stop").click()
    await expect(experiments.first).to_contain_text("stopped")

    await tutor.get_by_text("Versions").click()
    await tutor.get_by_role("button", name=f"Publish version {number} of Tutor").click()
    await dialog.get_by_role("button", name="Publish").click()
    await expect(tutor).to_contain_text("published; the files are at version")
    await expect(tutor).to_contain_text("Explains in other words.")
    assert await flaws_in_all_colours(page) == []
    await tutor.get_by_text("Versions").click()
    await tutor.get_by_role("button", name=f"Roll back version {number} of Tutor").click()
    await dialog.get_by_role("button", name="Roll back").click()
    await expect(tutor).not_to_contain_text("published")


async def test_an_owner_makes_an_agent_by_the_form_and_asks_it(owner: Person) -> None:
    owner.add(BAKERY, "bakery.md")
    tab = await operate(owner, "agents", **NARROW)
    page, dialog, found = tab.page, tab.page.get_by_role("dialog"), dict[str, list[str]]()

    async def look(state: str) -> None:
        found[state] = await flaws_in_all_colours(page) + await broken_words(page)
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), state

    baker = page.get_by_role("list", name="Agents").get_by_role("listitem").filter(has_text="Baker")
    await page.get_by_role("button", name="New agent").click()
    form = page.get_by_role("form", name="New agent")
    await form.get_by_role("button", name="Publish").click()
    await expect(form.get_by_label("Name")).to_be_focused()
    await form.get_by_label("Name").fill("Baker")
    await form.get_by_label("What it is for").fill("For bakers.")
    await form.get_by_label("Greeting").fill("What would you like to bake?")
    await form.get_by_label("Questions to try").fill(f"{RYE_BREAD}\nWhat is the capital of Mongolia?")
    await form.get_by_label("Instructions").fill("Begin with the oven.")
    await form.get_by_label("Language model").select_option(label="None: show passages only")
    await form.get_by_label("My documents").check()
    await form.get_by_label("Try a question").fill(RYE_BREAD)
    await look("form")
    await form.get_by_label("Try a question").press("Enter")
    await expect(form.locator(".beside")).to_contain_text("nineteen hours")
    await expect(form.locator(".beside section")).to_have_count(1)  # nothing answered before
    await form.get_by_role("button", name="Publish").click()
    await expect(baker).to_contain_text("Version 1")

    await page.get_by_role("button", name="Edit Baker").click()
    form = page.get_by_role("form", name="Edit Baker")
    await expect(form.get_by_label("Instructions")).to_have_value("Begin with the oven.")
    await expect(form.get_by_label("My documents")).to_be_checked()
    await page.reload()  # the address names the form
    await form.get_by_label("Greeting").fill("What shall we bake?")
    await form.get_by_label("Try a question").fill(RYE_BREAD)
    await form.get_by_role("button", name="Ask").click()
    await expect(form.locator(".beside section")).to_contain_text(["nineteen hours", "nineteen hours"])
    await look("two answers")
    await form.get_by_role("button", name="Differences").click()
    await expect(dialog.get_by_text("What shall we bake?")).to_be_visible()
    await dialog.get_by_role("button", name="Close").click()
    await form.get_by_role("button", name="Publish").click()
    await expect(baker).to_contain_text("Version 2")

    await page.goto(f"{owner.url}/?agent=baker")
    await expect(page.get_by_text("What shall we bake?")).to_be_visible()
    await expect(page.get_by_text("For bakers.")).to_be_visible()
    # Of its questions, the documents answer one.
    suggested = page.get_by_role("list", name="Suggested questions")
    await expect(suggested).to_contain_text(RYE_BREAD)
    await expect(suggested).not_to_contain_text("Mongolia")
    await tab.ask(RYE_BREAD)
    await expect(tab.answers).to_contain_text("nineteen hours")
    await page.goto(f"{owner.url}/#/administration/agents")
    await baker.get_by_role("button", name="Stop offering Baker").click()
    await expect(baker).to_contain_text("not offered")
    for number in (2, 1):
        await expect(baker).to_contain_text(f"Version {number} · no language model")
        await baker.get_by_text("Versions").click()
        await baker.get_by_role("button", name=f"Roll back version {number} of Baker").click()
        await dialog.get_by_role("button", name="Roll back").click()
    await expect(baker).to_have_count(0)
    # An agent with steps of its own stays a file.
    await page.get_by_text("Examples", exact=True).click()
    await page.get_by_role("button", name="Edit Tutor").click()
    await expect(page.get_by_text("stays a file. Change tutor/agent.toml")).to_be_visible()
    await look("own steps")
    assert {state: ones for state, ones in found.items() if ones} == {}
