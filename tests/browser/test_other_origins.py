"""A page of another origin that the settings allow uses OpenAI's official client, Connect's library and `fetch` (CORS)."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from playwright.async_api import Route

from tests.browser.conftest import ELSEWHERE
from tests.browser.person import Person
from tests.callers import Credential, Registry
from tests.instance import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLS = """
async ([url, key]) => {
  const { default: OpenAI } = await import("/openai/index.mjs");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, dangerouslyAllowBrowser: true, maxRetries: 0 });
  const question = { model: "testing", messages: [{ role: "user", content: "tokens=4 pace_ms=0" }] };
  const { data, response } = await client.chat.completions.create(question).withResponse();
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...question, stream: true }))
    streamed += chunk.choices[0]?.delta.content ?? "";
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", accept: "text/event-stream" };
  const body = JSON.stringify({ agent: "agents/testing", text: "tokens=4 pace_ms=0" });
  const { ChatService, createClient, createConnectTransport } = await import("/connect.js");
  const chat = createClient(ChatService, createConnectTransport({ baseUrl: url }));
  const events = [];
  const signed = { headers: { authorization: headers.authorization } };
  for await (const frame of chat.ask({ agent: "agents/testing", text: "tokens=4 pace_ms=0" }, signed))
    events.push(...frame.events.map(({ event }) => event.case));
  const refused = await chat.getTurn({ name: "turns/none" }).catch((error) => error.rawMessage);
  const asked = await fetch(`${url}/v1/turns:ask`, { method: "POST", headers: { ...headers, "idempotency-key": "1" }, body });
  return {
    answer: data.choices[0].message.content,
    turn: response.headers.get("x-responsa-turn"),
    streamed,
    events: await asked.text(),
    call: asked.headers.get("x-request-id"),
    connected: events.at(-1),
    refused,
  };
}
"""


CONNECT = """
export { createClient } from "@connectrpc/connect";
export { createConnectTransport } from "@connectrpc/connect-web";
export { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
"""


def bundled() -> str:
    """The library of Connect with the chat service, for a browser."""
    command = (ROOT / "node_modules" / ".bin" / "esbuild", "--bundle", "--platform=browser", "--format=esm")
    folder = ROOT / "clients" / "typescript"
    return subprocess.run(
        command, cwd=folder, input=CONNECT, capture_output=True, text=True, check=True
    ).stdout


async def serve(route: Route) -> None:
    """Answer with a module of the client, or with an empty page."""
    path = route.request.url.removeprefix(f"{ELSEWHERE}/")
    if path == "connect.js":
        await route.fulfill(body=bundled(), content_type="text/javascript")
    elif path:
        await route.fulfill(path=ROOT / "node_modules" / path, content_type="text/javascript")
    else:
        await route.fulfill(body="", content_type="text/html")


async def test_openais_client_and_fetch(person: Person, registry: Registry) -> None:
    context = await person.profile()
    await context.route(f"{ELSEWHERE}/**", serve)
    page = (await person.open(context, f"{ELSEWHERE}/")).page
    replies: dict[str, Any] = await page.evaluate(
        CALLS, [person.url, registry.new_tenant().key(Credential.USER)]
    )
    assert replies["answer"] == replies["streamed"] != ""
    assert replies["turn"].startswith("turns/")
    assert "event: answer" in replies["events"]
    assert replies["call"]
    assert (replies["connected"], "API key" in replies["refused"]) == ("answer", True), replies["refused"]
