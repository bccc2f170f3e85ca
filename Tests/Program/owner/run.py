"""The owner's commands against a running server: every verb, as a table and as JSON, with what it leaves behind.

    python -m owner.run [NAME …]
"""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks, expect  # noqa: E402
from support.server import Server, program  # noqa: E402

TOKEN_SECRET = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FAILURE = 255


class World:
    """A server with the datastores `main` and `copy`, and one snapshot in `main`."""

    def __init__(self, server):
        self.server = server
        self.main = server.datastore("main")
        self.copy = server.datastore("copy")
        self.file = os.path.join(server.folder, "page.conf")
        self.write(b"first content\n" * 100)
        self.backup()

    def write(self, content):
        with open(self.file, "wb") as file:
            file.write(content)

    def backup(self, *arguments):
        self.text("backup", f"page.conf:{self.file}", "--backup-id", "web", "--store", "main", *arguments)

    def command(self, *arguments, status=0):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PBS_")}
        environment["CAIRN_STATE"] = self.server.state
        result = subprocess.run(
            [program(), *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
        expect(result.returncode == status,
               f"cairn {' '.join(arguments)}: exit {result.returncode}: {result.stderr}{result.stdout}")
        return result

    def text(self, *arguments):
        return self.command(*arguments).stdout

    def json(self, *arguments):
        output = self.command(*arguments, "--output-format", "json").stdout
        expect(output.count("\n") == 1, f"cairn {' '.join(arguments)}: JSON on more than one line: {output}")
        pretty = self.text(*arguments, "--output-format", "json-pretty") if arguments[1] in ("list", "show") else None
        value = json.loads(output)
        expect(pretty is None or json.loads(pretty) == value, f"cairn {' '.join(arguments)}: pretty JSON differs")
        return value

    def refused(self, *arguments, because):
        result = self.command(*arguments, status=FAILURE)
        expect(because in result.stderr, f"cairn {' '.join(arguments)}: {result.stderr!r} does not say {because!r}")
        expect(result.stdout == "", f"cairn {' '.join(arguments)}: an error on standard output: {result.stdout!r}")

    def token(self, user, name):
        made = json.loads(self.text("user", "generate-token", user, name, "--output-format", "json"))
        return made["tokenid"], made["value"]

    def task(self, *arguments):
        """A command that follows a task: people see the log, programs the state at the end."""
        log = self.text(*arguments)
        expect("TASK OK" in log or "TASK WARNINGS" in log, f"cairn {' '.join(arguments)}: no end in the log: {log}")
        state = self.json(*arguments)
        expect(state["status"] == "stopped" and state["upid"].startswith("UPID:"), f"odd state {state}")
        return log, state


def named(items, name, member="id"):
    found = [item for item in items if item[member] == name]
    expect(len(found) == 1, f"{name} is {len(found)} times in {items}")
    return found[0]


def datastores(world):
    """`datastore`: made, listed, shown, changed, taken away; the folder stays."""
    path = os.path.join(world.server.folder, "stores", "fresh")
    log = world.text("datastore", "create", "fresh", path, "--comment", "two words", "--gc-schedule", "daily")
    expect("TASK OK" in log, f"no log of the task: {log}")
    expect(len(os.listdir(os.path.join(path, ".chunks"))) == 65536, "prefix folders are missing")
    expect("two words" in world.text("datastore", "list"), "not in the table")
    entry = named(world.json("datastore", "list"), "fresh", "name")
    expect(entry["path"] == path and entry["comment"] == "two words", f"odd entry {entry}")
    world.text("datastore", "update", "fresh", "--verify-new", "--keep-last", "5", "--delete", "comment")
    shown = world.json("datastore", "show", "fresh")
    expect(shown["verify-new"] is True and shown["keep-last"] == 5 and "comment" not in shown, f"odd settings {shown}")
    world.text("datastore", "update", "fresh", "--verify-new", "false")
    expect("gc-schedule" in world.text("datastore", "show", "fresh"), "settings are not shown")
    world.refused("datastore", "create", "fresh", path, because="The datastore fresh cannot be made")
    world.refused("datastore", "update", "fresh", "--keep-last", "many", because="--keep-last: 'many' is no whole number")
    world.refused("datastore", "show", "nowhere", because="nowhere")
    world.refused("datastore", "update", "fresh", "--comment", "x", "--digest", "0" * 64, because="modified")
    state = world.json("datastore", "remove", "fresh")
    expect(state["exitstatus"] == "OK", f"odd state {state}")
    expect(os.path.isdir(os.path.join(path, ".chunks")), "the folder of a removed datastore is gone")
    expect("fresh" not in world.text("datastore", "list"), "still listed")


def users(world):
    """`user`: made, changed, listed with tokens, removed with its rights."""
    world.text("user", "create", "ann@pbs", "--password", "first-pass-1", "--email", "ann@example.org")
    expect("ann@example.org" in world.text("user", "list"), "not in the table")
    world.text("user", "update", "ann@pbs", "--enable", "false", "--comment", "on leave")
    entry = named(world.json("user", "list"), "ann@pbs", "userid")
    expect(entry["enable"] is False and entry["comment"] == "on leave", f"odd entry {entry}")
    expect("on leave" in world.text("user", "show", "ann@pbs"), "not shown")
    world.text("user", "update", "ann@pbs", "--enable", "--delete", "comment")
    expect("comment" not in world.json("user", "show", "ann@pbs"), "the comment is still there")
    world.text("user", "passwd", "ann@pbs", "--password", "second-pass-2")
    login = {"username": "ann@pbs", "password": "second-pass-2"}
    expect(world.server.api("POST", "/access/ticket", json_body=login)["ticket"], "the new password does not work")
    world.refused("user", "passwd", "ann@pbs", because="There is no new password")
    line = world.text("user", "generate-token", "ann@pbs", "script", "--comment", "for cron")
    expect(line.startswith("ann@pbs!script ") and TOKEN_SECRET.search(line), f"no secret in {line!r}")
    expect("for cron" in world.text("user", "list-tokens", "ann@pbs"), "token is not in the table")
    expect(world.json("user", "list-tokens", "ann@pbs")[0]["tokenid"] == "ann@pbs!script", "token is not listed")
    world.text("acl", "update", "/datastore/main", "DatastoreAudit", "--auth-id", "ann@pbs")
    expect("Datastore.Audit*" in world.text("user", "permissions", "ann@pbs"), "privilege is not shown")
    expect("/datastore/main" in world.json("user", "permissions", "ann@pbs"), "path is not listed")
    world.text("user", "delete-token", "ann@pbs", "script")
    expect(world.json("user", "list-tokens", "ann@pbs") == [], "the token is still there")
    world.text("user", "remove", "ann@pbs")
    expect("ann@pbs" not in world.text("acl", "list"), "rights of a removed user")
    world.refused("user", "show", "ann@pbs", because="ann@pbs")


def rights(world):
    """`acl`: given and taken away, for users and tokens."""
    world.text("user", "create", "bob@pbs", "--password", "bobs-pass-1")
    token, _ = world.token("bob@pbs", "t")
    world.text("acl", "update", "/datastore", "Audit", "--auth-id", "bob@pbs", "--propagate", "false")
    world.text("acl", "update", "/datastore/main", "DatastoreReader", "--auth-id", token)
    entry = named(world.json("acl", "list"), token, "ugid")
    expect(entry["roleid"] == "DatastoreReader" and entry["path"] == "/datastore/main", f"odd entry {entry}")
    lines = world.text("acl", "list").splitlines()
    expect(any(line.split() == ["/datastore", "bob@pbs", "Audit", "no"] for line in lines), f"odd table {lines}")
    expect(len(world.json("acl", "list", "--path", "/datastore", "--exact")) == 1, "--exact is not heard")
    world.text("acl", "update", "/datastore", "Audit", "--auth-id", "bob@pbs", "--delete")
    expect("bob@pbs " not in world.text("acl", "list"), "still listed")
    world.refused("acl", "update", "/datastore", "Wizard", "--auth-id", "bob@pbs", because="'role'")
    world.text("user", "remove", "bob@pbs")


def content(world):
    """The client's commands act on the local server with --store: namespaces, snapshots, groups, prune."""
    world.text("namespace", "create", "a", "--store", "main")
    world.text("namespace", "create", "a/b", "--store", "main")
    expect(world.text("namespace", "list", "--store", "main").split() == ["(root)", "a", "a/b"], "odd namespaces")
    expect([n["ns"] for n in world.json("namespace", "list", "--store", "main")] == ["", "a", "a/b"], "odd JSON")
    for time in (1_700_000_000, 1_700_100_000, 1_700_200_000):
        world.backup("--ns", "a", "--backup-time", str(time))
    snapshots = world.json("snapshot", "list", "--ns", "a", "--store", "main")
    expect(len(snapshots) == 3 and snapshots[0]["owner"] == "root@pam", f"odd snapshots {snapshots}")
    expect("host/web" in world.text("group", "list", "--ns", "a", "--store", "main"), "group is not listed")
    rows = world.json("prune", "host/web", "--ns", "a", "--store", "main", "--keep-last", "2", "--dry-run")
    expect([row["keep"] for row in rows] == [False, True, True], f"odd plan {rows}")
    expect(all(row["reason"] for row in rows), f"no reasons: {rows}")
    table = world.text("prune", "host/web", "--ns", "a", "--store", "main", "--keep-last", "2", "--dry-run")
    expect("why" in table.splitlines()[0] and rows[2]["reason"] in table, f"no reasons: {table}")
    quiet = world.json(
        "prune", "host/web", "--ns", "a", "--store", "main", "--keep-last", "2", "--dry-run", "--explain=false")
    expect("reason" not in quiet[0], f"reasons nobody wanted: {quiet}")
    log = world.text("prune", "--all", "--ns", "a", "--store", "main", "--keep-last", "2", "--dry-run")
    expect("TASK OK" in log, f"no log of the task: {log}")
    expect(len(world.json("snapshot", "list", "--ns", "a", "--store", "main")) == 3, "a dry run removed something")
    world.json("prune", "--all", "--ns", "a", "--max-depth", "0", "--store", "main", "--keep-last", "2")
    expect(len(world.json("snapshot", "list", "--ns", "a", "--store", "main")) == 2, "nothing was pruned")
    world.text("change-owner", "host/web", "admin@pbs", "--ns", "a", "--store", "main")
    expect("admin@pbs" in world.text("list", "--ns", "a", "--store", "main"), "the owner is the old one")
    world.refused("prune", "--store", "main", "--keep-last", "1", because="name one group, or give --all")
    world.refused("prune", "host/web", "--all", "--store", "main", because="name one group, or give --all")
    world.refused("snapshot", "list", "--state", world.server.state, because="No datastore is named")
    world.text("namespace", "delete", "a", "--delete-groups", "--store", "main")
    expect([n["ns"] for n in world.json("namespace", "list", "--store", "main")] == [""], "namespace is still there")


def collection(world):
    """`garbage-collection`: followed, its figures shown, listed with its schedule."""
    log, state = world.task("garbage-collection", "start", "main")
    expect(state["type"] == "garbage_collection" and state["exitstatus"] == "OK", f"odd state {state}")
    status = world.json("garbage-collection", "status", "main")
    expect(status["store"] == "main" and status["index-file-count"] >= 0 and status["disk-chunks"] >= 0,
           f"odd status {status}")
    expect("disk-chunks" in world.text("garbage-collection", "status", "main"), "figures are not shown")
    world.text("datastore", "update", "main", "--gc-schedule", "daily")
    entry = named(world.json("garbage-collection", "list"), "main", "store")
    expect(entry["schedule"] == "daily", f"odd entry {entry}")
    expect("daily" in world.text("garbage-collection", "list"), "schedule is not in the table")
    log = world.text("garbage-collect", "--store", "main")
    expect("TASK OK" in log, f"no log of the task: {log}")
    world.refused("garbage-collection", "start", "nowhere", because="nowhere")


def verification(world):
    """`verify`: options are heard, and a damaged snapshot ends with 255."""
    world.text("namespace", "create", "check", "--store", "main")
    world.backup("--ns", "check")
    log, state = world.task("verify", "main", "--ns", "check", "--max-depth", "0", "--ignore-verified", "false")
    expect(state["exitstatus"] == "OK", f"odd state {state}")
    snapshot = world.json("snapshot", "list", "--ns", "check", "--store", "main")[0]
    expect(snapshot["verification"]["state"] == "ok", f"not verified: {snapshot}")
    group = os.path.join(world.main, "ns", "check", "host", "web")
    folder = next(entry.path for entry in os.scandir(group) if entry.is_dir())
    blob = os.path.join(folder, "page.conf.blob")
    with open(blob, "r+b") as file:
        file.seek(os.path.getsize(blob) - 1)
        last = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([last[0] ^ 1]))
    result = world.command("verify", "main", "--ns", "check", "--ignore-verified", "false", status=FAILURE)
    expect("TASK ERROR" in result.stdout and "The verification of main failed" in result.stderr,
           f"odd end: {result.stdout}{result.stderr}")
    state = json.loads(world.command(
        "verify", "main", "--ns", "check", "--ignore-verified", "false", "--output-format", "json",
        status=FAILURE).stdout)
    expect(state["exitstatus"] not in ("OK", None), f"odd state {state}")
    world.text("namespace", "delete", "check", "--delete-groups", "--store", "main")


def job_round(world, kind, settings, change, shown):
    """A job's life; its last run is in the list."""
    command = f"{kind}-job"
    world.text(command, "create", "job1", *settings)
    world.refused(command, "create", "job1", *settings, because=f"The {kind} job job1 cannot be made")
    world.text(command, "update", "job1", *change)
    entry = world.json(command, "show", "job1")
    for name, value in shown.items():
        expect(entry.get(name) == value, f"{command}: {name} is {entry.get(name)!r}, not {value!r}")
    expect("schedule" in world.text(command, "show", "job1"), "settings are not shown")
    world.text(command, "update", "job1", "--delete", "comment")
    expect("comment" not in world.json(command, "show", "job1"), "the comment is still there")
    log, state = world.task(command, "run", "job1")
    expect(state["exitstatus"] == "OK", f"odd state {state}")
    entry = named(world.json(command, "list"), "job1")
    expect(entry["last-run-state"] == "OK" and entry["next-run"] > 0, f"no state of the last run: {entry}")
    expect("job1" in world.text(command, "list"), "not in the table")
    world.text(command, "remove", "job1")
    expect(world.json(command, "list") == [], "still listed")
    world.refused(command, "run", "job1", because=f"The {kind} job job1 cannot run")
    world.refused(command, "show", "job1", because="job1")


def prune_jobs(world):
    """`prune-job`: a job's whole life."""
    job_round(
        world, "prune", ["--store", "main", "--schedule", "daily", "--keep-last", "100", "--comment", "x"],
        ["--keep-daily", "7", "--schedule", "sat 03:00"],
        {"store": "main", "schedule": "sat 03:00", "keep-last": 100, "keep-daily": 7, "comment": "x"})


def verify_jobs(world):
    """`verify-job`: a job's whole life."""
    job_round(
        world, "verify", ["--store", "main", "--schedule", "weekly", "--comment", "x"],
        ["--outdated-after", "30", "--ignore-verified", "false"],
        {"store": "main", "schedule": "weekly", "outdated-after": 30, "ignore-verified": False})


def sync_jobs(world):
    """`sync-job`: a job's whole life, here from one datastore of the server into another."""
    job_round(
        world, "sync", ["--store", "copy", "--remote-store", "main", "--schedule", "hourly", "--comment", "x"],
        ["--remove-vanished", "--group-filter", "type:host", "--group-filter", "exclude:group:host/none"],
        {"store": "copy", "remote-store": "main", "remove-vanished": True,
         "group-filter": ["type:host", "exclude:group:host/none"]})
    expect("host/web" in world.text("list", "--store", "copy"), "nothing was copied")
    world.text("group", "forget", "host/web", "--yes", "--store", "copy")


def make_remote(world, name):
    """A remote that is this very server, by a token of its own."""
    world.text("user", "create", "sync@pbs", "--password", "sync-pass-1")
    token, secret = world.token("sync@pbs", name)
    for who in ("sync@pbs", token):
        world.text("acl", "update", "/datastore", "DatastoreAdmin", "--auth-id", who)
    world.text(
        "remote", "create", name, "--host", "127.0.0.1", "--port", str(world.server.address[1]), "--auth-id", token,
        "--password", secret, "--fingerprint", world.server.fingerprint, "--comment", "itself")
    return secret


def remotes(world):
    """`remote`: made, shown without its password, looked at, changed, removed."""
    secret = make_remote(world, "itself")
    entry = named(world.json("remote", "list"), "itself", "name")
    expect(entry["host"] == "127.0.0.1" and "password" not in entry, f"odd entry {entry}")
    expect(secret not in world.text("remote", "show", "itself"), "the secret is shown")
    expect("127.0.0.1" in world.text("remote", "list"), "not in the table")
    stores = [item["store"] for item in world.json("remote", "scan", "itself")]
    expect(sorted(stores) == ["copy", "main"], f"odd stores {stores}")
    expect("main" in world.text("remote", "scan", "itself"), "stores are not in the table")
    expect(world.text("remote", "scan", "itself", "main").split() == ["ns", "(root)"], "odd namespaces")
    expect("host/web" in world.text("remote", "scan", "itself", "main", "--groups"), "odd groups")
    world.text("remote", "update", "itself", "--comment", "changed")
    expect(world.json("remote", "show", "itself")["comment"] == "changed", "not changed")
    world.refused("remote", "create", "itself", "--host", "h", "--auth-id", "a@pbs", "--password", "x",
                  because="The remote itself cannot be made")
    world.refused("remote", "scan", "itself", "--groups", because="--groups needs")
    world.text("remote", "update", "itself", "--password", "wrong-secret")
    world.refused("remote", "scan", "itself", because="The remote itself cannot be looked at")
    world.text("remote", "remove", "itself")
    expect(world.json("remote", "list") == [], "still listed")
    world.text("user", "remove", "sync@pbs")


def copies(world):
    """`pull` and `push` follow their task; a copy within the server needs no remote."""
    make_remote(world, "self")
    log = world.text("pull", "self", "main", "copy")
    expect("TASK OK" in log and "host/web" in world.text("list", "--store", "copy"), f"nothing was pulled: {log}")
    world.text("group", "forget", "host/web", "--yes", "--store", "copy")
    state = world.json("push", "main", "self", "copy")
    expect(state["exitstatus"] == "OK" and state["type"] == "sync", f"odd state {state}")
    expect("host/web" in world.text("list", "--store", "copy"), "nothing was pushed")
    world.text("group", "forget", "host/web", "--yes", "--store", "copy")
    world.text("pull", "-", "main", "copy", "--group-filter", "type:vm")
    expect(world.json("list", "--store", "copy") == [], "the filter is not heard")
    world.text("pull", "-", "main", "copy")
    expect("host/web" in world.text("list", "--store", "copy"), "nothing was copied")
    world.refused("pull", "nowhere", "main", "copy", because="nowhere")
    world.text("remote", "remove", "self")
    world.text("user", "remove", "sync@pbs")


def tasks(world):
    """`task`: listed for the server and for a datastore, shown, asked to stop."""
    everything = world.json("task", "list", "--all", "--limit", "0")
    expect(everything and all(task["upid"].startswith("UPID:") for task in everything), "odd list")
    of_main = world.json("task", "list", "--all", "--limit", "0", "--store", "main")
    expect(0 < len(of_main) <= len(everything), "the datastore's tasks are not listed")
    upid = of_main[0]["upid"]
    expect(upid in world.text("task", "list", "--all"), "not in the table")
    expect("TASK" in world.text("task", "log", upid), "the log has no end")
    world.command("task", "stop", upid)
    world.refused("task", "log", "UPID:nonsense", because="The log of the task cannot be read")


def alerts(world):
    """A job that fails ends with 255 and shows it in the list; `alert` lists what is overdue by then."""
    world.text("remote", "create", "gone", "--host", "127.0.0.1", "--port", "1", "--auth-id", "u@pbs",
               "--password", "x", "--fingerprint", world.server.fingerprint)
    world.text("sync-job", "create", "lost", "--store", "copy", "--remote", "gone", "--remote-store", "main",
               "--schedule", "daily")
    result = world.command("sync-job", "run", "lost", status=FAILURE)
    expect("TASK ERROR" in result.stdout and "The sync job lost failed" in result.stderr, f"odd end: {result}")
    state = named(world.json("sync-job", "list"), "lost")["last-run-state"]
    expect(state not in ("OK", "") and state[:20] in world.text("sync-job", "list"), f"odd state {state!r}")
    # It will be due tomorrow; nothing is overdue today.
    expect(world.json("alert", "list") == [] and world.text("alert", "list", "--store", "copy") == "", "odd alerts")
    world.text("sync-job", "remove", "lost")
    world.text("remote", "remove", "gone")


def changes(world):
    """`audit`: what was changed, by whom."""
    world.text("user", "create", "zoe@pbs", "--password", "zoes-pass-1")
    world.text("user", "remove", "zoe@pbs")
    latest = world.json("audit", "list", "--limit", "1")
    expect(len(latest) == 1 and "zoe" in latest[0]["object"], f"odd entry {latest}")
    made = world.json("audit", "list", "--userfilter", "root@pam", "--objectfilter", "users")
    expect(any("zoe@pbs" in json.dumps(entry) for entry in made), f"the new user is not in {made[:3]}")
    table = world.text("audit", "list")
    expect("root@pam" in table and "zoes-pass-1" not in table, "odd table")


def node(world):
    """`node` and `cert`: the server's own settings."""
    expect(world.server.fingerprint in world.text("cert", "info"), "no fingerprint")
    expect(world.json("cert", "info")["fingerprint"] == world.server.fingerprint, "no fingerprint in JSON")
    world.text("node", "update", "--task-log-max-days", "90", "--description", "our backups")
    shown = world.json("node", "show")
    expect(shown["task-log-max-days"] == 90 and shown["description"] == "our backups", f"odd settings {shown}")
    expect("our backups" in world.text("node", "show"), "not shown")
    world.text("node", "update", "--delete", "description")
    expect("description" not in world.json("node", "show"), "the description is still there")


def unreachable(world):
    """Without a server every command says which folder it looked at and what to do."""
    for arguments in (["datastore", "list"], ["verify", "main"], ["snapshot", "list", "--store", "main"]):
        result = world.command(*arguments, "--state", "/nonexistent", status=FAILURE)
        expect("No server runs with the state folder /nonexistent" in result.stderr and "hint:" in result.stderr,
               f"odd error {result.stderr}")
    expect("server version: 4" in world.text("version"), "the server's version is not shown")
    world.refused("datastore", "list", "--repository", "u@pbs@127.0.0.1:1:main", because="127.0.0.1:1")
    world.refused("snapshot", "list", "--repository", "x", "--store", "main", because="exclude each other")


CHECKS = [
    datastores, users, rights, content, collection, verification, prune_jobs, verify_jobs, sync_jobs, remotes, copies,
    tasks, alerts, changes, node, unreachable,
]


def main():
    checks = Checks("owner's commands")
    with Server() as server:
        checks.run_all(CHECKS, World(server))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
