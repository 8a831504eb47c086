"""The server does what generated/openapi.json says: schemathesis makes valid and invalid requests from it, and compares
the responses with it.

An administrator of a tenant makes the calls. So the operations for owners of the installation are refused here;
tests/cases calls them. The description has one object for each line of a stream, so the lines are not compared here,
but in tests/cases. `make soak CAMPAIGN=openapi_calls COUNT=50` makes more requests.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from responsa_server.calls.methods import METHODS
from tests.callers import Credential, Registry
from tests.instance import Instance
from tools.openapi import PAGE

LONG: Final = int(os.environ.get("RESPONSA_SOAK_COUNT") or 50)
"""How many valid requests each operation gets, and how many invalid ones. `make test` makes one of each to the first
operation of each service, and of each HTTP method."""
STREAMS: Final = frozenset(
    f"{method.containing_service.name}.{method.name}"
    for method in METHODS.values()
    if method.server_streaming
)


@pytest.mark.parametrize(
    "count", [1, pytest.param(LONG, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])]
)
def test_every_operation_does_what_its_description_says(
    instance: Instance, registry: Registry, count: int
) -> None:
    key = registry.new_tenant().key(Credential.ADMIN)
    # Its caller is gone after the first call.
    keys = {"AuthService.DeleteMe": registry.new_tenant().key(Credential.ADMIN)}
    differences: list[str] = []
    seen = set[str]()
    for operation in operations():
        # A further path of the same method has a third part in its name.
        service, method, *_ = operation.definition.raw["operationId"].split(".")
        if count == 1 and {service, operation.method} <= seen:
            continue
        seen |= {service, operation.method}
        name = f"{service}.{method}"
        differences += mistakes(operation, count, instance.url, keys.get(name, key), lines=name in STREAMS)
    assert not differences, "\n".join(differences)


def operations() -> Iterator[Any]:
    # The import takes a second of CPU time, which other processes of a run need not spend.
    import schemathesis

    schema = schemathesis.openapi.from_dict(json.loads(PAGE.read_text(encoding="utf-8")))
    return (found.ok() for found in schema.get_all_operations())


def mistakes(operation: Any, count: int, url: str, key: str, *, lines: bool) -> list[str]:
    """How the responses of an operation differ from its description. lines: whether a response is a stream."""
    import requests
    from requests.adapters import HTTPAdapter
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi import checks
    from urllib3 import Retry

    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.negative_data_rejection,
    ]
    if not lines:
        wanted.append(checks.response_schema_conformance)
    differences: dict[str, str] = {}
    session = requests.Session()
    # As a client does while a busy machine answers no health checks.
    patience = Retry(
        10, status_forcelist=[503], allowed_methods=None, backoff_factor=0.1, raise_on_status=False
    )
    session.mount(url, HTTPAdapter(max_retries=patience))
    headers = {"authorization": f"Bearer {key}"}
    paths = set[str]()

    for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:

        @settings(
            max_examples=count,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def call(case: Any) -> None:
            paths.add(case.formatted_path)
            response = case.call(url, session, headers, timeout=60)
            try:
                case.validate_response(response, wanted)
            except FailureGroup as group:
                for failure in group.exceptions:
                    differences[failure.title] = (
                        f"{operation.label}: {failure}\n{response.status_code} {response.text[:500]}\n{case.as_curl_command()}"
                    )

        # A request without parameters and without a body cannot be invalid.
        hopeless = (Unsatisfiable,) if mode is GenerationMode.NEGATIVE else ()
        with contextlib.suppress(*hopeless):
            call()
    refused = session.request("TRACE", url + min(paths), headers=headers)
    if refused.status_code != 405 or operation.method.upper() not in refused.headers["allow"]:
        differences["method"] = f"{operation.label}: TRACE is {refused.status_code} {refused.headers}"
    return [*differences.values()]
