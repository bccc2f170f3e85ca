"""The double is a host to others too: the client `XenAPI` of PyPI, `requests`, and `qemu-img` use it.

    python -m xenhost.run
"""

import base64
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import requests
import urllib3
import XenAPI

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support.checks import Checks, Skipped, expect, same  # noqa: E402
from xenhost import NULL, Pool  # noqa: E402
from xenhost.disks import BLOCK  # noqa: E402
from xenhost.vhd import Shape  # noqa: E402

urllib3.disable_warnings()
MIB = 1 << 20


class World:
    def __init__(self, pool, folder):
        self.pool = pool
        self.folder = folder
        self.session = XenAPI.Session(pool.url, ignore_ssl=True)
        self.session.login_with_password(pool.user, pool.password)
        self.api = self.session.xenapi
        self.web = requests.Session()
        self.web.verify = False
        self.web.trust_env = False
        self.token = ""

    def wait(self, task):
        """Follows a task by events to its end; gives its record, and destroys it."""
        token = ""
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            answer = getattr(self.api.event, "from")(["task"], token, 5.0)
            token = answer["token"]
            for event in answer["events"]:
                if event["ref"] == task and event["operation"] != "del":
                    if event["snapshot"]["status"] not in ("pending", "cancelling"):
                        self.api.task.destroy(task)
                        return event["snapshot"]
        raise TimeoutError(task)

    def run(self, method, *parameters):
        call = self.api.Async
        for part in method.split("."):
            call = getattr(call, part)
        record = self.wait(call(*parameters))
        if record["status"] != "success":
            raise XenAPI.Failure(record["error_info"])
        match = re.fullmatch(r"<value>(.*)</value>", record["result"])
        return match.group(1) if match else record["result"]

    def get(self, path, check=True, task=True, **query):
        made = self.api.task.create("export", "") if task else None
        if made:
            query["task_id"] = made
        answer = self.web.get(self.pool.url + path, params={"session_id": self.session._session, **query})
        record = self.wait(made) if made else None
        if check:
            same(answer.status_code, 200, path)
            same(record["status"], "success", path)
        return answer, record

    def put(self, path, body, check=True, **query):
        made = self.api.task.create("import", "")
        answer = self.web.put(self.pool.url + path, data=body, allow_redirects=False,
                              params={"session_id": self.session._session, "task_id": made, **query})
        record = self.wait(made)
        if check:
            same((answer.status_code, record["status"]), (200, "success"), f"{path} {record['error_info']}")
        return answer, record

    def call(self, method, *parameters):
        """A call in JSON; gives the answer as it came."""
        return self.web.post(self.pool.url + "/jsonrpc", json={
            "jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}).json()

    def qemu(self, *arguments):
        result = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True)
        same(result.returncode, 0, f"qemu-img {arguments}: {result.stdout}{result.stderr}")
        return result.stdout

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path


def fails(code, work, *arguments):
    try:
        work(*arguments)
    except XenAPI.Failure as failure:
        same(failure.details[0], code, "code")
        return failure.details
    raise AssertionError(f"no {code}")


def objects(w):
    """Records, fields, maps and sets, and what is no object."""
    vm = w.pool.add_machine("objects", disks=[4 * MIB], tags=["a"])
    ref = w.api.VM.get_by_uuid(vm)
    record = w.api.VM.get_record(ref)
    same((record["name_label"], record["tags"], record["memory_static_max"]), ("objects", ["a"], str(1 << 28)), "record")
    same(w.api.VM.get_VBDs(ref), record["VBDs"], "VBDs")
    w.api.VM.set_name_label(ref, "renamed")
    w.api.VM.add_to_other_config(ref, "k", "v")
    fails("MAP_DUPLICATE_KEY", w.api.VM.add_to_other_config, ref, "k", "w")
    w.api.VM.remove_from_other_config(ref, "k")
    w.api.VM.remove_from_other_config(ref, "k")
    w.api.VM.add_tags(ref, "b")
    same(w.api.VM.get_tags(ref), ["a", "b"], "tags")
    same(fails("HANDLE_INVALID", w.api.VDI.get_record, "OpaqueRef:none"), ["HANDLE_INVALID", "VDI", "OpaqueRef:none"], "ref")
    fails("UUID_INVALID", w.api.VM.get_by_uuid, "none")
    fails("MESSAGE_METHOD_UNKNOWN", w.api.VM.get_nonsense, ref)
    fails("MESSAGE_PARAMETER_COUNT_MISMATCH", w.api.VM.get_record)
    fails("FIELD_TYPE_ERROR", w.api.VM.set_name_label, ref, True)
    fails("VM_BAD_POWER_STATE", w.api.VM.clean_shutdown, ref)
    same(w.api.pool.get_master(w.api.pool.get_all()[0]), w.pool.master, "master")
    fails("SESSION_AUTHENTICATION_FAILED", XenAPI.Session(w.pool.url, ignore_ssl=True).login_with_password, "root", "x")


def json_calls(w):
    """The same in JSON, with its own forms of errors and numbers."""
    session = w.call("session.login_with_password", w.pool.user, w.pool.password)["result"]
    vm = w.call("VM.get_all_records", session)["result"]
    expect(any(isinstance(record["memory_static_max"], int) for record in vm.values()), "integers are numbers")
    error = w.call("VM.get_record", session, "OpaqueRef:none")
    same(error, {"jsonrpc": "2.0", "id": 7, "error": {
        "code": 1, "message": "HANDLE_INVALID", "data": ["VM", "OpaqueRef:none"]}}, "error")
    w.pool.old_errors = True
    same(w.call("VM.get_record", session, "OpaqueRef:none")["error"], ["HANDLE_INVALID", "VM", "OpaqueRef:none"], "old error")
    w.pool.old_errors = False
    same(w.call("event.from", session, ["vm"], "", 1)["error"]["message"], "INTERNAL_ERROR", "a whole number as float")
    expect("events" in w.call("event.from", session, ["vm"], "", 1.5)["result"], "events")
    w.pool.json_rpc = False
    expect("json" not in w.web.post(w.pool.url + "/jsonrpc", json={}).headers["Content-Type"], "a host without JSON")
    w.pool.json_rpc = True


def sessions(w):
    """The slave sends to the master; sessions end."""
    slave = XenAPI.Session(w.pool.slave_url, ignore_ssl=True)
    same(fails("HOST_IS_SLAVE", slave.login_with_password, w.pool.user, w.pool.password),
         ["HOST_IS_SLAVE", w.pool.address], "slave")
    w.pool.expire_sessions()
    same(w.web.get(w.pool.url + "/export_raw_vdi", params={"session_id": w.session._session}).status_code, 401, "handler")
    # This client logs in again by itself.
    same(len(w.api.host.get_all()), 2, "hosts after the session's end")
    w.pool.faults.add("call", method="VM.get_all", code=["HOST_OFFLINE", "x"])
    fails("HOST_OFFLINE", w.api.VM.get_all)
    w.api.VM.get_all()


def events(w):
    """Tokens, long polls, kinds of change, counts, and lost events."""
    vm = w.pool.add_machine("watched")
    ref = w.api.VM.get_by_uuid(vm)
    token = w.api.event.inject("vm", ref)
    answer = getattr(w.api.event, "from")(["vm"], token, 0.1)
    same(answer["events"], [], "nothing since")
    timer = threading.Timer(0.3, lambda: w.pool.store.put("VM", ref, "name_label", "changed"))
    timer.start()
    answer = getattr(w.api.event, "from")(["vm"], token, 60.0)
    same([(event["class"], event["operation"], event["ref"], event["snapshot"]["name_label"]) for event in answer["events"]],
         [("vm", "mod", ref, "changed")], "change")
    expect(answer["token"] > token, "tokens grow")
    same(set(answer["valid_ref_counts"]), {"vm"}, "counts")
    made = w.pool.add_machine("brief")
    added = getattr(w.api.event, "from")(["vm"], answer["token"], 10.0)
    same([event["operation"] for event in added["events"]], ["add"], "add")
    w.pool.remove_machine(made)
    gone = getattr(w.api.event, "from")(["vm"], added["token"], 10.0)
    same([(event["operation"], "snapshot" in event) for event in gone["events"]], [("del", False)], "del")
    w.pool.faults.add("events_lost")
    fails("EVENTS_LOST", getattr(w.api.event, "from"), ["vm"], gone["token"], 1.0)


def tasks(w):
    """Asynchronous calls take time, fail, and are cancelled."""
    vm = w.pool.add_machine("tasks", disks=[4 * MIB])
    ref = w.api.VM.get_by_uuid(vm)
    w.pool.faults.add("task", method="VM.snapshot", code=["SR_BACKEND_FAILURE_44", "", "no space"])
    fails("SR_BACKEND_FAILURE_44", w.run, "VM.snapshot", ref, "x")
    hold = w.pool.faults.add("hold", method="VM.snapshot")
    task = w.api.Async.VM.snapshot(ref, "never")
    expect(hold.reached.wait(60), "the call was held")
    same(w.api.task.get_status(task), "pending", "held")
    w.api.task.cancel(task)
    record = w.wait(task)
    same((record["status"], record["error_info"][0]), ("cancelled", "TASK_CANCELLED"), "cancelled")
    same(w.api.VM.get_snapshots(ref), [], "no snapshot")
    w.pool.snapshot_ignores = False
    fails("MESSAGE_PARAMETER_COUNT_MISMATCH", w.api.Async.VM.snapshot, ref, "x", [])
    w.pool.snapshot_ignores = True
    w.api.VM.add_to_blocked_operations(ref, "snapshot", "no")
    fails("OPERATION_BLOCKED", w.run, "VM.snapshot", ref, "x")
    w.api.VM.remove_from_blocked_operations(ref, "snapshot")


def power(w):
    """Machines start, their guests report, and they stop."""
    vm = w.pool.add_machine("power", disks=[4 * MIB])
    ref = w.api.VM.get_by_uuid(vm)
    w.run("VM.start", ref, False, False)
    fails("VM_BAD_POWER_STATE", w.run, "VM.destroy", ref)
    limit = time.monotonic() + 60
    while w.api.VM.get_guest_metrics(ref) == NULL and time.monotonic() < limit:
        time.sleep(0.05)
    expect(w.api.VM_guest_metrics.get_record(w.api.VM.get_guest_metrics(ref))["PV_drivers_detected"], "tools")
    snap = w.run("VM.checkpoint", ref, "with memory")
    record = w.api.VM.get_record(snap)
    same((record["power_state"], record["is_a_snapshot"], record["snapshot_of"]), ("Suspended", True, ref), "checkpoint")
    w.run("VM.hard_shutdown", snap)
    w.run("VM.destroy", snap)
    w.run("VM.clean_shutdown", ref)
    fails("VM_BAD_POWER_STATE", w.run, "VM.checkpoint", ref, "x")


def chains(w):
    """Snapshots make base copies, which go away with the snapshots unless the storage is stuck."""
    vm = w.pool.add_machine("chains", disks=[4 * MIB])
    ref, disk = w.api.VM.get_by_uuid(vm), w.pool.disks_of(vm)[0]
    snap = w.run("VM.snapshot", ref, "one")
    parent = w.pool.record("VDI", disk)["sm_config"]["vhd-parent"]
    same(w.pool.record("VDI", parent)["managed"], False, "base copy")
    w.pool.coalesce = False
    w.pool.remove_machine(snap)
    expect("vhd-parent" in w.pool.record("VDI", disk)["sm_config"], "the chain stays")
    w.pool.coalesce = True
    w.pool.remove_machine(w.run("VM.snapshot", ref, "two"))
    expect("vhd-parent" not in w.pool.record("VDI", disk)["sm_config"], "the chain went away")
    same(w.pool.record("VDI", disk)["snapshots"], [], "snapshots")


def disks(w):
    """Exports and imports of disks, whole and as differences, give the same bytes; in every shape."""
    vm = w.pool.add_machine("disks", disks=[21 * MIB + 4096], fill=0.6)
    ref, live = w.api.VM.get_by_uuid(vm), w.pool.disks_of(vm)[0]
    w.pool.disk(live).write(20 * MIB, b"last block" * 99)
    first = w.run("VM.snapshot", ref, "first")
    w.pool.scribble(live, 0.4, "a")
    w.pool.disk(live).discard(w.pool.disk(live).present()[0])
    second = w.run("VM.snapshot", ref, "second")
    old, new = (w.api.VBD.get_VDI(w.api.VM.get_VBDs(snap)[0]) for snap in (first, second))
    changed = w.pool.disks[new].changed(w.pool.disks[old])
    shapes = [Shape(), Shape("descending", gaps=True), Shape("shuffled", True, True, True, seed=4), Shape(bitmaps="changed")]
    storage = w.pool.storage["shared"]
    for number, shape in enumerate(shapes):
        w.pool.shape = shape
        whole, _ = w.get("/export_raw_vdi/", vdi=old, format="vhd")
        part, _ = w.get("/export_raw_vdi/", vdi=new, format="vhd", base=old)
        same(w.pool.transfers[-1]["blocks"], len(changed), "blocks of the difference")
        if not (shape.short_last or shape.gaps):
            target = w.api.VDI.create({
                "name_label": "copy", "SR": storage, "virtual_size": str(21 * MIB + 4096), "type": "user",
                "sharable": False, "read_only": False, "other_config": {}})
            w.put("/import_raw_vdi/", whole.content, vdi=target, format="vhd")
            same(w.pool.disks[target].digest(), w.pool.disks[old].digest(), "whole")
            w.put("/import_raw_vdi/", part.content, vdi=target, format="vhd")
            same(w.pool.disks[target].digest(), w.pool.disks[new].digest(), "whole and difference")
            w.api.VDI.destroy(target)
        if shutil.which("qemu-img") and shape.bitmaps == "full" and not shape.short_last:
            path = w.file(f"{number}.vhd", whole.content)
            raw = os.path.join(w.folder, "raw")
            same(json.loads(w.qemu("info", "--output", "json", "-f", "vpc", path))["format"], "vpc", "format")
            w.qemu("convert", "-f", "vpc", "-O", "raw", path, raw)
            with open(raw, "rb") as file:
                same(hashlib.sha256(file.read()).hexdigest(), w.pool.disks[old].digest(), "as qemu-img reads it")
    w.pool.shape = Shape()
    raw, _ = w.get("/export_raw_vdi/", vdi=old, format="raw")
    same(hashlib.sha256(raw.content).hexdigest(), w.pool.disks[old].digest(), "raw")
    broken = bytearray(whole.content)
    broken[600] ^= 1
    target = w.run("VDI.clone", old)
    _, record = w.put("/import_raw_vdi/", bytes(broken), check=False, vdi=target, format="vhd")
    same(record["error_info"][:2], ["VDI_IO_ERROR", "wrong checksum of the header"], "broken header")
    for cut in (100, 5000, len(whole.content) - 512):
        _, record = w.put("/import_raw_vdi/", whole.content[:cut], check=False, vdi=target, format="vhd")
        same(record["status"], "failure", f"{cut} bytes of a VHD")
    chunked = w.web.put(w.pool.url + "/import_raw_vdi/", data=iter([b"x"]), params={
        "session_id": w.session._session, "vdi": target, "format": "vhd"})
    same(chunked.status_code, 411, "a body without length")
    w.api.VDI.destroy(target)
    if not shutil.which("qemu-img"):
        raise Skipped("needs qemu-utils, for a part")


def archives(w):
    """Machines go out and come in, with every checksum and compression."""
    vm = w.pool.add_machine("archives", disks=[9 * MIB + 512, 2 * MIB], fill=0.5, networks=("LAN", "DMZ"), tags=["t"])
    ref = w.api.VM.get_by_uuid(vm)
    for checksums, kind in (("xxhash", "false"), ("sha1", "true"), ("xxhash", "zstd")):
        w.pool.checksums = checksums
        answer, _ = w.get("/export/", ref=ref, use_compression=kind)
        _, record = w.put("/import/", answer.content, sr_id=w.pool.storage["local"])
        made = re.fullmatch(r"<value><array><data><value>(.*)</value></data></array></value>", record["result"]).group(1)
        twin = w.api.VM.get_record(made)
        same((twin["name_label"], twin["tags"], len(twin["VIFs"])), ("archives", ["t"], 2), "machine")
        expect(twin["uuid"] != vm, "another uuid")
        same(w.pool.digests(twin["uuid"]), w.pool.digests(vm), "disks")
        w.pool.remove_machine(twin["uuid"])
    w.pool.checksums = "xxhash"
    whole, _ = w.get("/export/", ref=ref)
    broken = bytearray(whole.content)
    broken[broken.index(b"00000000.xxhash") + 512] ^= 1
    for what, body in (("checksum", bytes(broken)), ("end", whole.content[:-1536]), ("start", whole.content[512:])):
        _, record = w.put("/import/", body, check=False)
        same((record["status"], record["error_info"][0]), ("failure", "IMPORT_ERROR"), what)
    fails("VM_BAD_POWER_STATE", lambda: (w.run("VM.start", ref, False, False), w.run("VM.start", ref, False, False)))
    answer, record = w.get("/export/", check=False, ref=ref)
    same((answer.status_code, record["error_info"][0]), (500, "VM_BAD_POWER_STATE"), "export of a running machine")
    w.run("VM.hard_shutdown", ref)


def redirects(w):
    """Disks of the other host's storage are there; a location for PUT has no task."""
    vm = w.pool.add_machine("far", disks=[4 * MIB], fill=1, storage="elsewhere")
    disk = w.pool.ref("VDI", w.pool.disks_of(vm)[0])
    answer, _ = w.get("/export_raw_vdi/", vdi=disk, format="vhd")
    same([step.status_code for step in answer.history], [302], "history")
    expect(answer.url.startswith(w.pool.slave_url), "the slave served")
    probe = w.web.put(w.pool.url + "/import_raw_vdi/", allow_redirects=False, params={
        "session_id": w.session._session, "vdi": disk, "format": "vhd", "task_id": "OpaqueRef:t"})
    same(probe.status_code, 302, "PUT")
    expect("task_id" not in probe.headers["Location"] and "vdi=" in probe.headers["Location"], probe.headers["Location"])
    w.pool.faults.add("redirect", path="/export_raw_vdi", to="loop", count=None)
    try:
        w.get("/export_raw_vdi/", check=False, task=False, vdi=disk, format="vhd")
        raise AssertionError("a loop ended")
    except requests.TooManyRedirects:
        pass
    w.pool.faults.clear()


def faults(w):
    """Transfers that break: cut, stalled, cancelled, with an error in the body, or a task that fails after them."""
    vm = w.pool.add_machine("faulty", disks=[8 * MIB], fill=1)
    disk = w.pool.ref("VDI", w.pool.disks_of(vm)[0])
    snap = w.pool.ref("VDI", w.pool.disks_of(w.pool.record("VM", w.run("VM.snapshot", w.pool.ref("VM", vm), "s"))["uuid"])[0])
    expect(disk != snap, "a snapshot's disk")
    for how in ("close", "reset"):
        w.pool.faults.add("cut", path="/export_raw_vdi", after=3 * MIB, how=how)
        try:
            answer, record = w.get("/export_raw_vdi/", check=False, vdi=snap, format="vhd")
            same((len(answer.content) <= 3 * MIB, record["status"]), (True, "failure"), how)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            pass
    w.pool.faults.add("in_body", path="/export_raw_vdi")
    answer, record = w.get("/export_raw_vdi/", check=False, vdi=snap, format="vhd")
    same((answer.status_code, answer.content[:5], record["status"]), (200, b"HTTP/", "failure"), "error in the body")
    w.pool.faults.add("status", path="/export_raw_vdi", status=500)
    same(w.get("/export_raw_vdi/", check=False, vdi=snap, format="vhd")[0].status_code, 500, "status")
    w.pool.faults.add("task_after", path="/export_raw_vdi", code=["VDI_IO_ERROR", "late"])
    same(w.get("/export_raw_vdi/", check=False, vdi=snap, format="vhd")[1]["status"], "failure", "a late failure")
    stall = w.pool.faults.add("stall", path="/export_raw_vdi", after=MIB)
    task = w.api.task.create("stalled", "")
    thread = threading.Thread(target=lambda: quietly(w.web.get, w.pool.url + "/export_raw_vdi/", params={
        "session_id": w.session._session, "vdi": snap, "format": "vhd", "task_id": task}))
    thread.start()
    expect(stall.reached.wait(60), "stalled")
    expect(any("control domain" in text for text in w.pool.leftovers()), "attached while it is exported")
    fails("VDI_IN_USE", w.run, "VDI.destroy", snap)
    w.api.task.cancel(task)
    same(w.wait(task)["status"], "cancelled", "cancelled transfer")
    thread.join(60)
    for task in w.api.task.get_all():
        w.api.task.destroy(task)


def quietly(work, *arguments, **options):
    try:
        work(*arguments, **options)
    except requests.RequestException:
        pass


def database(w):
    answer, _ = w.get("/pool/xmldbdump")
    expect(answer.content.startswith(b"<?xml"), "dump")
    w.put("/pool/xmldbdump", answer.content)
    same(w.pool.database, answer.content, "restored dump")


def other_objects(w):
    """Machines from parts: VM, VDI, VBD, VIF, VTPM; changed blocks."""
    vm = w.pool.add_machine("parts", disks=[8 * MIB], vtpm=base64.b64encode(b"secret").decode())
    record = w.api.VM.get_record(w.api.VM.get_by_uuid(vm))
    same(base64.b64decode(w.api.VTPM.get_contents(record["VTPMs"][0])), b"secret", "vTPM")
    # This client writes no int larger than 32 bits: text is what the interface takes for all of them.
    made = w.api.VM.create({**record, "name_label": "made", "HVM_shadow_multiplier": 1.0})
    fails("FIELD_TYPE_ERROR", w.api.VM.create, {"name_label": "too little"})
    network = w.pool.networks["DMZ"]
    vif = {"device": "0", "network": network, "VM": made, "MAC": "", "MTU": "1500", "other_config": {},
           "qos_algorithm_type": "", "qos_algorithm_params": {}}
    first = w.api.VIF.create(vif)
    expect(w.api.VIF.get_record(first)["MAC_autogenerated"], "a new MAC")
    fails("DEVICE_ALREADY_EXISTS", w.api.VIF.create, vif)
    fails("MAC_INVALID", w.api.VIF.create, {**vif, "device": "1", "MAC": "nonsense"})
    same(w.api.VM.get_allowed_VIF_devices(made), ["1", "2", "3", "4", "5", "6"], "devices")
    vtpm = w.api.VTPM.create(made, False)
    w.api.VTPM.set_contents(vtpm, "AAAA")
    w.run("VM.destroy", made)
    disk = w.pool.ref("VDI", w.pool.disks_of(vm)[0])
    w.run("VDI.enable_cbt", disk)
    snap = w.run("VDI.clone", disk)
    w.pool.disks[disk].write(BLOCK + 5, b"x")
    bitmap = base64.b64decode(w.run("VDI.list_changed_blocks", snap, disk))
    same([number for number in range(4) if any(bitmap[number * 4:number * 4 + 4])], [1], "changed blocks")
    same(len(w.pool.unexpected_calls()) > 0, True, "this test calls what backups do not")


def speed(w):
    """Large writes: nothing is asserted, it is only said how fast."""
    vm = w.pool.add_machine("fast", disks=[256 * MIB], fill=1)
    disk = w.pool.ref("VDI", w.pool.disks_of(vm)[0])
    context = ssl.create_default_context(cafile=w.pool.certificate[0])
    context.check_hostname = False
    import http.client
    began = time.monotonic()
    connection = http.client.HTTPSConnection("127.0.0.1", int(w.pool.address.split(":")[1]), context=context)
    connection.request("GET", f"/export_raw_vdi/?session_id={w.session._session}&vdi={disk}&format=vhd")
    answer, count, buffer = connection.getresponse(), 0, bytearray(1 << 20)
    while got := answer.readinto(buffer):
        count += got
    expect(count > 256 * MIB, "everything came")
    print(f"export over TLS: {count / MIB / (time.monotonic() - began):.0f} MiB/s")


def main():
    checks = Checks("xenhost")
    folder = tempfile.mkdtemp(prefix="xenhost-run-")
    try:
        with Pool(os.path.join(folder, "pool")) as pool:
            world = World(pool, folder)
            for test in (objects, json_calls, sessions, events, tasks, power, chains, disks, archives, redirects, faults,
                         database, other_objects, speed):
                checks.run(test.__name__, test, world)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(checks.finish())


if __name__ == "__main__":
    main()
