"""The model of a case: typed data, read from YAML. An unknown key is an error; `case.schema.json` has the same rules for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tests.callers import Credential
from tests.transports import Way

FOLDER = Path(__file__).parent
SCHEMA = FOLDER / "case.schema.json"
FOLLOWING = "following.yaml"
"""Cases of another shape: how clients follow a turn across cut connections. See its head."""

Code = Literal[
    "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "ALREADY_EXISTS", "ABORTED",
    "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNIMPLEMENTED", "OUT_OF_RANGE",
]  # fmt: skip
NUMBERS: Mapping[str, int] = {
    "CANCELLED": 1, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5, "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10, "OUT_OF_RANGE": 11, "UNIMPLEMENTED": 12, "UNAUTHENTICATED": 16,
}  # fmt: skip
Pattern = Any
"""The expected value: an object's named fields (others are ignored), a whole list, or a scalar. In texts `<uuid>`, `<time>`, `<any>` match values that differ between runs, `${name}` a value that a step stored; `<absent>` means that the field is missing."""


class Strict(BaseModel):
    """Forbids unknown keys and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Step(Strict):
    """An action that must happen before the call; it is made over gRPC and must succeed. Exactly one of `call`, `hold`."""

    call: str = Field(default="", description="Service/Method")
    hold: str = Field(
        default="", description="A table of the database that nobody can read or write until the case ends."
    )
    who: Credential = Field(default=Credential.USER, alias="as")
    request: dict[str, Any] = Field(default_factory=dict, description="proto-JSON; ${name} is filled in.")
    requests: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    wait: bool = Field(
        default=False, description="The call gives an operation: wait until it is done and well."
    )
    until: Pattern = Field(
        default=None, description="The call is made again and again until its response is so."
    )
    keep: dict[str, str] = Field(
        default_factory=dict, description="Names for values of the response, by path: `metadata.document`."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        assert bool(self.call) != bool(self.hold), "a step has one of `call` and `hold`"
        return self


class Raw(Strict):
    """Bytes in place of a request, Base64: one message's for gRPC and gRPC-Web, a body for REST."""

    message: str
    body: str = ""


class Problem(Strict):
    """The error that every transport must return."""

    code: Code
    reason: str = Field(description="errors.v1.Reason without its prefix")
    fields: list[str] = Field(default_factory=list, description="All fields at fault, in order.")
    metadata: dict[str, str] = Field(default_factory=dict, description="All of ErrorInfo's metadata.")
    says: str = Field(min_length=3, description="A part of the message that tells what helps.")


class Expect(Strict):
    """Exactly one of the three fields must be set."""

    problem: Problem | None = None
    response: Pattern = None
    messages: list[Pattern] | None = Field(default=None, description="A stream's messages, in order.")
    golden: str = Field(
        default="",
        description="A turn's events (those after the request's afterSeq) must be those of golden/NAME.json. `RESPONSA_GOLDEN=write` rewrites it from gRPC.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [
            self.problem is not None,
            self.response is not None,
            self.messages is not None,
            bool(self.golden),
        ]
        assert sum(given) == 1, "expect has exactly one of problem, response, messages, golden"
        return self


class Case(Strict):
    """One call and its expected result, the same on every transport."""

    name: str = Field(pattern="^[a-z0-9_]+$")
    why: str = ""
    method: str
    who: Credential = Field(default=Credential.USER, alias="as")
    setup: list[Step] = Field(default_factory=list[Step])
    request: dict[str, Any] | None = None
    requests: list[dict[str, Any]] | None = Field(default=None, description="Of a client's stream.")
    raw: Raw | None = None
    ways: list[Way] = Field(default=[Way.GRPC, Way.WEB, Way.REST], min_length=1)
    expect: Expect
    unsteady: list[str] = Field(
        default_factory=list,
        description="Fields of the response that hang on the moment; not compared between ways.",
    )
    words_differ: str = Field(
        default="",
        description="Why the ways cannot tell the problem in the same words; code and reason must be the same all the same.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [self.request is not None, self.requests is not None, self.raw is not None]
        assert sum(given) == 1, f"{self.name} has exactly one of request, requests, raw"
        return self


class CaseFile(Strict):
    """All cases of one service."""

    service: str
    shared: dict[str, Any] = Field(default_factory=dict, description="Anchors that cases repeat; not read.")
    cases: Annotated[list[Case], Field(min_length=1)]


def read(path: Path) -> CaseFile:
    """Read one file. Raises pydantic's ValidationError."""
    return CaseFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def read_all() -> Mapping[str, Case]:
    """Every case by `Service/Method:name`."""
    found: dict[str, Case] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name == FOLLOWING:
            continue
        file = read(path)
        for case in file.cases:
            key = f"{file.service}/{case.method}:{case.name}"
            assert key not in found, f"{key} is there twice"
            found[key] = case
    return found


def schema() -> str:
    """The JSON schema of a file, for editors."""
    return json.dumps(CaseFile.model_json_schema(by_alias=True), indent=2, sort_keys=True) + "\n"
