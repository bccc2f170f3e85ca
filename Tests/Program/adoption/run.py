"""A store that the original server wrote is taken over in place, worked with, and can be given back.

    python -m adoption.run
"""

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from adoption.reader import Datastore  # noqa: E402
from support import fixtures  # noqa: E402
from support.checks import Checks, expect  # noqa: E402
from support.cli import Client  # noqa: E402
from support.server import Server  # noqa: E402

USER, PASSWORD = "tester@pbs", "the-owner-of-it-all"
# Somebody else than who runs the tests, as `backup` is in the original.
STORE_USER, STORE_GROUP = (34, 34) if os.getuid() == 0 else (os.getuid(), os.getgid())
FIRST, SECOND = "host/plain/2024-06-01T00:00:00Z", "host/plain/2024-06-02T00:00:00Z"


def tree(folder):
    """path → type, mode, owner, and content and time of files; without what Cairn adds."""
    found = {}
    for top, folders, files in os.walk(folder):
        if top == folder:
            folders[:] = [name for name in folders if name != ".cairn"]
        for path in [top] + [os.path.join(top, name) for name in files]:
            status = os.lstat(path)
            entry = (status.st_mode, status.st_uid, status.st_gid)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    entry += (status.st_mtime_ns, status.st_ino, hashlib.sha256(file.read()).hexdigest())
            found[os.path.relpath(path, folder)] = entry
    return found


def original_store(path):
    """The store with modes and owner as the original demands them."""
    fixtures.fixture_store(path)
    with open(os.path.join(path, ".lock"), "w"):
        pass
    for top, _, files in os.walk(path):
        inside = os.path.relpath(top, path).split(os.sep)[0] == ".chunks"
        os.chmod(top, 0o750 if inside else 0o755)
        os.chown(top, STORE_USER, STORE_GROUP)
        for name in files:
            os.chmod(os.path.join(top, name), 0o644)
            os.chown(os.path.join(top, name), STORE_USER, STORE_GROUP)


class World:
    def __init__(self, server, folder):
        self.server = server
        self.path = os.path.join(folder, "fix")
        original_store(self.path)
        self.before = tree(self.path)
        server.owner("user", "create", USER, "--password", PASSWORD)
        self.client = Client(server, USER, "fix", PASSWORD, folder)
        self.source = os.path.join(folder, "source")
        os.mkdir(self.source)
        self.time = int(time.time())

    def read(self):
        return Datastore(self.path, STORE_USER, STORE_GROUP)

    def backup(self, group, seed, *options):
        """A folder, an image and a small file; the first half of the folder's content is always the same."""
        for name in os.listdir(self.source):
            os.remove(os.path.join(self.source, name))
        rng = hashlib.shake_128(b"always")
        with open(os.path.join(self.source, "same.bin"), "wb") as file:
            file.write(rng.digest(1 << 20))
        with open(os.path.join(self.source, "other.bin"), "wb") as file:
            file.write(hashlib.shake_128(seed.encode()).digest(300_000))
        image = self.source + ".img"
        with open(image, "wb") as file:
            file.write(hashlib.shake_128(b"image").digest(5_000_000))
        # A second of its own for each, since two of a group may not share one.
        self.time += 1
        self.client.run("backup", f"root.pxar:{self.source}", f"disk.img:{image}", "--backup-type", "host",
                        "--backup-id", group, "--backup-time", str(self.time), *options)

    def verify(self, *options, check=True):
        return self.server.owner("verify", "fix", *options, check=check)


def adopted(world):
    """Nothing in it is touched; `.cairn` is all that is added."""
    world.server.owner("datastore", "create", "fix", world.path, "--reuse-datastore")
    world.server.owner("acl", "update", "/datastore/fix", "DatastoreAdmin", "--auth-id", USER)
    listed = world.client.run("snapshot", "list", "--output-format", "json").stdout
    expect(SECOND.split("/")[1] in listed, f"no snapshots: {listed}")
    after = tree(world.path)
    expect(after == world.before, f"changed: {[path for path in after if after[path] != world.before.get(path)][:5]}")
    expect(set(os.listdir(world.path)) == {".cairn", ".chunks", ".lock", "host", "ns"}, os.listdir(world.path))


def restored(world):
    """What the original stored comes out as it went in."""
    with open(os.path.join(fixtures.FIXTURES, "outputs", "restored-pxar.sha256")) as file:
        wanted = dict(reversed(line.split()) for line in file)
    content = world.read().content(FIRST, "tree.pxar.didx")
    expect(hashlib.sha256(content).hexdigest() == wanted["tree.pxar"], "the archive differs")
    target = world.source + ".restored"
    world.client.run("restore", FIRST, "vm.conf", target)
    with open(target, "rb") as file:
        expect(file.read() == world.read().content(FIRST, "vm.conf.blob"), "the small file differs")


def backed_up_into(world):
    """New snapshots in old and new groups, by the rules of the original; what was there stays as it was."""
    world.backup("plain", "one")
    world.backup("fresh", "one")
    world.backup("fresh", "two")
    store = world.read()
    expect(len([name for name in store.snapshots if name.startswith("host/fresh/")]) == 2, "two new snapshots")
    after = tree(world.path)
    folders = {path for path in after if stat.S_ISDIR(after[path][0])}
    changed = [path for path in world.before if after.get(path) != world.before[path] and path not in folders]
    expect(not changed, f"rewritten: {changed[:5]}")


def verified(world):
    """Every snapshot of the original and of ours is good, and says so in its manifest."""
    log = world.verify("--ignore-verified", "false").stdout
    expect("TASK OK" in log and "SKIPPED" not in log, log[-2000:])
    for name, manifest in world.read().snapshots.items():
        expect(manifest["unprotected"]["verify_state"]["state"] == "ok", name)
    expect(world.verify().stdout.count("SKIPPED") >= 13, "nothing was verified before")


def managed(world):
    """Notes, protection, namespaces, owners and pruning leave a store that the original understands."""
    run = world.client.run
    run("snapshot", "notes", "update", FIRST, "first line\nsecond line")
    run("snapshot", "protected", "update", FIRST, "true")
    run("namespace", "create", "ours")
    world.backup("inside", "one", "--ns", "ours")
    run("prune", "host/fresh", "--keep-last", "1")
    store = world.read()
    expect(store.snapshots[FIRST]["unprotected"]["notes"] == "first line\nsecond line", "the notes")
    expect(os.path.getsize(os.path.join(world.path, FIRST, ".protected")) == 0, "the protection")
    expect(any(name.startswith("ours|host/inside/") for name in store.snapshots), "the namespace")
    expect(len([name for name in store.snapshots if name.startswith("host/fresh/")]) == 1, "the prune")


def collected(world):
    """A garbage collection loses nothing that a snapshot needs, and leaves the original's figures."""
    log = world.server.owner("garbage-collection", "start", "fix").stdout
    expect("TASK OK" in log, log[-2000:])
    status = world.read().collection
    expect({"upid", "index-file-count", "disk-chunks", "removed-bytes", "pending-chunks"} <= set(status), f"{status}")


def healed(world):
    """A chunk rots: verification finds it and sets it aside, the next backup brings it anew, verification is content."""
    store = world.read()
    name = max(name for name in store.snapshots if name.startswith("host/fresh/"))
    with open(os.path.join(world.path, name, "disk.img.fidx"), "rb") as file:
        digest = file.read()[4096:4128].hex()
    path = store.chunks[digest]
    with open(path, "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    result = world.verify("--ignore-verified", "false", check=False)
    expect(result.returncode != 0 and "verification failed" in result.stdout + result.stderr, result.stdout[-2000:])
    expect(digest in result.stdout and name in result.stdout, f"what is damaged is not named: {result.stdout[-2000:]}")
    expect(os.path.exists(path + ".0.bad") and not os.path.exists(path), "it was not set aside")
    listed = world.client.run("snapshot", "list", "--output-format", "json").stdout
    expect('"state":"failed"' in listed.replace(" ", ""), "the listing does not tell")
    world.backup("fresh", "three")
    expect(os.path.exists(path), "the backup did not bring it anew")
    result = world.verify("--ignore-verified", "false")
    expect("TASK OK" in result.stdout, result.stdout[-2000:])
    expect(world.read().bad == [os.path.basename(path) + ".0.bad"], "the bad file")


def given_back(world):
    """With the server stopped, nothing of Cairn is in the way; without `.cairn` the store is the original's alone."""
    world.server.stop()
    store = world.read()
    expect(len(store.snapshots) >= 16 and store.own, f"{len(store.snapshots)} snapshots")
    shutil.rmtree(os.path.join(world.path, ".cairn"))
    expect(not world.read().own, "still there")
    world.server.start()
    expect("TASK OK" in world.verify("--ignore-verified", "false").stdout, "it cannot be taken over once more")


def main():
    folder = tempfile.mkdtemp(prefix="cairn-adoption-")
    checks = Checks("adoption")
    try:
        with Server(folder=folder) as server:
            world = World(server, folder)
            for check in (adopted, restored, backed_up_into, verified, managed, collected, healed, given_back):
                checks.run(check.__name__, check, world)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if STORE_USER == os.getuid():
        print("skipped: a store of another user needs root")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
