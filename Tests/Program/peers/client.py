"""The independent client as a member of the program: pairing, operations, and what comes of them."""

import json
import time

from support.checks import expect, same

from .connect import PATIENCE, Ended
from .identity import Token
from .world import (
    GUID, SOAK, Who, created, deleted, item, manifest, operation, resources, stored, updated)


def joined(site, name, **options):
    """A member that has paired, and its open session."""
    token, token_id = site.token(permissions=["read-config"])
    who = Who(name)
    session = site.session(who, token.secret, **options)
    expect(site.uses(token_id) in (1, None), "the token was not used")
    return who, session


def by_command(site, secure):
    """Pairs with a token that a command has made."""
    out = site.owner(
        "peer", "token", "create", "--label", "wire", "--permission",
        "read-config=repo:none", "--output-format", "json").stdout
    made = json.loads(out)
    token = Token.parse(made["token"])
    same((token.key_id, token.instance_id), (site.key_id, site.name), "key and name in the token")
    expect(len(token.secret) == 64 and token.secret == token.secret.lower(), f"the secret {token.secret}")
    who = Who("tls" if secure else "plain")
    session = site.session(who, token.secret, stream=site.stream(secure=secure))
    same((list(session.config.repos), session.config.version), ([], 6), "what the hub shows of its settings")
    session.expect("receive_resources")
    same(session.stream.headers["content-type"], "application/connect+proto", "content type")
    return who, session


def pairs_and_tells(site):
    """by TLS and in plain text: pairs, tells of operations, is seen by commands and REST"""
    for secure in (True, False):
        who, session = by_command(site, secure)
        session.send(
            item("receive_config", config={
                "version": 6, "modno": 3, "plans": [{"id": "plan", "repo": "repo", "paths": ["/srv"]}],
                "repos": [{"id": "repo", "uri": "s3:bucket", "guid": GUID, "password": "hidden-password",
                           "env": ["A=hidden-env"]}]}),
            resources(), manifest([(1, 1), (2, 1), (3, 1)]))
        same(list(session.expect("request_operation_data").op_ids), [1, 2, 3], "what the hub asks for")
        session.send(updated(
            operation(1), operation(2, status=4, display_message="disk on fire"),
            operation(3, status=2, unix_time_end_ms=0, flow_id=1, operation_backup=None,
                      operation_index_snapshot={"snapshot": {"id": "ab" * 32, "hostname": "machine"}},
                      snapshot_id="ab" * 32)))
        found = stored(site, who, [1, 2, 3])
        same([found[number]["status"] for number in (1, 2, 3)], ["success", "error", "running"], "status")
        same([found[number]["kind"] for number in (1, 3)], ["backup", "index-snapshot"], "kind")
        same((found[1]["flow"] == found[3]["flow"], found[1]["flow"] == found[2]["flow"]), (True, False), "flows")
        same((found[3]["snapshot-id"], found[2]["message"]), ("ab" * 32, "disk on fire"), "snapshot and message")
        same((found[1]["repo"], found[1]["plan"], found[1]["repo-guid"]), ("repo", "plan", GUID), "repo and plan")
        shown = site.peer(who.name)
        same((shown["role"], shown["state"], shown["operations"]), ("member", "connected", 3), "the peer")
        same([repo["id"] for repo in shown["repos"]], ["repo"], "its repos")
        expect("hidden" not in json.dumps(shown), "a secret is shown")
        listed = json.loads(site.owner(
            "peer", "operations", "--peer", who.name, "--failed", "--output-format", "json").stdout)
        same([entry["original-id"] for entry in listed], [2], "failed operations by command")
        expect("disk on fire" in site.owner("peer", "operations", "--peer", who.name).stdout, "no message in the table")
        live(site, who, session)
        session.close()
        resumes(site, who, secure)


def live(site, who, session):
    """Events while it runs."""
    session.send(item("heartbeat"), created(operation(4, status=2, unix_time_end_ms=0)))
    same(stored(site, who, [1, 2, 3, 4])[4]["status"], "running", "status of a new one")
    first = site.operations(who.name)[4]["id"]
    session.send(updated(operation(4, 2, status=7)))
    limit = time.monotonic() + PATIENCE
    while site.operations(who.name)[4]["status"] != "warning":
        expect(time.monotonic() < limit, "the change does not come")
        time.sleep(0.05)
    same(site.operations(who.name)[4]["id"], first, "its number at the hub")
    session.send(deleted(2, 99), item("receive_operations", event={"keep_alive": {}}))
    stored(site, who, [1, 3, 4])


def resumes(site, who, secure):
    """Comes again without a secret; the manifest tells what went and what changed."""
    session = site.session(who, stream=site.stream(secure=secure))
    session.send(resources(), manifest([(4, 2), (3, 5), (7, 1)]))
    same(list(session.expect("request_operation_data").op_ids), [3, 7], "what the hub asks for")
    stored(site, who, [3, 4])
    session.send(updated(operation(3, 5), operation(7)))
    stored(site, who, [3, 4, 7])
    session.send(manifest([(3, 5), (4, 2), (7, 1)]))
    session.send(manifest([]))
    stored(site, who, [])
    # A spent secret from a known key is not looked at.
    session.close()
    site.session(who, "0" * 64).close()


def framings(site):
    """bytes one by one, prefix and payload apart, compressed, compressed by 1-byte frames"""
    for ways, headers in (
            ({"one_by_one": True}, {}), ({"prefix_apart": True}, {}),
            ({"compresses": True}, {"connect-content-encoding": "gzip"}),
            ({"compresses": True, "one_by_one": True}, {"connect-content-encoding": "gzip"})):
        who, session = joined(site, "-".join(ways), stream=site.stream(**headers), **ways)
        session.send(created(operation(1)), item("heartbeat"))
        stored(site, who, [1])
        session.close()


def large(site):
    """an operation of some 100 KiB (soak: 8 MiB), and six hundred in two answers"""
    who, session = joined(site, "large")
    session.send(created(operation(1, display_message="x" * (8 << 20 if SOAK else 200 << 10))))
    stored(site, who, [1])
    session.send(manifest([(number, 1) for number in range(1, 601)]))
    asked = list(session.expect("request_operation_data").op_ids)
    same(asked, list(range(2, 601)), "what the hub asks for")
    for part in (asked[:512], asked[512:]):
        session.send(updated(*map(operation, part)))
    stored(site, who, range(1, 601))
    session.close()


def parts(site):
    """a member that ends its half is disconnected; so is one that cancels"""
    who, session = joined(site, "leaving")
    session.stream.send(b"", end=True)
    code, _ = session.end()
    same(code, None, "the end of a session that the member ended")
    gone(site, who)
    session = site.session(who)
    same(site.peer(who.name)["state"], "connected", "state")
    session.close()
    gone(site, who)


def gone(site, who):
    limit = time.monotonic() + PATIENCE
    while (state := site.peer(who.name)["state"]) != "disconnected":
        expect(time.monotonic() < limit, f"the state is {state}")
        time.sleep(0.05)


def heartbeats(site):
    """the hub's heartbeats come by themselves, and those of a member are noted"""
    who, session = joined(site, "heart")
    before = time.time()
    session.send(item("heartbeat"))
    limit = time.monotonic() + PATIENCE
    while site.peer(who.name).get("last-heartbeat", 0) < int(before) - 1:
        expect(time.monotonic() < limit, "the heartbeat is not noted")
        time.sleep(0.05)
    session.expect("heartbeat")
    session.close()


def pushes(site):
    """settings that are pushed reach a member, and its next view tells that they were applied"""
    who, session = joined(site, "pushed")
    view = {"version": 6, "modno": 1, "repos": [{"id": "repo", "uri": "s3:bucket", "guid": GUID}],
            "plans": [{"id": "plan", "repo": "repo", "paths": ["/srv"]}]}
    session.send(item("receive_config", config=view), resources(), manifest([]))
    limit = time.monotonic() + PATIENCE
    while "config" not in (shown := site.peer(who.name)) or not shown["config"].get("plans"):
        expect(time.monotonic() < limit, "the view of its settings does not come")
        time.sleep(0.05)
    plan = {"id": "plan", "repo": "repo", "paths": ["/srv", "/home"]}
    site.root("POST", f"/peers/peer/{who.name}/config", plans=[plan])
    push = session.expect("set_config")
    same([list(pushed.paths) for pushed in push.plans], [["/srv", "/home"]], "what is pushed")
    view["plans"] = [plan]
    view["modno"] = 2
    session.send(item("receive_config", config=view))
    while (outcome := site.root("GET", f"/peers/peer/{who.name}/config")[0])["outcome"] != "applied":
        expect(time.monotonic() < limit, f"what became of it: {outcome}")
        time.sleep(0.05)
    session.close()


def again_after_restart(site):
    """members, operations and tokens are there after a restart"""
    token, token_id = site.token(label="kept")
    who, session = joined(site, "kept")
    session.send(created(operation(1), operation(2)))
    before = stored(site, who, [1, 2])
    site.restart()
    try:
        session.end()
    except (Ended, TimeoutError):
        pass
    same(site.operations(who.name), before, "operations")
    same(site.uses(token_id), 0, "uses of a token")
    session = site.session(who)
    session.send(manifest([(1, 1), (2, 2)]))
    same(list(session.expect("request_operation_data").op_ids), [2], "what the hub asks for")
    session.close()


ALL = (pairs_and_tells, framings, large, parts, heartbeats, pushes)
