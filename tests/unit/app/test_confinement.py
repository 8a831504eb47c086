"""Where the server parses documents on a kernel that cannot confine parsers enough, and how doctor reports it."""

from __future__ import annotations

import pytest

from responsa_formats.sandbox.confinement import SandboxCapabilities
from responsa_local.commands.up import sandbox_warning
from responsa_local.embedded.doctor import sandbox_finding
from responsa_server.app.settings import Environment, load


@pytest.mark.parametrize(
    ("environment", "setting", "allowed"),
    [
        (Environment.PRODUCTION, None, False),
        (Environment.STAGING, None, False),
        (Environment.DEVELOPMENT, None, True),
        (Environment.PRODUCTION, True, True),
        (Environment.DEVELOPMENT, False, False),
    ],
)
def test_the_default_depends_on_the_environment(
    environment: Environment, setting: bool | None, allowed: bool
) -> None:
    settings = load(environment=environment, ingestion={"allow_unconfined": setting})
    assert settings.allows_unconfined_parsing is allowed


@pytest.mark.parametrize("lacking", [SandboxCapabilities(0, True), SandboxCapabilities(7, False)])
def test_doctor_says_when_no_documents_are_read(lacking: SandboxCapabilities) -> None:
    refused = sandbox_finding(lacking, allow_unconfined=False)
    assert not refused.ok
    assert "reads no documents" in refused.detail
    assert "ingestion.allow_unconfined" in refused.remedy
    assert "reads no documents" not in sandbox_finding(lacking, allow_unconfined=True).detail
    assert sandbox_finding(SandboxCapabilities(7, True), allow_unconfined=False).ok


@pytest.mark.parametrize("environment", [*Environment])
def test_each_start_on_a_kernel_without_landlock_says_what_happens_to_documents(
    environment: Environment,
) -> None:
    settings = load(environment=environment)
    said = sandbox_warning(settings, SandboxCapabilities(0, True))
    assert said.startswith(
        "Warning: Documents are parsed under resource limits, seccomp; this kernel lacks Landlock"
    )
    refused = "the server reads no documents" in said
    assert refused is not (environment is Environment.DEVELOPMENT)
    assert sandbox_warning(settings, SandboxCapabilities(7, True)) == ""
