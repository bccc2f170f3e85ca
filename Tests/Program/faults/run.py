"""Hostile and unlucky clients against the built program: it answers, keeps serving others, loses nothing acknowledged.

    python -m faults.run [NAME …]
"""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from faults.world import Tenant, Writer  # noqa: E402
from support import http1, values  # noqa: E402
from support.checks import Checks, Skipped, expect  # noqa: E402
from support.server import Server, program, wait_for  # noqa: E402

SOAK = os.environ.get("CAIRN_SOAK") == "1"
TIME = 1_717_200_000


def still_serves(world, name):
    """Another tenant's whole backup works now."""
    session = world.bob.open(name, TIME)
    Writer(session, name, TIME).whole("x.didx", [name.encode() * 100])
    session.disconnect("close")


class World:
    def __init__(self, server):
        self.server = server
        self.store = server.datastore("main")
        self.alice = Tenant(server, "alice")
        self.bob = Tenant(server, "bob")

    def chunk_path(self, digest):
        return os.path.join(self.store, ".chunks", digest[:4], digest)


def staged(world):
    """What lies in the staging folder of the store."""
    folder = os.path.join(world.store, ".cairn", "sessions")
    return os.listdir(folder) if os.path.isdir(folder) else []


def poisoned_chunk(world):
    """An encrypted blob under a plain chunk's digest does not survive the real chunk."""
    plain = b"the true content " * 100
    digest = hashlib.sha256(plain).hexdigest()
    session = world.alice.open("poison", TIME)
    writer = Writer(session, "poison", TIME)
    wid = writer.index("a.didx")
    bad = values.blob(os.urandom(32) + plain, "enc")
    writer.call("POST", "/dynamic_chunk", {
        "wid": wid, "digest": digest, "size": len(plain), "encoded-size": len(bad)}, bad)
    session.disconnect("close")
    session = world.bob.open("healthy", TIME)
    Writer(session, "healthy", TIME).whole("a.didx", [plain])
    session.disconnect("close")
    session = world.bob.open("healthy", TIME, "reader")
    expect(session.call("GET", "/download?file-name=a.didx").status == 200, "index cannot be read")
    blob = session.call("GET", f"/chunk?digest={digest}").body
    session.disconnect("close")
    expect(blob[:8] == values.MAGIC["plain"] and blob[12:] == plain, "the poisoned chunk is still there")


def foreign_native_session(world):
    """A native session takes requests of the identity that opened it only."""
    session = world.alice.native("native", TIME)
    mine = [("authorization", world.alice.authorization)]
    path = "/api2/json/backup/previous_backup_time"
    expect(session.call("GET", path, mine).status == 200, "own request refused")
    status = session.call("GET", path, [("authorization", world.bob.authorization)]).status
    expect(status == 403, f"foreign request answered {status}")
    status = session.call("GET", path).status
    expect(status in (401, 403), f"anonymous request answered {status}")
    status = session.call("GET", "/api2/json/version", mine).status
    expect(status == 200, f"REST call beside the session answered {status}")
    body = b'{"store":"main","backup-type":"host","backup-id":"native2","backup-time":1717200000}'
    status = session.call("POST", "/api2/json/backup", mine + [("content-type", "application/json")], body).status
    expect(status == 400, f"second open answered {status}")
    Writer(session, "native", TIME, "/api2/json/backup", mine).whole("a.didx", [b"native" * 50])
    session.disconnect("tls-close")
    expect(len(world.alice.snapshots("native")) == 1, "the native session's snapshot is missing")


def unfinished_bodies(world):
    """Many large bodies that never end cost a bounded amount of memory, and others are served."""
    count = 200 if SOAK else 60
    piece = bytes(1 << 20)
    hogs = []
    for number in range(3):
        group = f"hog{number}"
        session = world.alice.open(group, TIME)
        wid = Writer(session, group, TIME).index("a.didx")
        for stream in range(count):
            size = 15 << 20
            target = (f"/dynamic_chunk?wid={wid}&digest={'%064x' % stream}&size={size}&encoded-size={size + 12}")
            try:
                stream_id = session.start("POST", target, [], b"", end=False)
                session.streams[stream_id].sent_end = True
                while session.closed is None:
                    window = session.h2.local_flow_control_window(stream_id)
                    if window < len(piece) or session.streams[stream_id].left is None:
                        break
                    session.h2.send_data(stream_id, piece)
                    session.sock.settimeout(0.5)
                    session.flush()
                    sent = session.streams[stream_id].__dict__.setdefault("count", 0) + 1
                    session.streams[stream_id].__dict__["count"] = sent
                    if sent >= 14:
                        break
            except Exception:
                break
            if session.closed:
                break
        hogs.append(session)
    with open(f"/proc/{world.server.process.pid}/status") as file:
        memory = next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmRSS"))
    still_serves(world, "beside-hogs")
    for session in hogs:
        session.disconnect("reset")
    # A debug build, the runtime and the page tables beside the budget of 128 MiB.
    expect(memory < 512, f"the server holds {memory} MiB")


def slow_strangers(world):
    """A handshake or a head that does not come is cut off; others are served meanwhile."""
    half_tls = socket.create_connection(world.server.address, timeout=30)
    half_tls.sendall(b"\x16\x03\x01\x02\x00\x01")
    half_head = http1.tls(world.server.address, timeout=90)
    half_head.sendall(b"GET /api2/json/version HTTP/1.1\r\nHost: x\r\n")
    still_serves(world, "beside-slow")
    started = time.monotonic()
    half_tls.settimeout(20)
    try:
        ended = half_tls.recv(100) == b"" or True
    except (ConnectionError, OSError) as error:
        ended = not isinstance(error, (socket.timeout, TimeoutError))
    expect(ended, "a handshake that never goes on is not cut off")
    expect(time.monotonic() - started < 15, "a handshake that never goes on is cut off too late")
    half_head.settimeout(60)
    try:
        while half_head.recv(1000):
            pass
        ended = True
    except (socket.timeout, TimeoutError):
        ended = False
    except (ConnectionError, OSError):
        ended = True
    expect(ended, "a head that never goes on is not cut off")


def cut_at_each_stage(world):
    """A connection cut anywhere before the end leaves no snapshot and no lock."""
    plains = [os.urandom(100_000) for _ in range(3)]

    def stages(writer):
        yield "opened"
        wid = writer.index("a.didx")
        yield "index made"
        chunks = [(writer.chunk(wid, plain), len(plain)) for plain in plains]
        yield "chunks sent"
        stream = writer.session.start(
            "POST", f"/dynamic_chunk?wid={wid}&digest={'0' * 64}&size=1000&encoded-size=1012", [], b"", end=False)
        writer.session.h2.send_data(stream, bytes(500))
        writer.session.flush()
        yield "in a body"
        writer.session.streams.pop(stream)
        writer.session.h2.reset_stream(stream)
        writer.append(wid, chunks)
        yield "appended"
        writer.close(wid, "a.didx", chunks)
        yield "index closed"
        writer.manifest()
        yield "manifest sent"

    for how in ("close", "reset", "tls-close", "goaway"):
        number = 0
        while True:
            group = f"cut-{how}"
            session = world.alice.open(group, TIME + number)
            writer = Writer(session, group, TIME + number)
            reached = None
            for index, name in enumerate(stages(writer)):
                reached = name
                if index == number:
                    break
            else:
                session.disconnect("close")
                break
            session.disconnect(how)

            def gone():
                return world.alice.snapshots(group) == []

            expect(wait_for(gone, 15), f"cut ({how}) when {reached}: the snapshot stays")
            number += 1
    expect(wait_for(lambda: staged(world) == [], 15), f"staging left behind: {staged(world)}")


def server_killed(world):
    """`kill -9` of the server loses no acknowledged chunk, shows no half snapshot, and closes the task."""
    session = world.alice.open("killed", TIME)
    writer = Writer(session, "killed", TIME)
    wid = writer.index("a.didx")
    digests = [writer.chunk(wid, os.urandom(200_000)) for _ in range(20)]
    address = world.server.address
    world.server.stop(signal.SIGKILL)
    for digest in digests:
        expect(os.path.getsize(world.chunk_path(digest)) == 200_012, f"acknowledged chunk {digest} is lost")
    world.server.start(f"127.0.0.1:{address[1]}")
    expect(world.alice.snapshots("killed") == [], "a half snapshot is shown")
    expect(staged(world) == [], f"staging was not swept: {staged(world)}")
    tasks = world.server.api("GET", "/nodes/localhost/tasks?limit=0", authorization=world.alice.authorization)
    mine = [task for task in tasks if task["worker_id"] == "main:host/killed"]
    expect(mine and mine[0].get("endtime") and mine[0]["status"] != "OK", f"the task is not closed: {mine}")
    session = world.alice.open("killed", TIME)
    Writer(session, "killed", TIME).whole("a.didx", [b"again" * 100])
    session.disconnect("close")
    expect(len(world.alice.snapshots("killed")) == 1, "no backup after the restart")


def client_killed(world):
    """`kill -9` of the client discards its session; the next backup works."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "big"), "wb") as file:
            for _ in range(64):
                file.write(os.urandom(1 << 20))
        environment = dict(
            os.environ, PBS_REPOSITORY=f"alice@pbs@127.0.0.1:{world.server.address[1]}:main",
            PBS_PASSWORD="fault-pass-1", PBS_FINGERPRINT=world.server.fingerprint, XDG_CACHE_HOME=folder + "/c",
            XDG_CONFIG_HOME=folder + "/c", XDG_RUNTIME_DIR=folder + "/c")
        command = [program(), "backup", f"big.pxar:{folder}", "--backup-id", "client", "--backup-time"]
        client = subprocess.Popen(command + [str(TIME)], env=environment, stderr=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)
        running = wait_for(lambda: world.server.api(
            "GET", "/admin/datastore/main/snapshots?backup-type=host&backup-id=client",
            authorization=admin(world)) != [], 30)
        client.send_signal(signal.SIGKILL)
        client.wait()
        expect(running, "the session never began")
        expect(wait_for(lambda: world.server.api(
            "GET", "/admin/datastore/main/snapshots?backup-type=host&backup-id=client",
            authorization=admin(world)) == [], 20), "the killed client's snapshot stays")
        done = subprocess.run(command + [str(TIME + 1)], env=environment, capture_output=True, text=True)
        expect(done.returncode == 0, f"the next backup fails: {done.stderr[-500:]}")


def admin(world):
    """The authorization of a token that may read everything."""
    if not hasattr(world, "audit"):
        import json

        world.server.owner("user", "create", "audit@pbs", "--password", "fault-pass-1")
        made = world.server.owner("user", "generate-token", "audit@pbs", "t", "--output-format", "json").stdout
        for who in ("audit@pbs", "audit@pbs!t"):
            world.server.owner("acl", "update", "/", "Audit", "--auth-id", who)
        world.audit = f"PBSAPIToken=audit@pbs!t:{json.loads(made)['value']}"
    return world.audit


def disk_full(world):
    """A full disk fails the backup with a clear text; the server and finished snapshots live on."""
    if os.geteuid() != 0:
        raise Skipped("needs root")
    place = os.path.join(world.server.folder, "small")
    os.makedirs(place)
    size = "64m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes=300000", "tmpfs", place])
    if mounted.returncode != 0:
        raise Skipped("needs tmpfs")
    try:
        os.makedirs(os.path.join(place, "store"))
        world.server.owner("datastore", "create", "small", os.path.join(place, "store"))
        world.server.owner("acl", "update", "/datastore/small", "DatastoreBackup", "--auth-id", world.alice.token)
        world.server.owner("acl", "update", "/datastore/small", "DatastoreBackup", "--auth-id", world.alice.user)

        def session_of(group, when):
            import urllib.parse

            from support.session import upgrade
            query = urllib.parse.urlencode(
                {"store": "small", "backup-type": "host", "backup-id": group, "backup-time": when})
            sock = http1.tls(world.server.address)
            response, session = upgrade(sock, http1.head("GET", f"/api2/json/backup?{query}", [
                ("Host", "x"), ("Connection", "Upgrade"), ("Authorization", world.alice.authorization),
                ("Upgrade", "proxmox-backup-protocol-v1")]))
            return response, session

        response, session = session_of("first", TIME)
        if session is None:
            expect(b"space" in response.body, f"refused with {response.body!r}")
            raise Skipped("needs a lower limit of free space")
        kept = Writer(session, "first", TIME).whole("a.didx", [os.urandom(1_000_000)])
        session.disconnect("close")
        response, session = session_of("second", TIME)
        writer = Writer(session, "second", TIME)
        wid = writer.index("a.didx")
        refused = None
        for _ in range(40):
            plain = os.urandom(4 << 20)
            data = values.blob(plain)
            answer = writer.raw("POST", "/dynamic_chunk", {
                "wid": wid, "digest": hashlib.sha256(plain).hexdigest(), "size": len(plain),
                "encoded-size": len(data)}, data)
            if answer.status != 200:
                refused = answer
                break
        expect(refused is not None, "a full disk was never noticed")
        expect(b"space" in refused.body.lower() or b"full" in refused.body.lower(), f"unclear: {refused.body!r}")
        session.disconnect("close")
        digest = kept[0][0]
        path = os.path.join(place, "store", ".chunks", digest[:4], digest)
        expect(os.path.getsize(path) == 1_000_012, "a finished snapshot's chunk is lost")
        still_serves(world, "beside-full")
        world.server.owner("datastore", "remove", "small")
    finally:
        subprocess.run(["umount", "-l", place])


TESTS = [poisoned_chunk, foreign_native_session, unfinished_bodies, slow_strangers, cut_at_each_stage, server_killed,
         client_killed, disk_full]


def main():
    checks = Checks("faults")
    with Server(["--minimum-free-space", "0"]) as server:
        checks.run_all(TESTS, World(server), between=lambda: server.process.poll() is None)
        if server.process.poll() is not None:
            print("        the server has ended:", *server.log[-10:], sep="\n        ")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
