"""How `responsa call` reads a request from options, and shows messages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf import json_format

from responsa.admin.v1 import admin_service_pb2, source_pb2
from responsa.auth.v1 import user_pb2
from responsa_server.cli.call import OWN_OPTIONS, Arguments, repeatable
from responsa_server.cli.contract import comment, method_named, methods, options_of, resolve_path, value_form
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.request_options import parse_options, request_of
from responsa_server.cli.tables import facts, table

USER = "users/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"


def made(method: str, *words: str, base: str = "") -> dict[str, Any]:
    """The request in proto-JSON, without a request_id that was filled in."""
    message = method_named(method).input_type

    def read(_: str, value: str) -> str | bytes:
        return b"\xef\xbb\xbfof a file\n" if value == "@file" else value

    request = request_of(message, base, parse_options(words, message), read)
    return json_format.MessageToDict(request, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    ("method", "words", "expected"),
    [
        # The last part of a field's name is enough; the mask names what was given, but not the name and the etag.
        (
            "AdminService.UpdateUser",
            ("--name", USER, "--display-name=Ada", "--user.role", "admin", "--etag", "1"),
            {
                "user": {"name": USER, "display_name": "Ada", "role": "USER_ROLE_ADMIN", "etag": "1"},
                "update_mask": "displayName,role",
            },
        ),
        # An empty value clears a field, and an own mask wins.
        (
            "AdminService.UpdateUser",
            ("--subject", "", "--name", USER),
            {"user": {"name": USER}, "update_mask": "subject"},
        ),
        (
            "AdminService.UpdateUser",
            ("--subject", "x", "--update_mask", "display_name"),
            {"user": {"subject": "x"}, "update_mask": "displayName"},
        ),
        # A mask names the message whose alternative was given, and a field of a message by its path.
        (
            "AdminService.UpdateUserQuota",
            ("--tokens-per-day.at-most", "5"),
            {"user_quota": {"tokens_per_day": {"at_most": "5"}}, "update_mask": "tokensPerDay"},
        ),
        (
            "AdminService.UpdateUserLimits",
            ("--exceptions.streams", "7"),
            {"user_limits": {"exceptions": {"streams": "7"}}, "update_mask": "exceptions.streams"},
        ),
        (
            "KnowledgeService.UpdateDocument",
            (
                "--labels",
                "team=legal",
                "--labels",
                "a=b=c",
                "--metadata",
                "year=2025",
                "--metadata",
                "by=Ann",
            ),
            {
                "document": {
                    "labels": {"team": "legal", "a": "b=c"},
                    "metadata": {"year": 2025.0, "by": "Ann"},
                },
                "update_mask": "labels,metadata",
            },
        ),
        (
            "KnowledgeService.UpdateCollection",
            ("--readers", '{"everyone": true}', "--readers", '{"role": "USER_ROLE_USER"}'),
            {
                "collection": {"readers": [{"everyone": True}, {"role": "USER_ROLE_USER"}]},
                "update_mask": "readers",
            },
        ),
        (
            "KnowledgeService.Search",
            ("--terms", "rye", "--terms", "mill", "--top-k", "3", "--threshold", "0.5", "--rerank", "false"),
            {"terms": ["rye", "mill"], "top_k": 3, "threshold": 0.5, "rerank": False},
        ),
        # A bool needs no value.
        (
            "KnowledgeService.DeleteCollection",
            ("--force", "--name", "collections/a"),
            {"force": True, "name": "collections/a"},
        ),
        ("AdminService.PreviewSource", ("--mapping", "@file"), {"mapping": "of a file"}),
        (
            "AuthService.CreateApiKey",
            ("--expire-time", "2027-01-31T00:00:00Z"),
            {"api_key": {"expire_time": "2027-01-31T00:00:00Z"}},
        ),
        ("Operations.WaitOperation", ("--timeout", "3.5s"), {"timeout": "3.500s"}),
    ],
)
def test_options_become_fields(method: str, words: Sequence[str], expected: dict[str, Any]) -> None:
    request = made(method, *words)
    request.pop("request_id", None)
    assert request == expected


def test_a_json_object_is_the_base_and_options_win() -> None:
    request = made(
        "AdminService.UpdateUser",
        "--email",
        "b@x.org",
        base='{"user": {"email": "a@x.org", "displayName": ""}}',
    )
    assert request == {"user": {"email": "b@x.org"}, "update_mask": "displayName,email"}


def test_a_request_id_is_filled_in_unless_it_is_given() -> None:
    first, second = (made("AdminService.CreateUser")["request_id"] for _ in range(2))
    assert first != second
    assert made("AdminService.CreateUser", "--request-id", "x")["request_id"] == "x"


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("AdminService.UpdateUser", ("--emial", "x"), "--emial. Did you mean --email?"),
        ("AdminService.UpdateUser", ("--user.rolle", "x"), "Did you mean --role?"),
        ("AdminService.UpdateUserQuota", ("--at-most", "1"), "several fields. Did you mean --tokens-per-day.at-most or"),
        ("AdminService.UpdateUser", ("--role", "boss"), "'boss'. It takes user, admin, service."),
        ("AdminService.UpdateUser", ("--email",), "--email has no value. Write --email TEXT."),
        ("AdminService.UpdateUser", ("Ada",), "'Ada' is not an option"),
        ("AdminService.UpdateUser", ("--email", "a", "--user.email", "b"), "given twice"),
        ("KnowledgeService.Search", ("--top-k", "many"), "--top-k cannot be 'many'. It takes a whole number."),
        ("KnowledgeService.UpdateDocument", ("--labels", "team"), "does not have the form name=value"),
        ("KnowledgeService.UpdateCollection", ("--readers", "Ada"), "--readers is not valid JSON"),
        ("AuthService.CreateApiKey", ("--expire-time", "soon"), "--expire-time does not match"),
        ("AdminService.CreatUser", (), "Did you mean AdminService.CreateUser?"),
        ("createuser", (), "Did you mean AdminService.CreateUser?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_a_remedy(method: str, words: Sequence[str], message: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        made(method, *words)
    assert message in f"{caught.value.sentence} {caught.value.remedy}"
    assert caught.value.exit_code == 2


def test_bytes_are_read_from_files() -> None:
    message = method_named("KnowledgeService.UploadDocument").input_type
    request = request_of(message, "", parse_options(("--chunk", "@file"), message), lambda _, __: b"\0\xff")
    assert json_format.MessageToDict(request) == {"chunk": base64.b64encode(b"\0\xff").decode()}


def test_every_method_and_every_field_has_its_comment_and_an_option_of_its_own() -> None:
    for name, method in methods():
        options = options_of(method.input_type)
        assert not options.keys() & OWN_OPTIONS.keys(), name
        for option, (path, field) in options.items():
            assert (
                resolve_path(
                    option.removeprefix("--").replace("-", "_"), [one for one, _ in options.values()]
                )
                == path
            )
            assert value_form(field)
            assert comment(field.full_name) or not field.full_name.startswith("responsa."), field.full_name
        assert comment(method.full_name) or name.startswith("Operations."), name


def test_the_own_options_stand_anywhere() -> None:
    arguments = Arguments.of(
        ["--email", "-h", "-o", "json", "--only=code", "--all", "--name=--wait", "--force"]
    )
    assert arguments.own == {"--output": "json", "--only": "code", "--all": "true"}
    assert arguments.fields == ["--email", "-h", "--name=--wait", "--force"]
    for wrong in (["--output", "xml"], ["--only"]):
        with pytest.raises(CommandFailed):
            Arguments.of(wrong)


def test_messages_are_shown_by_their_fields_and_lists_as_tables() -> None:
    ada = user_pb2.User(name="users/a", display_name="Ada\x1b[2J", role=user_pb2.USER_ROLE_ADMIN, etag="1")
    bo = user_pb2.User(name="users/longer", email="bo@x.org\nusers/forged", owns_installation=True)
    assert table([ada, bo]).splitlines() == [
        "name          display-name  email                  role   owns-installation",
        "users/a       Ada�[2J                              admin",
        "users/longer                bo@x.org users/forged         true",
    ]
    row = source_pb2.PreviewedRow(kind="profile", text="# Ada\n\nShe sings.\n")
    row.metadata.update({"year": 2025})
    response = admin_service_pb2.PreviewSourceResponse(rows=[row])
    assert facts(response) == (
        'rows.1.kind: profile\nrows.1.text:\n  # Ada\n\n  She sings.\nrows.1.metadata: {"year": 2025.0}'
    )


@pytest.mark.parametrize(
    ("method", "words", "expected"),
    [
        ("AdminService.ListUsers", [], True),
        ("AdminService.CreateUser", ["--email", "cleo@example.org"], True),
        ("AuthService.CreateApiKey", ["--display-name", "reports"], False),  # a second response has no secret
        ("AdminService.UpdateUser", ["--name", "users/1", "--role", "admin"], True),
        ("AdminService.UpdateUser", ["--name", "users/1", "--role", "admin", "--etag", "1"], False),
        ("AuthService.CreateInvitation", ["--email", "cleo@example.org"], False),
    ],
)
def test_a_call_is_repeated_only_if_a_second_one_has_no_second_effect(
    method: str, words: Sequence[str], *, expected: bool
) -> None:
    chosen = method_named(method)
    request = request_of(
        chosen.input_type, "", parse_options(words, chosen.input_type), lambda _, value: value
    )
    assert repeatable(chosen, request) is expected
