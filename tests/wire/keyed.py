"""A server of OpenAI's protocol that takes one key, lists its models, answers and embeds texts."""

from __future__ import annotations

import json

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from tests.wire.embeddings import vector_of
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Scene, complaining, telling


class KeyedServer:
    """A server of models that takes one key. asked: the paths that were asked, each with the key."""

    def __init__(self, key: str = KEY, location: str = "") -> None:
        self.asked: list[tuple[str, str]] = []
        self._key, self._location = key, location
        self._wire = OpenAi()
        self._server = LoopbackServer(self._handle)

    async def _handle(self, exchange: LoopbackExchange) -> None:
        path, key = exchange.request.path, exchange.request.headers.get("authorization", "")
        self.asked.append((path, key))
        if self._location:
            await exchange.reply(302, b"", {"location": self._location})
        elif key != f"Bearer {self._key}":
            await complaining(self._wire.complaint(401, key))(exchange)
        elif path == "/v1/models":
            names = ["m-1", "vendor/m-2:latest", "not a name", "m-1"]
            await exchange.reply(200, json.dumps({"data": [{"id": name} for name in names]}).encode())
        elif path == "/v1/embeddings":
            texts = json.loads(exchange.request.body)["input"]
            rows = [{"index": index, "embedding": vector_of(text, 256)} for index, text in enumerate(texts)]
            await exchange.reply(200, json.dumps({"data": rows}).encode())
        else:
            await telling(self._wire, self._wire.events(Scene(["OK"])))(exchange)

    async def __aenter__(self) -> str:
        await self._server.start()
        return self._server.url + self._wire.root

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
