"""Tasks and events: one list for all work of the server, followed by many, over restarts."""

import json
import os
import signal
import threading

from support.checks import expect, same
from support.server import wait_for
from xen.caller import started

from .world import SCHEDULE, OpenAnswer

WAITERS = 400 if os.environ.get("CAIRN_SOAK") else 120
PATIENCE = 300


def get(w, identity):
    return w.scalar("task.get", {"taskId": identity})


def ended(w, identity):
    expect(wait_for(lambda: get(w, identity)["status"] != "pending", PATIENCE), f"{identity} does not end")
    return get(w, identity)


def configuration(w):
    """A job from its start to its end, in the words of both generations; its task is what the log said."""
    log = w.caller.stream("backup.run", **w.configuration_job("config-1"))
    events = list(log)
    root = log.fold.finish().must()
    same(root.name, "backup run", "the root")
    first = events[0]
    same(first["data"], {key: value for key, value in first["properties"].items() if key != "name"}, "data")
    same(first["properties"]["jobId"], "config-1", "the job's id")
    for event in events:
        same((event["type"], event["id"]), (event["event"], event["taskId"]), "both generations")
    task = get(w, root.id)
    same(task["status"], "success", "status")
    same(folded(events), shape_of(task), "the folded log and the task")
    same(w.items("task.getAll", {"filter": {"properties": {"jobId": "config-1"}}}), [task], "found by a filter")

    modern = w.caller.stream("backup.run", **w.configuration_job("config-2", jobData={"key": "k", "jobId": "config-2"}))
    root = modern.finish().must()
    same(root.properties["key"], "k", "jobData in the properties")
    identity = w.scalar("backup.run", w.configuration_job("config-3", streamLogs=False))
    same(get(w, identity)["status"], "success", "without a log")


def folded(events):
    """The tree that the events tell: name, status at the end, children."""
    nodes = {}
    for event in events:
        if event["type"] == "start":
            nodes[event["id"]] = {"name": event["properties"]["name"], "status": None, "tasks": []}
            if "parentId" in event:
                nodes[event["parentId"]]["tasks"].append(nodes[event["id"]])
        elif event["type"] == "end":
            nodes[event["id"]]["status"] = event["status"]
    return nodes[events[0]["id"]]


def shape_of(task):
    return {"name": task["name"], "status": task["status"], "tasks": [shape_of(child) for child in task.get("tasks", [])]}


def server_tasks(w):
    """The server's other work is in the same list."""
    token = w.scalar("event.from")["token"]
    store = w.server.datastore("other")
    expect(os.path.isdir(store), "a datastore")
    w.server.owner("garbage-collection", "start", "other")
    found = w.items("task.getAll", {"filter": {"name": "garbage_collection"}})
    same(len(found), 1, f"garbage collections: {found}")
    task = ended(w, found[0]["id"])
    same((task["status"], task["properties"]["type"], task["properties"]["workerId"]), ("success", "server", "other"),
         "a garbage collection")
    answer = w.scalar("event.from", {"token": token, "timeout": 60})
    expect(task["id"] in [event["snapshot"]["id"] for event in answer["events"]], f"{answer}")
    same(w.error("task.cancel", {"taskId": task["id"]})["code"], 25, "cancelling what has ended")
    same(w.error("task.destroy", {"taskId": task["id"]})["code"], 5, "removing what is the server's")
    jobs = w.items("task.getAll", {"filter": {"properties": {"jobId": "config-1"}}})
    log = json.loads(w.server.owner("task", "list", "--all", "--output-format", "json").stdout)
    expect(jobs[0]["upid"] in [entry["upid"] for entry in log], "a job is in the server's own list")
    text = w.server.owner("task", "log", jobs[0]["upid"]).stdout
    expect("backup run: started" in text and "TASK OK" in text, f"the log for people: {text}")


def several(w):
    """C12, C27: a job runs once at a time, goes on without its caller, and ends when it is asked to."""
    parameters = w.waiting_job("alone")
    log = OpenAnswer(w, "backup.run", parameters)
    log.piece()
    error = w.error("backup.run", parameters)
    same((error["code"], error["message"], error["data"]["jobId"]), (-32000, "job is already running", "alone"), "twice")
    other = w.caller.stream("backup.run", **w.waiting_job("other"))
    root = other.until(started("backup run"))["id"]
    same(w.items("backup.listRunningJobs"), ["alone", "other"], "running jobs")
    log.close()
    task = w.items("task.getAll", {"filter": {"properties": {"jobId": "alone"}}})[0]
    same(task["status"], "pending", "the job whose caller has gone")
    same(w.error("task.destroy", {"taskId": task["id"]})["code"], 25, "removing what runs")
    for identity in (task["id"], root):
        same(w.scalar("task.cancel", {"taskId": identity}), True, "cancelling")
    expect("abortionRequestedAt" in get(w, root), "the request is shown")
    node = other.finish()
    same((node.status, node.result["name"]), ("failure", "CanceledError"), "the end of the log")
    for identity in (task["id"], root):
        same(ended(w, identity)["status"], "canceled", "status")
        same(w.error("task.cancel", {"taskId": identity})["data"]["actual"], "canceled", "cancelling again")
    expect(wait_for(lambda: w.items("backup.listRunningJobs") == [], PATIENCE), "jobs still run")


def removal(w):
    """C28: only whole trees that have ended are removed."""
    identity = w.scalar("backup.run", w.configuration_job("removed", streamLogs=False))
    part = get(w, identity)["tasks"][0]["id"]
    same(get(w, part)["id"], part, "a part of a tree")
    same(w.error("task.destroy", {"taskId": part})["code"], 5, "removing a part")
    token = w.scalar("event.from")["token"]
    same(w.scalar("task.destroy", {"taskId": identity}), True, "removing")
    answer = w.scalar("event.from", {"token": token, "timeout": 0})
    same([(event["operation"], event["snapshot"]["id"]) for event in answer["events"]], [("del", identity)], "events")
    for gone in (identity, part):
        same(w.error("task.get", {"taskId": gone})["code"], 1, "a removed task")


def changes(w):
    """C25: everything once, then each change once."""
    everything = w.scalar("event.from")
    same({event["operation"] for event in everything["events"]}, {"add"}, "operations")
    same(len(everything["events"]), len(w.items("task.getAll")), "all tasks")
    token = everything["token"]
    answer = w.scalar("event.from", {"token": token, "timeout": 0})
    same((answer["events"], answer["token"]), ([], token), "nothing new")
    first = w.scalar("backup.run", w.configuration_job("seen-1", streamLogs=False))
    second = w.scalar("backup.run", w.configuration_job("seen-2", streamLogs=False))
    answer = w.scalar("event.from", {"token": token, "timeout": 0})
    same([(event["class"], event["operation"], event["snapshot"]["id"], event["snapshot"]["status"])
          for event in answer["events"]],
         [("Task", "add", first, "success"), ("Task", "add", second, "success")], "two new tasks")
    same(w.scalar("event.from", {"token": answer["token"], "timeout": 0.1})["events"], [], "after a short while")


def waiters(w):
    """Acceptance 6: many wait at once, and all are told."""
    token = w.scalar("event.from")["token"]
    waiting = [OpenAnswer(w, "event.from", {"token": token, "timeout": 300}) for _ in range(WAITERS)]
    # Some go away without a word; the others must not notice.
    for gone in waiting[::4]:
        gone.close()
    rest = [answer for index, answer in enumerate(waiting) if index % 4]
    found = []

    def read(answer):
        body = b""
        while piece := answer.piece():
            body += piece
        found.append(json.loads(body)["result"])

    threads = [threading.Thread(target=read, args=(answer,)) for answer in rest]
    for thread in threads:
        thread.start()
    identity = w.scalar("backup.run", w.configuration_job("for-all", streamLogs=False))
    for thread in threads:
        thread.join(PATIENCE)
    same(len(found), len(rest), "answers")
    for answer in found:
        same({event["snapshot"]["id"] for event in answer["events"]}, {identity}, "what they were told")
    for answer in rest:
        answer.close()


def restart(w):
    """Acceptance 6, C26: what ran when the server died is interrupted; old tokens are known to be lost."""
    before = w.scalar("event.from")["token"]
    log = w.caller.stream("backup.run", **w.waiting_job("killed"))
    identity = log.until(started("backup run"))["id"]
    done = w.scalar("backup.run", w.configuration_job("kept", streamLogs=False))
    tree = os.path.join(w.server.state, "xo-tasks", identity + ".running")
    expect(wait_for(lambda: os.path.exists(tree), PATIENCE), "the running tree is on the disk")
    w.server.stop(signal.SIGKILL)
    log.leave()
    w.server.start()
    task = get(w, identity)
    same(task["status"], "interrupted", "status after the crash")
    expect(task["end"] >= task["start"], "the end")
    same(get(w, done)["status"], "success", "what had ended")
    error = w.error("event.from", {"token": before})
    same((error["code"], error["data"]["code"]), (-32000, "EVENTS_LOST"), "a token from before")
    expect(identity in [event["snapshot"]["id"] for event in w.scalar("event.from")["events"]], "everything anew")
    same(w.items("backup.listRunningJobs"), [], "running jobs")

    log = w.caller.stream("backup.run", **w.waiting_job("stopped"))
    identity = log.until(started("backup run"))["id"]
    waiting = OpenAnswer(w, "event.from", {"token": w.scalar("event.from")["token"], "timeout": 300})
    stopping = threading.Thread(target=w.server.stop)
    stopping.start()
    node = log.finish()
    same((node.status, node.result["name"]), ("failure", "CanceledError"), "the end of the log at a stop in order")
    body = b""
    while piece := waiting.piece():
        body += piece
    expect("result" in json.loads(body), f"a waiting call at a stop: {body}")
    stopping.join(PATIENCE)
    w.server.start()
    task = get(w, identity)
    same(task["status"], "interrupted", "status after the stop")
    same(w.scalar("task.destroy", {"taskId": identity}), True, "removing an interrupted task")


def remotes(w):
    """The calls about remotes and backups, as far as they need no host."""
    for parameters in (w.remote, {"remote": w.remote}):
        result = w.scalar("remote.test", parameters)
        same(result["success"], True, f"{result}")
        expect(result["writeRate"] > 0 and result["readRate"] > 0, f"{result}")
    same(os.listdir(w.remote_folder) and [name for name in os.listdir(w.remote_folder) if name.endswith(".test")], [],
         "files of the test")
    nowhere = {"url": "file://" + w.token_path + "/below-a-file", "id": "x"}
    broken = w.scalar("remote.test", nowhere)
    same(broken["success"], False, f"{broken}")
    same(w.scalar("remote.ping", {"remote": w.remote}), {"success": True}, "ping")
    same(w.error("remote.ping", {"remote": nowhere})["code"], -32000, "ping of nothing")
    expect(w.scalar("remote.getInfo", {"remote": w.remote})["size"] > 0, "size of the file system")
    same(w.scalar("remote.getTotalBackupSize", {"remote": w.remote}), {"onDisk": 0}, "no backups of machines")
    same(w.scalar("backup.listVmBackups", {"remotes": {"remote-1": w.remote}}), {"remote-1": {}}, "no machines")
    same(w.scalar("backup.listPoolMetadataBackups", {"remotes": {"remote-1": w.remote}}), {"remote-1": {}}, "no pools")
    listed = w.scalar("backup.listXoMetadataBackups", {"remotes": {"remote-1": w.remote}})["remote-1"]
    newest = listed[-1]
    expect(newest["id"].startswith(f"/xo-config-backups/{SCHEDULE}/"), f"{newest}")
    log = w.caller.stream("backup.restoreMetadataBackup", backupId=newest["id"][1:], remote=w.remote)
    root = log.finish().must()
    same((root.name, root.result), ("metadataRestore", '{"xo":1}'), "the restored configuration")
    info = w.scalar("appliance.getInfo")
    same(sorted(info), ["build", "os", "osVersion"], "the appliance")
    same(w.scalar("appliance.updater.getState"), {"state": "xoa-up-to-date"}, "the updater")
    missing = w.scalar("backup.deleteVmBackups", {
        "filenames": ["/xo-vm-backups/a0b1c2d3-0000-4000-8000-000000000001/20240101T000000Z.json"], "remote": w.remote})
    same(missing, True, "deleting what is not there")


TESTS = [configuration, server_tasks, several, removal, changes, waiters, remotes, restart]
