"""The calls of well-known programs, as they make them, answered in the shapes they read.

    python -m callers.run

PVE's storage plugin, exporters and dashboards, configuration tools: the tables of the REST specification, part E.1.
"""

import datetime
import json
import os
import ssl
import sys
import tempfile
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support import http1  # noqa: E402
from support.checks import Checks, expect, same, shape  # noqa: E402
from support.fixtures import fixture_store  # noqa: E402
from support.server import Server  # noqa: E402

NUMBER = (int, float)
FILE = {"filename": str, "crypt-mode?": str, "size?": int}
SNAPSHOT = {
    "backup-type": str, "backup-id": str, "backup-time": int, "comment?": str,
    "verification?": {"upid": str, "state": str}, "fingerprint?": str, "files": [FILE], "size?": int, "owner?": str,
    "protected": bool}
GROUP = {
    "backup-type": str, "backup-id": str, "last-backup": int, "backup-count": int, "files": [str], "owner?": str,
    "comment?": str}
GC = {
    "upid?": (str, type(None)), "index-file-count": int, "index-data-bytes": int, "disk-bytes": int,
    "disk-chunks": int, "removed-bytes": int, "removed-chunks": int, "pending-bytes": int, "pending-chunks": int,
    "removed-bad": int, "still-bad": int, "cache-stats?": {"hits": int, "misses": int}}
GC_JOB = dict(GC, **{
    "store": str, "schedule?": str, "next-run?": int, "last-run-endtime?": int, "last-run-state?": str,
    "last-run-upid?": str, "duration?": int})
USAGE = {
    "store": str, "total?": int, "used?": int, "avail?": int, "mount-status": str, "history?": list,
    "history-start?": int, "history-delta?": int, "estimated-full-date?": int, "gc-status?": GC, "error?": str}
TASK = {
    "upid": str, "node": str, "pid": int, "pstart": int, "starttime": int, "worker_type": str,
    "worker_id": (str, type(None)), "user": str, "endtime?": int, "status?": str}
NODE = {
    "memory": {"total": int, "used": int, "free": int}, "swap": {"total": int, "used": int, "free": int},
    "root": {"total": int, "used": int, "avail": int}, "uptime": int, "loadavg": [NUMBER], "cpu": NUMBER,
    "wait": NUMBER, "cpuinfo": {"model": str, "sockets": int, "cpus": int}, "kversion": str,
    "current-kernel": {"sysname": str, "release": str, "version": str, "machine": str},
    "info": {"fingerprint": str}, "boot-info": {"mode": str, "secureboot": bool}}
PLAIN = {"backup-type": "host", "backup-id": "plain", "backup-time": 1717200000}
LATER = dict(PLAIN, **{"backup-time": 1717286400})


class Caller:
    """Sends requests the way one kind of program does."""

    def __init__(self, server, credentials, body="form"):
        self.server, self.credentials, self.body = server, credentials, body

    def raw(self, method, path, query=None, data=None, headers=()):
        target = "/api2/json" + path
        if query:
            target += "?" + urllib.parse.urlencode(query, doseq=True)
        sent = [("Host", "pbs.example"), ("Connection", "close"), ("Accept", "application/json"), *headers]
        sent += self.credentials(method)
        body = b""
        if data is not None and self.body == "form":
            sent.append(("Content-Type", "application/x-www-form-urlencoded"))
            body = urllib.parse.urlencode(data, doseq=True).encode()
        elif data is not None:
            sent.append(("Content-Type", "application/json"))
            body = json.dumps(data).encode()
        sent.append(("Content-Length", str(len(body))))
        return http1.request(self.server.address, method, target, sent, body)

    def call(self, method, path, query=None, data=None):
        answer = self.raw(method, path, query, data)
        expect(answer.status == 200, f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        expect("application/json" in answer.header("content-type"), f"{answer.header('content-type')}")
        return json.loads(answer.body)

    def get(self, path, **query):
        return self.call("GET", path, {name.replace("_", "-"): value for name, value in query.items()})["data"]


def token(identity, secret, separator="="):
    return lambda method: [("Authorization", f"PBSAPIToken{separator}{identity}:{secret}")]


def ticket(server, user, password, encode=True):
    """A login as plugins do it: a form, then a cookie, and the CSRF token for writing."""
    answer = Caller(server, lambda method: []).call(
        "POST", "/access/ticket", data={"username": user, "password": password})["data"]
    shape(answer, {"username": str, "ticket": str, "CSRFPreventionToken": str})
    expect(time.time() - int(answer["ticket"].split("::")[0].rsplit(":", 1)[1], 16) < 300, "age of the ticket")
    value = urllib.parse.quote(answer["ticket"], safe="") if encode else answer["ticket"]

    def headers(method):
        cookie = [("Cookie", "PBSAuthCookie=" + value)]
        return cookie if method == "GET" else cookie + [("CSRFPreventionToken", answer["CSRFPreventionToken"])]

    return headers


def storage_plugin(caller, store):
    """Activation, volume list, notes, protection, removal and prune of PVE."""
    base = f"/admin/datastore/{store}"
    expect(store in [entry["store"] for entry in caller.get("/admin/datastore")], "activation: the store is not listed")
    shape(caller.get("/admin/datastore"), [{
        "store": str, "comment": (str, type(None)), "mount-status": str, "maintenance?": str}])
    shape(caller.get(f"{base}/status"), {"total": int, "used": int, "avail": int})
    listed = caller.get(f"{base}/snapshots")
    shape(listed, [SNAPSHOT])
    shape(caller.get(f"{base}/snapshots", ns="prod"), [SNAPSHOT])
    only = caller.get(f"{base}/snapshots", ns="prod/eu", backup_type="vm", backup_id="100")
    same([entry["backup-id"] for entry in only], ["100"], "filter by id")
    encrypted = [entry for entry in listed if entry["backup-id"] == "enc"]
    expect(all(entry["fingerprint"] for entry in encrypted), "fingerprint of encrypted snapshots")
    expect(any(f.get("crypt-mode") == "encrypt" for f in encrypted[0]["files"]), "crypt-mode of files")
    shape(caller.call("GET", f"{base}/groups")["data"], [GROUP])
    shape(caller.call("GET", f"{base}/files", PLAIN)["data"], [FILE])
    # Notes go by PUT with parameters in the query (the official client) or in a form (the plugin).
    same(caller.call("PUT", f"{base}/notes", query=dict(PLAIN, notes="by query")), {"data": None}, "notes")
    same(caller.call("GET", f"{base}/notes", PLAIN)["data"], "by query", "notes")
    caller.call("PUT", f"{base}/notes", data=dict(PLAIN, notes="by form ✓"))
    same(caller.call("GET", f"{base}/notes", PLAIN)["data"], "by form ✓", "notes")
    found = [entry for entry in caller.get(f"{base}/snapshots", backup_type="host", backup_id="plain")
             if entry["backup-time"] == PLAIN["backup-time"]]
    same(found[0]["comment"], "by form ✓", "comment")
    same(caller.call("GET", f"{base}/protected", PLAIN)["data"], False, "protected")
    caller.call("PUT", f"{base}/protected", data=dict(PLAIN, protected=1))
    same(caller.call("GET", f"{base}/protected", PLAIN)["data"], True, "protected")
    refused = caller.raw("DELETE", f"{base}/snapshots", PLAIN)
    expect(refused.status == 400 and b"protected" in refused.body, f"{refused.status} {refused.body!r}")
    caller.call("PUT", f"{base}/protected", data=dict(PLAIN, protected=0))
    plan = caller.call("POST", f"{base}/prune", data={
        "backup-type": "host", "backup-id": "plain", "keep-last": 1, "dry-run": 1})["data"]
    shape(plan, [{"backup-type": str, "backup-id": str, "backup-time": int, "keep": bool, "protected": bool}])
    same(caller.call("DELETE", f"{base}/snapshots", {
        "backup-type": "host", "backup-id": "exclude", "backup-time": 1717200000}), {"data": None}, "removal")
    missing = caller.raw("GET", f"{base}/no-such-call")
    same(missing.status, 404, "an unknown call")


def exporter(caller, store):
    """What Prometheus exporters and home dashboards read."""
    version = caller.get("/version")
    expect(float(version["version"]) >= 2.2 and int(version["release"]) >= 0 and version["repoid"], f"{version}")
    same(caller.get("/ping"), {"pong": True}, "ping")
    usage = caller.get("/status/datastore-usage")
    shape(usage, [USAGE])
    mine = next(entry for entry in usage if entry["store"] == store)
    same(mine["total"] >= mine["used"] > 0, True, "figures")
    node = caller.get("/nodes/localhost/status")
    shape(node, NODE)
    expect(len(node["loadavg"]) == 3 and 0 <= node["cpu"] <= 1, f"{node['loadavg']} {node['cpu']}")
    shape(caller.get(f"/admin/datastore/{store}/namespace"), [{"ns": str, "comment?": str}])
    for entry in caller.get(f"/admin/datastore/{store}/namespace"):
        shape(caller.get(f"/admin/datastore/{store}/snapshots", ns=entry["ns"]), [SNAPSHOT])
        shape(caller.get(f"/admin/datastore/{store}/groups", ns=entry["ns"]), [GROUP])
    shape(caller.get(f"/admin/datastore/{store}/gc"), GC_JOB)
    answer = caller.call("GET", "/nodes/localhost/tasks", {
        "limit": 10, "since": 1, "typefilter": "garbage_collection", "statusfilter": ["ok", "error"]})
    shape(answer, {"data": [TASK], "total": int})
    for kind in ["verify", "verificationjob", "garbage_collection", "prune", "prunejob"]:
        shape(caller.get("/nodes/localhost/tasks", typefilter=kind, errors=1), [TASK])
    # Two calls of one integration that the original refuses, too.
    same(caller.raw("GET", "/nodes/localhost/tasks", {"all": 1}).status, 400, "an unknown parameter")
    same(caller.raw("POST", f"/admin/datastore/{store}/prune", data={}).status, 400, "prune without a group")
    same(caller.raw("POST", f"/admin/datastore/{store}/garbage-collection", data={}).status, 404, "no such call")


def nodes(caller):
    shape(caller.get("/nodes"), [{"node": str, "...": None}])
    same(len(caller.get("/nodes")), 1, "nodes")


def collection(caller, store):
    """A garbage collection from its start to its figures, as an exporter sees it."""
    upid = caller.call("POST", f"/admin/datastore/{store}/gc", data={})["data"]
    follow(caller, upid)
    shape(caller.get(f"/admin/datastore/{store}/gc"), GC_JOB)
    shape(caller.get("/admin/gc"), [GC_JOB])
    verbose = caller.get(f"/admin/datastore/{store}/status", verbose=1)
    count = {"groups": int, "snapshots": int}
    shape(verbose, {
        "total": int, "used": int, "avail": int, "gc-status": GC,
        "counts": {"ct": count, "host": count, "vm": count, "other": type(None)}})


def follow(caller, upid):
    """The way of the official client: pages of the log from line 1, each second, until it is no longer active."""
    path = "/nodes/localhost/tasks/" + urllib.parse.quote(upid, safe="")
    start, lines = 1, []
    limit = time.monotonic() + 120
    while True:
        answer = caller.call("GET", f"{path}/log", {"start": start, "limit": 500, "test-status": "true"})
        for line in answer["data"]:
            same(line["n"], start, "line number")
            lines.append(line["t"])
            start += 1
        if not answer["active"] and not answer["data"]:
            break
        expect(time.monotonic() < limit, "the task does not end")
        time.sleep(0.2)
    status = caller.get(f"{path}/status")
    shape(status, {
        "upid": str, "node": str, "pid": int, "pstart": int, "starttime": int, "type": str,
        "id": (str, type(None)), "user": str, "tokenid?": str, "status": str, "exitstatus?": str})
    same((status["status"], status["exitstatus"]), ("stopped", "OK"), lines[-3:])
    return lines


def official_client(caller, store):
    """Verification, catalog, namespaces and owners, as the client asks for them."""
    base = f"/admin/datastore/{store}"
    follow(caller, caller.call("POST", f"{base}/verify", data=dict(LATER, **{"ignore-verified": False}))["data"])
    states = [entry.get("verification", {}).get("state") for entry in caller.call(
        "GET", f"{base}/snapshots", {"backup-type": "host", "backup-id": "plain"})["data"]]
    expect("ok" in states, f"{states}")
    same(caller.call("POST", f"{base}/namespace", data={"name": "made"})["data"], "made", "namespace")
    shape(caller.call("DELETE", f"{base}/namespace", {"ns": "made"})["data"], {
        "removed-groups": int, "removed-snapshots": int, "protected-snapshots": int})
    shape(caller.call("GET", f"{base}/catalog", dict(PLAIN, filepath="/"))["data"], [{
        "filepath": str, "text": str, "type": str, "leaf": bool, "size?": int, "mtime?": int}])
    answer = caller.raw("GET", f"{base}/download", dict(PLAIN, **{"file-name": "index.json.blob"}))
    same((answer.status, answer.header("content-type")), (200, "application/octet-stream"), "download")
    caller.call("POST", f"{base}/change-owner", data={
        "backup-type": "host", "backup-id": "signed", "new-owner": "backup@pbs"})


def provider(caller, store):
    """Users, tokens, rights and stores as terraform makes them: JSON, raw cookie, booleans as it likes."""
    caller.call("POST", "/access/users", data={
        "userid": "tf@pbs", "password": "made-by-tool", "enable": True, "expire": 0, "comment": "by a tool"})
    shape(caller.get("/access/users"), [{
        "userid": str, "comment?": str, "enable?": bool, "expire?": int, "firstname?": str, "lastname?": str,
        "email?": str}])
    read = caller.call("GET", "/access/users/tf@pbs")
    caller.call("PUT", "/access/users/tf@pbs", data={"enable": False, "digest": read["digest"]})
    stale = caller.raw("PUT", "/access/users/tf@pbs", data={"enable": True, "digest": read["digest"]})
    same(stale.status, 400, "a stale digest")
    made = caller.call("POST", "/access/users/tf@pbs/token/ci", data={"comment": "ci"})["data"]
    shape(made, {"tokenid": str, "value": str})
    caller.call("PUT", "/access/acl", data={
        "path": f"/datastore/{store}", "role": "DatastoreReader", "auth-id": "tf@pbs!ci", "propagate": True})
    shape(caller.get("/access/acl"), [{
        "path": str, "ugid": str, "ugid_type": str, "propagate": bool, "roleid": str}])
    shape(caller.get("/access/roles"), [{"roleid": str, "privs": [str], "comment": (str, type(None))}])
    shape(caller.get("/access/domains"), [{"realm": str, "type": str, "comment?": str, "default?": bool}])
    shape(caller.get("/config/datastore"), [{"name": str, "path": str, "...": None}])
    caller.call("PUT", f"/config/datastore/{store}", data={"comment": "seen by a tool", "gc-schedule": "daily"})
    same(caller.get(f"/config/datastore/{store}")["gc-schedule"], "daily", "gc-schedule")
    for kind in ["prune", "verify", "sync"]:
        expect(isinstance(caller.get(f"/config/{kind}"), list), f"/config/{kind}")
        expect(isinstance(caller.get(f"/admin/{kind}"), list), f"/admin/{kind}")
    expect(isinstance(caller.get("/config/remote"), list), "/config/remote")
    caller.call("DELETE", "/access/users/tf@pbs/token/ci")
    caller.call("DELETE", "/access/users/tf@pbs")


def administrator(caller):
    """Settings, certificate and what was changed. The last check: the server has another certificate afterwards."""
    caller.call("PUT", "/nodes/localhost/config", data={"description": "in the cellar", "task-log-max-days": 30})
    same(caller.get("/nodes/localhost/config"), {"description": "in the cellar", "task-log-max-days": 30}, "settings")
    shape(caller.get("/nodes/localhost/subscription"), {"status": "notfound", "...": None})
    described = {
        "filename": str, "subject": str, "issuer": str, "san": [str], "notbefore": int, "notafter": int,
        "public-key-type": str, "fingerprint": str, "pem": str}
    before = caller.get("/nodes/localhost/certificates/info")
    shape(before, [described])
    same(before[0]["fingerprint"], caller.server.fingerprint, "fingerprint")
    expect("127.0.0.1" in before[0]["san"], f"{before[0]['san']}")
    pem, key = certificate("new.example")
    path = "/nodes/localhost/certificates/custom"
    same(caller.raw("POST", path, data={"certificates": pem, "force": True}).status, 400, "another key")
    same(caller.raw("POST", path, data={"certificates": pem, "key": key}).status, 400, "without force")
    after = caller.call("POST", path, data={"certificates": pem, "key": key, "force": True})["data"]
    same(after[0]["subject"], "CN=new.example", "subject")
    same(ssl.get_server_certificate(caller.server.address).strip(), pem.strip(), "what new connections see")
    records = caller.call("GET", "/nodes/localhost/audit", {"limit": 1})
    shape(records, {"data": [{
        "time": int, "user": str, "address": str, "action": str, "object": str, "parameters": {"...": None}}],
        "total": int})
    expect(key not in json.dumps(records), "the audit log holds a key")


def certificate(name):
    """A certificate that signs itself, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(
        7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9)).sign(key, hashes.SHA256())
    return (
        made.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                          serialization.NoEncryption()).decode())


def conventions(caller):
    """Refusals as the callers read them: a status, a text, no JSON."""
    refused = caller.raw("GET", "/admin/datastore/nope/status")
    expect(refused.status in (400, 403), f"{refused.status}")
    unnamed = Caller(caller.server, lambda method: []).raw("GET", "/version")
    same(unnamed.status, 401, "no credentials")
    expect("__Host-PBSAuthCookie=" in unnamed.header("set-cookie"), "a 401 clears the cookie")
    packed = caller.raw("GET", "/access/roles", headers=[("Accept-Encoding", "deflate, gzip")])
    same(packed.header("content-encoding"), "deflate", "deflate")


def main():
    checks = Checks("callers")
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        store = "fix"
        server.owner("datastore", "create", store, fixture_store(os.path.join(folder, store)), "--reuse")
        server.owner("user", "create", "backup@pbs", "--password", "of-the-plugin")
        server.owner("acl", "update", "/", "Admin", "--auth-id", "backup@pbs")
        with_ticket = Caller(server, ticket(server, "backup@pbs", "of-the-plugin"))
        secret = with_ticket.call("POST", "/access/users/backup@pbs/token/pve", data={})["data"]["value"]
        with_ticket.call("PUT", "/access/acl", data={"path": "/", "role": "Admin", "auth-id": "backup@pbs!pve"})
        with_token = Caller(server, token("backup@pbs!pve", secret))
        raw = Caller(server, ticket(server, "backup@pbs", "of-the-plugin", encode=False), body="json")
        local = Caller(server, lambda method: [("Authorization", "CairnLocal " + open(
            os.path.join(server.state, "local-admin.token")).read().strip())])

        checks.run("the storage plugin with a token", storage_plugin, with_token, store)
        checks.run("an exporter with a token", exporter, Caller(server, token("backup@pbs!pve", secret, " ")), store)
        checks.run("an exporter with a ticket", exporter, with_ticket, store)
        checks.run("the list of nodes", nodes, local)
        checks.run("the official client", official_client, raw, store)
        checks.run("a garbage collection", collection, with_token, store)
        checks.run("a provider of configuration", provider, raw, store)
        checks.run("refusals and compression", conventions, with_token)
        checks.run("an administrator", administrator, raw)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
