"""proxmoxer, a client library that knows PBS, runs a server from the first user to the last removal.

    python -m proxmoxer_calls.run

Once with a ticket (user and password), once with an API token.
"""

import os
import sys
import tempfile
import time

import proxmoxer
import urllib3

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks, expect, same  # noqa: E402
from support.cli import Client  # noqa: E402
from support.server import Server  # noqa: E402

NODE = "localhost"
TIME = 1_717_200_000


def snapshot(group, turn=0):
    return {"backup-type": "host", "backup-id": group, "backup-time": TIME + turn * 86_400}


class Turn:
    """One run through everything, as one kind of caller."""

    def __init__(self, checks, server, api, name):
        self.checks, self.server, self.api, self.name = checks, server, api, name
        self.store = f"st-{name}"
        self.path = os.path.join(server.folder, "made", self.store)
        self.user = f"{name}-user@pbs"
        self.password = "a-fine-password"

    def check(self, what, body, *arguments):
        return self.checks.run(f"{self.name}: {what}", body, *arguments)

    def follow(self, upid, outcome="OK"):
        """Waits for a task as tools do, and gives its log."""
        expect(isinstance(upid, str) and upid.startswith("UPID:"), f"{upid!r} is no task")
        task = self.api.nodes(NODE).tasks(upid)
        limit = time.monotonic() + 180
        while (status := task.status.get())["status"] != "stopped":
            expect(time.monotonic() < limit, f"{upid} does not end")
            time.sleep(0.2)
        log = [line["t"] for line in task.log.get(start=1, limit=500)]
        same(status["exitstatus"], outcome, f"{upid}: {log[-5:]}")
        return log

    def run(self):
        self.check("version and ping", self.version)
        self.check("creates a user, reads and changes it", self.make_user)
        self.check("creates a token", self.make_token)
        self.check("creates an access entry", self.make_acl)
        self.check("creates a datastore", self.make_datastore)
        self.check("creates namespaces", self.make_namespaces)
        self.check("creates jobs", self.make_jobs)
        self.check("fills the datastore", self.back_up)
        self.check("reads snapshots, groups and files", self.read_content)
        self.check("reads and sets notes", self.notes)
        self.check("reads and sets protection", self.protection)
        self.check("starts and follows a verification", self.verify)
        self.check("starts and follows a prune", self.prune)
        self.check("starts and follows a garbage collection", self.collect)
        self.check("runs jobs now", self.run_jobs)
        self.check("reads tasks and logs", self.tasks)
        self.check("reads usage and status", self.status)
        self.check("deletes everything again", self.delete)

    def version(self):
        same(self.api.version.get()["version"], "4.1", "version")
        same(self.api.ping.get(), {"pong": True}, "ping")

    def make_user(self):
        users = self.api.access.users
        users.post(userid=self.user, password=self.password, comment="made by a test", email="a@example.org")
        listed = {entry["userid"]: entry for entry in users.get()}
        same(listed[self.user]["comment"], "made by a test", "comment")
        users(self.user).put(comment="changed", enable=1)
        same(users(self.user).get()["comment"], "changed", "comment")
        login = proxmoxer.ProxmoxAPI(
            "127.0.0.1", port=self.server.address[1], service="PBS", user=self.user, password=self.password,
            verify_ssl=False, timeout=60)
        same(login.ping.get(), {"pong": True}, "the new user")

    def make_token(self):
        made = self.api.access.users(self.user).token("robot").post(comment="for a test")
        same(made["tokenid"], f"{self.user}!robot", "token id")
        self.secret = made["value"]
        names = [entry["token-name"] for entry in self.api.access.users(self.user).token.get()]
        same(names, ["robot"], "tokens")

    def make_acl(self):
        for subject in [self.user, f"{self.user}!robot"]:
            self.api.access.acl.put(**{"path": "/datastore", "role": "DatastoreAdmin", "auth-id": subject})
        entries = {entry["ugid"] for entry in self.api.access.acl.get() if entry["path"] == "/datastore"}
        expect({self.user, f"{self.user}!robot"} <= entries, f"{entries}")
        expect(
            "Datastore.Read" in self.api.access.permissions.get(path="/datastore")["/datastore"],
            "permissions name the privileges")

    def make_datastore(self):
        self.follow(self.api.config.datastore.post(name=self.store, path=self.path, comment="made by a test"))
        listed = {entry["store"]: entry for entry in self.api.admin.datastore.get()}
        same(listed[self.store]["comment"], "made by a test", "comment")
        self.api.config.datastore(self.store).put(comment="changed")
        same(self.api.config.datastore(self.store).get()["comment"], "changed", "comment")

    def make_namespaces(self):
        space = self.api.admin.datastore(self.store).namespace
        same(space.post(name="prod"), "prod", "namespace")
        same(space.post(name="eu", parent="prod"), "prod/eu", "namespace")
        same(sorted(entry["ns"] for entry in space.get()), ["", "prod", "prod/eu"], "namespaces")

    def make_jobs(self):
        config = self.api.config
        config.prune.post(id=f"p-{self.name}", store=self.store, schedule="daily", **{"keep-last": 2})
        config.verify.post(id=f"v-{self.name}", store=self.store, schedule="weekly", **{"ignore-verified": 0})
        config.remote.post(
            name=f"r-{self.name}", host="127.0.0.1", port=self.server.address[1], password="secret-of-remote",
            fingerprint=self.server.fingerprint, **{"auth-id": self.user})
        config.sync.post(
            id=f"s-{self.name}", store=self.store, remote=f"r-{self.name}", schedule="hourly",
            **{"remote-store": self.store})
        for kind, job in [("prune", f"p-{self.name}"), ("verify", f"v-{self.name}"), ("sync", f"s-{self.name}")]:
            same(config(kind)(job).get()["store"], self.store, f"{kind} job")
            expect(any(entry["id"] == job for entry in config(kind).get()), f"{kind} job is not listed")
            config(kind)(job).put(comment="changed")
            listed = {entry["id"]: entry for entry in self.api.admin(kind).get(store=self.store)}
            same(listed[job]["comment"], "changed", f"{kind} job")
        remote = config.remote(f"r-{self.name}").get()
        expect("password" not in remote, "the password of a remote is shown")
        self.api.config.datastore(self.store).put(**{"gc-schedule": "sat 02:00"})
        expect(any(entry["store"] == self.store for entry in self.api.admin.gc.get()), "gc job is not listed")

    def back_up(self):
        tree = os.path.join(self.server.folder, f"tree-{self.name}")
        os.makedirs(tree)
        client = Client(
            self.server, f"{self.user}!robot", self.store, self.secret, os.path.join(self.server.folder, "client"))
        for turn in range(3):
            with open(os.path.join(tree, "file"), "wb") as file:
                file.write(os.urandom(100_000 + turn))
            client.run(
                "backup", f"root.pxar:{tree}", "--backup-id", "web", "--backup-time", str(TIME + turn * 86_400))

    def read_content(self):
        store = self.api.admin.datastore(self.store)
        listed = store.snapshots.get(**{"backup-type": "host", "backup-id": "web"})
        same(sorted(entry["backup-time"] for entry in listed), [TIME + turn * 86_400 for turn in range(3)], "times")
        same({entry["owner"] for entry in listed}, {f"{self.user}!robot"}, "owner")
        (group,) = store.groups.get()
        same((group["backup-id"], group["backup-count"]), ("web", 3), "group")
        names = {entry["filename"] for entry in store.files.get(**snapshot("web"))}
        same(names, {"root.pxar.didx", "catalog.pcat1.didx", "index.json.blob"}, "files")
        root = store.catalog.get(filepath="/", **snapshot("web"))
        same([entry["text"] for entry in root], ["root.pxar.didx"], "catalog")

    def notes(self):
        store = self.api.admin.datastore(self.store)
        store.notes.put(notes="first line\nsecond line", **snapshot("web"))
        same(store.notes.get(**snapshot("web")), "first line\nsecond line", "notes")
        store("group-notes").put(notes="of the group", **{"backup-type": "host", "backup-id": "web"})
        same(store("group-notes").get(**{"backup-type": "host", "backup-id": "web"}), "of the group", "group notes")
        same(store.groups.get()[0]["comment"], "of the group", "comment")

    def protection(self):
        store = self.api.admin.datastore(self.store)
        same(store.protected.get(**snapshot("web")), False, "protected")
        store.protected.put(protected=1, **snapshot("web"))
        same(store.protected.get(**snapshot("web")), True, "protected")
        try:
            store.snapshots.delete(**snapshot("web"))
        except proxmoxer.ResourceException as refusal:
            same(refusal.status_code, 400, "removal of a protected snapshot")
        else:
            raise AssertionError("a protected snapshot was removed")

    def verify(self):
        log = self.follow(self.api.admin.datastore(self.store).verify.post())
        expect(log, "the task has no log")
        states = {
            entry["verification"]["state"] for entry in self.api.admin.datastore(self.store).snapshots.get()}
        same(states, {"ok"}, "states")

    def prune(self):
        store = self.api.admin.datastore(self.store)
        group = {"backup-type": "host", "backup-id": "web", "keep-last": 1}
        plan = store.prune.post(**group, **{"dry-run": 1})
        same([entry["keep"] for entry in plan], [True, False, True], "plan")
        self.follow(store("prune-datastore").post(**{"keep-last": 1}))
        left = sorted(entry["backup-time"] for entry in store.snapshots.get())
        same(left, [TIME, TIME + 2 * 86_400], "left")

    def collect(self):
        store = self.api.admin.datastore(self.store)
        self.follow(store.gc.post())
        status = store.gc.get()
        same(status["index-file-count"], 4, "indexes")
        expect(status["disk-chunks"] > 0 and status["disk-bytes"] > 0, f"{status}")

    def run_jobs(self):
        self.follow(self.api.admin.prune(f"p-{self.name}").run.post())
        self.follow(self.api.admin.verify(f"v-{self.name}").run.post())
        for kind, job in [("prune", f"p-{self.name}"), ("verify", f"v-{self.name}")]:
            listed = {entry["id"]: entry for entry in self.api.admin(kind).get()}
            same(listed[job]["last-run-state"], "OK", f"{kind} job")
            expect(listed[job]["next-run"] > time.time() - 60, "next run")

    def tasks(self):
        listed = self.api.nodes(NODE).tasks.get(store=self.store, limit=0)
        types = {entry["worker_type"] for entry in listed}
        wanted = {"backup", "verify", "prune", "garbage_collection", "prunejob", "verificationjob"}
        expect(wanted <= types, f"{types} lacks {wanted - types}")
        for entry in listed:
            lines = self.api.nodes(NODE).tasks(entry["upid"]).log.get(limit=0)
            same([line["n"] for line in lines], list(range(1, len(lines) + 1)), "line numbers")

    def status(self):
        expect(self.api.admin.datastore(self.store).status.get()["total"] > 0, "total")
        (usage,) = [entry for entry in self.api.status("datastore-usage").get() if entry["store"] == self.store]
        expect(usage["total"] > 0, "total")
        expect(self.api.nodes(NODE).status.get()["memory"]["total"] > 0, "memory")

    def delete(self):
        store = self.api.admin.datastore(self.store)
        store.protected.put(protected=0, **snapshot("web"))
        store.snapshots.delete(**snapshot("web"))
        counts = store.groups.delete(**{"backup-type": "host", "backup-id": "web"})
        same(counts["removed-snapshots"], 1, "removed")
        store.namespace.delete(ns="prod/eu")
        store.namespace.delete(ns="prod")
        for kind, job in [("prune", f"p-{self.name}"), ("verify", f"v-{self.name}"), ("sync", f"s-{self.name}")]:
            self.api.config(kind)(job).delete()
            expect(all(entry["id"] != job for entry in self.api.config(kind).get()), f"{kind} job stays")
        self.api.config.remote(f"r-{self.name}").delete()
        self.follow(self.api.config.datastore(self.store).delete(**{"destroy-data": 1}))
        expect(all(entry["store"] != self.store for entry in self.api.admin.datastore.get()), "the datastore stays")
        expect(not os.path.exists(os.path.join(self.path, ".chunks")), "the chunks stay")
        for subject in [self.user, f"{self.user}!robot"]:
            self.api.access.acl.put(
                **{"path": "/datastore", "role": "DatastoreAdmin", "auth-id": subject, "delete": 1})
        self.api.access.users(self.user).token("robot").delete()
        same(self.api.access.users(self.user).token.get(), [], "tokens")
        self.api.access.users(self.user).delete()
        expect(all(entry["userid"] != self.user for entry in self.api.access.users.get()), "the user stays")


def main():
    urllib3.disable_warnings()
    checks = Checks("proxmoxer_calls")
    server = Server(["--datastore-root", tempfile.gettempdir()])
    with server:
        server.owner("user", "create", "boss@pbs", "--password", "the-boss-password")
        server.owner("acl", "update", "/", "Admin", "--auth-id", "boss@pbs")
        ticket = proxmoxer.ProxmoxAPI(
            "127.0.0.1", port=server.address[1], service="PBS", user="boss@pbs", password="the-boss-password",
            verify_ssl=False, timeout=120)
        secret = ticket.access.users("boss@pbs").token("tool").post()["value"]
        ticket.access.acl.put(**{"path": "/", "role": "Admin", "auth-id": "boss@pbs!tool"})
        Turn(checks, server, ticket, "ticket").run()
        token = proxmoxer.ProxmoxAPI(
            "127.0.0.1", port=server.address[1], service="PBS", user="boss@pbs", token_name="tool",
            token_value=secret, verify_ssl=False, timeout=120)
        Turn(checks, server, token, "token").run()
        if checks.failed:
            print("\n".join(server.log[-20:]))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
