"""Long answers, and everything that can happen meanwhile: reloads, other tabs, no network, a killed server."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from playwright.async_api import Route, expect

from responsa.chat.v1 import turn_pb2
from responsa_lab.testing.script import Script, golden_text
from tests.browser.person import ASK, CHAT, Person, Tab, until
from tests.docs.reader import blocks
from tests.instance import ROOT, Instance, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = Script(tokens=120, pace_ms=80)
"""An answer that takes about ten seconds: it lasts until the test disturbs it, and the test can wait for its end."""
HALF = Script(tokens=60, pace_ms=80)
"""As `LONG`, for what the test does at once."""
ENDLESS = Script(tokens=2000, pace_ms=250)
SHORT = Script(tokens=20, pace_ms=20, seed=2)


async def ends_with(tab: Tab, script: Script, number: int = 0) -> None:
    """Check that an answer reaches its end and is the same as without the disturbance."""
    await expect(tab.page.locator("li.assistant").nth(number)).not_to_have_attribute("aria-busy", "true")
    assert await tab.text(number) == golden_text(script)
    await expect(tab.alert).to_have_count(0)


async def test_a_reload_in_mid_answer_goes_on_where_it_was(asker: Person) -> None:
    tab = await asker.sign_in()
    await tab.send(LONG.question)
    for _ in range(2):
        seen = await tab.grown(beyond=len(await tab.grown()) + 40)
        await tab.page.reload()
        again = await tab.grown(beyond=len(seen))
        assert again.startswith(seen)
    await ends_with(tab, LONG)
    assert len(list(asker.client.turns())) == 1
    assert await tab.waiting() == []


async def test_another_tab_shows_the_same_stream_over_the_same_connection(asker: Person) -> None:
    context = await asker.profile()
    first = await asker.sign_in(context)
    await first.ask(SHORT.question)
    other = await asker.open(context, first.page.url)
    await expect(other.answers).to_have_count(1)
    await first.send(ENDLESS.question)
    await other.grown(number=1)

    async def shared() -> bool:
        return asker.streams() == 1

    # The other tab may find the turn before the asking tab knows the turn's name. Then the other tab takes the stream
    # over, and the asking tab closes its own stream.
    await until(shared, "one stream for both tabs")
    third = await asker.open(context, first.page.url)
    await third.grown(number=1, beyond=80)
    await until(shared, "one stream for all tabs")
    await other.stop.click()
    for tab in (first, other, third):
        await expect(tab.answers.nth(1)).to_contain_text("You stopped this answer.")

    texts: list[str] = []

    async def alike() -> bool:
        texts[:] = [await tab.text(number=1) for tab in (first, other, third)]
        return len(set(texts)) == 1

    await until(alike, lambda: f"the same text in all tabs: {[text[-60:] for text in texts]}")
    assert golden_text(ENDLESS).startswith(await first.text(number=1))
    assert len(list(asker.client.turns())) == 2


async def test_a_turn_that_a_program_asks_appears_and_can_be_stopped_here(asker: Person) -> None:
    conversation = asker.client.create_conversation(title="Shared").name
    tab = await asker.sign_in()
    await tab.page.goto(f"{asker.url}/#/{conversation}")
    await expect(tab.page.get_by_role("heading", name="Shared")).to_be_visible()
    turn = asker.client.start_turn(ENDLESS.question, conversation=conversation, agent="agents/testing")
    await tab.grown()
    await tab.stop.click()
    await expect(tab.answers).to_contain_text("You stopped this answer")
    assert asker.client.get_turn(turn.name).state == turn_pb2.TURN_STATE_CANCELLED


@pytest.mark.soak
async def test_more_tabs_than_a_browser_has_connections(asker: Person) -> None:
    """Each tab has its own answer: the streams share slots, and calls always find a connection."""
    context = await asker.profile()
    first = await asker.sign_in(context)
    tabs = [first, *[await asker.open(context, f"{asker.url}/?agent=testing") for _ in range(6)]]
    for number, tab in enumerate(tabs):
        await tab.question.wait_for()
        await tab.send(replace(ENDLESS, seed=number).question)
    for tab in tabs:
        await tab.grown(beyond=len(await tab.grown()))
    for tab in tabs:
        await expect(tab.coming).to_have_count(1)
        await tab.stop.click()
        await expect(tab.answers).to_contain_text("You stopped this answer.")

    async def quiet() -> bool:
        return asker.under_way == set()

    await until(quiet, "no request under way")


async def test_offline_in_mid_answer_and_back(asker: Person) -> None:
    context = await asker.profile()
    tab = await asker.sign_in(context)
    await tab.send(HALF.question)
    await tab.grown()
    await context.set_offline(True)
    await expect(tab.steps).to_have_text("You are offline; the answer continues when you are online again…")
    seen = await tab.text()
    # Meanwhile the server finishes the answer.
    eventually(
        lambda: [turn.state for turn in asker.client.turns()] == [turn_pb2.TURN_STATE_ANSWERED], "an answer"
    )
    assert await tab.text() == seen
    await expect(tab.alert).to_have_count(0)
    await context.set_offline(False)
    await ends_with(tab, HALF)


async def test_a_question_asked_without_a_network_is_sent_when_there_is_one(asker: Person) -> None:
    context = await asker.profile()
    tab = await asker.sign_in(context)
    await context.set_offline(True)
    await tab.send(SHORT.question)
    await expect(tab.steps).to_have_text("You are offline; the answer continues when you are online again…")
    assert list(asker.client.turns()) == []
    await context.set_offline(False)
    await ends_with(tab, SHORT)


async def test_the_server_is_killed_in_mid_answer(asker: Person, scripted: Instance) -> None:
    before = scripted.processes()["server"]
    tab = await asker.sign_in()
    await tab.send(HALF.question)
    seen = await tab.grown(beyond=40)
    os.kill(before.pid, signal.SIGKILL)
    await ends_with(tab, HALF)
    assert scripted.processes()["server"] != before
    assert (await tab.text()).startswith(seen)
    assert len(list(asker.client.turns())) == 1
    await expect(tab.questions).to_have_count(1)
    await tab.ask(SHORT.question)


async def test_the_docs_event_source_outlasts_a_503(asker: Person) -> None:
    """Chromium's EventSource gives up at such a response; the lines of docs/streams.md go on."""
    (lines,) = (
        block.text
        for block in blocks((ROOT / "docs/streams.md").read_text(encoding="utf-8"))
        if block.path == "follow.js"
    )
    turn = asker.client.start_turn(SHORT.question, agent="agents/testing").name
    tab = await asker.sign_in()
    cursors: list[str] = []

    async def serve(route: Route) -> None:
        cursors.append(route.request.url.partition("afterSeq=")[2])
        match len(cursors):
            case 1:  # a stream that is cut after its first frame
                frame = 'id: 1\nevent: started\ndata: {"afterSeq": "0", "throughSeq": "1"}\n\n'
                await route.fulfill(body=f"retry: 1\n{frame}", content_type="text/event-stream")
            case 2:
                await route.fulfill(status=503, json={"code": 14})
            case _:
                await route.continue_()

    await tab.page.route("**/events?*", serve)
    seqs: list[list[str]] = await tab.page.evaluate(
        f"""(turn) => {{
            {lines}
            return new Promise((resolve) => {{
                const seqs = [];
                follow(turn, (frame) => {{
                    seqs.push([frame.afterSeq, frame.throughSeq]);
                    if (ENDS.includes(Object.keys(frame.events?.at(-1) ?? {{}}).at(-1))) resolve(seqs);
                }});
            }});
        }}""",
        turn,
    )
    assert cursors == ["0", "0", "1"]
    assert [after for after, _ in seqs] == ["0", *(through for _, through in seqs[:-1])]


async def test_stop_ends_the_answer_for_every_tab_and_its_text_stays_without_a_message(
    asker: Person,
) -> None:
    context = await asker.profile()
    tab = await asker.sign_in(context)
    await tab.send(ENDLESS.question)
    await tab.grown()
    other = await asker.open(context, tab.page.url)
    await other.grown()
    await tab.stop.click()
    for one in (tab, other):
        await expect(one.answers).to_contain_text(
            "You stopped this answer. The text above is incomplete, and later answers do not use it."
        )
        await expect(one.stop).to_have_count(0)
    await expect(tab.question).to_be_focused()
    (turn,) = asker.client.turns()
    assert turn.state == turn_pb2.TURN_STATE_CANCELLED
    assert golden_text(ENDLESS).startswith(await tab.text())
    assert list(asker.client.messages(turn.conversation)) == []
    # The text is in the turn's log, so a reload shows it again.
    await other.page.reload()
    await expect(other.answers).to_contain_text("You stopped this answer. The text above is incomplete")
    await expect(other.answers.locator(".stopped")).to_be_visible()
    assert await other.text() == await tab.text()
    await tab.page.get_by_role("button", name="Ask again").click()
    await expect(tab.answers).to_have_count(0)
    await expect(tab.questions).to_have_count(1)
    await tab.grown()
    assert [one.state for one in asker.client.turns()] == [turn_pb2.TURN_STATE_RUNNING, turn.state]


async def test_stop_before_the_server_has_told_the_turn(asker: Person) -> None:
    tab = await asker.sign_in()
    await tab.page.route(f"**{ASK}", lambda route: route.abort("connectionreset"))
    await tab.send(ENDLESS.question)
    await tab.stop.click()
    await expect(tab.answers).to_contain_text("You stopped this answer.")
    await tab.page.unroute_all()
    (turn,) = asker.client.turns()
    assert turn.state == turn_pb2.TURN_STATE_CANCELLED
    assert await tab.waiting() == []


async def test_a_stop_that_gets_nowhere_outlives_a_reload(asker: Person) -> None:
    tab = await asker.sign_in()
    await tab.send(ENDLESS.question)
    await tab.grown()
    await tab.page.route(f"**{CHAT}CancelTurn", lambda route: route.abort("connectionreset"))
    await tab.stop.click()
    await expect(tab.page.get_by_role("button", name="Stopping…")).to_be_disabled()
    await tab.page.reload()
    await expect(tab.page.get_by_role("button", name="Stopping…")).to_be_disabled()
    await tab.page.unroute_all()
    await expect(tab.answers).to_contain_text("You stopped this answer.")
    (turn,) = asker.client.turns()
    assert turn.state == turn_pb2.TURN_STATE_CANCELLED


async def test_questions_asked_meanwhile_wait_in_their_order(asker: Person) -> None:
    context = await asker.profile()
    tab = await asker.sign_in(context)
    await tab.send(ENDLESS.question)
    await tab.grown()
    for number in (1, 2):
        await tab.send(SHORT.question)
        await expect(tab.steps.nth(number)).to_contain_text(f"Waiting for {number} earlier question")
    other = await asker.open(context, tab.page.url)
    await expect(other.steps.nth(2)).to_have_text("Waiting for 2 earlier questions…")
    await tab.page.reload()
    await expect(tab.steps.nth(2)).to_have_text("Waiting for 2 earlier questions…")
    # The middle question is stopped, so the last question moves up. Then the first question is stopped, and the
    # last question is answered.
    await tab.stop.nth(1).click()
    for one in (tab, other):
        await expect(one.answers).to_contain_text("You stopped this answer.")
        await expect(one.steps.nth(2)).to_have_text("Waiting for 1 earlier question…")
    await other.stop.first.click()
    for one in (tab, other):
        await ends_with(one, SHORT, number=2)
    states = [turn.state for turn in asker.client.turns(order_by="create_time")]
    stopped = turn_pb2.TURN_STATE_CANCELLED
    assert states == [stopped, stopped, turn_pb2.TURN_STATE_ANSWERED]
    # After a reload, the stopped questions are in their places among the messages.
    before = await tab.questions.all_text_contents()
    await tab.page.reload()
    await expect(tab.answers).to_have_count(3)
    assert await tab.questions.all_text_contents() == before
    for number in (0, 1):
        await expect(tab.answers.nth(number)).to_contain_text("You stopped this answer.")
    assert golden_text(ENDLESS).startswith(await tab.text())


async def test_a_failed_turn_says_what_is_known_and_can_be_asked_again(asker: Person) -> None:
    tab = await asker.sign_in()
    await tab.ask("tokens=5 tool=once tool_fail=cut")
    await expect(tab.answers).to_contain_text(
        "it’s unknown whether the call took effect, so Responsa does not repeat it."
    )
    await tab.steps.click()
    call = tab.page.locator(".steps .tool-call", has_text="Tool record-once")
    await expect(call).to_contain_text("it is not known whether the call took effect")
    await expect(call.get_by_role("region", name="Arguments")).to_be_hidden()
    await call.locator("summary").click()
    await expect(call.get_by_role("region", name="Arguments")).to_contain_text('"note": "seed-1"')
    await tab.ask("tokens=5 tool=once tool_fail=error")
    await expect(tab.answers.nth(1)).to_contain_text("failed: HTTP 500")
    await tab.ask("tokens=5 tool=idempotent")
    await expect(tab.answers.nth(2).locator(".steps li", has_text="record-idempotent")).to_contain_text(
        "done in"
    )

    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(tab.answers).to_have_count(0)
    await tab.ask("tokens=20 fail_after=3")
    await expect(tab.answers.locator(".problem")).to_be_visible()
    await expect(tab.answers.locator(".answer-text")).to_have_count(0)
    before = len({turn.request_id for turn in asker.client.turns()})
    await tab.page.get_by_role("button", name="Ask again").click()

    async def once_more() -> bool:
        return len({turn.request_id for turn in asker.client.turns()}) == before + 1

    await until(once_more, "another turn")
    await expect(tab.questions).to_have_count(1)
