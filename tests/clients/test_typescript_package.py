"""The built package of the TypeScript client: the calls that it repeats, and what a bundle for browsers has of it."""

from __future__ import annotations

import json
import subprocess

from tests.clients.drivers import build
from tests.instance import ROOT
from tools.clients.plan import Retry, read

SCRIPT = """
import { create } from "@bufbuild/protobuf";
import { file_responsa_admin_v1_admin_service as admin } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { file_responsa_auth_v1_auth_service as auth } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { file_responsa_chat_v1_chat_service as chat } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { file_responsa_knowledge_v1_knowledge_service as knowledge }
  from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { isRepeatable } from "./dist/connection.js";

const unary = [admin, auth, chat, knowledge].flatMap((file) => file.services.flatMap((service) => service.methods))
  .filter((method) => method.methodKind === "unary");
const etagged = (method) => {
  const message = create(method.input);
  if (method.input.field.etag) message.etag = "e";
  for (const field of method.input.fields)
    if (field.message?.field.etag && !method.input.field.etag) message[field.localName] = create(field.message, { etag: "e" });
  return message;
};
const repeatable = (method) => [create(method.input), etagged(method)].map((message) => isRepeatable({ method, message }));
const found = unary.map((method) => [method.name, repeatable(method)]);
console.log(JSON.stringify(Object.fromEntries(found)));
"""


PACKAGE = ROOT / "clients" / "typescript"


def test_a_bundle_for_browsers_needs_no_module_of_node() -> None:
    build("typescript")
    bundle = (ROOT / "node_modules" / ".bin" / "esbuild", "--bundle", "--platform=browser", "--format=esm")
    done = subprocess.run(
        bundle,
        cwd=PACKAGE,
        input='export * from "@responsa/client"',
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "application/grpc-web" in done.stdout


def test_the_calls_that_are_repeated_are_those_of_the_plan() -> None:
    """The client has no generated methods, so it reads the rule from the contract itself."""
    build("typescript")
    done = subprocess.run(
        ["node", "--input-type=module", "-"],
        cwd=PACKAGE,
        input=SCRIPT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {
        method.name: [method.retry is not Retry.NEVER, method.retry is Retry.ALWAYS]
        for service in read().services
        for method in service.methods
        if not (method.client_streams or method.server_streams)
    }
    assert json.loads(done.stdout) == wanted
