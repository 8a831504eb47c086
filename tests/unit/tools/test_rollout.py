"""`deploy/rollout.sh` with stand-ins for kubectl, helm and curl: whatever fails, a release that answers stays live."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# A stand-in counts its calls, and fails or ends the script at one of them. It keeps the state of the cluster in files: the
# releases with their workers, and the release to which the service leads.
STAND_IN = """#!/bin/sh
set -eu
cd "$STATE"
# Beside the others: the script ends it.
case $* in "port-forward "*) echo "Forwarding from 127.0.0.1:40000 -> 8080" && exec sleep 60 ;; esac
echo "$(basename "$0") $*" >>calls
if [ "$(wc -l <calls)" = "$PLANTED" ]; then
    [ "$HOW" = fail ] && exit 1
    kill -TERM "$PPID"
    exit 0
fi
case "$(basename "$0") $*" in
"kubectl get "*) cat service 2>/dev/null || true ;;
"kubectl apply "*) sed -n 's/.*instance: \\([a-z-]*\\),.*/\\1/p' >service ;;
"kubectl patch "*) echo "$*" | sed 's/.*instance":"\\([a-z-]*\\)".*/\\1/' >service ;;
"kubectl delete "*) rm -f service ;;
"helm upgrade "*) case $* in *worker.replicas=0*) echo 0 >"release-$3" ;; *) echo 2 >"release-$3" ;; esac ;;
"helm uninstall "*) rm -f "release-$2" ;;
"curl "*turns:answer*) echo '{"terminalEvent": {"answer": {}}}' ;;
esac
"""


def rollout(folder: Path, planted: int, how: str, live: str = "responsa-blue") -> tuple[int, dict[str, str]]:
    """The exit code, and the files of the cluster's state, after a rollout in which one call fails."""
    state, programs = folder / "state", folder / "bin"
    for place in (state, programs):
        place.mkdir(parents=True)
    for name in ("kubectl", "helm", "curl"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    if live:
        (state / "service").write_text(f"{live}\n")
        (state / f"release-{live}").write_text("2\n")
    ended = subprocess.run(
        ["sh", str(ROOT / "deploy" / "rollout.sh"), "2.0.0"],
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "STATE": str(state),
            "PLANTED": str(planted),
            "HOW": how,
            "RESPONSA_API_KEY": "key",
            "RESPONSA_URL": "https://answers.example.org",
        },
        capture_output=True,
        check=False,
    )
    return ended.returncode, {path.name: path.read_text().strip() for path in state.iterdir()}


NEW = {"service": "responsa-green", "release-responsa-green": "2"}
OLD = {"service": "responsa-blue", "release-responsa-blue": "2"}


@pytest.mark.parametrize("how", ["fail", "end"])
def test_whatever_fails_a_whole_release_stays_live(tmp_path: Path, how: str) -> None:
    code, whole = rollout(tmp_path / "whole", 0, how)
    calls = whole.pop("calls").splitlines()
    assert (code, whole) == (0, NEW)
    assert len(calls) > 8, calls
    for planted in range(1, len(calls) + 1):
        code, state = rollout(tmp_path / str(planted), planted, how)
        del state["calls"]
        failed = calls[planted - 1]
        assert code, failed
        if failed == calls[-1]:  # the old release could not be removed, but the new one answers
            assert state == {**OLD, **NEW}
        else:
            assert state == OLD, failed


def test_a_first_release_that_fails_leaves_nothing(tmp_path: Path) -> None:
    code, whole = rollout(tmp_path / "whole", 0, "fail", live="")
    calls = whole.pop("calls").splitlines()
    assert (code, whole) == (0, {"service": "responsa-blue", "release-responsa-blue": "2"})
    code, state = rollout(tmp_path / "failed", len(calls), "fail", live="")
    assert code
    assert set(state) == {"calls"}
