"""`cairn restore` gives the exact trees: of the snapshots that the original wrote, and of our own backups.

    python -m restore.run
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support import values  # noqa: E402
from support.cli import Client  # noqa: E402
from support.fixtures import FIXTURES, fixture_store, random_9m  # noqa: E402
from support.server import Server  # noqa: E402


def lines(tag, count):
    out, index = bytearray(), 0
    while len(out) < count:
        out += (f"{tag} line {index:08d}: the quick brown fox jumps over the lazy dog "
                f"{index * 2654435761 & 0xffffffff:08x}\n").encode()
        index += 1
    return bytes(out[:count])


def disk_image():
    head = lines("img", 4 << 20) + bytes(4 << 20) + values.shactr("pbs-fixture-img", 65536)
    return head + b"Z" * (10 * 1024 * 1024 + 123 - len(head))


def visible(path):
    """A path as `cat -v` prints it."""
    text = ""
    for byte in os.fsencode(path):
        if byte >= 128:
            text += "M-"
            byte -= 128
        if byte < 32:
            text += "^" + chr(byte + 64)
        elif byte == 127:
            text += "^?"
        else:
            text += chr(byte)
    return text


KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFBLK: "b", stat.S_IFCHR: "c",
         stat.S_IFIFO: "p", stat.S_IFSOCK: "s"}


def listing(top):
    """path → the columns of the fixtures' listing."""
    result = {}
    pending = [b""]
    while pending:
        path = pending.pop()
        full = os.path.join(os.fsencode(top), path) if path else os.fsencode(top)
        info = os.lstat(full)
        kind = KINDS[stat.S_IFMT(info.st_mode)]
        target = visible(os.readlink(full)) if kind == "l" else ""
        result[visible(path)] = [
            kind, oct(stat.S_IMODE(info.st_mode))[2:], str(info.st_uid), str(info.st_gid), str(info.st_size),
            "%d.%09d0" % (info.st_mtime_ns // 10**9, info.st_mtime_ns % 10**9), str(info.st_nlink), target]
        if kind == "d":
            pending += [os.path.join(path, name) if path else name for name in os.listdir(full)]
    return result


def expected_listing():
    result = {}
    with open(os.path.join(FIXTURES, "outputs", "tree.find-listing.txt"), encoding="utf-8") as file:
        for line in file.read().split("\n"):
            columns = line.split("\t")
            if len(columns) > 1:
                result[columns[0]] = columns[1:]
    # The listing was sorted by lines, which tore the one name with a line end in two.
    result["names/new^Jline"] = result.pop("line")
    return result


def normal_time(text):
    """find prints times before 1970 as a negative number; give seconds and nanoseconds as one integer."""
    negative = text.startswith("-")
    seconds, _, fraction = text.lstrip("-").partition(".")
    value = int(seconds) * 10**9 + int((fraction + "000000000")[:9])
    return -value if negative else value


def compare_listings(wanted, got, leave_out=lambda path: False):
    found = []
    for path in sorted(set(wanted) | set(got)):
        if leave_out(path) or not path:
            continue
        a, b = wanted.get(path), got.get(path)
        if a is None or b is None:
            found.append(f"{path}: {'not in the source' if a is None else 'missing'}")
            continue
        names = ("kind", "mode", "uid", "gid", "size", "mtime", "links", "target")
        for name, x, y in zip(names, a, b):
            if name in ("size", "links") and a[0] == "d":
                continue
            if name == "size" and a[0] == "l":
                continue
            if name == "mtime":
                # Seconds and nanoseconds of times before 1970 are printed in two ways by find.
                if normal_time(x) == normal_time(y) or x == y:
                    continue
            if x != y:
                found.append(f"{path}: {name} {x} expected, got {y}")
    return found


def excluded(top):
    """Tells whether a path is one that `exclude/.pxarexclude` keeps out of the archive."""
    return lambda path: path.startswith("exclude/") and not os.path.lexists(os.path.join(top, path))


def compare_hashes(top, leave_out):
    found = []
    with open(os.path.join(FIXTURES, "outputs", "tree.sha256"), "rb") as file:
        for line in file.read().split(b"\n"):
            escaped = line.startswith(b"\\")
            line = line.lstrip(b"\\")
            if not line:
                continue
            digest, name = line[:64].decode(), line[66:]
            if escaped:
                name = name.replace(b"\\n", b"\n").replace(b"\\\\", b"\\")
            if leave_out(os.fsdecode(name[2:])):
                continue
            with open(os.path.join(os.fsencode(top), name), "rb") as content:
                if hashlib.sha256(content.read()).hexdigest() != digest:
                    found.append(f"{name}: other content")
    return found


def compare_attributes(top):
    """Extended attributes and ACLs, as getfattr saw them."""
    found, path = [], None
    with open(os.path.join(FIXTURES, "outputs", "tree.getfattr.txt")) as file:
        for line in file.read().split("\n"):
            if line.startswith("# file: "):
                path = line[8:]
            elif "=" in line:
                name, _, value = line.partition("=")
                wanted = bytes.fromhex(value[2:])
                try:
                    got = os.getxattr(os.path.join(top, path), name, follow_symlinks=False)
                except OSError as error:
                    found.append(f"{path}: {name}: {error.strerror}")
                    continue
                if got != wanted:
                    found.append(f"{path}: {name} {wanted.hex()} expected, got {got.hex()}")
    return found


def free(folder):
    """Takes away immutable and append-only flags, so that a tree can be removed."""
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", folder], capture_output=True)


class Test:
    def __init__(self, server):
        self.server = server
        self.folder = server.folder
        self.client = None

    def setup(self):
        store = fixture_store(os.path.join(self.folder, "fixture-store"))
        self.server.owner("datastore", "create", "fix", store, "--reuse")
        self.server.datastore("own")
        self.server.owner("user", "create", "restorer@pbs", "--password", "restore-pass")
        for name in ("fix", "own"):
            self.server.owner("acl", "update", f"/datastore/{name}", "DatastoreAdmin", "--auth-id", "restorer@pbs")
        self.client = Client(self.server, "restorer@pbs", "fix", "restore-pass", self.folder)
        self.own = Client(self.server, "restorer@pbs", "own", "restore-pass", self.folder)

    def target(self, name):
        return os.path.join(self.folder, name)

    def plain_tree(self):
        target = self.target("plain")
        self.client.run("restore", "host/plain/2024-06-01T00:00:00Z", "tree.pxar", target)
        found = compare_listings(expected_listing(), listing(target), excluded(target))
        found += compare_hashes(target, excluded(target)) + compare_attributes(target)
        blocks = os.stat(os.path.join(target, "sizes", "sparse-8m")).st_blocks * 512
        if blocks > 1 << 20:
            found.append(f"sizes/sparse-8m takes {blocks} bytes: not sparse")
        free(target)
        return found

    def encrypted_tree(self):
        target = self.target("encrypted")
        self.client.run("restore", "host/enc/2024-06-01T00:00:00Z", "small.pxar", target, "--keyfile",
                        os.path.join(FIXTURES, "keys", "enc-none.json"))

        def big(path):
            return path == "big" or path.startswith("big/") or excluded(target)(path)

        found = compare_listings(expected_listing(), listing(target), big) + compare_attributes(target)
        found += compare_hashes(target, big)
        with open(os.path.join(target, "big", "random-1m.bin"), "rb") as file:
            if file.read() != values.shactr("pbs-fixture-random-1m", 1 << 20):
                found.append("big/random-1m.bin: other content")
        free(target)
        return found

    def images_and_blobs(self):
        found = []
        key = ["--keyfile", os.path.join(FIXTURES, "keys", "enc-none.json")]
        wanted = disk_image()
        for snapshot, options in (("host/plain/2024-06-01T00:00:00Z", []), ("host/enc/2024-06-01T00:00:00Z", key)):
            target = self.target("disk-" + snapshot.split("/")[1])
            self.client.run("restore", snapshot, "disk.img", target, *options)
            with open(target, "rb") as file:
                if file.read() != wanted:
                    found.append(f"{snapshot} disk.img: other content")
            piped = self.client.run("restore", snapshot, "disk.img", "-", *options, text=False).stdout
            if piped != wanted:
                found.append(f"{snapshot} disk.img to standard output: other content ({len(piped)} bytes)")
        for group, word in (("enc-scrypt", "scrypt-pass-1"), ("enc-pbkdf2", "pbkdf2-pass-1")):
            files = self.client.run("snapshot", "files", f"host/{group}/2024-06-01T00:00:00Z", "--output-format", "json")
            import json

            name = next(f["filename"] for f in json.loads(files.stdout) if not f["filename"].startswith("index"))
            done = self.client.run(
                "restore", f"host/{group}/2024-06-01T00:00:00Z", name.removesuffix(".blob"), "-", "--keyfile",
                os.path.join(FIXTURES, "keys", f"{group}.json"), environment={"PBS_ENCRYPTION_PASSWORD": word})
            if not done.stdout:
                found.append(f"{group}: empty")
        refused = self.client.run(
            "restore", "host/enc/2024-06-01T00:00:00Z", "vm.conf", "-", "--keyfile",
            os.path.join(FIXTURES, "keys", "enc-scrypt.json"), check=False,
            environment={"PBS_ENCRYPTION_PASSWORD": "scrypt-pass-1"})
        if refused.returncode == 0:
            found.append("a foreign key opened an encrypted blob")
        return found

    def own_tree(self):
        """A tree that we back up comes back identical, plain and encrypted."""
        with tarfile.open(os.path.join(FIXTURES, "source", "tree.tar.gz")) as tar:
            tar.extractall(self.target("source"), numeric_owner=True, filter="fully_trusted")
        source = os.path.join(self.target("source"), "tree")
        os.makedirs(os.path.join(source, "big"), exist_ok=True)
        for name, data in (("random-9m.bin", random_9m()), ("compressible-20m.txt", lines("compressible", 20 << 20))):
            with open(os.path.join(source, "big", name), "wb") as file:
                file.write(data)
        found = []
        key = os.path.join(self.folder, "key.json")
        self.own.run("key", "create", key, "--kdf", "none")
        for group, options in (("plain", []), ("sealed", ["--keyfile", key])):
            now = 1_717_200_000
            self.own.run("backup", f"tree.pxar:{source}", "--backup-id", group, "--backup-time", str(now), *options)
            target = self.target("own-" + group)
            self.own.run("restore", f"host/{group}/2024-06-01T00:00:00Z", "tree.pxar", target, *options)
            wanted, got = listing(source), listing(target)
            found += [f"{group}: {text}" for text in compare_listings(wanted, got, excluded(target))]
            if shutil.which("rsync"):
                command = ["rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes", "--exclude=/exclude",
                           source + "/", target + "/"]
                done = subprocess.run(command, capture_output=True, text=True, errors="replace")
                # rsync leaves out sockets' and devices' times on some kernels; everything else has to be silent.
                found += [f"{group}: rsync: {line}" for line in done.stdout.split("\n") if line]
            else:
                print("skipped: rsync comparison: needs rsync")
            free(target)
        return found


TESTS = ["plain_tree", "encrypted_tree", "images_and_blobs", "own_tree"]


def main():
    if os.geteuid() != 0:
        print("skipped: exact restores of owners and devices: needs root")
        print("restores: 0 passed, 0 failed, 4 skipped")
        return 0
    started = time.monotonic()
    passed = failed = 0
    with Server() as server:
        test = Test(server)
        test.setup()
        for name in sys.argv[1:] or TESTS:
            try:
                found = getattr(test, name)()
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            for text in found[:20]:
                print(f"FAILED  {name}: {text}")
            failed += bool(found)
            passed += not found
    print(f"restores: {passed} passed, {failed} failed, in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
