"""The pool: two hosts, storage, machines, and what tests see of them."""

import os
import random
import shutil
import tempfile
import threading
import time

from .calls import Calls, Context, Timer, expected
from .disks import BLOCK, Blocks, Disk
from .faults import Faults
from .store import Store
from .values import NULL, Failure, date, new_uuid
from .vhd import Shape
from .web import Listener, certificate

LOG = 200_000


class Pool:
    """Starts with two hosts, storage on each and between them, two networks, no machines.

    Switches that tests may turn at any time: those of `reset_switches`; `faults` for what strikes once.
    """

    user = "root"
    password = "xen-test-1"

    def __init__(self, folder=None, master="127.0.0.1:0", slave="127.0.0.1:0", tls=True):
        self.owns_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="xenhost-")
        os.makedirs(self.folder, exist_ok=True)
        self.tls = tls
        self.reset_switches()

        self.store = Store()
        self.blocks = Blocks(os.path.join(self.folder, "blocks"))
        self.faults = Faults()
        self.calls = Calls(self)
        self.sessions = {}
        self.disks = {}
        self.traces = {}
        self.vtpm_contents = {}
        self.log = []
        self.transfers = []
        self.database = b""
        self.closing = False
        self.random = random.Random("macs")
        self.populate()
        self.certificate = certificate(self.folder)
        self.listeners = [Listener(self, master, False), Listener(self, slave, True)]
        for host, listener in zip((self.master, self.slave), self.listeners):
            self.store.put("host", host, "address", f"127.0.0.1:{listener.port}")

    def reset_switches(self):
        """How hosts are without any fault or age."""
        self.json_rpc = True  # whether /jsonrpc is known
        self.old_errors = False  # errors of JSON-RPC as hosts before 7.3 write them
        self.snapshot_ignores = True  # whether VM.snapshot takes disks to leave out
        self.licence_restricted = False  # VM.set_is_a_template fails
        self.coalesce = True  # whether base copies with one child go away
        self.checksums = "xxhash"  # of pieces in archives: xxhash, sha1
        self.shape = Shape()  # of exported VHDs
        self.declare_length = False  # whether exports of disks have a Content-Length
        self.early_answers = False  # whether imports of disks are answered before the body came
        self.task_delay = 0.0
        self.guest_delay = 0.2
        self.shutdown_delay = 0.0
        self.guest_tools = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closing = True
        self.faults.clear()
        with self.store.changed:
            self.store.changed.notify_all()
        for listener in self.listeners:
            listener.close()
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def thread(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    # Addresses -----------------------------------------------------------------------------------------------------

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    @property
    def address(self):
        return f"127.0.0.1:{self.listeners[0].port}"

    @property
    def slave_address(self):
        return f"127.0.0.1:{self.listeners[1].port}"

    @property
    def url(self):
        return f"{self.scheme}://{self.address}"

    @property
    def slave_url(self):
        return f"{self.scheme}://{self.slave_address}"

    def address_of(self, context, slave):
        return self.slave_address if slave else self.address

    def xapi(self, slave=False):
        """The record of this pool as Xen Orchestra gives it to its proxy."""
        return {"url": self.slave_url if slave else self.url, "allowUnauthorized": True,
                "credentials": {"username": self.user, "password": self.password}}

    # What is there from the start ------------------------------------------------------------------------------------

    def populate(self):
        add = self.store.add
        version = {"product_version": "8.3.0", "product_brand": "XCP-ng", "xapi": "24.19"}
        self.master, self.slave = (
            add("host", name_label=name, hostname=name, enabled=True, API_version_major=2, API_version_minor=21,
                API_version_vendor="XenSource", software_version=version, address="127.0.0.1")
            for name in ("host-a", "host-b"))
        self.pool = add("pool", name_label="double", master=self.master)
        self.storage = {}
        for name, shared, hosts in (("shared", True, (self.master, self.slave)), ("local", False, (self.master,)),
                                    ("elsewhere", False, (self.slave,))):
            sr = add("SR", name_label=name, type="nfs" if shared else "ext", shared=shared, content_type="user",
                     physical_size=1 << 50)
            self.storage[name] = sr
            for host in hosts:
                add("PBD", SR=sr, host=host, currently_attached=True)
        self.store.put("pool", self.pool, "default_SR", self.storage["shared"])
        self.networks = {}
        for name, vlan in (("LAN", -1), ("DMZ", 42)):
            network = add("network", name_label=name, bridge=f"xenbr{len(self.networks)}")
            self.networks[name] = network
            for host in (self.master, self.slave):
                add("PIF", network=network, host=host, device="eth0", VLAN=vlan, MAC=self.new_mac(), IP="127.0.0.1",
                    physical=vlan < 0, currently_attached=True, management=vlan < 0)
        self.domains = {}
        for host in (self.master, self.slave):
            self.domains[host] = add(
                "VM", name_label="Control domain", is_control_domain=True, power_state="Running", resident_on=host, domid=0)

    def new_mac(self):
        return "02:%02x:%02x:%02x:%02x:%02x" % tuple(self.random.randrange(256) for _ in range(5))

    # Making machines -------------------------------------------------------------------------------------------------

    def add_machine(self, name, disks=(), networks=("LAN",), running=False, storage="shared", tags=(), fill=None,
                    uuid=None, description="", vtpm=None, cd=False):
        """A machine; `disks`: sizes in bytes, or dictionaries for `add_disk`. Gives its uuid."""
        with self.store.lock:
            vm = self.store.add(
                "VM", name_label=name, name_description=description, tags=list(tags), memory_static_max=1 << 28,
                memory_dynamic_max=1 << 28, memory_dynamic_min=1 << 28, memory_static_min=1 << 27, memory_target=1 << 28,
                VCPUs_max=2, VCPUs_at_startup=2, actions_after_shutdown="destroy", actions_after_reboot="restart",
                actions_after_crash="restart", HVM_boot_policy="BIOS order", HVM_boot_params={"order": "cd"},
                platform={"vga": "std", "acpi": "1"}, other_config={"mac_seed": new_uuid()})
            if uuid:
                self.store.put("VM", vm, "uuid", uuid)
            for number, network in enumerate(networks):
                self.store.add("VIF", VM=vm, network=self.networks[network], device=str(number), MAC=self.new_mac(), MTU=1500)
            if vtpm:
                self.vtpm_contents[self.store.add("VTPM", VM=vm)] = vtpm
            if cd:
                self.store.add("VBD", VM=vm, type="CD", mode="RO", userdevice="3", empty=True)
            identity = self.store.record("VM", vm)["uuid"]
            for disk in disks:
                options = disk if isinstance(disk, dict) else {"size": disk}
                self.add_disk(identity, **{"storage": storage, "fill": fill, **options})
            if running:
                self.power(vm, "Running")
            self.allow(vm)
            return identity

    def add_disk(self, machine, size, name=None, storage="shared", fill=None, seed=None):
        """A disk on a machine; `fill`: share of its blocks that have content. Gives its uuid."""
        with self.store.lock:
            vm = self.ref("VM", machine)
            record = self.store.record("VM", vm)
            device = self.calls.VM__get_allowed_VBD_devices(None, vm)[0]
            vdi = self.new_disk(
                name_label=name or f"{record['name_label']} {device}", SR=self.storage.get(storage, storage),
                virtual_size=size)
            self.store.add("VBD", VM=vm, VDI=vdi, userdevice=device, bootable=device == "0", mode="RW", type="Disk",
                           device=f"xvd{chr(97 + int(device))}", currently_attached=record["power_state"] == "Running")
            uuid = self.store.record("VDI", vdi)["uuid"]
        disk = self.disks[vdi]
        seed = seed if seed is not None else uuid
        if fill:
            rng = random.Random(f"fill {seed}")
            for number in range(disk.count):
                if fill >= 1 or rng.random() < fill:
                    disk.fill(number, f"{seed} {number}")
        return uuid

    def remove_disk(self, disk):
        """Takes a disk from its machine and destroys it."""
        with self.store.lock:
            vdi = self.ref("VDI", disk)
            for vbd in list(self.store.record("VDI", vdi)["VBDs"]):
                self.store.remove("VBD", vbd)
            self.destroy_disk(vdi)

    def grow(self, disk, size):
        with self.store.lock:
            vdi = self.ref("VDI", disk)
            self.disks[vdi].resize(size)
            self.store.put("VDI", vdi, "virtual_size", size)

    def ref(self, table, given):
        return given if given.startswith("OpaqueRef:") else self.store.by_uuid(table, given)

    def disk(self, given):
        """The content of a disk, by uuid or reference."""
        return self.disks[self.ref("VDI", given)]

    def record(self, table, given):
        return self.store.copy(table, self.ref(table, given))

    def disks_of(self, machine):
        """uuids of a machine's disks, by the order of their devices."""
        with self.store.lock:
            vbds = [self.store.record("VBD", vbd) for vbd in self.record("VM", machine)["VBDs"]]
            return [self.store.record("VDI", vbd["VDI"])["uuid"] for vbd in sorted(vbds, key=lambda v: int(v["userdevice"]))
                    if vbd["type"] == "Disk" and vbd["VDI"] != NULL]

    def digests(self, machine):
        return [self.disk(disk).digest() for disk in self.disks_of(machine)]

    def scribble(self, disk, share, seed):
        """Writes new content to some blocks: noise whole, or a few bytes. Gives how many blocks changed."""
        rng, target = random.Random(f"scribble {seed}"), self.disk(disk)
        numbers = rng.sample(range(target.count), max(1, round(target.count * share)))
        for number in numbers:
            rest = min(BLOCK, target.size - number * BLOCK)
            what = rng.random()
            if what < 0.5:
                target.fill(number, f"{seed} {number}")
            elif what < 0.9:
                count = rng.randrange(1, 5000)
                target.write(number * BLOCK + rng.randrange(max(1, rest - count)), rng.randbytes(min(count, rest)))
            else:
                target.write(number * BLOCK, bytes(rest))
        return len(numbers)

    def change(self, disk, share, seed):
        """Makes a share of a disk's blocks noise of that seed. Gives how many."""
        rng, target = random.Random(f"change {seed}"), self.disk(disk)
        numbers = rng.sample(range(target.count), max(1, round(target.count * share)))
        for number in numbers:
            target.fill(number, f"{seed} {number}")
        return len(numbers)

    def write_raw(self, disk, path):
        """The content of a disk as a sparse file."""
        target = self.disk(disk)
        with open(path, "wb") as file:
            file.truncate(target.size)
            for number in target.present():
                file.seek(number * BLOCK)
                file.write(target.load(number)[:target.size - number * BLOCK])
        return target.size

    # Disks and snapshots ---------------------------------------------------------------------------------------------

    def new_disk(self, **values):
        vdi = self.store.add("VDI", **values)
        self.store.put("VDI", vdi, "location", self.store.record("VDI", vdi)["uuid"])
        self.disks[vdi] = Disk(self.blocks, self.store.record("VDI", vdi)["virtual_size"])
        return vdi

    def clone_disk(self, vdi, changes):
        """A copy of a disk. Both become children of a base copy, as storage with chains does it."""
        with self.store.lock:
            old = self.store.record("VDI", vdi)
            if old["type"] == "cbt_metadata":
                raise Failure("VDI_INCOMPATIBLE_TYPE", vdi, old["type"])
            base = self.store.add(
                "VDI", name_label="base copy", SR=old["SR"], virtual_size=old["virtual_size"], managed=False,
                sm_config=dict(old["sm_config"]))
            parent = {"vhd-parent": self.store.record("VDI", base)["uuid"]}
            kept = ("name_label", "name_description", "SR", "virtual_size", "type", "sharable", "read_only", "other_config",
                    "xenstore_data", "tags", "cbt_enabled")
            values = {name: old[name] for name in kept}
            values.update(changes)
            values["sm_config"] = {**old["sm_config"], **parent}
            twin = self.store.add("VDI", **values)
            self.store.put("VDI", twin, "location", self.store.record("VDI", twin)["uuid"])
            self.store.put("VDI", vdi, "sm_config", {**old["sm_config"], **parent})
            self.disks[twin] = self.disks[vdi].clone()
            self.tidy_chains()
            return twin

    def destroy_disk(self, vdi):
        with self.store.lock:
            self.disks.pop(vdi).release()
            self.traces.pop(vdi, None)
            for vbd in list(self.store.record("VDI", vdi)["VBDs"]):
                self.store.remove("VBD", vbd)
            self.store.remove("VDI", vdi)
            self.tidy_chains()

    def tidy_chains(self):
        """What the storage does in the background: base copies with one child vanish."""
        while self.coalesce:
            records = self.store.tables["VDI"]
            children = {}
            for ref, record in records.items():
                children.setdefault(record["sm_config"].get("vhd-parent"), []).append(ref)
            for ref, record in list(records.items()):
                below = children.get(record["uuid"], [])
                if record["managed"] or len(below) > 1:
                    continue
                for child in below:
                    config = dict(records[child]["sm_config"])
                    config.pop("vhd-parent", None)
                    if "vhd-parent" in record["sm_config"]:
                        config["vhd-parent"] = record["sm_config"]["vhd-parent"]
                    self.store.put("VDI", child, "sm_config", config)
                self.store.remove("VDI", ref)
                break
            else:
                return

    def snapshot(self, vm, label, ignored, memory):
        """`VM.snapshot` and `VM.checkpoint`; gives the snapshot's reference. Within the store's lock."""
        store, now = self.store, date()
        source = store.copy("VM", vm)
        values = {name: value for name, value in source.items() if name not in (
            "uuid", "VBDs", "VIFs", "VTPMs", "snapshots", "children", "guest_metrics", "metrics", "allowed_operations",
            "current_operations", "resident_on", "domid", "consoles", "parent", "blocked_operations")}
        keeps_memory = memory or source["power_state"] == "Suspended"
        values.update(
            name_label=label, is_a_template=True, is_a_snapshot=True, snapshot_of=vm, snapshot_time=now,
            power_state="Suspended" if keeps_memory else "Halted", suspend_VDI=NULL, domid=-1, parent=source["parent"],
            snapshot_info={"power-state-at-snapshot": source["power_state"], "disk-snapshot-type": "crash_consistent"})
        snap = store.add("VM", **values)
        for ref in source["VBDs"]:
            vbd = store.copy("VBD", ref)
            vdi = vbd["VDI"]
            if vdi in ignored:
                continue
            if vbd["type"] == "Disk" and vdi != NULL:
                vdi = self.clone_disk(vdi, {"is_a_snapshot": True, "snapshot_of": vdi, "snapshot_time": now})
            taken = ("device", "userdevice", "bootable", "mode", "type", "unpluggable", "empty", "other_config",
                     "qos_algorithm_type", "qos_algorithm_params")
            store.add("VBD", VM=snap, VDI=vdi, **{name: vbd[name] for name in taken})
        for ref in source["VIFs"]:
            vif = store.copy("VIF", ref)
            taken = ("device", "network", "MAC", "MTU", "other_config", "MAC_autogenerated", "locking_mode", "ipv4_allowed",
                     "ipv6_allowed", "qos_algorithm_type", "qos_algorithm_params")
            store.add("VIF", VM=snap, **{name: vif[name] for name in taken})
        for ref in source["VTPMs"]:
            self.vtpm_contents[store.add("VTPM", VM=snap)] = self.vtpm_contents.get(ref, "")
        if memory:
            image = self.new_disk(
                name_label="Suspend image", SR=self.storage["shared"], virtual_size=8 << 20, type="suspend")
            self.disks[image].fill(0, f"memory {image}")
            store.put("VM", snap, "suspend_VDI", image)
        elif source["suspend_VDI"] != NULL:
            store.put("VM", snap, "suspend_VDI", self.clone_disk(source["suspend_VDI"], {
                "is_a_snapshot": True, "snapshot_of": source["suspend_VDI"], "snapshot_time": now}))
        store.put("VM", vm, "parent", snap)
        self.allow(snap)
        return snap

    # Power -----------------------------------------------------------------------------------------------------------

    def power(self, vm, state):
        with self.store.lock:
            record = self.store.record("VM", vm)
            running = state == "Running"
            self.store.put("VM", vm, "power_state", state)
            self.store.put("VM", vm, "resident_on", self.master if running else NULL)
            self.store.put("VM", vm, "domid", self.random.randrange(1, 1000) if running else -1)
            for table, name in (("VBD", "VBDs"), ("VIF", "VIFs")):
                for ref in record[name]:
                    self.store.put(table, ref, "currently_attached", running)
            metrics = record["guest_metrics"]
            if not running and metrics != NULL:
                self.store.put("VM", vm, "guest_metrics", NULL)
                self.store.remove("VM_guest_metrics", metrics)
            self.allow(vm)
        if running and self.guest_tools:
            Timer(self, self.guest_delay, lambda: self.boot(vm))

    def boot(self, vm):
        """The guest's tools report."""
        with self.store.lock:
            record = self.store.tables["VM"].get(vm)
            if record and record["power_state"] == "Running" and record["guest_metrics"] == NULL:
                self.store.put("VM", vm, "guest_metrics", self.store.add(
                    "VM_guest_metrics", PV_drivers_detected=True, PV_drivers_up_to_date=True, live=True,
                    PV_drivers_version={"major": "7", "minor": "30"}, last_updated=date()))

    def suspend(self, machine):
        """A running machine becomes a suspended one, with a memory image."""
        with self.store.lock:
            vm = self.ref("VM", machine)
            image = self.new_disk(
                name_label="Suspend image", SR=self.storage["shared"], virtual_size=8 << 20, type="suspend")
            self.disks[image].fill(0, f"memory {image}")
            self.power(vm, "Suspended")
            self.store.put("VM", vm, "suspend_VDI", image)

    def allow(self, vm):
        with self.store.lock:
            record = self.store.record("VM", vm)
            operations = {"Halted": ["start", "export", "destroy", "clone", "copy", "snapshot"],
                          "Running": ["snapshot", "checkpoint", "clean_shutdown", "hard_shutdown", "pool_migrate",
                                      "migrate_send"],
                          "Suspended": ["snapshot", "export", "hard_shutdown", "resume"]}.get(record["power_state"], [])
            operations = [name for name in operations if name not in record["blocked_operations"]]
            self.store.put("VM", vm, "allowed_operations", operations)

    # Tasks -----------------------------------------------------------------------------------------------------------

    def end_task(self, task, result="", failure=None):
        with self.store.lock:
            record = self.store.tables["task"].get(task)
            if record is None or record["status"] not in ("pending", "cancelling"):
                return
            self.store.put("task", task, "finished", date())
            self.store.put("task", task, "progress", 1.0)
            self.store.put("task", task, "allowed_operations", [])
            if failure is None:
                self.store.put("task", task, "result", result)
                self.store.put("task", task, "status", "success")
            else:
                self.store.put("task", task, "error_info", failure.description)
                cancelled = failure.code == "TASK_CANCELLED"
                self.store.put("task", task, "status", "cancelled" if cancelled else "failure")

    def cancel(self, task):
        with self.store.lock:
            if self.store.record("task", task)["status"] == "pending":
                self.store.put("task", task, "status", "cancelling")

    def check_cancelled(self, task):
        """Raises where somebody asked to cancel a task, or it is gone."""
        with self.store.lock:
            record = self.store.tables["task"].get(task)
            if record is None or record["status"] in ("cancelling", "cancelled"):
                raise Failure("TASK_CANCELLED", task)

    def sleep_in_task(self, task, seconds):
        limit = time.monotonic() + seconds
        while True:
            if task:
                self.check_cancelled(task)
            left = limit - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.02))

    # Calls -----------------------------------------------------------------------------------------------------------

    def dispatch(self, method, parameters, listener):
        """A call as it came: checks the session, writes the log. Raises Failure."""
        entry = {"method": method, "listener": "slave" if listener.is_slave else "master", "error": None,
                 "at": time.time(), "parameters": parameters if method.startswith("session.") else parameters[1:]}
        if len(self.log) < LOG:
            self.log.append(entry)
        try:
            rule = self.faults.strike("call", method=method)
            if rule:
                raise Failure(*rule.code)
            if method in ("session.login_with_password", "system.listMethods"):
                return self.calls.call(method, parameters, Context(listener=listener))
            session = parameters[0] if parameters else ""
            if self.faults.strike("expire", method=method):
                self.sessions.pop(session, None)
            if session not in self.sessions:
                raise Failure("SESSION_INVALID", session)
            if listener.is_slave:
                raise Failure("HOST_IS_SLAVE", self.address)
            return self.calls.call(method, parameters[1:], Context(session, listener))
        except Failure as failure:
            entry["error"] = failure.code
            raise

    def expire_sessions(self):
        with self.store.changed:
            self.sessions.clear()
            self.store.changed.notify_all()

    # What tests ask --------------------------------------------------------------------------------------------------

    def methods(self):
        """Methods that were called, each with how often."""
        counts = {}
        for entry in self.log:
            counts[entry["method"]] = counts.get(entry["method"], 0) + 1
        return counts

    def unexpected_calls(self):
        return sorted(method for method in self.methods() if " " not in method and not expected(method))

    def leftovers(self, snapshots=0, bases=1):
        """What a backup or restore that has ended should not have left, as texts.

        - snapshots: how many snapshots per machine may stay beside bases.
        - bases: how many snapshots marked as exported may stay per machine and job, as bases of the next differences.
        """
        found = []
        with self.store.lock:
            tables = self.store.tables
            for record in tables["task"].values():
                found.append(f"task {record['name_label']} ({record['status']})")
            attached = {vbd["VDI"] for vbd in tables["VBD"].values()} | {vm["suspend_VDI"] for vm in tables["VM"].values()}
            kept = {}
            for ref, vm in tables["VM"].items():
                name = vm["name_label"]
                if vm["is_control_domain"]:
                    found.extend(f"VBD on the control domain for {tables['VDI'].get(tables['VBD'][vbd]['VDI'], {}).get('name_label')}"
                                 for vbd in vm["VBDs"])
                    continue
                if vm["blocked_operations"]:
                    found.append(f"blocked operations of {name}: {vm['blocked_operations']}")
                if vm["current_operations"]:
                    found.append(f"current operations of {name}: {vm['current_operations']}")
                if "[Importing" in name or name == "xo-backup-temp-snapshot-name":
                    found.append(f"machine {name}")
                if vm["is_a_snapshot"]:
                    marks = vm["other_config"]
                    base = marks.get("xo:backup:exported") == "true"
                    job = marks.get("xo:backup:job") if base else None
                    kept.setdefault((vm["snapshot_of"], base, job), []).append(name)
            for (_, base, _), names in kept.items():
                if len(names) > (bases if base else snapshots):
                    found.extend(f"snapshot {name}" for name in names)
            for ref, vdi in tables["VDI"].items():
                if vdi["managed"] and ref not in attached:
                    found.append(f"disk {vdi['name_label']} without a machine")
        return found

    def machines(self):
        """uuids of the machines that are no snapshots, by name."""
        with self.store.lock:
            return {vm["name_label"]: vm["uuid"] for vm in self.store.tables["VM"].values()
                    if not vm["is_a_snapshot"] and not vm["is_control_domain"]}

    def remove_machine(self, machine):
        """A machine, its disks and snapshots vanish."""
        with self.store.lock:
            vm = self.ref("VM", machine)
            record = self.store.copy("VM", vm)
            for snapshot in record["snapshots"]:
                self.remove_machine(snapshot)
            self.power(vm, "Halted")
            for ref in record["VBDs"]:
                vbd = self.store.copy("VBD", ref)
                self.store.remove("VBD", ref)
                if vbd["type"] == "Disk" and vbd["VDI"] in self.disks:
                    self.destroy_disk(vbd["VDI"])
            if record["suspend_VDI"] in self.disks:
                self.destroy_disk(record["suspend_VDI"])
            for name, table in (("VIFs", "VIF"), ("VTPMs", "VTPM")):
                for ref in record[name]:
                    self.store.remove(table, ref)
            self.store.remove("VM", vm)
