"""The description of REST as OpenAPI is valid, and belongs to this contract."""

from __future__ import annotations

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from tools import openapi


def test_the_description_is_valid_and_fresh() -> None:
    text = openapi.PAGE.read_text(encoding="utf-8")
    assert text == openapi.page(), "run `make generate`"
    assert [*OpenAPIV31SpecValidator(json.loads(text)).iter_errors()] == []


def test_rules_reasons_and_paths_are_in_it() -> None:
    found = json.loads(openapi.PAGE.read_text(encoding="utf-8"))
    schemas, paths = found["components"]["schemas"], found["paths"]
    question = schemas["responsa.chat.v1.AskRequest"]
    assert question["required"] == ["text"]
    assert question["properties"]["text"]["maxLength"] == 16_384
    assert not question["additionalProperties"]
    details = schemas["google.rpc.Status"]["properties"]["details"]["items"]
    assert "CONVERSATION_BUSY" in details["properties"]["reason"]["enum"]
    assert paths["/v1/auth:login"]["post"]["security"] == []
    assert {"/v1/turns/{turn}:cancel", "/v1/operations/{operation}:wait", "/v1/uploads"} <= set(paths)
    events = paths["/v1/turns/{turn}/events"]["get"]
    assert "Last-Event-ID" in [one["name"] for one in events["parameters"]]
    assert "204" in events["responses"]
    names = [one["operationId"] for path in paths.values() for one in path.values()]
    assert len(names) == len(set(names))
