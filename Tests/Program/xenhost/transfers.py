"""The handlers: exports and imports of machines, disks, and the pool's database."""

import select
import socket
import struct
import time

from . import vhd, xva
from .values import NULL, Failure, to_xml
from .schema import CLASSES

PATHS = {
    ("GET", "/export"), ("PUT", "/import"), ("GET", "/export_raw_vdi"), ("PUT", "/import_raw_vdi"),
    ("GET", "/pool/xmldbdump"), ("PUT", "/pool/xmldbdump")}
CHUNK = 2 << 20


class Stopped(Exception):
    """A fault on demand ended the transfer."""


class Transfer:
    """One transfer under way: its task, its faults, and what it moved."""

    def __init__(self, connection, request, path):
        self.connection = connection
        self.request = request
        self.path = path
        self.pool = connection.pool
        self.task = request.query.get("task_id")
        self.count = 0
        self.total = None
        self.shown = 0.0
        self.began = time.monotonic()
        self.record = {"path": path, "method": request.method, "bytes": 0, "query": {
            name: value for name, value in request.query.items() if name != "session_id"}, "outcome": "open",
            "listener": "slave" if connection.listener.is_slave else "master",
            "slave": connection.listener.is_slave}
        self.pool.transfers.append(self.record)
        self.cut = self.stall = self.slow = None
        # A PUT without a body only asks whether it would be sent elsewhere.
        self.is_probe = request.method == "PUT" and request.length == 0
        if not self.is_probe:
            strike = self.pool.faults.strike
            self.cut = strike("cut", path=path, reached=False)
            self.stall = strike("stall", path=path, reached=False)
            self.slow = strike("slow", path=path)

    def moved(self, count):
        """Called for every piece: faults strike, the task may have been cancelled, progress shows."""
        self.count += count
        self.record["bytes"] = self.count
        if self.task:
            self.pool.check_cancelled(self.task)
            if self.total:
                progress = min(1.0, self.count / self.total)
                if progress - self.shown >= 0.1:
                    self.shown = progress
                    with self.pool.store.lock:
                        if self.task in self.pool.store.tables["task"]:
                            self.pool.store.put("task", self.task, "progress", progress)
        if self.cut and self.count >= self.cut.after:
            self.cut.reached.set()
            self.close_as(self.cut.options.get("how", "close"))
            raise Stopped("cut")
        if self.stall and self.count >= self.stall.after:
            self.stall.reached.set()
            self.wait(self.stall)
            self.stall = None
        if self.slow:
            behind = self.count / self.slow.rate - (time.monotonic() - self.began)
            if behind > 0:
                time.sleep(min(behind, 1))

    def room(self):
        """How many bytes may move before the next fault strikes."""
        limits = [rule.after - self.count for rule in (self.cut, self.stall) if rule and rule.after > self.count]
        if self.slow:
            limits.append(max(4096, self.slow.rate // 10))
        return max(1, min([CHUNK, *limits]))

    def wait(self, rule):
        poll = select.poll()
        poll.register(self.connection.sock.fileno(), select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while not rule.released.wait(0.02):
            if poll.poll(0):
                raise Stopped("the other side left")
            if self.task:
                self.pool.check_cancelled(self.task)

    def close_as(self, how):
        self.connection.keep = False
        sock = self.connection.sock
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            self.connection.tls = False
        elif how == "close":
            # No good-bye of TLS.
            sock.shutdown(socket.SHUT_RDWR)
            self.connection.tls = False

    def push(self, data):
        view = memoryview(data)
        while view:
            piece = view[:self.room()]
            self.connection.send(piece)
            view = view[len(piece):]
            self.moved(len(piece))


def handle(connection, request):
    pool, store = connection.pool, connection.pool.store
    path = request.path.rstrip("/")
    if (request.method, path) not in PATHS:
        connection.keep = False
        connection.answer(405 if any(path == known for _, known in PATHS) else 404)
        return
    entry = {"method": f"{request.method} {path}", "listener": "slave" if connection.listener.is_slave else "master",
             "error": None, "at": time.time(), "parameters": [
                 {name: value for name, value in request.query.items() if name != "session_id"}]}
    pool.log.append(entry)
    if request.method == "PUT" and request.length is None:
        connection.keep = False
        entry["error"] = "no length"
        connection.answer(411, b"a request without Content-Length")
        return
    connection.keep = False
    session = request.query.get("session_id", "")
    if pool.faults.strike("expire", method=path):
        pool.sessions.pop(session, None)
    if session not in pool.sessions:
        entry["error"] = "SESSION_INVALID"
        drain(connection, request)
        connection.answer(401, b"<html><body>unauthorised</body></html>", "text/html",
                          [("WWW-Authenticate", 'Basic realm="XenSource"')])
        return
    target = redirection(connection, request, path)
    if target:
        entry["error"] = "redirected"
        drain(connection, request)
        connection.answer(302, headers=[("Location", target)])
        return
    transfer = Transfer(connection, request, path)
    work = {
        "/export": export_machine, "/import": import_machine, "/export_raw_vdi": export_disk,
        "/import_raw_vdi": import_disk,
        "/pool/xmldbdump": export_database if request.method == "GET" else import_database}[path]
    from .web import Gone
    try:
        if transfer.task:
            store.record("task", transfer.task)
        rule = None if transfer.is_probe else pool.faults.strike("status", path=path)
        if rule:
            drain(connection, request)
            transfer.record["outcome"] = "status"
            connection.answer(rule.status, b"<html><body>a fault on demand</body></html>", "text/html")
            end(transfer, Failure("INTERNAL_ERROR", f"status {rule.status}"))
            return
        result = work(transfer)
        rule = pool.faults.strike("task_after", path=path)
        end(transfer, Failure(*rule.code) if rule else None, result)
        transfer.record["outcome"] = "whole"
        if request.method == "PUT" and not getattr(transfer, "answered", False):
            connection.answer(200)
    except Failure as failure:
        refuse(transfer, failure)
    except (Gone, Stopped, OSError) as problem:
        transfer.record["outcome"] = str(problem)
        end(transfer, Failure("VDI_IO_ERROR", "Device I/O errors"))
        raise Gone(str(problem)) from problem
    except (vhd.Broken, xva.Broken) as problem:
        transfer.record["outcome"] = str(problem)
        code = "VDI_IO_ERROR" if isinstance(problem, vhd.Broken) else "IMPORT_ERROR"
        refuse(transfer, Failure(code, str(problem)))


def end(transfer, failure=None, result=""):
    if transfer.task:
        transfer.pool.end_task(transfer.task, result=result or "", failure=failure)


def refuse(transfer, failure):
    """A failure that the host knows: the task tells it, and the answer where none is out yet."""
    if transfer.record["outcome"] == "open":
        transfer.record["outcome"] = failure.code
    end(transfer, failure)
    if transfer.request.method == "GET" and transfer.count:
        transfer.close_as("close")
        return
    if getattr(transfer, "answered", False):
        return
    text = f"<html><body><h1>HTTP 500 internal server error</h1>{failure}</body></html>".encode()
    if transfer.request.method == "PUT":
        drain(transfer.connection, transfer.request, transfer.count)
    transfer.connection.answer(500, text, "text/html")


def drain(connection, request, taken=0):
    """Reads what little may still come, so that the answer is not lost with a reset."""
    left = (request.length or 0) - taken
    if request.method != "PUT":
        return
    from .web import Gone
    connection.sock.settimeout(0.2)
    try:
        while left > 0:
            left -= len(connection.some(min(left, 1 << 20)))
    except (Gone, OSError):
        pass
    connection.sock.settimeout(None)


def redirection(connection, request, path):
    """Where a request has to go instead, or None. A host serves only disks of storage that it reaches."""
    pool, here = connection.pool, connection.listener.is_slave
    rule = pool.faults.strike("redirect", path=path)
    if rule:
        other = {"slave": True, "master": False, "loop": not here}[rule.to]
    else:
        storage = None
        with pool.store.lock:
            if path.endswith("raw_vdi"):
                vdi = pool.store.tables["VDI"].get(request.query.get("vdi", ""))
                storage = vdi["SR"] if vdi else None
            elif path == "/import":
                storage = request.query.get("sr_id")
            elif path == "/export":
                vm = pool.store.tables["VM"].get(request.query.get("ref", ""), {"VBDs": []})
                vdis = [pool.store.tables["VBD"][vbd]["VDI"] for vbd in vm["VBDs"]]
                places = {pool.store.tables["VDI"][vdi]["SR"] for vdi in vdis if vdi != NULL}
                storage = next((sr for sr in places if sr in (pool.storage["local"], pool.storage["elsewhere"])), None)
        if path.startswith("/pool"):
            other = False
        elif storage == pool.storage["local"]:
            other = False
        elif storage == pool.storage["elsewhere"]:
            other = True
        else:
            return None
        if other == here:
            return None
    address = pool.slave_address if other else pool.address
    query = "&".join(
        part for part in request.raw_query.split("&")
        if not (request.method == "PUT" and part.startswith("task_id=")))
    # A host does not keep a slash at the path's end.
    return f"{connection.scheme}://{address}{path}?{query}"


def begin_export(transfer, kind, length=None):
    """The head of an answer; sends an error in the body in its place where that was asked for."""
    lines = ["HTTP/1.1 200 OK", "Connection: close", "Cache-Control: no-cache, no-store", f"Content-Type: {kind}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    transfer.connection.send(("\r\n".join(lines) + "\r\n\r\n").encode())
    transfer.total = length
    if transfer.pool.faults.strike("in_body", path=transfer.path):
        transfer.push(b"HTTP/1.1 500 Internal Error\r\nContent-Length: 51\r\nConnection: close\r\n\r\n"
                      b"<html><body>VDI_IO_ERROR: Device I/O errors</body></html>")
        raise Failure("VDI_IO_ERROR", "Device I/O errors")


class Exactly:
    """Reads of a body of a declared length."""

    def __init__(self, transfer):
        self.transfer = transfer
        self.left = transfer.request.length
        transfer.total = self.left

    def read(self, count):
        if count > self.left:
            raise vhd.Broken(f"the body ends {count - self.left} bytes too early")
        data = bytearray()
        while len(data) < count:
            piece = self.transfer.connection.some(min(count - len(data), self.transfer.room()))
            data += piece
            self.left -= len(piece)
            self.transfer.moved(len(piece))
        return data

    def more(self):
        if self.left == 0:
            return b""
        data = self.transfer.connection.some(min(self.left, self.transfer.room()))
        self.left -= len(data)
        self.transfer.moved(len(data))
        return data


class Attached:
    """While a disk is transferred, it is attached to the control domain."""

    def __init__(self, transfer, vdi, mode):
        pool = transfer.pool
        self.pool, self.vdi = pool, vdi
        host = pool.slave if transfer.connection.listener.is_slave else pool.master
        with pool.store.lock:
            record = pool.store.record("VDI", vdi)
            for vbd in record["VBDs"]:
                used = pool.store.record("VBD", vbd)
                if used["currently_attached"] and (mode == "RW" or used["mode"] == "RW"):
                    raise Failure("VDI_IN_USE", vdi, "attach")
            self.vbd = pool.store.add("VBD", VM=pool.domains[host], VDI=vdi, type="Disk", mode=mode, userdevice="autodetect",
                                      currently_attached=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.pool.store.lock:
            if self.vbd in self.pool.store.tables["VBD"]:
                self.pool.store.remove("VBD", self.vbd)


def export_disk(transfer):
    pool, query = transfer.pool, transfer.request.query
    with pool.store.lock:
        record = pool.store.copy("VDI", query.get("vdi", ""))
        if record["type"] == "cbt_metadata":
            raise Failure("VDI_INCOMPATIBLE_TYPE", query["vdi"], record["type"])
        base = query.get("base")
        if base is not None:
            base_record = pool.store.copy("VDI", base)
            if base_record["type"] == "cbt_metadata":
                raise Failure("VDI_INCOMPATIBLE_TYPE", base, "cbt_metadata")
            if base_record["SR"] != record["SR"]:
                raise Failure("VDI_NOT_IN_MAP", base)
            if base_record["virtual_size"] > record["virtual_size"]:
                raise Failure("VDI_IO_ERROR", "the base is larger")
    form = query.get("format", "raw")
    with Attached(transfer, query["vdi"], "RO"):
        disk = pool.disks[query["vdi"]].clone()
        before = pool.disks[base].clone() if base is not None else None
        try:
            if form == "raw" and base is None:
                begin_export(transfer, "application/octet-stream", disk.size)
                for number in range(disk.count):
                    transfer.push(disk.load(number)[:min(CHUNK, disk.size - number * CHUNK)])
            elif form == "vhd":
                made = vhd.Export(disk, record["uuid"], before, base_record["uuid"] if before else None, pool.shape)
                transfer.record["blocks"] = len(made.numbers)
                begin_export(transfer, "application/vhd", made.length if pool.declare_length else None)
                transfer.total = made.length
                for piece in made.stream():
                    transfer.push(piece)
            else:
                raise Failure("INTERNAL_ERROR", f"format {form}")
        finally:
            disk.release()
            if before:
                before.release()


def import_disk(transfer):
    pool, query = transfer.pool, transfer.request.query
    vdi = query.get("vdi", "")
    pool.store.record("VDI", vdi)
    body = Exactly(transfer)
    if body.left == 0:
        raise Failure("VDI_IO_ERROR", "an empty body")
    with Attached(transfer, vdi, "RW"):
        if pool.early_answers:
            transfer.connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n\r\n")
            transfer.answered = True
        disk = pool.disks[vdi]
        form = query.get("format", "raw")
        if form == "vhd":
            vhd.take(body.read, disk)
        elif form == "raw":
            if body.left > disk.size:
                raise Failure("VDI_IO_ERROR", "a body larger than the disk")
            offset = 0
            while body.left:
                piece = body.read(min(CHUNK, body.left))
                disk.write(offset, piece)
                offset += len(piece)
        else:
            raise Failure("INTERNAL_ERROR", f"format {form}")
        if body.left:
            # More was declared than the disk needs: the host waits for it, and the connection ends.
            if any(body.read(min(body.left, 512))):
                raise vhd.Broken("something comes behind the disk")
            while body.left:
                body.read(min(CHUNK, body.left))


def export_machine(transfer):
    pool, query = transfer.pool, transfer.request.query
    store, vm = pool.store, query.get("ref", "")
    if not vm and query.get("uuid"):
        vm = store.by_uuid("VM", query["uuid"])
    with store.lock:
        record = store.record("VM", vm)
        if record["power_state"] not in ("Halted", "Suspended"):
            raise Failure("VM_BAD_POWER_STATE", vm, "halted", record["power_state"].lower())
        if "export" in record["blocked_operations"]:
            raise Failure("OPERATION_BLOCKED", vm, record["blocked_operations"]["export"])
        key = transfer.task or "OpaqueRef:export"
        store.put("VM", vm, "current_operations", {**record["current_operations"], key: "export"})
        ova, disks = xva.description(store, vm)
        copies = [(name, pool.disks[vdi].clone()) for name, vdi in disks]
    try:
        begin_export(transfer, "application/octet-stream")
        transfer.total = sum(disk.size for _, disk in copies) or None
        stream = xva.export(ova, copies, pool.checksums)
        kind = query.get("use_compression", "false")
        if kind in ("true", "gzip"):
            stream = xva.compressed(stream, "gzip")
        elif kind == "zstd":
            stream = xva.compressed(stream, "zstd")
        for piece in gathered(stream):
            transfer.push(piece)
    finally:
        for _, disk in copies:
            disk.release()
        with store.lock:
            if vm in store.tables["VM"]:
                left = {name: what for name, what in store.record("VM", vm)["current_operations"].items() if name != key}
                store.put("VM", vm, "current_operations", left)


def gathered(stream):
    """Small pieces put together to about a MiB; large ones as they are."""
    waiting, count = [], 0
    for piece in stream:
        waiting.append(piece)
        count += len(piece)
        if count >= 1 << 20:
            yield b"".join(waiting)
            waiting, count = [], 0
    if waiting:
        yield b"".join(waiting)


def import_machine(transfer):
    pool, store, query = transfer.pool, transfer.pool.store, transfer.request.query
    storage = query.get("sr_id")
    if storage is None:
        storage = store.record("pool", pool.pool)["default_SR"]
    store.record("SR", storage)
    body = Exactly(transfer)
    if body.left == 0:
        raise Failure("IMPORT_ERROR", "an empty body")
    made, disks = [], {}
    key = transfer.task or "OpaqueRef:import"

    def make_machine(objects):
        with store.lock:
            refs = {}
            machines = [item for item in objects if item[0] == "VM"]
            if len(machines) != 1:
                raise xva.Broken(f"{len(machines)} machines")
            for table, identity, fields in objects:
                if table == "network":
                    refs[identity] = network_like(pool, fields)
                if table == "VDI":
                    values = xva.typed("VDI", fields)
                    kept = {name: values[name] for name in (
                        "name_label", "name_description", "virtual_size", "type", "sharable", "read_only", "other_config",
                        "xenstore_data", "tags") if name in values}
                    vdi = pool.new_disk(SR=storage, **kept)
                    made.append(("VDI", vdi))
                    refs[identity], disks[identity] = vdi, pool.disks[vdi]
            _, identity, fields = machines[0]
            values = xva.typed("VM", fields)
            kept = {name: value for name, value in values.items() if CLASSES["VM"][name].creatable}
            kept["bios_strings"] = values.get("bios_strings", {})
            for name in ("affinity", "appliance", "suspend_SR", "protection_policy", "snapshot_schedule"):
                kept.pop(name, None)
            kept["suspend_VDI"] = refs.get(kept.get("suspend_VDI"), NULL)
            if kept["suspend_VDI"] == NULL:
                kept["power_state"] = "Halted"
            vm = store.add("VM", **kept)
            made.insert(0, ("VM", vm))
            store.put("VM", vm, "current_operations", {key: "import"})
            for table, _, fields in objects:
                if table == "VBD":
                    values = xva.typed("VBD", fields)
                    store.add("VBD", VM=vm, VDI=refs.get(values["VDI"], NULL), **{name: values[name] for name in (
                        "userdevice", "bootable", "mode", "type", "empty", "other_config") if name in values})
                if table == "VIF":
                    values = xva.typed("VIF", fields)
                    store.add("VIF", VM=vm, network=refs.get(values["network"], NULL), **{name: values[name] for name in (
                        "device", "MAC", "MTU", "other_config", "MAC_autogenerated") if name in values})
                if table == "VTPM":
                    store.add("VTPM", VM=vm)

    def disk_of(identity):
        if identity not in disks:
            raise xva.Broken(f"pieces of an unknown disk {identity}")
        return disks[identity]

    from .web import Gone
    try:
        seen = xva.take(xva.Reader(body.more), make_machine, disk_of)
        for identity, disk in disks.items():
            if seen.get(identity, -1) != (disk.size + xva.PIECE - 1) // xva.PIECE - 1:
                raise xva.Broken(f"{identity} ends after piece {seen.get(identity)}")
    except (xva.Broken, Gone, Stopped, Failure, KeyError, ValueError, OSError) as problem:
        with store.lock:
            for table, ref in made:
                if table == "VM" and ref in store.tables["VM"]:
                    for name, other in (("VBDs", "VBD"), ("VIFs", "VIF"), ("VTPMs", "VTPM")):
                        for item in list(store.record("VM", ref)[name]):
                            store.remove(other, item)
                    store.remove("VM", ref)
                elif ref in store.tables["VDI"]:
                    pool.destroy_disk(ref)
        if isinstance(problem, (KeyError, ValueError)):
            raise xva.Broken(f"the description lacks or garbles {problem}") from problem
        raise
    vm = made[0][1]
    store.put("VM", vm, "current_operations", {})
    pool.allow(vm)
    # What follows the archive's end (padding of tar) is taken where it is short.
    if 0 < body.left <= 1 << 20:
        while body.left:
            body.more()
    return to_xml([vm])


def network_like(pool, fields):
    store = pool.store
    found = store.find("network", uuid=fields.get("uuid", "")) or store.find("network", name_label=fields.get("name_label", ""))
    return found[0] if found else pool.networks["LAN"]


def export_database(transfer):
    pool = transfer.pool
    text = ['<?xml version="1.0" encoding="UTF-8"?><database><manifest><pair key="schema_major_vsn" value="5"/></manifest>']
    with pool.store.lock:
        for table, records in pool.store.tables.items():
            text.append(f'<table name="{table}">')
            text.extend(f'<row ref="{ref}" uuid="{record["uuid"]}"/>' for ref, record in records.items() if table != "task")
            text.append("</table>")
    text.append("</database>")
    body = "".join(text).encode()
    pool.last_dump = body
    begin_export(transfer, "application/octet-stream")
    transfer.push(body)


def import_database(transfer):
    body = Exactly(transfer)
    if body.left > 64 << 20:
        raise Failure("INTERNAL_ERROR", "a database of that size")
    data = bytes(body.read(body.left))
    if transfer.request.query.get("dry_run") == "true":
        return
    if not data.startswith(b"<?xml"):
        raise Failure("RESTORE_INCOMPATIBLE_VERSION")
    transfer.pool.database = data
