"""The transport: who is let in, what is understood, in what form answers come."""

import json
import os
import signal
import stat
import urllib.parse

from support import http1
from support.checks import expect, same

from support.session import Session

from .world import OpenAnswer

VERSION = '{"id":0,"jsonrpc":"2.0","method":"system.getServerVersion"}'
# Those of the contract, and those that callers rely on.
METHODS = {
    "system.listMethods", "system.methodSignature", "event.from", "backup.importVmBackup",
    "backup.listPoolMetadataBackups", "backup.listVmBackups", "backup.listXoMetadataBackups", "backup.run",
    "backup.restoreMetadataBackup", "task.cancel", "task.destroy", "task.get", "task.getAll", "remote.test",
    "system.getMethodsInfo", "system.getServerVersion", "authentication.setToken", "backup.listRunningJobs",
    "backup.deleteVmBackups", "backup.deleteVmBackup", "backup.deleteMetadataBackup", "remote.ping", "remote.getInfo",
    "remote.getTotalBackupSize", "appliance.getInfo", "appliance.updater.getState", "test.range", "test.throw"}
MISSING = ["backup.listDiskPartitions", "backup.listPartitionFiles", "backup.fetchPartitionFiles",
           "backup.mountPartition", "backup.unmountPartition"]


def cookies(w):
    """C1: only who shows the token is heard."""
    take_over = json.dumps({"id": 1, "method": "authentication.setToken", "params": {"token": "stranger"}})
    for cookie in ["", "authenticationToken", "authenticationToken=", "authenticationToken=wrong", "other=" + w.token,
                   f"authenticationToken={w.token[:-1]}", f"authenticationToken={w.token}x"]:
        response = w.raw(take_over, cookie=cookie)
        same(response.status, 401, f"status with {cookie!r}")
        expect(response.header("www-authenticate") is None, "a browser would ask for a password")
    same(w.raw("{ not JSON", cookie="").status, 401, "who shows nothing is not parsed")
    encoded = "".join("%%%02x" % ord(letter) for letter in w.token)
    for cookie in [f"authenticationToken={w.token}", f"a=b; authenticationToken={encoded}; c=d"]:
        same(w.raw(VERSION, cookie=cookie).status, 200, f"status with {cookie!r}")
    mode = stat.S_IMODE(os.stat(w.token_path).st_mode)
    same(mode, 0o600, "mode of the token's file")


def paths(w):
    """C2: one path, one method."""
    same(w.raw(VERSION, target="/api/v1/").status, 200, "a trailing slash")
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        response = w.raw("", method=method)
        same((response.status, response.header("allow")), (405, "POST"), method)
    response = w.raw("", method="OPTIONS")
    same((response.status, response.header("allow")), (204, "POST"), "OPTIONS")
    same(w.raw("", method="GET", target="/api/v2").status, 404, "another path")
    same(w.raw("", method="GET", target="/api/v1/more").status, 404, "a path below")


def framing(w):
    """C3, C4, C7: what is no call, unknown methods, ids."""
    for body, code in [("", -32700), ("{", -32700), ("nonsense", -32700), (b"\xff\xfe{}", -32700), ("[]", -32600),
                       ('[{"id":1,"method":"system.listMethods"}]', -32600), ("1", -32600), ("{}", -32600),
                       ('{"id":1,"jsonrpc":"1.0","method":"x"}', -32600), ('{"id":{},"method":"x"}', -32600),
                       ('{"id":1,"method":"x","params":"y"}', -32600)]:
        response = w.raw(body)
        same((response.status, response.header("content-type")), (200, "application/json"), f"{body!r}")
        answer = json.loads(response.body)
        same((answer["error"]["code"], answer["id"]), (code, None), f"{body!r}")
    same(w.error("no.such"), {"code": -32601, "message": "method not found: no.such", "data": "no.such"}, "unknown")
    for identity in (0, -7, 2 ** 53, 10 ** 30, "text", "", "ü\n"):
        same(w.call("system.getServerVersion", {}, identity)[0]["id"], identity, "the id")
    response = w.raw('{"method":"system.getServerVersion"}')
    same((response.status, response.body), (204, b""), "a call without an id")
    same(w.raw(VERSION, headers=[("Accept", "text/plain")]).status, 200, "other fields do not matter")


def validation(w):
    """C5: all violations are listed; objects inside are not looked into."""
    def found(method, params):
        error = w.error(method, params)
        same((error["code"], error["message"]), (10, "invalid parameters"), f"{method} {params}")
        for entry in error["data"]["errors"]:
            same(sorted(entry), ["instancePath", "keyword", "message", "params"], "members of a violation")
        return sorted((entry["instancePath"], entry["keyword"]) for entry in error["data"]["errors"])

    same(found("backup.run", {}), [("", "required")] * 3, "nothing given")
    same(found("backup.run", {"job": 1, "remotes": {"r": 5}, "schedule": [], "streamLogs": "yes", "x": 1}),
         sorted([("/job", "type"), ("/schedule", "type"), ("/streamLogs", "type"), ("", "additionalProperties")]),
         "everything wrong at once")
    same(found("backup.run", [1]), [("", "type")], "an array")
    same(found("task.get", {"taskId": ""}), [("/taskId", "minLength")], "an empty id")
    same(found("task.getAll", {"limit": -1}), [("/limit", "minimum")], "a negative limit")
    same(found("task.getAll", {"limit": 1.5}), [("/limit", "type")], "half a task")
    same(found("backup.deleteVmBackups", {"filenames": ["a", 1], "remote": {}}), [("/filenames/1", "type")], "an item")
    same(found("remote.test", {}), [("", "required")], "no remote")
    same(found("event.from", {"token": "malformed"}), [("/token", "format")], "a malformed token")
    for method in METHODS - {"remote.test"}:
        expect(("", "additionalProperties") in found(method, {"unknown": 1}), f"{method} takes anything")


def every_method(w):
    """C16: all methods are there, and describe themselves; what is not built says which feature it is."""
    same(set(w.items("system.listMethods")), METHODS, "methods")
    infos = w.items("system.getMethodsInfo", {})
    same({info["name"] for info in infos}, METHODS, "methods with descriptions")
    for info in infos:
        for member in ("name", "method"):
            signature = w.scalar("system.methodSignature", {member: info["name"]})
            same((signature["name"], signature["params"]), (info["name"], info["params"]), "a signature")
            expect(isinstance(signature["result"], dict), "the form of the result")
    same(w.error("system.methodSignature", {"name": "x"})["data"], {"id": "x", "type": "method"}, "unknown signature")
    for name in MISSING:
        error = w.error(name, {"disk": "x"})
        same((error["code"], error["data"]), (-32601, name), "a method that is not built")
        expect("file-level restore is not supported yet" in error["message"], f"{error}")


def lists(w):
    """C8: lists are lines, also when they are empty."""
    same(w.items("test.range", {"stop": 0}), [], "an empty list")
    same(w.items("test.range", {"stop": 3}), [0, 1, 2], "a range")
    same(w.items("test.range", {"start": 2, "stop": -1}), [2, 1, 0], "a range down")
    same(w.items("test.range", {"start": 0, "stop": 1, "step": 0.25}), [0, 0.25, 0.5, 0.75], "a range with a step")
    same(w.error("test.range", {"stop": 1, "step": 0})["code"], -32000, "a range that never ends")
    same(w.items("test.range", {"stop": 100_000}), list(range(100_000)), "a long range")
    same(w.items("backup.listRunningJobs"), [], "jobs that run")
    same(w.items("task.getAll", {"limit": 0}), [], "no tasks")
    same(w.caller.items("test.range", stop=5), list(range(5)), "by the caller's own rules")


def failures(w):
    """C6, C11, and the codes of failures."""
    thrown = w.error("test.throw", {"message": "boom"})
    same((thrown["code"], thrown["message"]), (-32000, "boom"), "a failure")
    same(w.error("task.get", {"taskId": "x"})["data"], {"id": "x", "type": "task"}, "no such task")
    wrong = w.configuration_job("j")
    wrong["job"]["type"] = "other"
    same(w.error("backup.run", wrong)["message"], "No runner for the backup type other", "before the log begins")
    missing = w.error("backup.importVmBackup", {
        "backupId": "/xo-vm-backups/x/20240101T000000Z.json", "remote": w.remote, "srUuid": "s", "xapi": w.host.xapi,
        "streamLogs": True})
    same((missing["code"], missing["data"].get("code")), (-32000, "ENOENT"), f"a backup that is not there: {missing}")


def connections(w):
    """Calls follow each other on one connection, whatever form the answers have; nothing is compressed."""
    with http1.tls(w.server.address) as sock:
        reader = http1.Reader(sock)
        for number in range(4):
            for method, params in [("test.range", {"stop": 3}), ("test.throw", {"message": "m"}), ("event.from", {})]:
                body = json.dumps({"id": number, "method": method, "params": params}).encode()
                fields = w.fields(body, headers=[("Accept-Encoding", "br, gzip, deflate")])
                sock.sendall(http1.head("POST", "/api/v1", fields) + body)
                response = reader.response("POST")
                same(response.status, 200, method)
                for name in ("content-encoding", "connection", "set-cookie"):
                    expect(response.header(name) is None, f"{name}: {response.header(name)}")
        sock.sendall(http1.head("POST", "/api/v1", w.fields(b"", cookie="")))
        same(reader.response("POST").status, 401, "without the token")
        body = VERSION.encode()
        sock.sendall(http1.head("POST", "/api/v1", w.fields(body)) + body)
        same(reader.response("POST").status, 200, "after a refusal")


def http2(w):
    """The same over HTTP/2, several calls at once."""
    session = Session(http1.tls(w.server.address))
    headers = [("cookie", f"authenticationToken={w.token}")]
    token = w.scalar("event.from")["token"]
    waiting = session.start("POST", "/api/v1", headers, json.dumps(
        {"id": 1, "method": "event.from", "params": {"token": token, "timeout": 0.5}}).encode())
    ranged = session.start("POST", "/api/v1", headers, b'{"id":2,"method":"test.range","params":{"stop":2}}')
    answer, numbers = session.wait([waiting, ranged])
    same([json.loads(line) for line in numbers.body.split(b"\n")[1:-1]], [0, 1], "a list")
    same(json.loads(answer.body)["result"]["events"], [], "events")
    same(session.call("POST", "/api/v1", [], b"{}").status, 401, "without the token")
    session.disconnect("goaway")


def bodies(w):
    """Large bodies are taken up to a limit; strangers cannot send much at all."""
    text = "x" * (5 << 20)
    same(w.scalar("system.methodSignature", {"name": "test.throw"})["name"], "test.throw", "a small body")
    body = json.dumps({"id": 1, "method": "test.throw", "params": {"message": text}})
    same(json.loads(w.raw(body).body)["error"]["message"], text, "5 MiB there and back")
    for cookie, size, status in [(None, (64 << 20) + 1, 413), ("", 1 << 20, 401)]:
        with http1.tls(w.server.address) as sock:
            fields = [(name, str(size) if name == "Content-Length" else value) for name, value in w.fields(b"", cookie)]
            sock.sendall(http1.head("POST", "/api/v1", fields))
            sent = 0
            reader = http1.Reader(sock)
            try:
                while sent < size:
                    sock.sendall(b" " * min(1 << 20, size - sent))
                    sent += 1 << 20
            except OSError:
                pass  # the server need not read what it refuses
            try:
                same(reader.response("POST").status, status, f"{size} bytes")
            except http1.Closed:
                expect(status == 401, "the answer to a caller with the token is lost")


def first_line(w):
    """C9, C10: the head and the first line come before anything happens, then blanks, then the value."""
    log = OpenAnswer(w, "backup.run", w.waiting_job("first-line"), [("Accept-Encoding", "br, gzip")])
    same((log.status, log.headers["content-type"], log.headers.get("content-encoding")),
         (200, "application/json", None), "the head of a log")
    same(json.loads(log.piece()), {"id": 1, "jsonrpc": "2.0", "result": {"$responseType": "ndjson"}}, "the first line")
    seen = b""
    while b'"event":"start"' not in seen:
        seen += log.piece()
    expect(b'"name":"backup run"' in seen, f"the root's start: {seen}")

    token = w.scalar("event.from")["token"]
    events = OpenAnswer(w, "event.from", {"token": token, "timeout": 300})
    same(events.status, 200, "the head of a waiting call")
    # Ten seconds of silence; the job says nothing either, because its host does not.
    blanks = b""
    while not blanks.strip(b" ") and len(blanks) < 1:
        blanks += events.piece()
    if blanks.startswith(b" "):
        same(blanks.strip(b" "), b"", "a blank keeps the connection alive")
    task = json.loads(seen.splitlines()[0])["id"]
    same(w.scalar("task.cancel", {"taskId": task}), True, "cancelling")
    body = blanks
    while piece := events.piece():
        body += piece
    answer = json.loads(body)
    same([event["snapshot"]["id"] for event in answer["result"]["events"]], [task], "what has changed")
    while piece := log.piece():
        seen += piece
    lines = seen.split(b"\n")
    same(lines.pop(), b"", "what follows the last line")
    expect(all(line.strip() for line in lines), "an empty line")
    last = json.loads(lines[-1])
    same((last["type"], last["id"], last["result"]["name"]), ("end", task, "CanceledError"), "the last line")
    log.close()
    events.close()


def tokens(w):
    """C13, C14: another token, by a call or by age, is taken at once and after a restart."""
    old = w.token
    strange = "new token; ü=%"
    same(w.scalar("authentication.setToken", {"token": strange}), True, "setToken")
    same(w.token, strange, "the file")
    same(stat.S_IMODE(os.stat(w.token_path).st_mode), 0o600, "its mode")
    same(w.raw(VERSION, cookie=f"authenticationToken={old}").status, 401, "the old token")
    cookie = "authenticationToken=" + urllib.parse.quote(strange)
    same(w.raw(VERSION, cookie=cookie).status, 200, "the new token")
    w.server.stop()
    w.server.start()
    same(w.raw(VERSION, cookie=cookie).status, 200, "the new token after a restart")
    same(w.raw(json.dumps({"id": 1, "method": "authentication.setToken", "params": {"token": old}}), cookie=cookie).status,
         200, "back again")

    w.server.stop()
    os.utime(w.token_path, (0, 0))
    arguments, w.server.arguments = w.server.arguments, w.server.arguments + ["--xo-token-days", "30"]
    w.server.start()
    shown = f"authenticationToken={old}"
    response = w.raw(VERSION, cookie=shown)
    given = response.header("set-cookie")
    expect(given and given.endswith("; HttpOnly; Secure; Path=/api"), f"set-cookie: {given}")
    new = given.split(";")[0]
    same(w.raw(VERSION, cookie=shown).header("set-cookie"), given, "who did not get it is told again")
    w.server.stop(signal.SIGKILL)
    w.server.start()
    same(w.raw(VERSION, cookie=shown).status, 200, "the old one after a crash")
    same(w.raw(VERSION, cookie=new).header("set-cookie"), None, "the new one")
    same(w.raw(VERSION, cookie=shown).status, 401, "the old one when the new one was used")
    w.server.stop()
    w.server.arguments = arguments
    w.server.start()
    same("authenticationToken=" + w.token, new, "the file")


TESTS = [cookies, paths, framing, validation, every_method, lists, failures, connections, http2, bodies, first_line, tokens]

