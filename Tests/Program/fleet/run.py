"""A hub and its members, all of them Cairn: a thousand operations, whatever stops in between, and what one may see.

    python -m fleet.run [NAME …]

`CAIRN_SOAK=1`: a thousand in plain text as well, a pause of a minute, and a look at both sides after each cut.
"""

import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from fleet import behaviour, snapshots, world  # noqa: E402
from fleet.cutter import Way  # noqa: E402
from fleet.world import Machine, converge, pair  # noqa: E402
from support.checks import Checks, expect, same  # noqa: E402
from support.server import wait_for  # noqa: E402

SOAK = os.environ.get("CAIRN_SOAK") == "1"
FIRST = 1_717_200_000
OPERATIONS = 1000
MAIN = [("main", ""), ("main", "prod"), ("main", "prod/eu")]
PATIENCE = world.PATIENCE


class Fleet:
    """A hub, and a member with two datastores of which it shows one."""

    def __init__(self):
        self.hub = Machine("hub", plain=True)
        self.member = Machine("web1")
        self.store = self.member.datastore("main")
        self.private = self.member.datastore("private")
        snapshots.write(self.private, "secret", range(FIRST, FIRST + 5))
        snapshots.write(self.store, "older", range(FIRST - 300, FIRST - 290), namespace=("prod", "eu"))
        self.caller = snapshots.Caller(self.member)
        self.clock = FIRST

    def now(self):
        self.clock += 1
        return self.clock

    def back_up(self, group="app", store="main", namespace=""):
        return self.caller.back_up(store, group, self.now(), namespace)

    def close(self):
        for machine in (self.member, self.hub):
            machine.__exit__()

    def converge(self, what, places=MAIN):
        return converge(self.hub, self.member, places, what)

    def one(self, what, seconds=PATIENCE, **wanted):
        """Waits for the one operation at the hub with these values."""
        found = []

        def there():
            found[:] = [operation for operation in self.hub.operations(peer="web1")
                        if all(operation.get(name) == value for name, value in wanted.items())]
            return len(found) == 1

        expect(wait_for(there, seconds), f"{what}: {len(found)} operations with {wanted}")
        return found[0]


# MARK: - Pairing

def tokens_are_used_up(fleet):
    hub, member = fleet.hub, fleet.member

    def refused(token, why):
        member.join(hub, token)
        state, message = member.await_state("hub", "auth-error")
        expect(message, f"{why}: no message")
        expect("web1" not in hub.peers(), f"{why}: the hub knows the member")
        member.forget("hub")
        return message.split("; next attempt")[0]

    def taken(token):
        member.join(hub, token)
        member.await_state("hub", "connected")
        world.part(hub, member)

    single = hub.token()
    taken(single)
    texts = {refused(single, "a token that is used up")}
    twice = hub.token(**{"max-uses": 2})
    taken(twice)
    taken(twice)
    texts.add(refused(twice, "a token that is used up twice"))
    short = hub.token(lifetime=1)
    time.sleep(2.5)
    texts.add(refused(short, "a token that has expired"))
    broken = hub.token()
    cut = broken.index(":") + 1
    texts.add(refused(broken[:cut] + ("0" if broken[cut] != "0" else "1") + broken[cut + 1:], "another secret"))
    same(len(texts), 1, f"texts of the refusals ({texts})")
    # Refusals use nothing up.
    good = [token["uses"] for token in hub.root("GET", "/peers/tokens")
            if token["uses"] < token["max-uses"] and token["expires"] > time.time()]
    same(good, [0], "uses of the token that is good")


def pairs_over_tls_by_command(fleet):
    hub, member = fleet.hub, fleet.member
    made = hub.peer_json("token", "create", "--label", "web1")
    member.peer_command("add", made["token"], "--url", hub.url(), "--fingerprint", hub.fingerprint,
                        "--permission", "read-operations=repo:main")
    member.await_state("hub", "connected")
    hub.await_state("web1", "connected")
    listed = member.peer_json("list")
    same([(peer["instance"], peer["role"], peer["state"]) for peer in listed], [("hub", "hub", "connected")], "peers")
    shown = hub.peer_json("show", "web1")
    same(shown["role"], "member", "role")
    same(shown["key-id"], member.root("GET", "/peers/self")["key-id"], "key of the member")
    same(listed[0]["key-id"], hub.root("GET", "/peers/self")["key-id"], "key of the hub")


# MARK: - Operations

def knows_what_was_there(fleet):
    snapshots.write(fleet.store, "old", range(FIRST - 300, FIRST - 280))
    fleet.back_up()  # what is written into the folder is seen with the next task
    fleet.back_up(namespace="prod")
    fleet.converge("what was there before")
    with open(os.path.join(fleet.store, ".cairn", "uuid")) as file:
        identity = bytes.fromhex(file.read().strip())
    guid = world.store_guid(identity)
    places = {"main": "", "main_prod": "prod", "main_prod_eu": "prod/eu"}
    for operation in fleet.hub.operations(peer="web1"):
        same(operation["repo-guid"], guid, "guid of the datastore")
        if operation["kind"] == "index-snapshot":
            plan, kind, group, seconds = world.key_of(
                operation, fleet.hub.message(operation)["operationIndexSnapshot"]["snapshot"])
            same(operation["snapshot-id"], world.snapshot_id(identity, places[plan], kind, group, seconds), "snapshot")


def numbers_stay(fleet):
    """Neither a restart of the hub nor one of the member gives an operation another number there."""
    before = {operation["id"]: operation.get("logref") for operation in fleet.hub.operations(peer="web1")}
    fleet.member.restart(signal.SIGTERM)
    fleet.hub.restart(signal.SIGKILL)
    fleet.member.poke("hub")
    fleet.member.await_state("hub", "connected")
    fleet.back_up("app")
    fleet.converge("after both were started again")
    after = {operation["id"]: operation.get("logref") for operation in fleet.hub.operations(peer="web1")}
    lost = {number: logref for number, logref in before.items() if after.get(number, "gone") != logref}
    same(lost, {}, "operations that have another number, or are gone")


def a_running_backup_is_shown(fleet):
    session, writer = fleet.caller.open("main", "live", fleet.now())
    running = fleet.one("a running backup", kind="backup", status="running")
    same(running["plan"], "main", "plan")
    expect("endtime" not in running, f"a running backup has ended: {running}")
    follow = fleet.hub.follow(running)
    blob = snapshots.values.blob(snapshots.CONTENT)
    writer.call("POST", "/blob", {"file-name": "page.conf.blob", "encoded-size": len(blob)}, blob)
    writer.files.append({"filename": "page.conf.blob", "crypt-mode": "none", "size": len(blob),
                         "csum": snapshots.hashlib.sha256(blob).hexdigest()})
    time.sleep(1)
    same(follow.poll(), None, "the log of a running task has ended; exit")
    writer.manifest()
    writer.finish()
    session.disconnect("tls-close")
    ended = fleet.one("the backup when it has ended", kind="backup", logref=running["logref"], status="success")
    same(ended["id"], running["id"], "number of the operation")
    output = follow.communicate(timeout=PATIENCE)[0]
    same(follow.returncode, 0, f"exit of the log: {output}")
    expect("TASK OK" in output and "host/live" in output, f"the log is {output!r}")
    same(output.count("TASK OK"), 1, "ends of the log")
    again = fleet.hub.peer_command("log", str(ended["id"])).stdout
    same(again, output, "the log when it is read later")
    fleet.converge("after a running backup")


def a_failed_backup_is_shown(fleet):
    fleet.caller.fail("main", "broken", fleet.now())
    failed = fleet.one("a backup that was cut", kind="backup", status="error")
    expect("connection" in failed["message"], f"message {failed['message']!r}")
    listed = fleet.hub.peer_json("operations", "--failed")
    same([operation["id"] for operation in listed], [failed["id"]], "operations that failed")
    text = fleet.hub.peer_command("operations", "--failed").stdout
    expect("web1" in text and "main" in text, f"failed operations as text: {text!r}")
    found = fleet.hub.operations(text=failed["message"].split("\n")[0][:40])
    same([operation["id"] for operation in found], [failed["id"]], "operations by text")


def a_forgotten_snapshot_is_shown(fleet):
    fleet.back_up("brief")
    fleet.back_up("brief")
    fleet.converge("two backups")
    fleet.member.root("POST", "/admin/datastore/main/prune", **{
        "backup-type": "host", "backup-id": "brief", "keep-last": 1})
    same(len([snapshot for snapshot in fleet.member.snapshots("main") if snapshot["backup-id"] == "brief"]), 1,
         "snapshots after the prune")
    fleet.converge("after a prune")
    fleet.one("the prune", kind="forget", status="success")


def maintenance_is_shown(fleet):
    for path, kind in (("/admin/datastore/main/verify", "check"), ("/admin/datastore/main/gc", "prune")):
        upid = fleet.member.start_task(path)
        status, _ = fleet.member.finish(upid)
        same(status, "OK", path)
        operation = fleet.one(f"{kind} of {path}", kind=kind, logref=upid, status="success")
        same(operation["repo"], "main", "repo")


def results_are_shown(fleet):
    rows = {row["plan"]: row for row in fleet.hub.peer_json("results") if row["instance"] == "web1"}
    expect({"main", "main_prod"} <= set(rows), f"plans with results: {sorted(rows)}")
    same(rows["main_prod"]["status"], "success", "last result of main_prod")
    expect("private" not in rows, "a plan that is not granted")
    text = fleet.hub.peer_command("results").stdout
    expect("web1" in text and "main_prod" in text, f"results as text: {text!r}")


def a_missing_backup_is_overdue(fleet):
    """Of a machine that backed up each day, and has not for a week."""
    hub = fleet.hub
    foreign = behaviour.Foreign(hub, hub.token(), 395)
    try:
        session = foreign.paired()
        week = int(time.time()) - 7 * 86_400
        foreign.create(session, *(
            behaviour.operation(
                number, unix_time_start_ms=(week - (20 - number) * 86_400) * 1000,
                unix_time_end_ms=(week - (20 - number) * 86_400 + 60) * 1000,
                display_message="disk full" if number == 20 else "", status=4 if number == 20 else 3)
            for number in range(1, 21)))
        foreign.is_open(session)
        row = next(row for row in hub.peer_json("results") if row["instance"] == foreign.name)
        same((row["plan"], row["status"], row["message"]), ("plan", "error", "disk full"), "the last result")
        expect(week < row["overdue-since"] < time.time() - 4 * 86_400, f"overdue since {row.get('overdue-since')}")
    finally:
        foreign.close()
        hub.forget(foreign.name)


# MARK: - Permissions

def permissions_take_effect_at_once(fleet):
    hub, member = fleet.hub, fleet.member
    repos = {repo["id"] if isinstance(repo, dict) else repo for repo in hub.peer("web1")["repos"]}
    same(repos, {"main"}, "repos that the hub sees")
    expect(not [operation for operation in hub.operations(peer="web1") if "private" in operation["plan"]],
           "operations of a datastore that is not granted")
    member.allow("hub", ["read-operations=repo:main,repo:private"])
    fleet.converge("after the private datastore was granted", MAIN + [("private", "")])
    member.allow("hub", ["read-operations=plan:private"])
    fleet.converge("after the main datastore was taken back", [("private", "")])
    member.allow("hub", ["read-operations=repo:main"])
    fleet.converge("after the private datastore was taken back")


# MARK: - Pushes

def settings(member):
    return member.root("GET", "/config/datastore"), member.root("GET", "/config/prune"), member.snapshots("main")


def shown_repo(hub):
    config = hub.peer("web1").get("config") or {}
    return next((repo for repo in config.get("repos", []) if repo["id"] == "main"), None)


def a_push_is_refused(fleet):
    """Even where the member lets the hub write its settings: they can hold commands."""
    hub, member = fleet.hub, fleet.member
    granted = member.peers()["hub"]["permissions"]
    before = settings(member)
    command = {"command": f"touch {member.folder}/ran"}
    path = os.path.join(hub.folder, "push.json")

    def wants(guid):
        with open(path, "w") as file:
            json.dump({
                "repos": [{"id": "main", "guid": guid, "uri": "/tmp/elsewhere", "password": "x"}],
                "plans": [{"id": "main", "repo": "main", "paths": ["/"], "hooks": [
                    {"conditions": ["CONDITION_ANY_ERROR"], "actionCommand": command}]}]}, file)

    # What the member has, and does not show, is not even sent.
    wants("5" * 64)
    unsent = hub.peer_command("push-config", "web1", path, check=False)
    expect(unsent.returncode != 0 and "does not let" in unsent.stderr, f"{unsent.stdout}{unsent.stderr}")
    same(hub.root("GET", "/peers/peer/web1/config"), [], "pushes")
    member.allow("hub", [*granted, "read-write-config"])
    expect(wait_for(lambda: shown_repo(hub) is not None, PATIENCE), "the member does not show its settings")
    repo = shown_repo(hub)
    same([name for name in ("password", "env", "hooks", "flags") if name in repo], [], "secrets that the member shows")
    wants(repo["guid"])
    result = hub.peer_command("push-config", "web1", path, check=False)
    pushes = hub.root("GET", "/peers/peer/web1/config")
    expect(pushes, f"nothing is known of the push: {result.stdout}{result.stderr}")
    same(pushes[0]["outcome"], "refused", f"what became of the push ({pushes[0]})")
    expect("refused" in result.stdout + result.stderr, f"the command says {result.stdout}{result.stderr}")
    same(settings(member), before, "the member's settings and snapshots")
    expect(not os.path.exists(os.path.join(member.folder, "ran")), "a pushed command was executed")
    state, message = member.standing("hub")
    same(state, "connected", "the session after the push")
    expect("refused" in message, f"the member says {message!r}")
    member.allow("hub", granted)
    fleet.back_up("after-push")
    fleet.converge("after a push")


# MARK: - Ends

def a_hub_revokes(fleet):
    hub, member = fleet.hub, fleet.member
    started = time.monotonic()
    hub.peer_command("remove", "web1")
    removed = time.monotonic()
    same([peer for peer in hub.peers() if peer == "web1"], [], "peers of the hub")
    same(hub.operations(), [], "operations at the hub")
    expect(wait_for(lambda: member.standing("hub")[0] != "connected", PATIENCE), "the member is still connected")
    took = time.monotonic() - removed
    print(f"  the session ended {took:.2f} s after the command, which took {removed - started:.2f} s", flush=True)
    member.poke("hub")
    state, message = member.await_state("hub", "auth-error")
    expect(message, "no message")
    fleet.back_up("after-revocation")
    same(hub.operations(), [], "operations at the hub after it has refused the member")
    expect("web1" not in hub.peers(), "the hub knows the member again")
    member.forget("hub")


def a_member_leaves(fleet):
    hub, member = fleet.hub, fleet.member
    pair(hub, member, ["read-operations=*"])
    fleet.converge("after pairing anew", MAIN + [("private", "")])
    member.peer_command("remove", "hub")
    same(member.peers(), {}, "peers of the member")
    hub.await_state("web1", "disconnected")
    kept = len(hub.operations(peer="web1"))
    expect(kept > 0, "the hub forgot what the member had told")
    fleet.back_up("after-leaving")
    time.sleep(1)
    same(len(hub.operations(peer="web1")), kept, "operations at the hub after the member has left")
    hub.forget("web1")
    same(hub.operations(), [], "operations at the hub")


# MARK: - Ways that break

def converges_after_a_cut_behind_each_item(fleet):
    """Over HTTP/2 in plain text; the connection ends behind item 1, 2, … of the session, whichever side it is of."""
    hub, member = fleet.hub, fleet.member
    way = Way(("127.0.0.1", hub.plain_port))
    try:
        way.arm(None)
        pair(hub, member, ["read-operations=*"], plain=True, port=way.port)
        everything = MAIN + [("private", "")]
        fleet.converge("before the first cut", everything)
        number = 0
        while number < 200:
            number += 1
            fleet.back_up("cut")
            way.cut()
            way.arm(number)
            member.poke("hub")
            cuts = way.cuts
            if not wait_for(lambda: way.cuts > cuts or is_quiet(way, hub), PATIENCE):
                raise AssertionError(f"neither a cut nor rest behind item {number} ({way.items} items)")
            if way.cuts == cuts:
                break
            if SOAK:
                way.arm(None)
                member.poke("hub")
                fleet.converge(f"after a cut behind item {number}", everything)
        expect(number > 8, f"a session has only {number - 1} items")
        way.arm(None)
        member.poke("hub")
        fleet.converge("after the last cut", everything)
        print(f"  cut behind each of {number - 1} items", flush=True)
        dribbles(fleet, way, everything)
        stalls(fleet, way, everything)
    finally:
        way.close()
        world.part(hub, member)


def is_quiet(way, hub):
    """Whether a session has begun, and told nothing for two seconds: each has eight items at least."""
    items = way.items
    if way.connections == 0 or items < 8 or hub.standing("web1")[0] != "connected":
        return False
    time.sleep(2)
    return way.items == items


def dribbles(fleet, way, places):
    """Byte by byte."""
    way.cut()
    way.piece = 1
    fleet.back_up("dribble")
    fleet.member.poke("hub")
    fleet.converge("byte by byte", places)
    way.piece = 65536


def stalls(fleet, way, places):
    """Nothing gets through for a while, then the hub is not there at all; the member goes on with its backups."""
    way.flows.clear()
    for _ in range(3):
        fleet.back_up("held")
    time.sleep(2)
    way.flows.set()
    fleet.converge("after nothing got through", places)
    way.refuses = True
    way.cut()
    fleet.member.poke("hub")
    fleet.member.await_state("hub", "retry-wait", "disconnected")
    for _ in range(3):
        fleet.back_up("stall")
    way.refuses = False
    fleet.member.poke("hub")
    fleet.converge("after the hub was not there", places)


def tells_a_thousand_in_plain_text(fleet):
    tells_a_thousand_while_everything_stops(fleet, plain=True)


def tells_a_thousand_while_everything_stops(fleet, plain=False):
    """A thousand operations while hub and member are stopped, killed and started: the hub has exactly these."""
    pair(fleet.hub, fleet.member, ["read-operations=repo:main"], plain)
    half = OPERATIONS // 2
    ways = [(fleet.hub, signal.SIGTERM), (fleet.hub, signal.SIGKILL), (fleet.member, signal.SIGTERM),
            (fleet.member, signal.SIGKILL)]
    problems = []
    for turn, (machine, how) in enumerate(ways):
        made = threading.Event()

        def work(turn=turn):
            try:
                for number in range(half // len(ways)):
                    fleet.back_up(f"g{number % 7}", namespace="prod" if number % 5 == 0 else "")
                    if number == 30:
                        made.set()
            except Exception as error:  # noqa: BLE001: told below
                problems.append(f"turn {turn}: {error}")
            made.set()

        if machine is fleet.hub:
            thread = threading.Thread(target=work)
            thread.start()
            made.wait(PATIENCE)
            machine.restart(how)
            thread.join()
        else:
            work()
            machine.restart(how)
        fleet.member.poke("hub")
        fleet.member.await_state("hub", "connected")
    same(problems, [], "backups")
    count = fleet.converge("after a thousand operations")
    expect(count >= OPERATIONS, f"only {count} operations")
    world.part(fleet.hub, fleet.member)
    print(f"  {count} operations of backups and snapshots are the same on both sides", flush=True)


def dials_again_by_itself(fleet):
    """Without anybody's help, after its pause of a minute."""
    pair(fleet.hub, fleet.member, ["read-operations=*"])
    fleet.hub.restart(signal.SIGKILL)
    fleet.back_up("alone")
    fleet.converge("after a pause", MAIN + [("private", "")])
    world.part(fleet.hub, fleet.member)


# MARK: - Three machines

def members_do_not_meet(fleet):
    """Two members with the same names of datastores and groups: neither sees or changes what is of the other."""
    hub, first = fleet.hub, fleet.member
    with Machine("web2") as second:
        store = second.datastore("main")
        snapshots.write(store, "old", range(FIRST - 300, FIRST - 290))
        pair(hub, first, ["read-operations=plan:main"])
        pair(hub, second, ["read-operations=*"], plain=True)
        converge(hub, first, [("main", "")], "the first member")
        converge(hub, second, [("main", "")], "the second member")
        rows = {operation["id"] for operation in hub.operations(peer="web1")}
        hub.forget("web2")
        same({operation["id"] for operation in hub.operations()}, rows, "operations after the second member is gone")
        same(first.standing("hub")[0], "connected", "the first member's session")
        expect(wait_for(lambda: second.standing("hub")[0] != "connected", PATIENCE), "the second member is connected")
    world.part(hub, first)


#: One after the other with one hub and one member; the lists beside each other, since most of it is waiting.
OPERATIONS_AND_RIGHTS = [
    pairs_over_tls_by_command, knows_what_was_there, a_running_backup_is_shown, a_failed_backup_is_shown,
    a_forgotten_snapshot_is_shown, maintenance_is_shown, results_are_shown, a_missing_backup_is_overdue,
    permissions_take_effect_at_once, a_push_is_refused, numbers_stay, a_hub_revokes, a_member_leaves]
PAIRING_AND_WAYS = [tokens_are_used_up, converges_after_a_cut_behind_each_item, members_do_not_meet]
ENDURANCE = [tells_a_thousand_while_everything_stops]
if SOAK:
    ENDURANCE += [tells_a_thousand_in_plain_text, dials_again_by_itself]


def run(checks, list_of_checks):
    """The checks of a list that the command line names, or all of them, with machines of their own."""
    wanted = [check for check in list_of_checks if len(sys.argv) < 2 or check.__name__ in sys.argv[1:]]
    if not wanted:
        return
    fleet = Fleet()
    try:
        for check in wanted:
            checks.run(check.__name__, check, fleet)
            checks.run(f"the servers live after {check.__name__}", expect_alive, fleet)
    finally:
        fleet.close()


def expect_alive(fleet):
    for machine in (fleet.hub, fleet.member):
        expect(machine.process.poll() is None, f"{machine.name} has died: {machine.log[-30:]}")


def main():
    lists = [OPERATIONS_AND_RIGHTS, PAIRING_AND_WAYS, ENDURANCE]
    parts = [Checks("fleet") for _ in lists]
    ours = behaviour.machine() if len(sys.argv) < 2 else None
    try:
        futures = behaviour.start(ours) if ours else []
        threads = [threading.Thread(target=run, args=pair) for pair in zip(parts, lists)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if ours:
            behaviour.collect(parts[0], ours, futures)
    finally:
        if ours:
            ours.__exit__()
    whole = Checks("fleet")
    for part in parts:
        whole.passed, whole.failed = whole.passed + part.passed, whole.failed + part.failed
    return whole.finish()


if __name__ == "__main__":
    sys.exit(main())
