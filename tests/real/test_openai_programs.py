"""Programs for OpenAI's API, as their registries have them, in front of a real instance."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import httpx2
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.person import PATIENCE
from tests.instance import START_PATIENCE, Instance, eventually, free_port
from tests.real import programs
from tests.tied import tied

pytestmark = pytest.mark.soak
QUESTION: Final = "When does the ferry to Skye leave Mallaig?"
ANSWER: Final = "six in the morning"


def run(backend: Instance, folder: Path, *command: str) -> str:
    """Run a program with the instance as OpenAI's API. Returns what it has printed."""
    api = f"{backend.url}/v1"
    names = {"OPENAI_API_BASE": api, "OPENAI_BASE_URL": api, "OPENAI_API_KEY": backend.key}
    environment = {**os.environ, "HOME": str(folder), **names}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_aider(backend: Instance, tmp_path: Path) -> None:
    aider = str(programs.python_environment("aider", programs.AIDER) / "aider")
    options = "--model openai/default --chat-mode ask --no-git --yes-always --no-check-update --no-analytics"
    plain = "--no-show-model-warnings --no-pretty --no-fancy-input --map-tokens 0"
    printed = run(backend, tmp_path, aider, *options.split(), *plain.split(), "--message", QUESTION)
    assert ANSWER in printed


LLAMA: Final = """
import os
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(model="default", api_base=os.environ["OPENAI_API_BASE"], api_key=os.environ["OPENAI_API_KEY"], is_chat_model=True)
message = ChatMessage(role="user", content=os.environ["QUESTION"])
print(llm.chat([message]).message.content)
print("".join(part.delta or "" for part in llm.stream_chat([message])))
"""


def test_llama_index(backend: Instance, tmp_path: Path) -> None:
    python = str(programs.python_environment("llama-index", programs.LLAMA_INDEX) / "python")
    printed = run(backend, tmp_path, python, "-c", LLAMA.replace('os.environ["QUESTION"]', repr(QUESTION)))
    assert printed.count(ANSWER) == printed.count("Sources:") == 2


LANGCHAIN: Final = """
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

model = ChatOpenAI(model="default")
print(model.invoke(QUESTION).content)
print("".join(part.content for part in model.stream(QUESTION)))
print(len(OpenAIEmbeddings(model="", check_embedding_ctx_length=False).embed_query(QUESTION)))
"""


def test_langchain(backend: Instance, tmp_path: Path) -> None:
    python = str(programs.python_environment("langchain", programs.LANGCHAIN) / "python")
    printed = run(backend, tmp_path, python, "-c", LANGCHAIN.replace("QUESTION", repr(QUESTION)))
    assert printed.count(ANSWER) == printed.count("Sources:") == 2
    assert printed.endswith("\n384\n")


AI_SDK: Final = """
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const baseURL = process.env.OPENAI_BASE_URL, apiKey = process.env.OPENAI_API_KEY;
const chat = createOpenAICompatible({ name: "responsa", baseURL, apiKey })("default");
const responses = createOpenAI({ baseURL, apiKey })("default");
const found = [];
for (const model of [chat, responses]) {
  const whole = await generateText({ model, prompt: QUESTION });
  const stream = streamText({ model, prompt: QUESTION });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  found.push([whole.text, text, whole.sources.length]);
}
console.log(JSON.stringify(found));
"""


def test_the_ai_sdk(backend: Instance, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(programs.front_ends())
    script = tmp_path / "ask.mjs"
    script.write_text(AI_SDK.replace("QUESTION", json.dumps(QUESTION)))
    (chat, responses) = json.loads(run(backend, tmp_path, "node", str(script)))
    for whole, streamed, _ in (chat, responses):
        assert ANSWER in whole
        assert streamed == whole
    assert responses[2] > 0


CONTINUE: Final = """
name: local
version: 0.0.1
schema: v1
models:
  - {{name: responsa, provider: openai, model: default, apiBase: "{url}/v1", apiKey: "{key}", roles: [chat]}}
"""


def test_continue_on_the_command_line(backend: Instance, tmp_path: Path) -> None:
    command = str(programs.node_modules("continue", programs.CONTINUE) / ".bin" / "cn")
    settings = tmp_path / "config.yaml"
    settings.write_text(CONTINUE.format(url=backend.url, key=backend.key))
    assert ANSWER in run(backend, tmp_path, command, "-p", QUESTION, "--config", str(settings))


GRADIO: Final = """
import os
import gradio

chat = gradio.load_chat(os.environ["OPENAI_BASE_URL"], model="default", token=os.environ["OPENAI_API_KEY"])
chat.launch(server_name="127.0.0.1", server_port={port}, quiet=True)
"""


def test_gradio_in_a_browser(backend: Instance, tmp_path: Path) -> None:
    python, port = str(programs.python_environment("gradio", *programs.GRADIO) / "python"), free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "OPENAI_BASE_URL": f"{backend.url}/v1",
        "OPENAI_API_KEY": backend.key,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            tied(python, "-c", GRADIO.replace("{port}", str(port))), env=environment, stdout=out, stderr=out
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return httpx2.get(url).is_success
        except httpx2.TransportError:
            return False

    try:
        eventually(ready, lambda: log.read_text()[-3000:], START_PATIENCE)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            page = browser.new_page()
            page.goto(url)
            page.locator("textarea").fill(QUESTION, timeout=PATIENCE)
            page.keyboard.press("Enter")
            bot = page.locator(".bot.message")
            expect(bot).to_contain_text(ANSWER, timeout=PATIENCE)
            source = bot.locator(f'a[href^="{backend.url}/#/documents/"]')
            expect(source).to_have_count(1, timeout=PATIENCE)
            browser.close()
    finally:
        process.terminate()
        process.wait(60)
