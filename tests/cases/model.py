"""The model of a case: typed data, read from YAML. An unknown key is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tests.callers import Credential
from tests.transports import Way

FOLDER = Path(__file__).parent

Code = Literal[
    "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "ALREADY_EXISTS", "ABORTED",
    "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNIMPLEMENTED", "OUT_OF_RANGE",
]  # fmt: skip
NUMBERS: Mapping[str, int] = {
    "CANCELLED": 1, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5, "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10, "OUT_OF_RANGE": 11, "UNIMPLEMENTED": 12, "UNAUTHENTICATED": 16,
}  # fmt: skip
Pattern = Any
"""The expected value: an object with the fields to compare (others are ignored), a whole list, or a scalar. In texts,
`<uuid>`, `<time>` and `<any>` match values that differ between runs, and `${name}` matches a value that a step stored.
`<absent>` means that the field is missing, and `<more>` at the end of a list that it may have further entries.
"""


class Strict(BaseModel):
    """Forbids unknown keys and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Step(Strict):
    """An action before the call, one of `call`, `hold`, `mail`, `identity`, `program` and `pattern`. A `call` over gRPC must succeed."""

    call: str = Field(default="", description="Service/Method")
    hold: str = Field(
        default="", description="A table of the database that nobody can read or write until the case ends."
    )
    mail: str = Field(
        default="",
        description="An address. The case waits for a mail to it, and stores the code of the newest one under the name `code`.",
    )
    identity: str = Field(
        default="",
        description=(
            "A user, `users/{uuid}`. The user gets an identity at an OpenID Connect provider, whose "
            "name is stored under the name `identity`."
        ),
    )
    program: str = Field(
        default="",
        description=(
            "The name of a program that wanted to register itself with `https://NAME.example/back`, and was "
            "refused. The name of what it asked for is stored under the name `asked`."
        ),
    )
    pattern: bool = Field(
        default=False,
        description="The tenant gets a pattern of one unanswered question at once, as the server makes it after seconds.",
    )
    credential: Credential = Field(default=Credential.USER, alias="as")
    request: dict[str, Any] = Field(
        default_factory=dict, description="The request as proto-JSON, in which ${name} is filled in."
    )
    requests: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    wait: bool = Field(
        default=False,
        description="Whether the call returns an operation that must end without an error before the case continues.",
    )
    until: Pattern = Field(
        default=None,
        description="The response that is awaited: the call is repeated until its response matches.",
    )
    keep: dict[str, str] = Field(
        default_factory=dict,
        description="Names under which values of the response are stored, with the path of each value, such as `metadata.document`.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [self.call, self.hold, self.mail, self.identity, self.program, self.pattern]
        assert sum(map(bool, kinds)) == 1, (
            "a step has one of `call`, `hold`, `mail`, `identity`, `program` and `pattern`"
        )
        return self


class Raw(Strict):
    """Bytes in place of a request, in Base64. message: the message for gRPC and gRPC-Web. body: the body for REST."""

    message: str
    body: str = ""


class Problem(Strict):
    """The error that every transport must return."""

    code: Code
    reason: str = Field(description="The name in errors.v1.Reason, without the prefix.")
    fields: list[str] = Field(default_factory=list, description="All fields at fault, in order.")
    metadata: dict[str, str] = Field(default_factory=dict, description="The whole metadata of ErrorInfo.")
    says: str = Field(min_length=3, description="The part of the message that gives the remedy.")


class Expect(Strict):
    """The expected result. Exactly one of the four fields must be set."""

    problem: Problem | None = None
    response: Pattern = None
    messages: list[Pattern] | None = Field(default=None, description="A stream's messages, in order.")
    golden: str = Field(
        default="",
        description=(
            "The NAME of golden/NAME.json. A turn's events after the request's afterSeq must equal "
            "the events in this file. `RESPONSA_GOLDEN=write` writes the file from the events over "
            "gRPC."
        ),
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [
            self.problem is not None,
            self.response is not None,
            self.messages is not None,
            bool(self.golden),
        ]
        assert sum(kinds) == 1, "expect has exactly one of problem, response, messages, golden"
        return self


class Case(Strict):
    """One call and its expected result, the same on every transport."""

    name: str = Field(pattern="^[a-z0-9_]+$")
    why: str = ""
    method: str
    credential: Credential = Field(default=Credential.USER, alias="as")
    setup: list[Step] = Field(default_factory=list[Step])
    request: dict[str, Any] | None = None
    requests: list[dict[str, Any]] | None = Field(
        default=None, description="The requests of a client stream."
    )
    raw: Raw | None = None
    ways: list[Way] = Field(default=[Way.GRPC, Way.WEB, Way.REST], min_length=1)
    expect: Expect
    unsteady: list[str] = Field(
        default_factory=list,
        description="Fields of the response whose values depend on the time of the call. They are not compared between transports.",
    )
    words_differ: str = Field(
        default="",
        description="The reason why transports describe the problem in different words. Code and reason must be the same anyway.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [self.request is not None, self.requests is not None, self.raw is not None]
        assert sum(given) == 1, f"{self.name} has exactly one of request, requests, raw"
        return self


class CaseFile(Strict):
    """All cases of one service."""

    service: str
    shared: dict[str, Any] = Field(
        default_factory=dict, description="YAML anchors that cases repeat. The field itself is not read."
    )
    cases: Annotated[list[Case], Field(min_length=1)]


def read(path: Path) -> CaseFile:
    """Read one file. Raises pydantic's ValidationError."""
    return CaseFile.model_validate(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))


def read_all() -> Mapping[str, Case]:
    """Every case by `Service/Method:name`."""
    cases: dict[str, Case] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        file = read(path)
        for case in file.cases:
            key = f"{file.service}/{case.method}:{case.name}"
            assert key not in cases, f"{key} occurs twice"
            cases[key] = case
    return cases
