"""The files for containers match the schemas of the programs that read them, and have not changed since helm and
compose-go read them. Licences are allowed and listed."""

from __future__ import annotations

import grp
import gzip
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from responsa_server.app.settings import Settings
from tests.instance import ROOT
from tools import deploy_check, licences
from tools.deploy_check import CHART, COMPOSE, RENDERED, VALUES, Wrong
from tools.programs import path_of
from tools.settings_reference import rows


def test_the_files_for_containers_are_as_checked() -> None:
    deploy_check.quick()


def test_a_wrong_manifest_and_a_wrong_workflow_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)
    workflow = tmp_path / "ci.yaml"
    workflow.write_text("on: push\njobs: {test: {runs_on: ubuntu}}\n")
    with pytest.raises(Wrong, match="runs"):
        deploy_check.match_schema(workflow, "github-workflows")
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, imagee: b}]}}"
    )
    with pytest.raises(Wrong, match="imagee"):
        deploy_check.validate_manifests(manifest)


def test_every_variable_is_a_setting() -> None:
    files = [COMPOSE, CHART / "values.yaml", ROOT / "deploy" / "docker" / "Dockerfile"]
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in [*files, *(RENDERED / name for name in VALUES)]
    )
    names = set(re.findall(r"\bRESPONSA_[A-Z_]+\b", re.sub(r"#.*", "", text)))
    settings = {variable for _, variable, _, _ in rows(Settings, "", "RESPONSA_")}
    # The first two say where settings are. compose itself reads the last two: the image, and the address of the published port.
    assert names - settings == {
        "RESPONSA_CONFIG",
        "RESPONSA_SECRETS_DIR",
        "RESPONSA_BIND",
        "RESPONSA_VERSION",
    }


def test_what_prometheus_and_grafana_read_is_mounted() -> None:
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    mounted = {
        str(volume).partition(":")[0]
        for name in ("prometheus", "alertmanager", "grafana")
        for volume in services[name]["volumes"]
    }
    assert {"../prometheus", "../grafana/provisioning"} <= mounted
    alertmanager = (ROOT / "deploy" / "prometheus" / "alertmanager.yml").read_text(encoding="utf-8")
    assert re.findall(r"_file: /run/secrets/(\w+)", alertmanager) == services["alertmanager"]["secrets"]


def test_the_logs_of_every_container_are_bounded() -> None:
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    kept = {name: service["logging"] for name, service in services.items()}
    assert all(set(one["options"]) == {"max-size", "max-file"} for one in kept.values()), kept


def test_logrotate_divides_the_logs_of_the_service(tmp_path: Path) -> None:
    written = (ROOT / "deploy" / "logrotate" / "responsa").read_text(encoding="utf-8")
    unit = (ROOT / "deploy" / "systemd" / "responsa.service").read_text(encoding="utf-8")
    (home,) = re.findall(r"^Environment=RESPONSA_HOME=(.+)$", unit, re.MULTILINE)
    (user,) = re.findall(r"^User=(.+)$", unit, re.MULTILINE)
    assert f"{home}/logs/*.log {{" in written
    assert f"    su {user} {user}\n" in written
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    with (logs / "server.log").open("ab") as log:
        log.write(b"1\n")
        log.flush()
        config = tmp_path / "responsa"
        own = f"su {pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}"
        config.write_text(written.replace(home, str(tmp_path)).replace(f"su {user} {user}", own))
        config.chmod(0o644)
        command = [path_of("logrotate"), "--force", "--state", str(tmp_path / "state"), str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        log.write(b"2\n")
    assert (logs / "server.log").read_bytes() == b"2\n"
    (earlier,) = logs.glob("server.log-*.gz")
    assert gzip.decompress(earlier.read_bytes()) == b"1\n"


def test_all_licences_are_allowed_and_listed() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "run `python tools/licences.py`"


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "", "Proprietary"])
def test_other_licences_are_refused(expression: str) -> None:
    with pytest.raises(licences.NotAllowed):
        licences.checked("a", expression)


def test_one_of_two_licences_to_choose_from_is_enough() -> None:
    assert licences.checked("a", "GPL-2.0-only OR (MIT AND Apache-2.0)")
