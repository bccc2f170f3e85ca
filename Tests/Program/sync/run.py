"""Two servers copy the store that the original wrote: pull, push, again, over a network that breaks, from a remote
that lies.

    python -m sync.run
"""

import os
import shutil
import struct
import sys
import threading
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks, expect  # noqa: E402
from support.fixtures import fixture_store  # noqa: E402
from support.server import wait_for  # noqa: E402
from sync import world  # noqa: E402
from sync.world import Cutter, Site, differences, figures  # noqa: E402

CASES = []


def case(function):
    CASES.append(function)
    return function


class Pair:
    """`a` has the fixtures' store as `main`; `b` starts with nothing."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.main = os.path.join(a.folder, "stores", "main")
        os.makedirs(os.path.dirname(self.main), exist_ok=True)
        fixture_store(self.main)
        a.owner("datastore", "create", "main", self.main, "--reuse")
        self.reader = a.tenant("reader", "DatastoreReader")
        self.writer = b.tenant("writer", "DatastoreAdmin")
        b.remote("site-a", a, *self.reader)
        a.remote("site-b", b, *self.writer)
        self.number = 0

    def store(self, site, name=None):
        self.number += 1
        name = name or f"copy{self.number}"
        return name, site.datastore(name)

    def pull(self, name, remote="site-a", **options):
        return self.b.run("/pull", **{"store": name, "remote": remote, "remote-store": "main", **options})


def must(result):
    status, log = result
    expect(status == "OK", f"{status}\n" + "\n".join([line for line in log if "failed" in line] + log[-15:]))
    return figures(log)


# MARK: remotes

@case
def a_remote_is_kept_without_showing_its_password(pair):
    b = pair.b
    listing = b.root("GET", "/config/remote")
    entry = next(item for item in listing if item["name"] == "site-a")
    expect("password" not in entry and pair.reader[1] not in str(listing), listing)
    expect(entry["auth-id"] == pair.reader[0] and entry["fingerprint"] == pair.a.fingerprint, entry)
    b.root("PUT", "/config/remote/site-a", comment="the first site")
    expect(b.root("GET", "/config/remote/site-a")["comment"] == "the first site", "the comment")
    b.root("PUT", "/config/remote/site-a", delete=["comment"])
    expect("comment" not in b.root("GET", "/config/remote/site-a"), "the comment stays")
    expect("already exists" in b.refusal("POST", "/config/remote", **{
        "name": "site-a", "host": "x", "auth-id": "a@pbs", "password": "p"}), "a second one of that name")
    expect(" 404 " in b.refusal("GET", "/config/remote/nobody"), "a missing one")
    b.root("POST", "/config/remote", **{"name": "gone", "host": "x", "auth-id": "a@pbs", "password": "p"})
    b.root("DELETE", "/config/remote/gone")
    expect(" 404 " in b.refusal("DELETE", "/config/remote/gone"), "a removed one")


@case
def a_remote_can_be_looked_at(pair):
    b = pair.b
    expect([store["store"] for store in b.root("GET", "/config/remote/site-a/scan")] == ["main"], "its datastores")
    found = b.root("GET", "/config/remote/site-a/scan/main/namespaces")
    expect(sorted(item["ns"] for item in found) == ["", "prod", "prod/eu"], found)
    groups = b.root("GET", "/config/remote/site-a/scan/main/groups?namespace=prod")
    expect([group["backup-id"] for group in groups] == ["200"], groups)


@case
def what_is_wrong_with_a_remote_is_said(pair):
    b, (token, secret) = pair.b, pair.reader
    port = pair.a.address[1]
    copy, _ = pair.store(b)
    other = ":".join(["ab"] * 32)
    common = {"host": "127.0.0.1", "auth-id": token, "password": secret, "fingerprint": pair.a.fingerprint}
    for name, change, expected in [
            ("wrong-print", {"port": port, "fingerprint": other}, "certificate"),
            ("wrong-pass", {"port": port, "password": "nonsense"}, "refuses"),
            ("no-user", {"port": port, "auth-id": "reader@pbs", "password": "nonsense"}, "cannot log in"),
            ("nobody", {"port": 1}, "cannot be reached")]:
        b.root("POST", "/config/remote", name=name, **{**common, **change})
        text = b.refusal("GET", f"/config/remote/{name}/scan")
        expect(expected in text and name in text, text)
        if name == "nobody":
            status, _ = pair.pull(copy, remote=name)
            expect(expected in status, status)
        b.root("DELETE", f"/config/remote/{name}")


@case
def something_that_is_no_backup_server_is_said_to_be_none(pair):
    import ssl
    import socket
    folder = os.path.join(pair.b.folder, "foreign")
    os.makedirs(folder)
    files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    import datetime
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "foreign")])
    now = datetime.datetime(2024, 1, 1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256()))
    with open(files[0], "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(files[1], "wb") as file:
        file.write(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as stream:
                    stream.recv(65536)
                    page = b"<html>hello</html>"
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (
                        len(page), page))
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    pair.b.root("POST", "/config/remote", **{
        "name": "foreign", "host": "127.0.0.1", "port": listener.getsockname()[1], "auth-id": "a@pbs!t",
        "password": "x", "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(":")})
    text = pair.b.refusal("GET", "/config/remote/foreign/scan")
    listener.close()
    expect("does not answer like a backup server" in text, text)


# MARK: pull

@case
def a_pull_copies_everything_and_a_second_one_nothing(pair):
    name, folder = pair.store(pair.b, "pulled")
    first = must(pair.pull(name))
    print(f"    first pull: {first}")
    expect(first["copied"] == len(world.snapshots(pair.main)), first)
    expect(first["chunks"] > 0, first)
    wrong = differences(pair.main, folder)
    expect(not wrong, "\n".join(wrong[:10]))
    second = must(pair.pull(name))
    print(f"    second pull: {second}")
    expect(second["nothing"] and second["chunks"] == 0 and second["copied"] == 0 and second["repaired"] == 0, second)
    status, log = pair.b.run(f"/admin/datastore/{name}/verify", **{"ignore-verified": False})
    expect(status == "OK", "\n".join(log[-10:]))


@case
def a_pull_maps_namespaces_and_takes_what_the_filters_take(pair):
    name, folder = pair.store(pair.b)
    must(pair.pull(name, **{"remote-ns": "prod", "ns": "from/a", "max-depth": 1}))
    expect(set(key[0] for key in world.snapshots(folder)) == {"from/a", "from/a/eu"}, world.snapshots(folder))
    name, folder = pair.store(pair.b)
    must(pair.pull(name, **{"max-depth": 0, "group-filter": ["type:host", "exclude:regex:^host/enc"]}))
    groups = {key[1].rsplit("/", 1)[0] for key in world.snapshots(folder)}
    expect("host/plain" in groups and not any(group.startswith("host/enc") for group in groups), groups)
    name, folder = pair.store(pair.b)
    must(pair.pull(name, **{"max-depth": 0, "encrypted-only": True, "transfer-last": 1}))
    found = sorted(key[1] for key in world.snapshots(folder))
    expect("host/enc/2024-06-02T00:00:00Z" in found and "host/enc/2024-06-01T00:00:00Z" not in found, found)
    expect(not any(text.startswith("host/plain") for text in found), found)


@case
def a_pull_removes_what_vanished_but_nothing_protected_or_foreign(pair):
    name, folder = pair.store(pair.b)
    must(pair.pull(name, **{"max-depth": 0, "group-filter": ["group:host/plain", "group:host/enc"]}))
    before = world.snapshots(folder)
    source, source_folder = pair.store(pair.a)
    place = os.path.join(source_folder, "host", "plain")
    shutil.copytree(os.path.join(pair.main, "host", "plain"), place)
    # The source has only host/plain; host/enc has two snapshots, one of them protected.
    pair.b.root("PUT", f"/admin/datastore/{name}/protected", **{
        "backup-type": "host", "backup-id": "enc", "backup-time": 1717200000, "protected": True})
    os.makedirs(os.path.join(folder, "host", "mine"))
    shutil.copytree(os.path.join(folder, "host", "enc"), os.path.join(folder, "host", "mine"), dirs_exist_ok=True)
    with open(os.path.join(folder, "host", "mine", "owner"), "w") as file:
        file.write("somebody@pbs\n")
    status, log = pair.b.run("/pull", **{
        "store": name, "remote": "site-a", "remote-store": source, "remove-vanished": True, "max-depth": 0})
    after = {key[1] for key in world.snapshots(folder)}
    expect("host/enc/2024-06-01T00:00:00Z" in after, "the protected snapshot is gone")
    expect("host/enc/2024-06-02T00:00:00Z" not in after, "the vanished snapshot is there")
    expect("host/mine/2024-06-02T00:00:00Z" in after, "a group of somebody else is gone")
    expect({key[1] for key in before if "plain" in key[1]} <= after, "a snapshot that did not vanish is gone")
    expect(status.startswith("WARNINGS"), status)


@case
def a_local_datastore_is_copied(pair):
    must(pair.pull(*pair.store(pair.b, "local-from")[:1]))
    name, folder = pair.store(pair.b)
    result = must(pair.b.run("/pull", **{"store": name, "remote-store": "local-from"}))
    expect(result["copied"] > 0, result)
    wrong = differences(os.path.join(pair.b.folder, "stores", "local-from"), folder)
    expect(not wrong, "\n".join(wrong[:10]))
    # Within one datastore no chunk is copied.
    inside = must(pair.b.run("/pull", **{
        "store": name, "ns": "copy", "remote-store": name, "remote-ns": "prod", "max-depth": 0}))
    expect(inside["chunks"] == 0 and inside["copied"] > 0, inside)


@case
def damage_here_is_repaired_on_request(pair):
    name, folder = pair.store(pair.b)
    filters = {"max-depth": 0, "group-filter": ["group:host/plain"]}
    must(pair.pull(name, **filters))
    image = next(path for key, path in world.snapshots(folder).items() if key[1].startswith("host/plain"))
    victim = sorted(world.digests(os.path.join(image, "disk.img.fidx")))[0]
    with open(world.chunk_path(folder, victim), "r+b") as file:
        file.seek(20)
        file.write(b"damage")
    status, _ = pair.b.run(f"/admin/datastore/{name}/verify", **{"ignore-verified": False})
    expect(status != "OK", "the damage was not found")
    again = must(pair.pull(name, **{**filters, "resync-corrupt": True}))
    expect(again["repaired"] >= 1 and again["chunks"] == 1, again)
    status, log = pair.b.run(f"/admin/datastore/{name}/verify", **{"ignore-verified": False})
    expect(status == "OK", "\n".join(log[-10:]))


# MARK: the network

@case
def a_broken_connection_is_taken_up_where_it_ended(pair):
    name, folder = pair.store(pair.b)
    whole = must(pair.pull(pair.store(pair.b)[0]))
    cutter = Cutter(pair.a.address, 6_000_000)
    pair.b.remote("shaky", pair.a, *pair.reader, port=cutter.port)
    status, log = pair.pull(name, remote="shaky")
    expect(status not in ("OK",) and not status.startswith("WARN"), status)
    expect(not [path for path in os.listdir(os.path.join(folder, ".cairn", "sessions"))], "something is left in staging")
    published = len(world.snapshots(folder))
    first = figures(log)
    # A collection between the runs must not take what has arrived.
    pair.b.run(f"/admin/datastore/{name}/gc")
    cutter.heal()
    second = must(pair.pull(name, remote="shaky"))
    cutter.close()
    print(f"    cut after {published} snapshots: {first['chunks']} + {second['chunks']} chunks, whole: {whole['chunks']}")
    expect(first["chunks"] + second["chunks"] == whole["chunks"], (first, second, whole))
    wrong = differences(pair.main, folder)
    expect(not wrong, "\n".join(wrong[:10]))


@case
def a_short_break_ends_no_task(pair):
    name, folder = pair.store(pair.b)
    cutter = Cutter(pair.a.address, 6_000_000, heals=True)
    pair.b.remote("blinking", pair.a, *pair.reader, port=cutter.port)
    must(pair.pull(name, remote="blinking"))
    expect(cutter.cuts == 1, "the connection was not cut")
    cutter.close()
    wrong = differences(pair.main, folder)
    expect(not wrong, "\n".join(wrong[:10]))


@case
def an_aborted_pull_ends_at_once_and_leaves_nothing_half(pair):
    name, folder = pair.store(pair.b)
    upid = pair.b.start_task("/pull", **{
        "store": name, "remote": "site-a", "remote-store": "main", "rate-in": "300KB", "burst-in": "300KB"})
    expect(wait_for(lambda: any("sync archive" in line for line in pair.b.task_log(upid)), 60), "nothing began")
    import urllib.parse
    pair.b.root("DELETE", f"/nodes/localhost/tasks/{urllib.parse.quote(upid, safe='')}")
    status, _ = pair.b.finish(upid)
    expect("abort" in status, status)
    expect(not os.listdir(os.path.join(folder, ".cairn", "sessions")), "something is left in staging")
    must(pair.pull(name))
    wrong = differences(pair.main, folder)
    expect(not wrong, "\n".join(wrong[:10]))


# MARK: a remote that lies

def with_checksum(blob):
    return blob[:8] + struct.pack("<I", zlib.crc32(blob[12:])) + blob[12:]


@case
def a_remote_that_lies_is_found_out_and_others_go_on(pair):
    source, lying = pair.store(pair.a)
    for group in ("plain", "signed", "exclude", "chunk64k", "emptyblob"):
        shutil.copytree(os.path.join(pair.main, "host", group), os.path.join(lying, "host", group))
    for digest in {digest for path in world.snapshots(lying).values() for name in os.listdir(path)
                   if name.endswith("idx") for digest in world.digests(os.path.join(path, name))}:
        os.makedirs(os.path.dirname(world.chunk_path(lying, digest)), exist_ok=True)
        shutil.copy(world.chunk_path(pair.main, digest), world.chunk_path(lying, digest))
    def place(group, name):
        return next(os.path.join(path, name) for key, path in world.snapshots(lying).items()
                    if key[1].startswith(f"host/{group}/"))
    # A chunk with another content and a right checksum; an index with another entry; a file that is missing.
    own = world.digests(place("plain", "disk.img.fidx"))
    victim = sorted(own)[0]
    content = world.read(world.chunk_path(lying, victim))
    with open(world.chunk_path(lying, victim), "wb") as file:
        file.write(with_checksum(bytes.fromhex("42ab3807be8370a1") + bytes(4) + b"another content" * 100))
    with open(place("chunk64k", "sizes.pxar.didx"), "r+b") as file:
        file.seek(4096 + 8)
        file.write(b"\xee" * 32)
    os.remove(place("signed", "vm.conf.blob"))
    name, folder = pair.store(pair.b)
    status, log = pair.b.run("/pull", **{"store": name, "remote": "site-a", "remote-store": source})
    expect("sync failed with some errors" in status, status)
    text = "\n".join(log)
    for expected in (victim, "disk.img.fidx of host/plain", "sizes.pxar.didx", "host/chunk64k", "vm.conf.blob of host/signed"):
        expect(expected in text, f"{expected} is not in the log:\n{text}")
    groups = {key[1].split("/")[1] for key in world.snapshots(folder)}
    expect(groups == {"exclude", "emptyblob"}, groups)
    # Put right, the rest follows.
    with open(world.chunk_path(lying, victim), "wb") as file:
        file.write(content)
    status, log = pair.b.run("/pull", **{"store": name, "remote": "site-a", "remote-store": source,
                                         "group-filter": ["group:host/plain"]})
    expect(status == "OK", "\n".join(log[-10:]))
    expect(any(key[1].startswith("host/plain/") for key in world.snapshots(folder)), "host/plain did not follow")


@case
def a_full_disk_ends_the_pull_and_room_lets_it_go_on(pair):
    import subprocess
    folder = os.path.join(pair.b.folder, "stores", "small")
    os.makedirs(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True).returncode != 0:
        print("    skipped: needs root, to mount a small file system")
        return
    try:
        os.makedirs(os.path.join(folder, ".chunks"))
        os.chmod(os.path.join(folder, ".chunks"), 0o750)
        open(os.path.join(folder, ".lock"), "w").close()
        pair.b.owner("datastore", "create", "small", folder, "--reuse")
        status, log = pair.pull("small")
        expect("No space left" in status or "bytes left" in status, status)
        expect(not os.listdir(os.path.join(folder, ".cairn", "sessions")), "something is left in staging")
        subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True)
        must(pair.pull("small"))
        wrong = differences(pair.main, folder)
        expect(not wrong, "\n".join(wrong[:10]))
    finally:
        pair.b.stop()
        subprocess.run(["umount", folder])
        pair.b.start()
        pair.a.root("PUT", "/config/remote/site-b", port=pair.b.address[1])


# MARK: push

@case
def a_push_copies_everything_and_a_second_one_nothing(pair):
    name, folder = pair.store(pair.b, "pushed")
    body = {"store": "main", "remote": "site-b", "remote-store": name}
    first = must(pair.a.run("/push", **body))
    print(f"    first push: {first}")
    expect(first["copied"] == len(world.snapshots(pair.main)), first)
    wrong = differences(pair.main, folder, whole=False)
    expect(not wrong, "\n".join(wrong[:10]))
    second = must(pair.a.run("/push", **body))
    print(f"    second push: {second}")
    expect(second["nothing"] and second["chunks"] == 0 and second["copied"] == 0, second)
    status, log = pair.b.run(f"/admin/datastore/{name}/verify", **{"ignore-verified": False})
    expect(status == "OK", "\n".join(log[-10:]))


@case
def a_push_uploads_only_what_the_remote_does_not_know(pair):
    name, folder = pair.store(pair.b)
    body = {"store": "main", "remote": "site-b", "remote-store": name, "max-depth": 0}
    one = must(pair.a.run("/push", **{**body, "group-filter": ["group:host/enc"]}))
    expect(one["copied"] == 2 and one["present"] > 0, one)
    filtered = must(pair.a.run("/push", **{**body, "encrypted-only": True, "transfer-last": 1}))
    expect(not any(key[1].startswith("host/plain") for key in world.snapshots(folder)), filtered)


@case
def a_push_removes_what_vanished(pair):
    source, source_folder = pair.store(pair.a)
    shutil.copytree(os.path.join(pair.main, "host", "emptyblob"), os.path.join(source_folder, "host", "emptyblob"))
    name, folder = pair.store(pair.b)
    must(pair.a.run("/push", **{"store": "main", "remote": "site-b", "remote-store": name,
                                "group-filter": ["group:host/emptyblob", "group:host/signed", "type:ct", "type:vm"]}))
    result = must(pair.a.run("/push", **{
        "store": source, "remote": "site-b", "remote-store": name, "remove-vanished": True}))
    left = set(world.snapshots(folder))
    expect({key[1].split("/")[1] for key in left} == {"emptyblob"}, (left, result))
    found = pair.a.root("GET", f"/config/remote/site-b/scan/{name}/namespaces")
    expect([item["ns"] for item in found] == [""], found)


@case
def a_push_over_a_broken_connection_can_be_repeated(pair):
    name, folder = pair.store(pair.b)
    cutter = Cutter(pair.b.address, 20_000)
    pair.a.remote("shaky-b", pair.b, *pair.writer, port=cutter.port)
    body = {"store": "main", "remote": "shaky-b", "remote-store": name}
    status, _ = pair.a.run("/push", **body)
    expect(status != "OK", status)
    cutter.heal()
    must(pair.a.run("/push", **body))
    cutter.close()
    wrong = differences(pair.main, folder, whole=False)
    expect(not wrong, "\n".join(wrong[:10]))


# MARK: rights

@case
def pull_and_push_need_their_rights(pair):
    b = pair.b
    name, _ = pair.store(b)
    must(pair.pull(name, **{"max-depth": 0, "group-filter": ["group:host/emptyblob"]}))
    other, _ = pair.store(b)
    token, secret = b.tenant("small", "DatastoreBackup", f"/datastore/{name}")
    authorization = f"PBSAPIToken={token}:{secret}"

    def refused(path, body):
        try:
            b.api("POST", path, authorization=authorization, json_body=body)
        except RuntimeError as error:
            return str(error)
        return ""

    body = {"store": name, "remote": "site-a", "remote-store": "main"}
    expect("Remote.Read" in refused("/pull", body), refused("/pull", body))
    expect("Remote.DatastoreBackup" in refused("/push", body), refused("/push", body))
    expect("Datastore.Backup" in refused("/pull", {**body, "store": other}), "another store")
    for who in ("small@pbs", token):
        b.owner("acl", "update", "/remote/site-a/main", "RemoteSyncOperator", "--auth-id", who)
    upid = b.api("POST", "/pull", authorization=authorization, json_body={
        **body, "max-depth": 0, "group-filter": ["group:host/emptyblob"]})
    status, log = b.finish(upid)
    # The group there belongs to somebody else.
    expect("belongs to root@pam" in "\n".join(log), "\n".join(log[-5:]))


def main():
    checks = Checks("synchronisation")
    with Site(["--datastore-root", "/tmp"]) as a, Site(["--datastore-root", "/tmp"]) as b:
        checks.run_all(CASES, Pair(a, b))
        if checks.failed:
            for site in (a, b):
                print("\n".join(site.log[-400:] if os.environ.get("CAIRN_LOGS") else site.log[-20:]))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
