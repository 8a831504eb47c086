"""Operations of OpenAPI files as tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from responsa_lab.testing.loopback import Exchange, Request
from responsa_server.agents.engine.calling import checked, schema_problem
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import Effect, ToolUnfit
from tests.unit.tools.declaring import complaint, made, request, served

PETS = """
openapi: VERSION
info: {title: Pets, version: "1"}
servers: [{url: SERVER}]
paths:
  /pets/{petId}:
    parameters:
      - {name: petId, in: path, required: true, schema: {type: integer}}
    get:
      operationId: getPet
      summary: One pet
      description: Returns a pet.
      parameters:
        - $ref: "#/components/parameters/Fields"
        - {name: tag, in: query, explode: false, schema: {type: array, items: {type: string}}}
        - {name: X-Trace-Id, in: header, schema: {type: string}}
        - {name: session, in: cookie, schema: {type: string}}
      responses:
        200: {description: ok, content: {application/json: {schema: {$ref: "#/components/schemas/Pet"}}}}
    delete:
      responses: {"204": {description: gone}}
  /pets:
    post:
      operationId: addPet
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Pet"}}}
      responses: {"201": {description: made}}
    put:
      operationId: upload
      requestBody: {content: {image/png: {schema: {type: string, format: binary}}}}
      responses: {}
  /search:
    get:
      operationId: deep
      parameters: [{name: filter, in: query, style: deepObject, schema: {type: object}}]
      responses: {}
components:
  parameters:
    Fields: {name: fields, in: query, description: Which fields., schema: {type: array, items: {type: string}}}
  schemas:
    Pet:
      type: object
      required: [name]
      properties:
        name: {type: string}
        age: {type: integer, minimum: 0, exclusiveMinimum: true, nullable: true}
        parent: {$ref: "#/components/schemas/Pet"}
        example: {type: string}
        mode: {type: string, enum: [on, off]}
        born: {type: string, format: date, default: 2024-01-31}
"""


def written(folder: Path, server: str, version: str = "3.0.3") -> Mapping[str, Any]:
    (folder / "pets.yaml").write_text(PETS.replace("SERVER", server).replace("VERSION", version))
    keys = {"file": "pets.yaml", "operations": ["getPet", "DELETE /pets/{petId}", "addPet"]}
    return {"kind": "openapi", "allow_private": ["127.0.0.1"], **keys}


async def test_operations_become_tools_with_their_schemas(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange.request)
        await exchange.reply(200, b'{"name": 3}' if len(seen) == 1 else b'{"name": "Rex"}')

    async with served(handle) as url:
        raw = {**written(tmp_path, url), "checked": True}
        get, delete, add = made(raw, tmp_path)
        assert [one.card.id for one in (get, delete, add)] == [
            "note_get_pet",
            "note_delete_pets_pet_id",
            "note_add_pet",
        ]
        assert [one.effect for one in (get, delete, add)] == [Effect.NONE, Effect.IDEMPOTENT, Effect.ONCE]
        assert (get.card.title, get.card.description) == ("One pet", "Returns a pet.")
        assert get.card.parameters["required"] == ["petId"]
        for one in (get, delete, add):
            assert schema_problem(one.card.parameters) is None
        arguments: dict[str, Any] = {"petId": 3, "fields": ["a", "b&c"], "tag": ["x", "y"], "X-Trace-Id": "t"}
        wrong = checked(await get.call(request(arguments)), get)
        assert wrong.error is ToolFault.SCHEMA
        assert checked(await get.call(request({"petId": 3})), get).outcome is ToolOutcome.OK
        pet = {"name": "Rex", "age": None, "parent": {"name": "Max", "age": 3}}
        assert complaint(add, {"body": {**pet, "mode": "on"}}) == ""
        assert complaint(add, {"body": pet}) == ""
        assert complaint(add, {"body": {**pet, "age": 0}})
        assert complaint(add, {"body": {"name": "x", "parent": {}}})
        assert (await add.call(request({"body": pet}))).outcome is ToolOutcome.OK
    first, second, third = seen
    assert (first.method, first.path) == ("GET", "/pets/3?fields=a&fields=b%26c&tag=x%2Cy")
    assert first.headers["x-trace-id"] == "t"
    assert "content-type" not in first.headers
    assert second.path == "/pets/3"
    assert (third.method, json.loads(third.body)) == ("POST", pet)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"operations": ["getPets"]}, "has no operation 'getPets'; it has GET /pets"),
        ({"operations": ["upload"]}, "body is not JSON"),
        ({"operations": ["deep"]}, "object in the query"),
        ({"operations": ["getPet", "GET /pets/{petId}"]}, "would be the tool 'note_get_pet'"),
        ({"file": "../pets.yaml"}, "not in the tools folder"),
        ({"file": "missing.yaml"}, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(keys: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ToolUnfit, match=said):
        made({**written(tmp_path, "https://a.example"), **keys}, tmp_path)
    with pytest.raises(ToolUnfit, match="convert it first"):
        made(written(tmp_path, "https://a.example", "2.0"), tmp_path)
    with pytest.raises(ToolUnfit, match="set server"):
        made(written(tmp_path, "/v1"), tmp_path)
    (tmp_path / "pets.yaml").write_text(
        PETS.replace("VERSION", "3.1.0").replace("#/components/schemas/Pet", "https://a.example/x")
    )
    with pytest.raises(ToolUnfit, match="leads out of the file") as caught:
        made({**BASE, "operations": ["addPet"]}, tmp_path)
    assert caught.value.key == ("operations", 0)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("pets.yaml", "openapi: 3.1.0\npaths: a: b\n", "pets.yaml is not valid YAML at line 2, column 9: mapping values are not allowed here; correct it there"),
        ("pets.yaml", "openapi: [3.1.0\npaths: {}\n", "pets.yaml is not valid YAML at line 2, column 6: expected ',' or ']', but got ':'; correct it there"),
        ("pets.yaml", "\x00", "pets.yaml is not valid YAML: "),
        ("pets.json", '{"openapi": "3.1.0",\n}', "pets.json is not valid JSON at line 2, column 1: "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_parsed_is_named_with_its_line(
    file: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ToolUnfit) as caught:
        made({**BASE, "file": file, "operations": ["addPet"]}, tmp_path)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert caught.value.key == ("file",)


BASE = {"kind": "openapi", "file": "pets.yaml", "server": "https://a.example"}
