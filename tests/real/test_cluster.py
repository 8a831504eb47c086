"""`deploy/rollout.sh` and the chart with a real API server of Kubernetes, its controllers, helm and kubectl. Pods are simulated by kwok,
whose forwarded ports lead to a running instance, so what the script asks of a release is answered.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.certificates import certificate
from tests.instance import ROOT, Instance, eventually, free_port, instance_in
from tests.real import programs
from tests.tied import tied

pytestmark = pytest.mark.soak
PATIENCE: Final = 180.0
"""Seconds until an installation must have ended on a busy machine."""
NODE: Final = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node", "labels": {"kubernetes.io/hostname": "node", "kubernetes.io/os": "linux"}},
    "status": {"allocatable": {"cpu": "64", "memory": "256Gi", "pods": "200"}, "capacity": {"cpu": "64", "memory": "256Gi", "pods": "200"}},
}  # fmt: skip


class Cluster:
    """The processes of a control plane on ports of their own, and one node that exists only in kwok."""

    def __init__(self, folder: Path, forwarded: int) -> None:
        """forwarded: the port of 127.0.0.1 to which port 8080 of every pod leads."""
        self._folder = folder
        self._forwarded = forwarded
        self._programs = programs.kubernetes()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._port = free_port()
        token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        self.kubeconfig = folder / "kubeconfig"
        server = {"server": f"https://127.0.0.1:{self._port}", "insecure-skip-tls-verify": True}
        context = {"cluster": "here", "user": "admin"}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "here", "cluster": server}],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "here", "context": context}],
                    "current-context": "here",
                }
            )
        )
        key, chain = certificate("127.0.0.1")
        (folder / "certificate.pem").write_bytes(chain)
        (folder / "key.pem").write_bytes(key)

    def start(self) -> None:
        store, peers, node = free_port(), free_port(), free_port()
        self._start(
            "etcd",
            f"--data-dir={self._folder}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{store}",
            f"--advertise-client-urls=http://127.0.0.1:{store}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            "--unsafe-no-fsync",
        )
        key = f"{self._folder}/key.pem"
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{store}",
            f"--secure-port={self._port}",
            f"--cert-dir={self._folder}/certificates",
            "--bind-address=127.0.0.1",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://cluster.example.org",
            f"--service-account-key-file={self._folder}/certificate.pem",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self._folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--feature-gates=WatchList=false",  # it needs etcd 3.4.25, and Debian 12 has 3.4.23
        )
        eventually(self._ready, self.log, PATIENCE)
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={key}",
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._start(
            "kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"
        )
        forwards = [{"ports": [8080], "target": {"address": "127.0.0.1", "port": self._forwarded}}]
        (self._folder / "kwok.yaml").write_text(
            json.dumps(
                {
                    "apiVersion": "kwok.x-k8s.io/v1alpha1",
                    "kind": "ClusterPortForward",
                    "metadata": {"name": "all"},
                    "spec": {"forwards": forwards},
                }
            )
        )
        self._start(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            *(
                f"--config={file}"
                for file in [self._folder / "kwok.yaml", *(self._programs / "stages").iterdir()]
            ),
            "--manage-all-nodes",
            "--node-ip=127.0.0.1",
            f"--node-port={node}",
            f"--server-address=127.0.0.1:{node}",
            f"--tls-cert-file={self._folder}/certificate.pem",
            f"--tls-private-key-file={key}",
        )
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(NODE))
        values = {
            "DATABASE_URL": "postgresql://db/responsa",
            "REDIS_URL": "redis://redis",
            "token-secret": secrets.token_hex(24),
        }
        literals = [f"--from-literal={name}={value}" for name, value in values.items()]
        self.kubectl("create", "secret", "generic", "responsa", *literals)

    def _ready(self) -> bool:
        ended = {name for name, process in self._running.items() if process.poll() is not None}
        assert not ended, self.log()
        return self._quiet("get", "--raw", "/readyz").returncode == 0

    def _start(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("wb") as log:
            self._running[program] = subprocess.Popen(
                tied(program, *arguments), env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def log(self) -> str:
        return "\n".join(
            f"{file.name}: {file.read_text(errors='replace')[-1500:]}" for file in self._folder.glob("*.log")
        )

    @property
    def environment(self) -> Mapping[str, str]:
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self._folder)}

    def _quiet(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        done = self._quiet(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{self.log()}"
        return done.stdout

    def objects(self, kind: str) -> Sequence[Any]:
        return json.loads(self.kubectl("get", kind, "--output", "json"))["items"]

    @contextmanager
    def pods_that_never_start(self) -> Generator[None]:
        self._running["kwok"].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._running["kwok"].send_signal(signal.SIGCONT)

    def end(self) -> None:
        for process in reversed(self._running.values()):
            process.kill()
            process.wait()


class Rollouts:
    """A cluster, and the instance that answers for each of its releases."""

    def __init__(self, cluster: Cluster, instance: Instance) -> None:
        self.cluster = cluster
        self.instance = instance

    def begin(self, version: str, **settings: str) -> subprocess.Popen[str]:
        environment = {
            **self.cluster.environment,
            "RESPONSA_API_KEY": self.instance.key,
            "RESPONSA_URL": self.instance.url,
            **settings,
        }
        script = str(ROOT / "deploy" / "rollout.sh")
        return subprocess.Popen(
            ["sh", script, version],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, version: str, **settings: str) -> tuple[int, str]:
        """The exit code, and what the script printed."""
        script = self.begin(version, **settings)
        printed, _ = script.communicate(timeout=PATIENCE)
        return script.returncode, printed

    def live(self) -> tuple[str, Mapping[str, tuple[str, int]]]:
        """The release to which the service leads, and the version and the number of ready pods of each deployment."""
        service = json.loads(self.cluster.kubectl("get", "service", "responsa", "--output", "json"))
        return service["spec"]["selector"]["app.kubernetes.io/instance"], {
            deployment["metadata"]["name"]: (
                deployment["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2],
                deployment["status"].get("readyReplicas", 0),
            )
            for deployment in self.cluster.objects("deployments")
        }


@pytest.fixture
def rollouts(folder: Path) -> Generator[Rollouts]:
    with instance_in(folder, RESPONSA_DOCS="none") as instance:
        cluster = Cluster(folder, instance.port)
        try:
            cluster.start()
            yield Rollouts(cluster, instance)
        finally:
            cluster.end()


def test_a_release_goes_live_and_whatever_fails_leads_back(rollouts: Rollouts) -> None:
    code, printed = rollouts.run("1.0.0")
    assert code == 0, printed
    parts = {"envoy": 2, "server": 2, "worker": 2}
    assert rollouts.live() == (
        "responsa-blue",
        {f"responsa-blue-{name}": ("1.0.0", ready) for name, ready in parts.items()},
    )
    code, printed = rollouts.run("2.0.0")
    assert code == 0, printed
    second = "responsa-green", {f"responsa-green-{name}": ("2.0.0", ready) for name, ready in parts.items()}
    eventually(lambda: rollouts.live() == second, lambda: str(rollouts.live()), PATIENCE)

    # The new release does not answer.
    code, printed = rollouts.run("3.0.0", RESPONSA_API_KEY="rsk_wrong")
    assert code, printed
    assert "Version 3.0.0 is not live; responsa-green answers as before." in printed
    eventually(lambda: rollouts.live() == second, lambda: str(rollouts.live()), PATIENCE)

    # It answers, but not at the public address to which the service leads by then.
    code, printed = rollouts.run("3.0.0", RESPONSA_URL=f"http://127.0.0.1:{free_port()}")
    assert code, printed
    eventually(lambda: rollouts.live() == second, lambda: str(rollouts.live()), PATIENCE)

    # Its pods do not start, and somebody ends the rollout.
    with rollouts.cluster.pods_that_never_start():
        script = rollouts.begin("3.0.0")
        eventually(
            lambda: len(rollouts.cluster.objects("pods")) > sum(parts.values()),
            rollouts.cluster.log,
            PATIENCE,
        )
        os.killpg(script.pid, signal.SIGTERM)
    printed, _ = script.communicate(timeout=PATIENCE)
    assert script.returncode == 143, printed
    eventually(lambda: rollouts.live() == second, lambda: str(rollouts.live()), PATIENCE)
