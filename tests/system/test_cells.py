"""Two instances behind the proxy of docs/sizing.md, by host name: nothing of one is good at the other. `pytest -m soak
tests/system/test_cells.py`."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from tests.docs.reader import blocks
from tests.instance import PATIENCE, ROOT, Instance, eventually, free_port
from tests.system.test_deployment import program, replaced
from tests.tied import tied

pytestmark = pytest.mark.soak
NAMES = ("alpha.example.org", "beta.example.org")
SITE = "https://site.example.org"
MAIN = """daemon off; pid {0}/pid; error_log {0}/error.log; events {{}}
http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
    uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; {1} }}"""


def test_cells_behind_one_proxy_do_not_mix(tmp_path: Path) -> None:
    port = free_port()
    cells = [
        Instance(
            tmp_path / name.partition(".")[0],
            free_port(),
            {
                "RESPONSA_DOCS": "none",
                "RESPONSA_ALLOWED_HOSTS": f"{name}:{port}",
                "RESPONSA_TRUSTED_PROXIES": "127.0.0.1",
                "RESPONSA_ALLOWED_ORIGINS": SITE if name == NAMES[0] else "",
            },
        )
        for name in NAMES
    ]
    with ExitStack() as stack:
        for cell in cells:
            cell.start()
            stack.callback(cell.end)
        for cell in cells:
            cell.until_ready()
        (file,) = [
            block.text
            for block in blocks((ROOT / "docs" / "sizing.md").read_text("utf-8"))
            if block.kind == "nginx"
        ]
        places = {
            "listen 80": f"listen 127.0.0.1:{port}",
            ":8081": f":{cells[0].port}",
            ":8082": f":{cells[1].port}",
        }
        config = tmp_path / "nginx.conf"
        config.write_text(MAIN.format(tmp_path, replaced(file, **places)), "utf-8")
        command = [program("nginx", "nginx-light"), "-c", str(config), "-e", str(tmp_path / "error.log")]
        proxy = subprocess.Popen(tied(*command))
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)

        def ask(
            name: str, path: str = "/v1/users/me", method: str = "GET", **more: object
        ) -> httpx2.Response:
            headers = {
                "host": f"{name}:{port}",
                **{key.replace("_", "-"): str(value) for key, value in more.items() if key != "json"},
            }
            url = f"http://127.0.0.1:{port}{path}"
            return httpx2.request(method, url, headers=headers, json=more.get("json"), timeout=PATIENCE)

        def answers() -> bool:
            with suppress(httpx2.TransportError):
                return ask(NAMES[0], "/").status_code == 200
            return False

        eventually(answers, "the proxy")
        assert ask("gamma.example.org", "/").status_code == 421
        user = (
            cells[0]
            .run(
                "call",
                "AdminService.CreateUser",
                "--display-name",
                "Site",
                "--role",
                "SERVICE",
                "--only",
                "name",
            )
            .stdout.strip()
        )
        widget = cells[0].run("admin", "create-key", "default", user, "--widget").stdout.strip()
        assert ask(NAMES[0], authorization=f"Bearer {widget}").status_code == 403
        assert ask(NAMES[1], authorization=f"Bearer {widget}").status_code == 401
        codes = [re.findall(r"#code=(\S+)", cell.said())[-1] for cell in cells]
        keys = set[str]()
        for here, there in ((0, 1), (1, 0)):
            name, other = NAMES[here], NAMES[there]
            assert ask(name, authorization=f"Bearer {cells[here].key}").status_code == 200
            assert ask(name, authorization=f"Bearer {cells[there].key}").status_code == 401
            # A page of the other cell, and the host of the other cell at this cell's own port.
            assert (
                ask(
                    name, authorization=f"Bearer {cells[here].key}", origin=f"http://{other}:{port}"
                ).status_code
                == 403
            )
            direct = httpx2.get(
                f"{cells[here].url}/v1/users/me", headers={"host": f"{other}:{port}"}, timeout=PATIENCE
            )
            assert direct.status_code == 403
            assert ask(other, "/v1/sessions", "POST", json={"code": codes[here]}).status_code == 401
            signed_in = ask(name, "/v1/sessions", "POST", json={"code": codes[here]})
            cookie = signed_in.headers["set-cookie"].partition(";")[0]
            assert ask(name, cookie=cookie).status_code == 200
            assert ask(other, cookie=cookie).status_code == 401
            # The token, too, is unknown there: the cookies' names alone do not keep them apart.
            renamed = cookie.replace(str(cells[here].port), str(cells[there].port))
            assert ask(other, cookie=renamed).status_code == 401
            keys.add(ask(name, "/v1/jwks").text)
        assert len(keys) == 2
        preflights = [
            ask(name, method="OPTIONS", origin=SITE, access_control_request_method="GET") for name in NAMES
        ]
        assert [one.headers.get("access-control-allow-origin") for one in preflights] == [SITE, None]
