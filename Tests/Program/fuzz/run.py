"""schemathesis sends what the OpenAPI document allows, and what it forbids, to every endpoint that is built.

    python -m fuzz.run [SEED]

Refused logins take three seconds each by design, so at normal count the calls that check a password are left out.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks, expect, same  # noqa: E402
from support.fixtures import fixture_store  # noqa: E402
from support.server import Server  # noqa: E402

SOAK = os.environ.get("CAIRN_SOAK") == "1"
SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 20260521
EXAMPLES = 15 if SOAK else 5
# Values that exist, so that calls get further than to the first refusal.
KNOWN = {
    "store": ["fix", "spare", "absent"], "ns": ["", "prod", "prod/eu", "absent"], "parent": ["", "prod"],
    "backup-type": ["host", "vm", "ct"], "backup-id": ["plain", "enc", "exclude", "100", "absent"],
    "backup-time": [1717200000, 1717286400, 1],
    "file-name": ["tree.pxar.didx", "vm.conf.blob", "index.json.blob", "no.blob"],
    "filepath": ["/", "root", "dHJlZS5weGFyLmRpZHg=", "dHJlZS5weGFyLmRpZHgvc2l6ZXM=", "!"],
    "node": ["localhost"], "userid": ["ann@pbs", "absent@pbs", "root@pam"], "token-name": ["t1", "t2"],
    # Never the store that the others need.
    "name": ["spare", "absent"],
}
# What ends or changes what the run itself needs, and logins, which wait three seconds after each wrong guess.
LEFT_OUT = ["/nodes/{node}/certificates/custom", "/access/ticket", "/access/password"]


def narrowed(document):
    """The document with values that exist for well-known parameters; half of the time, so that others are tried too."""
    # Else credentials are made up as well, and each wrong one takes three seconds.
    del document["components"]["securitySchemes"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation.pop("security", None)
            places = [(p["name"], p["schema"]) for p in operation.get("parameters", [])]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                places += list(content["schema"].get("properties", {}).items())
            for name, schema in places:
                if name in KNOWN and not (name == "name" and not path.startswith("/config/datastore")):
                    free = dict(schema)
                    schema.clear()
                    schema["anyOf"] = [{"enum": KNOWN[name]}, {"enum": KNOWN[name]}, free]
    return document


def fuzz(server, folder, secret):
    document = narrowed(json.loads(server_document(server)))
    path = os.path.join(folder, "openapi.json")
    with open(path, "w") as file:
        json.dump(document, file)
    arguments = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", path,
        "--url", f"https://127.0.0.1:{server.address[1]}/api2/json", "--tls-verify", "false",
        "-H", f"Authorization:PBSAPIToken=fuzz@pbs!tool:{secret}", "--checks",
        "no_server_fault,response_schema_conformance", "--phases", "fuzzing", "--max-examples", str(EXAMPLES),
        "--seed", str(SEED), "--workers", "2", "--no-shrink", "--continue-on-failure", "--warnings", "off",
        "--suppress-health-check", "all", "--request-timeout", "120",
    ]
    for left in LEFT_OUT:
        arguments += ["--exclude-path", left]
    result = subprocess.run(
        arguments, capture_output=True, text=True, cwd=folder,
        env=dict(os.environ, SCHEMATHESIS_HOOKS="fuzz.hooks", PYTHONPATH=os.path.join(os.path.dirname(__file__), ".."),
                 PYTHONWARNINGS="ignore", NO_COLOR="1", COLUMNS="160"))
    summary = re.findall(r"^ *(?:Test cases|API Operations|Selected|Tested|Seed).*$|^.*(?:generated|passed).*$",
                         result.stdout, re.MULTILINE)
    print("\n".join(line.strip() for line in summary[-8:]))
    if result.returncode != 0:
        print(result.stdout[-8000:] + result.stderr[-2000:])
    same(result.returncode, 0, f"seed {SEED}: exit status of schemathesis")


def server_document(server):
    from support import http1

    answer = http1.request(
        server.address, "GET", "/api2/json/openapi.json", [("Host", "localhost"), ("Connection", "close")], b"")
    expect(answer.status == 200, f"the document: {answer.status}")
    return answer.body


def main():
    checks = Checks("fuzz")
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        server.owner("datastore", "create", "fix", fixture_store(os.path.join(folder, "fix")), "--reuse")
        server.datastore("spare")
        server.owner("user", "create", "fuzz@pbs", "--password", "fuzz-password")
        server.owner("user", "create", "ann@pbs", "--password", "ann-password")
        server.owner("acl", "update", "/", "Admin", "--auth-id", "fuzz@pbs")
        secret = json.loads(
            server.owner("user", "generate-token", "fuzz@pbs", "tool", "--output-format", "json").stdout)["value"]
        server.owner("acl", "update", "/", "Admin", "--auth-id", "fuzz@pbs!tool")
        checks.run("the API answers whatever is sent without a fault of its own", fuzz, server, folder, secret)
        checks.run("the server is alive", lambda: expect(
            server.process.poll() is None and server_document(server), "\n".join(server.log[-20:])))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
