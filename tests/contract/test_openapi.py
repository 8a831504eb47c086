"""The description of REST as OpenAPI is valid, and belongs to this contract."""

from __future__ import annotations

import json

from tools import openapi


def test_the_description_is_valid_and_fresh() -> None:
    # It compiles grammars of addresses for two seconds, and each process of a run imports all files of tests.
    from openapi_spec_validator import OpenAPIV31SpecValidator

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


def test_no_object_within_a_schema_has_a_name_of_its_own() -> None:
    """Generators of clients make a class of it, named after the schema and the field. `Document.metadata` would be
    `DocumentMetadata`, which is another schema's name."""
    schemas = json.loads(openapi.PAGE.read_text(encoding="utf-8"))["components"]["schemas"]
    plain = {name.replace(".", "").lower() for name in schemas}
    inline = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if inner.get("type") == "object" or inner.get("items", {}).get("type") == "object"
    }
    assert [name for name in inline if name.replace(".", "").lower() in plain] == []
    assert schemas["google.protobuf.Struct"] == {"type": "object"}
