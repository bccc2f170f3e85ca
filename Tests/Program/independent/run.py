"""A client that was written from the manual alone backs up and restores, by upgrade and by native sessions.

    python -m independent.run
"""

import hashlib
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from independent.client import Backup, Reader, Refused, Server as Remote  # noqa: E402
from independent.formats import IMAGE_CHUNK, Key, digest_of, pxar  # noqa: E402
from support.checks import Checks, same  # noqa: E402
from support.cli import Client  # noqa: E402
from support.server import Server  # noqa: E402

USER, PASSWORD, STORE = "joe@pbs", "written-from-docs", "main"
TIME = 1_717_200_000
ROOT, IMAGE, CONF = "root.pxar.didx", "disk.img.fidx", "app.conf.blob"


def expect_refusal(statuses, text, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Refused as refusal:
        if refusal.status not in statuses or text not in refusal.text:
            raise AssertionError(f"{refusal} in place of {statuses}: …{text}…") from None
    else:
        raise AssertionError(f"accepted in place of {statuses}")


def snapshot(group, turn):
    return {"store": STORE, "backup-type": "host", "backup-id": group, "backup-time": TIME + turn}


def content(turn):
    """What is backed up the first and the second time: a tree, an image, a small file."""
    rng = random.Random(7)
    large, image = rng.randbytes(5_000_000), bytearray(rng.randbytes(2 * IMAGE_CHUNK) + bytes(IMAGE_CHUNK + 4096))
    tree = {"large.bin": large, "text.txt": b"the same line\n" * 300_000, "empty": b"",
            "folder": {"inner": {"turn": b"%d" % turn}, "grüße": b"a name beyond ASCII"}, "nothing here": {}}
    if turn:
        tree["zz-new"] = rng.randbytes(70_000)
        image[IMAGE_CHUNK + 5] ^= 1
    return tree, bytes(image), b"listen = 127.0.0.1\nturn = %d\n" % turn


def cut(data, step):
    return [data[at:at + step] for at in range(0, len(data), step)]


def back_up(remote, group, turn, native, key=None):
    tree, image, conf = content(turn)
    backup = Backup(remote, snapshot(group, turn), native, key)
    try:
        same(backup.call("GET", "/previous_backup_time"), TIME if turn else None, "the previous time")
        base = None
        if turn:
            same(len(backup.previous(ROOT)) > 5, True, "several chunks")
            base = backup.previous(IMAGE)
        backup.archive(ROOT, cut(pxar(tree, TIME), 1_000_000))
        backup.archive(IMAGE, cut(image, IMAGE_CHUNK), base)
        backup.blob(CONF, conf)
        if turn:
            same(backup.uploaded < 6, True, f"{backup.uploaded} uploads: most chunks are taken over")
        backup.finish()
    finally:
        backup.close()


def read_back(remote, group, turn, native, key=None):
    tree, image, conf = content(turn)
    reader = Reader(remote, snapshot(group, turn), native, key)
    try:
        # Without an index that names it, a chunk is nobody's business; the answer takes three seconds.
        zeros = digest_of(bytes(IMAGE_CHUNK), key).hex()
        if not turn:
            expect_refusal((401,), "", reader.file, "/chunk", digest=zeros)
        same(reader.content(ROOT) == pxar(tree, TIME), True, "the archive is what was written")
        same(reader.content(IMAGE) == image, True, "the image is what was written")
        same(reader.content(CONF), conf, "the small file")
        same(sorted(reader.manifest["unprotected"]["chunk_upload_stats"]),
               ["compressed_size", "count", "duplicates", "size"], "the server's counts")
        expect_refusal((404,), "", reader.file, "/download", file_name="absent.blob")
        expect_refusal((400,), "", reader.file, "/download", file_name="absent.didx")
    finally:
        reader.close()


def folder_content(path):
    return {name: folder_content(inner) if os.path.isdir(inner := os.path.join(path, name)) else open(inner, "rb").read()
            for name in os.listdir(path)}


def real_client_restores(client, folder, group, turn, options=()):
    tree, image, conf = content(turn)
    name = "host/" + group + "/" + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(TIME + turn))
    target = os.path.join(folder, f"restored-{group}-{turn}")
    os.mkdir(target)
    for archive in ("root.pxar", "disk.img", "app.conf"):
        client.run("restore", *options, name, archive, os.path.join(target, archive))
    same(folder_content(os.path.join(target, "root.pxar")) == tree, True, "the restored tree")
    for archive, original in (("disk.img", image), ("app.conf", conf)):
        with open(os.path.join(target, archive), "rb") as file:
            same(file.read() == original, True, f"the restored {archive}")


def reads_the_real_client(remote, client, folder, key, options):
    source = os.path.join(folder, "source.img")
    with open(source, "wb") as file:
        file.write(content(1)[1])
    client.run("backup", f"disk.img:{source}", f"app.conf:{source}", "--backup-id", "theirs", "--backup-time",
               str(TIME), *options)
    reader = Reader(remote, snapshot("theirs", 0), key=key)
    for name in (IMAGE, CONF):
        same(reader.content(name) == content(1)[1], True, f"{name} of the real client")
    reader.close()


def mistakes(remote, native):
    """What the manual says is refused, and that the session goes on until a close has failed."""
    expect_refusal((400,), "", Backup, remote, snapshot("token", 0), native)
    expect_refusal((404,), "", Backup, remote, dict(snapshot("wrong", 0), ns="absent"), native)
    expect_refusal((400,), "parameter verification failed", Backup, remote, dict(snapshot("wrong", 0), extra=1), native)
    backup = Backup(remote, snapshot("wrong", 0), native)

    def refused(status, text, method, call, **parameters):
        parameters = {name.replace("_", "-"): value for name, value in parameters.items()}
        expect_refusal((status,), text, backup.call, method, call, parameters)

    try:
        if native:
            expect_refusal((400,), "", backup.call, "POST", "", snapshot("second", 0))
        refused(404, "", "GET", "/absent")
        refused(400, "archive-name", "POST", "/dynamic_index")
        refused(400, "", "POST", "/dynamic_index", archive_name="a.fidx")
        refused(400, "", "GET", "/previous", archive_name=ROOT)
        refused(400, "'wid': value must have a maximum value of 256 (got 257)", "PUT", "/dynamic_index", wid=257,
                digest_list="00" * 32, offset_list=0)
        same(backup.call("POST", "/dynamic_index", {"archive-name": "a.didx"}), 1, "the first writer")
        elsewhere = hashlib.sha256(bytes(IMAGE_CHUNK)).hexdigest()
        refused(400, "", "PUT", "/dynamic_index", wid=1, digest_list=elsewhere, offset_list=0)
        refused(400, "", "POST", "/finish")
        refused(400, "", "POST", "/dynamic_close", wid=1, chunk_count=1, size=1, csum="00" * 32)
        refused(400, "", "POST", "/finish")
    finally:
        backup.close()
    expect_refusal((400,), "", Reader, remote, snapshot("wrong", 0), native)


def credentials(server):
    remote = Remote(server.address, server.fingerprint)
    expect_refusal((401,), "", Backup, remote, snapshot("none", 0))
    remote.use_token(USER + "!py", "00000000-0000-0000-0000-000000000000")
    expect_refusal((401,), "", Reader, remote, snapshot("none", 0), True)
    expect_refusal((401,), "permission check failed.", remote.login, USER, "not the password")
    try:
        Remote(server.address, "00:" * 31 + "00").login(USER, PASSWORD)
    except ConnectionError:
        return
    raise AssertionError("another certificate was accepted")


def main():
    checks = Checks("independent client")
    with Server() as server:
        server.datastore(STORE)
        server.owner("user", "create", USER, "--password", PASSWORD)
        made = server.owner("user", "generate-token", USER, "py", "--output-format", "json")
        for who in (USER, USER + "!py"):
            server.owner("acl", "update", "/datastore/" + STORE, "DatastoreBackup", "--auth-id", who)
        client = Client(server, USER, STORE, PASSWORD, server.folder)
        token, ticket = (Remote(server.address, server.fingerprint) for _ in range(2))
        token.use_token(USER + "!py", json.loads(made.stdout)["value"])
        ticket.login(USER, PASSWORD)
        checks.run("credentials", credentials, server)
        key, keyfile = Key(bytes(range(32))), os.path.join(server.folder, "key.json")
        with open(keyfile, "w") as file:
            file.write(key.file())
        for group, remote, native, used in (
                ("token", token, False, None), ("ticket", ticket, False, None), ("native", token, True, None),
                ("native-ticket", ticket, True, None), ("encrypted", token, False, key)):
            options = ("--keyfile", keyfile) if used else ()
            for turn in (0, 1):
                checks.run(f"{group}: backup {turn}", back_up, remote, group, turn, native, used)
                checks.run(f"{group}: read {turn}", read_back, remote, group, turn, native, used)
                checks.run(f"{group}: cairn restore {turn}", real_client_restores, client, server.folder, group, turn, options)
        checks.run("the real client's snapshot", reads_the_real_client, ticket, client, server.folder, key,
                   ("--keyfile", keyfile))
        checks.run("mistakes", mistakes, token, False)
        checks.run("mistakes in a native session", mistakes, token, True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
