"""Every recorded answer of the original (Tests/Fixtures/pbs/outputs/api) against ours, member by member.

    python -m recorded.run

The same datastore, the same kind of caller, the same call. A value that must differ is named below with the reason; any
other difference is an error, also a member too many or too few.
"""

import json
import os
import re
import sys
import tempfile
from urllib.parse import quote as encoded

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks, expect, same  # noqa: E402
from support.fixtures import FIXTURES, fixture_store  # noqa: E402
from support.server import Server  # noqa: E402
from callers.run import Caller, follow, ticket, token  # noqa: E402

ANSWERS = os.path.join(FIXTURES, "outputs", "api")
STORE = "/admin/datastore/fix"
GROUP = {"backup-type": "host", "backup-id": "plain"}
FIRST = dict(GROUP, **{"backup-time": 1717200000})
SECOND = dict(GROUP, **{"backup-time": 1717286400})
UPID = r"UPID:[^:]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8,16}:[0-9A-F]{8}:"

# Members that our answers have since release 4, where the recorded ones are of 3.2, or that tell of another machine.
MOUNT = {r"data\[\d+\]\.mount-status": "member of release 4"}
SPACE = {r".*(total|used|avail)": "another disk"}
TASK = {r"data\.(upid|node|pid|pstart|starttime)": "another process, another time"}


class World:
    def __init__(self, server, folder):
        self.server = server
        server.owner("datastore", "create", "fix", fixture_store(os.path.join(folder, "fix")), "--reuse")
        server.datastore("store1")
        server.owner("user", "create", "tester@pbs", "--password", "of-the-tester")
        for store in ["fix", "store1"]:
            server.owner("acl", "update", f"/datastore/{store}", "DatastoreAdmin", "--auth-id", "tester@pbs")
        server.owner("user", "create", "boss@pbs", "--password", "of-the-boss")
        server.owner("acl", "update", "/", "Admin", "--auth-id", "boss@pbs")
        self.tester = Caller(server, ticket(server, "tester@pbs", "of-the-tester"))
        self.boss = Caller(server, ticket(server, "boss@pbs", "of-the-boss"))
        self.nobody = Caller(server, lambda method: [])
        self.json = Caller(server, self.tester.credentials, body="json")
        made = self.tester.call("POST", "/access/users/tester@pbs/token/t1", data={})["data"]
        for store in ["fix", "store1"]:
            self.boss.call("PUT", "/access/acl", data={
                "path": f"/datastore/{store}", "role": "DatastoreAdmin", "auth-id": made["tokenid"]})
        self.token = Caller(server, token(made["tokenid"], made["value"]))
        self.bad_cookie = Caller(server, lambda method: [("Cookie", "PBSAuthCookie=PBS:nonsense")])
        self.bad_token = Caller(server, token(made["tokenid"], "00000000-0000-0000-0000-000000000000"))
        self.no_csrf = Caller(server, lambda method: self.tester.credentials("GET"))
        self.upid = None


def recorded(name):
    """Status, headers and body of a recorded answer."""
    with open(os.path.join(ANSWERS, name), "rb") as file:
        raw = file.read()
    if name.endswith(".json"):
        return 200, {}, raw
    head, _, body = raw.partition(b"\n\n")
    if b"\r\n\r\n" in raw:
        head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers, body.strip(b"\r\n")


def members(value, path=""):
    """path → value of everything in a JSON value; lists of objects in a fixed order."""
    if isinstance(value, dict):
        if not value:
            yield path, "{}"
        for name in value:
            yield from members(value[name], f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        ordered = sorted(value, key=lambda item: json.dumps(item, sort_keys=True)) if all(
            isinstance(item, str) for item in value) else sorted(value, key=key)
        if not value:
            yield path, "[]"
        for index, item in enumerate(ordered):
            yield from members(item, f"{path}[{index}]")
    else:
        yield path, value


def key(item):
    if not isinstance(item, dict):
        return json.dumps(item)
    names = ["n", "store", "name", "filename", "filepath", "backup-type", "backup-id", "backup-time", "realm", "ns"]
    return json.dumps([str(item.get(name, "")).rjust(12, "0") for name in names])


def compare(name, answer, differences):
    status, headers, body = recorded(name)
    same(answer.status, status, f"{name}: status, {answer.body[:200]!r}")
    same(answer.header("content-type"), headers.get("content-type", answer.header("content-type")), "content-type")
    if not body[:1] in (b"{", b"["):
        text, theirs = answer.body.decode(), body.decode()
        if text != theirs and not any(re.fullmatch(pattern, "text") for pattern in differences):
            raise AssertionError(f"{text!r} in place of {theirs!r}")
        return
    ours, theirs = dict(members(json.loads(answer.body))), dict(members(json.loads(body)))
    for path in sorted(set(ours) | set(theirs)):
        if ours.get(path, "absent") == theirs.get(path, "absent"):
            continue
        if not any(re.fullmatch(pattern, path) for pattern in differences):
            raise AssertionError(f"{path}: {ours.get(path, 'absent')!r} in place of {theirs.get(path, 'absent')!r}")


def tasks(world, answer):
    """Other tasks than those of the recording: each entry has the members of the recorded ones."""
    _, _, body = recorded("GET-nodes-tasks.http")
    ours, theirs = json.loads(answer.body), json.loads(body)
    same(set(ours), set(theirs), "members")
    same({name for task in ours["data"] for name in task} - {"..."}, {name for task in theirs["data"] for name in task},
         "members of a task")
    for task in ours["data"]:
        expect(re.match(UPID, task["upid"]), task["upid"])


def task_log(world, answer):
    """Other words of ours; the form, and the time in front of each line."""
    _, _, body = recorded("GET-task-log.http")
    ours, theirs = json.loads(answer.body), json.loads(body)
    same(set(ours), set(theirs), "members")
    same([line["n"] for line in ours["data"]], list(range(1, len(ours["data"]) + 1)), "line numbers")
    for line in ours["data"] + theirs["data"]:
        expect(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d: ", line["t"]), line["t"])
    same(ours["data"][-1]["t"][27:], "TASK OK", "last line")


def login(world, answer):
    _, _, body = recorded("POST-access-ticket.json")
    ours, theirs = json.loads(answer.body)["data"], json.loads(body)["data"]
    same(set(ours), set(theirs), "members")
    form = r"PBS:tester@pbs:[0-9A-F]{8}::[A-Za-z0-9+/]+"
    for data in (ours, theirs):
        expect(re.fullmatch(form, data["ticket"]), data["ticket"])
        expect(re.fullmatch(r"[0-9A-F]{8}:[A-Za-z0-9+/]{43}", data["CSRFPreventionToken"]), "CSRF token")


def upid(world, answer):
    _, _, body = recorded("POST-verify-snapshot.http")
    ours, theirs = json.loads(answer.body)["data"], json.loads(body)["data"]
    same(re.sub(UPID, "", ours), re.sub(UPID, "", theirs), "type, id and owner of the task")
    world.upid = ours
    follow(world.tester, ours)


def blob(world, answer):
    same(answer.header("content-type"), "application/octet-stream", "content-type")
    with open(os.path.join(FIXTURES, "store/host/plain/2024-06-01T00:00:00Z/vm.conf.blob"), "rb") as file:
        same(answer.body, file.read(), "the blob")


def usage(world, answer):
    """Without the curve of the last month, which a store that is new here does not have."""
    compare("GET-status-datastore-usage.http", answer, dict(SPACE, **{
        r"data\[\d+\]\.(history(\[\d+\])?|history-start|history-delta|estimated-full-date)": "no history yet",
        r"data\[\d+\]\.gc-status\..*": "compared with GET-gc-status", **MOUNT}))


def collected(world):
    return follow(world.boss, world.boss.call("POST", f"{STORE}/gc", data={})["data"])


# Recorded file → who, what, and what may differ or who compares. In the order of the calls.
CALLS = [
    ("ERR-no-cookie.http", lambda w: w.nobody.raw("GET", "/admin/datastore"), {}),
    ("ERR-bad-cookie.http", lambda w: w.bad_cookie.raw("GET", "/version"), {
        "text": "what exactly is wrong with such a ticket is told in other words"}),
    ("ERR-token.http", lambda w: w.bad_token.raw("GET", "/version"), {}),
    ("ERR-missing-csrf.http", lambda w: w.no_csrf.raw("PUT", f"{STORE}/notes", data=dict(FIRST, notes="x")), {}),
    ("ERR-login.http", lambda w: w.nobody.raw(
        "POST", "/access/ticket", data={"username": "tester@pbs", "password": "wrong"}), {}),
    ("ERR-bad-param.http", lambda w: w.tester.raw("GET", f"{STORE}/files", GROUP), {}),
    ("ERR-bad-type.http", lambda w: w.tester.raw("GET", f"{STORE}/snapshots", {"backup-type": "xx"}), {}),
    ("ERR-unknown-path.http", lambda w: w.tester.raw("GET", "/nosuch"), {}),
    ("ERR-unknown-store.http", lambda w: w.tester.raw("GET", "/admin/datastore/nope/snapshots"), {
        "text": "names no privilege: whoever is refused learns nothing"}),
    ("ERR-delete-nonexistent.http", lambda w: w.tester.raw("DELETE", f"{STORE}/snapshots", {
        "backup-type": "host", "backup-id": "nope", "backup-time": 1}), {"text": "names no folder of the server"}),
    ("ERR-delete-protected.http", lambda w: w.tester.raw("DELETE", f"{STORE}/snapshots", SECOND), {
        "text": "names the snapshot"}),
    ("POST-access-ticket.json", lambda w: w.nobody.raw(
        "POST", "/access/ticket", data={"username": "tester@pbs", "password": "of-the-tester"}), login),
    ("GET-ping.http", lambda w: w.tester.raw("GET", "/ping"), {}),
    ("GET-ping-noauth.http", lambda w: w.nobody.raw("GET", "/ping"), {}),
    ("GET-version.http", lambda w: w.tester.raw("GET", "/version"), {
        r"data\.(version|release|repoid)": "another release", r"data\.cairn": "our own version"}),
    ("GET-access-domains.http", lambda w: w.tester.raw("GET", "/access/domains"), {
        r"data\[\d\]\.comment": "describes our realms", r"data\[\d\]\.default": "pbs: nobody logs in to pam here"}),
    ("GET-access-permissions.http", lambda w: w.tester.raw("GET", "/access/permissions"), {}),
    ("GET-admin-datastore.http", lambda w: w.tester.raw("GET", "/admin/datastore"), MOUNT),
    ("GET-admin-datastore-by-token.http", lambda w: w.token.raw("GET", "/admin/datastore"), MOUNT),
    ("GET-config-datastore.http", lambda w: w.tester.raw("GET", "/config/datastore"), {
        r"data\[\d\]\.path": "another folder", "digest": "of another configuration"}),
    ("GET-active-operations.http", lambda w: w.tester.raw("GET", f"{STORE}/active-operations"), {}),
    ("GET-namespace.http", lambda w: w.tester.raw("GET", f"{STORE}/namespace"), {}),
    ("GET-groups.http", lambda w: w.tester.raw("GET", f"{STORE}/groups"), {}),
    ("GET-group-notes.http", lambda w: w.tester.raw("GET", f"{STORE}/group-notes", {
        "backup-type": "host", "backup-id": "signed"}), {}),
    ("GET-snapshots.http", lambda w: w.tester.raw("GET", f"{STORE}/snapshots"), {}),
    ("GET-snapshots-group.http", lambda w: w.tester.raw("GET", f"{STORE}/snapshots", GROUP), {}),
    ("GET-files.http", lambda w: w.tester.raw("GET", f"{STORE}/files", FIRST), {}),
    ("GET-notes.http", lambda w: w.tester.raw("GET", f"{STORE}/notes", SECOND), {}),
    ("GET-protected.http", lambda w: w.tester.raw("GET", f"{STORE}/protected", SECOND), {}),
    ("GET-download-blob.http", lambda w: w.tester.raw(
        "GET", f"{STORE}/download", dict(FIRST, **{"file-name": "vm.conf.blob"})), blob),
    ("GET-catalog-root.http", lambda w: w.tester.raw("GET", f"{STORE}/catalog", dict(FIRST, filepath="/")), {}),
    ("GET-catalog-dir.http", lambda w: w.tester.raw(
        "GET", f"{STORE}/catalog", dict(FIRST, filepath="dHJlZS5weGFyLmRpZHg=")), {}),
    ("GET-gc-status.http", lambda w: w.tester.raw("GET", f"{STORE}/gc"), {}),
    ("GET-status.http", lambda w: w.tester.raw("GET", f"{STORE}/status", {"verbose": 1}), SPACE),
    ("GET-status-datastore-usage.http", lambda w: w.tester.raw("GET", "/status/datastore-usage"), usage),
    ("POST-prune-dry-run.http", lambda w: w.json.raw("POST", f"{STORE}/prune", data=dict(
        GROUP, **{"dry-run": True})), {}),
    ("PUT-group-notes.http", lambda w: w.tester.raw("PUT", f"{STORE}/group-notes", data=dict(
        GROUP, notes="of the group")), {}),
    ("POST-verify-snapshot.http", lambda w: w.tester.raw("POST", f"{STORE}/verify", data=FIRST), upid),
    ("GET-task-status.http", lambda w: w.tester.raw(
        "GET", f"/nodes/localhost/tasks/{quote(w.upid)}/status"),
     TASK),
    ("GET-task-log.http", lambda w: w.tester.raw(
        "GET", f"/nodes/localhost/tasks/{quote(w.upid)}/log"), task_log),
    ("GET-nodes-tasks.http", lambda w: w.tester.raw("GET", "/nodes/localhost/tasks"), tasks),
    ("GET-snapshots-after-verify.http", lambda w: w.tester.raw("GET", f"{STORE}/snapshots", GROUP), {
        r"data\[\d\]\.verification\.upid": "another task",
        r"data\[0\]\.(files\[3\]\.)?size": "that of the manifest, which holds the name of the task"}),
    ("GET-gc-status-after.http", lambda w: collected(w) and w.tester.raw("GET", f"{STORE}/gc"), {
        r"data\.(upid|duration|last-run-endtime|last-run-upid)": "another task",
        r"data\.(disk-bytes|disk-chunks|pending-.*|removed-.*|cache-stats.*)":
            "the original leaves young chunks for a day (decision 4)",
        r"data\.(index-data-bytes|index-file-count)": "the recording had one backup more",
    }),
    ("GET-status-after.http", lambda w: w.tester.raw("GET", f"{STORE}/status", {"verbose": 1}), dict(SPACE, **{
        r"data\.gc-status\.(upid|disk-.*|pending-.*|removed-.*|index-.*|cache-stats.*)": "as in GET-gc-status-after"})),
]


def quote(text):
    return encoded(text, safe="")


def check(world, name, call, expected):
    answer = call(world)
    if callable(expected):
        same(answer.status, 200, f"{answer.body[:300]!r}")
        expected(world, answer)
    else:
        compare(name, answer, expected)


def main():
    checks = Checks("recorded")
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        world = World(server, folder)
        for name, call, expected in CALLS:
            checks.run(name, check, world, name, call, expected)
    checks.run("each recorded answer has a test", lambda: same(
        sorted(name for name, _, _ in CALLS), sorted(os.listdir(ANSWERS)), "files"))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
