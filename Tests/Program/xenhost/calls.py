"""The calls of the host's interface."""

import base64
import fnmatch
import inspect
import re
import threading
import time

from .disks import BLOCK
from .schema import CLASSES
from .values import NULL, Failure, date, new_ref, new_uuid, to_xml

# Setters of fields that are not simply writable.
SETTERS = {
    "VM": {
        "memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min", "VCPUs_max",
        "VCPUs_at_startup", "HVM_shadow_multiplier", "ha_restart_priority", "ha_always_run", "start_delay",
        "shutdown_delay", "order", "domain_type", "appliance", "has_vendor_device", "NVRAM", "suspend_VDI",
        "actions_after_crash", "actions_after_softreboot", "protection_policy", "snapshot_schedule"},
    "VDI": {"name_label", "name_description", "sharable", "read_only", "on_boot", "virtual_size", "managed"},
    "SR": {"name_label", "name_description"},
    "VIF": {"locking_mode", "ipv4_allowed", "ipv6_allowed"},
    "task": {"status", "progress", "result", "error_info"},
}

# What a backup needs of the interface. (Cairn's specification of the proxy, §6.2 to §6.4.)
EXPECTED = """
    session.login_with_password session.logout system.listMethods pool.get_all_records host.get_all_records
    *.get_by_uuid *.get_record *.get_all_records *.get_* *.remove_from_other_config *.add_to_other_config
    Async.VM.snapshot Async.VM.checkpoint VM.set_is_a_template VM.set_* VM.add_tags VM.remove_tags
    Async.VM.clean_shutdown Async.VM.start Async.VM.hard_shutdown
    VM.add_to_blocked_operations VM.remove_from_blocked_operations VM.update_allowed_operations
    Async.VM.destroy Async.VDI.destroy Async.VDI.enable_cbt Async.VDI.list_changed_blocks Async.VDI.data_destroy
    VDI.get_nbd_info VM.create VDI.create VBD.create VIF.create Async.VDI.clone VDI.resize Async.VDI.resize
    VTPM.create VTPM.get_contents VTPM.set_contents VBD.destroy VBD.unplug Async.VBD.unplug VIF.destroy VDI.set_*
    VTPM.destroy VBD.set_* VDI.remove_from_* VDI.add_to_*
    task.create task.set_progress task.set_status task.destroy task.cancel event.inject event.from""".split()


def expected(method):
    return any(fnmatch.fnmatchcase(method, pattern) for pattern in EXPECTED)


class Context:
    """Who calls: the session, and the task where the call is asynchronous."""

    def __init__(self, session=None, listener=None, task=None):
        self.session = session
        self.listener = listener
        self.task = task


class Calls:
    """`special` methods are called `Class__method`; all other calls follow from the classes."""

    def __init__(self, pool):
        self.pool = pool
        self.store = pool.store
        self.special = {
            name.replace("__", "."): method for name, method in inspect.getmembers(self, inspect.ismethod)
            if "__" in name and not name.startswith("_")}

    # Dispatch ------------------------------------------------------------------------------------------------------

    def names(self):
        names = set(self.special)
        for table, fields in CLASSES.items():
            names |= {f"{table}.{verb}" for verb in ("get_record", "get_all", "get_all_records", "get_by_uuid")}
            for name, field in fields.items():
                names.add(f"{table}.get_{name}")
                if field.writable or name in SETTERS.get(table, ()):
                    names.add(f"{table}.set_{name}")
                if field.writable and field.type == "M":
                    names |= {f"{table}.add_to_{name}", f"{table}.remove_from_{name}"}
                if field.writable and field.type == "S":
                    names |= {f"{table}.add_{name}", f"{table}.remove_{name}"}
        return sorted(names | {f"Async.{name}" for name in self.special if not name.startswith(("session", "event"))})

    def call(self, method, parameters, context):
        """A call whose session was checked; gives its result."""
        if method.startswith("Async."):
            return self.start(method, parameters, context)
        return self.bound(method, parameters)(context)

    def bound(self, method, parameters):
        """The call as a function of its context. Raises for an unknown name or a wrong number of parameters."""
        table, _, verb = method.partition(".")
        function = self.special.get(method)
        if function is None:
            function = self.generic(table, verb)
            if function is None:
                raise Failure("MESSAGE_METHOD_UNKNOWN", method)
        takes = list(inspect.signature(function).parameters.values())[1:]
        least = sum(item.default is item.empty for item in takes)
        if not least <= len(parameters) <= len(takes) or (
                method == "VM.snapshot" and len(parameters) == 3 and not self.pool.snapshot_ignores):
            counted = len(takes) if least == len(takes) else least
            raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method, counted + 1, len(parameters) + 1)
        return lambda context: function(context, *parameters)

    def generic(self, table, verb):
        fields, store = CLASSES.get(table), self.store
        if fields is None:
            return None
        if verb == "get_record":
            return lambda context, ref: store.copy(table, ref)
        if verb == "get_all_records":
            return lambda context: store.all(table)
        if verb == "get_all":
            return lambda context: list(store.all(table))
        if verb == "get_by_uuid":
            return lambda context, uuid: store.by_uuid(table, uuid)
        if verb == "get_by_name_label" and "name_label" in fields:
            return lambda context, label: store.find(table, name_label=label)
        match = re.fullmatch(r"(get|set|add_to|remove_from|add|remove)_(\w+)", verb)
        field = fields.get(match.group(2)) if match else None
        if field is None:
            return None
        action, name = match.group(1), field.name
        if action == "get":
            return lambda context, ref: store.copy(table, ref)[name]
        if action == "set" and (field.writable or name in SETTERS.get(table, ())):
            def put(context, ref, value):
                store.record(table, ref)
                self.before_set(table, ref, name)
                store.put(table, ref, name, self.checked(field, value))
            return put
        if not field.writable:
            return None
        if action == "add_to" and field.type == "M":
            def add_to(context, ref, key, value):
                with store.lock:
                    current = dict(store.record(table, ref)[name])
                    if key in current:
                        raise Failure("MAP_DUPLICATE_KEY", table, name, ref, key)
                    current[key] = value
                    store.put(table, ref, name, self.checked(field, current))
            return add_to
        if action == "remove_from" and field.type == "M":
            def remove_from(context, ref, key):
                with store.lock:
                    current = dict(store.record(table, ref)[name])
                    current.pop(key, None)
                    store.put(table, ref, name, current)
            return remove_from
        if action in ("add", "remove") and field.type == "S":
            def change(context, ref, value):
                with store.lock:
                    current = [item for item in store.record(table, ref)[name] if item != value]
                    store.put(table, ref, name, current + ([value] if action == "add" else []))
            return change
        return None

    def checked(self, field, value):
        try:
            return field.accepts(value)
        except (TypeError, ValueError) as problem:
            raise Failure("FIELD_TYPE_ERROR", str(problem)) from None

    def before_set(self, table, ref, name):
        if table == "VM" and name == "is_a_template" and self.pool.licence_restricted:
            raise Failure("LICENSE_RESTRICTION", "template")

    # Asynchronous calls --------------------------------------------------------------------------------------------

    def start(self, method, parameters, context):
        name = method[len("Async."):]
        work = self.bound(name, parameters)
        task = self.store.add(
            "task", name_label=method, created=date(), resident_on=self.pool.master, allowed_operations=["cancel"])
        inner = Context(context.session, context.listener, task)
        self.pool.thread(self.perform, name, work, inner)
        return task

    def perform(self, name, work, context):
        pool, task = self.pool, context.task
        try:
            delay = pool.faults.strike("delay", method=name)
            pool.sleep_in_task(task, delay.seconds if delay else pool.task_delay)
            hold = pool.faults.strike("hold", method=name)
            while hold and not hold.released.wait(0.02):
                pool.check_cancelled(task)
            rule = pool.faults.strike("task", method=name)
            if rule:
                raise Failure(*rule.code)
            pool.check_cancelled(task)
            result = work(context)
            pool.end_task(task, result="" if result is None else to_xml(result))
        except Failure as failure:
            pool.end_task(task, failure=failure)
        except Exception as problem:  # noqa: BLE001: a host answers something, whatever happens
            pool.end_task(task, failure=Failure("INTERNAL_ERROR", repr(problem)))

    # Sessions, tasks, events ---------------------------------------------------------------------------------------

    def session__login_with_password(self, context, user, password, version="", originator=""):
        if context.listener.is_slave:
            raise Failure("HOST_IS_SLAVE", self.pool.address_of(context, slave=False))
        if (user, password) != (self.pool.user, self.pool.password):
            raise Failure("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure")
        ref = new_ref()
        self.pool.sessions[ref] = {"uuid": new_uuid(), "originator": originator}
        return ref

    def session__logout(self, context):
        self.pool.sessions.pop(context.session, None)

    def system__listMethods(self, context):
        return self.names()

    def task__create(self, context, label, description):
        return self.store.add("task", name_label=label, name_description=description, created=date(),
                              resident_on=self.pool.master, allowed_operations=["cancel"])

    def task__destroy(self, context, ref):
        self.store.record("task", ref)
        self.store.remove("task", ref)

    def task__cancel(self, context, ref):
        self.pool.cancel(ref)

    def event__inject(self, context, table, ref):
        for name in CLASSES:
            if name.lower() == table.lower():
                self.store.record(name, ref)
                return self.token(self.store.touch(name, ref))
        raise Failure("INVALID_VALUE", "class", table)

    def token(self, sequence):
        return f"{sequence:020d},0000"

    def event__from(self, context, classes, token, timeout):
        pool, store = self.pool, self.store
        if not isinstance(timeout, float):
            raise Failure("INTERNAL_ERROR", f"a float is expected, not {timeout!r}")
        if pool.faults.strike("events_lost"):
            raise Failure("EVENTS_LOST")
        if token == "":
            since = -1
        elif re.fullmatch(r"\d{20},\d{4}", token):
            since = int(token[:20])
        else:
            raise Failure("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
        classes = {name.lower() for name in classes}
        limit = time.monotonic() + timeout
        with store.changed:
            while True:
                found, sequence = store.events(classes, since)
                left = limit - time.monotonic()
                if found or left <= 0 or pool.closing:
                    break
                if context.session not in pool.sessions:
                    raise Failure("SESSION_INVALID", context.session)
                store.changed.wait(min(left, 1))
            counts = store.counts(classes)
        events = []
        for stamp, name, operation, ref, record in found:
            event = {"id": str(stamp), "timestamp": "0.", "class": name, "operation": operation, "ref": ref}
            if record is not None:
                event["snapshot"] = record
            events.append(event)
        return {"events": events, "token": self.token(sequence), "valid_ref_counts": counts}

    # Machines ------------------------------------------------------------------------------------------------------

    def record_of(self, table, given):
        """The fields for a new object from what a caller gave."""
        if not isinstance(given, dict):
            raise Failure("FIELD_TYPE_ERROR", table)
        values = {}
        for name, field in CLASSES[table].items():
            if name in given and field.creatable:
                values[name] = self.checked(field, given[name])
            elif field.required:
                raise Failure("FIELD_TYPE_ERROR", f"{table} record: no {name}")
        return values

    def VM__create(self, context, record):
        values = self.record_of("VM", record)
        if values.get("power_state") not in ("Halted", "Suspended"):
            values.pop("power_state", None)
        if values.get("suspend_VDI", NULL) != NULL:
            self.store.record("VDI", values["suspend_VDI"])
        for name in ("affinity", "appliance", "suspend_SR"):
            table = {"affinity": "host", "suspend_SR": "SR"}.get(name)
            if values.get(name, NULL) not in (NULL, "") and (
                    table is None or values[name] not in self.store.tables[table]):
                values[name] = NULL
        values["hardware_platform_version"] = int(values.get("hardware_platform_version", 0))
        return self.store.add("VM", **values)

    def state(self, vm, *allowed):
        record = self.store.record("VM", vm)
        if record["power_state"] not in allowed:
            raise Failure("VM_BAD_POWER_STATE", vm, allowed[0].lower(), record["power_state"].lower())
        return record

    def blocked(self, vm, operation):
        reason = self.store.record("VM", vm)["blocked_operations"].get(operation)
        if reason is not None:
            raise Failure("OPERATION_BLOCKED", vm, reason)

    def VM__snapshot(self, context, vm, label, ignored=()):
        with self.store.lock:
            self.blocked(vm, "snapshot")
            for vdi in ignored:
                self.store.record("VDI", vdi)
            return self.pool.snapshot(vm, label, set(ignored), memory=False)

    def VM__checkpoint(self, context, vm, label):
        with self.store.lock:
            self.blocked(vm, "checkpoint")
            self.state(vm, "Running")
            return self.pool.snapshot(vm, label, set(), memory=True)

    def VM__destroy(self, context, vm):
        with self.store.lock:
            self.blocked(vm, "destroy")
            record = self.state(vm, "Halted")
            if record["is_control_domain"] or record["is_default_template"]:
                raise Failure("OPERATION_NOT_ALLOWED", "this machine belongs to the host")
            for table, name in (("VBD", "VBDs"), ("VIF", "VIFs"), ("VTPM", "VTPMs")):
                for ref in list(record[name]):
                    self.store.remove(table, ref)
            for metrics in (record["guest_metrics"],):
                if metrics != NULL:
                    self.store.remove("VM_guest_metrics", metrics)
            self.store.remove("VM", vm)

    def VM__start(self, context, vm, paused, force):
        with self.store.lock:
            self.blocked(vm, "start")
            record = self.state(vm, "Halted")
            if record["is_a_template"]:
                raise Failure("VM_IS_TEMPLATE", vm)
            self.pool.power(vm, "Running")

    def VM__clean_shutdown(self, context, vm):
        self.blocked(vm, "clean_shutdown")
        self.state(vm, "Running")
        self.pool.sleep_in_task(context.task, self.pool.shutdown_delay)
        self.pool.power(vm, "Halted")

    def VM__hard_shutdown(self, context, vm):
        with self.store.lock:
            self.blocked(vm, "hard_shutdown")
            record = self.state(vm, "Running", "Suspended", "Paused")
            image = record["suspend_VDI"]
            if image != NULL:
                self.store.put("VM", vm, "suspend_VDI", NULL)
                if image in self.store.tables["VDI"]:
                    self.pool.destroy_disk(image)
            self.pool.power(vm, "Halted")

    def VM__update_allowed_operations(self, context, vm):
        self.store.record("VM", vm)
        self.pool.allow(vm)

    def VM__assert_operation_valid(self, context, vm, operation):
        self.blocked(vm, operation)

    def VM__get_allowed_VBD_devices(self, context, vm):
        used = {self.store.record("VBD", vbd)["userdevice"] for vbd in self.store.record("VM", vm)["VBDs"]}
        return [str(number) for number in range(16) if str(number) not in used]

    def VM__get_allowed_VIF_devices(self, context, vm):
        used = {self.store.record("VIF", vif)["device"] for vif in self.store.record("VM", vm)["VIFs"]}
        return [str(number) for number in range(7) if str(number) not in used]

    def VM__set_bios_strings(self, context, vm, strings):
        if self.store.record("VM", vm)["bios_strings"]:
            raise Failure("VM_BIOS_STRINGS_ALREADY_SET")
        self.store.put("VM", vm, "bios_strings", strings)

    def VM__set_memory_limits(self, context, vm, static_min, static_max, dynamic_min, dynamic_max):
        for name, value in (("memory_static_min", static_min), ("memory_static_max", static_max),
                            ("memory_dynamic_min", dynamic_min), ("memory_dynamic_max", dynamic_max)):
            self.store.put("VM", vm, name, self.checked(CLASSES["VM"][name], value))

    # Disks ---------------------------------------------------------------------------------------------------------

    def VDI__create(self, context, record):
        values = self.record_of("VDI", record)
        self.store.record("SR", values["SR"])
        if values["virtual_size"] <= 0:
            raise Failure("VDI_SIZE_INVALID", values["virtual_size"])
        return self.pool.new_disk(**values)

    def VDI__destroy(self, context, vdi):
        with self.store.lock:
            record = self.store.record("VDI", vdi)
            for vbd in record["VBDs"]:
                if self.store.record("VBD", vbd)["currently_attached"]:
                    raise Failure("VDI_IN_USE", vdi, "destroy")
            self.pool.destroy_disk(vdi)

    def VDI__clone(self, context, vdi, options=None):
        return self.pool.clone_disk(vdi, {})

    def VDI__resize(self, context, vdi, size):
        with self.store.lock:
            record, size = self.store.record("VDI", vdi), int(size)
            if size < record["virtual_size"]:
                raise Failure("VDI_SIZE_INVALID", size)
            if any(self.store.record("VBD", vbd)["currently_attached"] for vbd in record["VBDs"]):
                raise Failure("VDI_IN_USE", vdi, "resize")
            self.pool.disks[vdi].resize(size)
            self.store.put("VDI", vdi, "virtual_size", size)

    def VDI__enable_cbt(self, context, vdi):
        self.store.record("VDI", vdi)
        self.store.put("VDI", vdi, "cbt_enabled", True)

    def VDI__disable_cbt(self, context, vdi):
        self.store.record("VDI", vdi)
        self.store.put("VDI", vdi, "cbt_enabled", False)

    def VDI__data_destroy(self, context, vdi):
        with self.store.lock:
            record = self.store.record("VDI", vdi)
            if not record["is_a_snapshot"] or not record["cbt_enabled"]:
                raise Failure("VDI_NO_CBT_METADATA", vdi)
            self.pool.traces[vdi] = dict(self.pool.disks[vdi].map)
            self.pool.disks[vdi].release()
            self.store.put("VDI", vdi, "type", "cbt_metadata")

    def VDI__list_changed_blocks(self, context, old, new):
        with self.store.lock:
            for vdi in (old, new):
                if not self.store.record("VDI", vdi)["cbt_enabled"]:
                    raise Failure("VDI_NO_CBT_METADATA", vdi)
            maps = [self.pool.traces.get(vdi, self.pool.disks[vdi].map) for vdi in (old, new)]
            count = (self.pool.disks[new].size + 65535) // 65536
            bitmap = bytearray((count + 7) // 8)
            each = BLOCK // 65536 // 8
            for number in set(maps[0]) | set(maps[1]):
                if maps[0].get(number) is not maps[1].get(number):
                    bitmap[number * each:(number + 1) * each] = b"\xff" * each
            return base64.b64encode(bitmap[:(count + 7) // 8]).decode()

    def VDI__get_nbd_info(self, context, vdi):
        self.store.record("VDI", vdi)
        return []

    # Devices -------------------------------------------------------------------------------------------------------

    def VBD__create(self, context, record):
        with self.store.lock:
            values = self.record_of("VBD", record)
            vm = self.store.record("VM", values["VM"])
            if not values["empty"]:
                self.store.record("VDI", values["VDI"])
            used = {self.store.record("VBD", vbd)["userdevice"] for vbd in vm["VBDs"]}
            if values["userdevice"] == "autodetect":
                values["userdevice"] = self.VM__get_allowed_VBD_devices(context, values["VM"])[0]
            if values["userdevice"] in used:
                raise Failure("DEVICE_ALREADY_EXISTS", values["userdevice"])
            if values["type"] not in ("Disk", "CD", "Floppy") or values["mode"] not in ("RO", "RW"):
                raise Failure("FIELD_TYPE_ERROR", "type or mode")
            values["currently_attached"] = False
            return self.store.add("VBD", **values)

    def VBD__destroy(self, context, vbd):
        with self.store.lock:
            if self.store.record("VBD", vbd)["currently_attached"]:
                raise Failure("OPERATION_NOT_ALLOWED", "VBD is attached")
            self.store.remove("VBD", vbd)

    def VBD__unplug(self, context, vbd):
        with self.store.lock:
            if not self.store.record("VBD", vbd)["currently_attached"]:
                raise Failure("DEVICE_ALREADY_DETACHED", vbd)
            self.store.put("VBD", vbd, "currently_attached", False)

    def VIF__create(self, context, record):
        with self.store.lock:
            values = self.record_of("VIF", record)
            vm = self.store.record("VM", values["VM"])
            self.store.record("network", values["network"])
            if values["device"] in {self.store.record("VIF", vif)["device"] for vif in vm["VIFs"]}:
                raise Failure("DEVICE_ALREADY_EXISTS", values["device"])
            given = values["MAC"]
            if given == "":
                values["MAC"] = self.pool.new_mac()
            elif not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", given):
                raise Failure("MAC_INVALID", given)
            values["currently_attached"] = False
            return self.store.add("VIF", MAC_autogenerated=given == "", **values)

    def VIF__destroy(self, context, vif):
        self.store.record("VIF", vif)
        self.store.remove("VIF", vif)

    def VTPM__create(self, context, vm, is_unique=False):
        self.state(vm, "Halted")
        return self.store.add("VTPM", VM=vm, is_unique=is_unique)

    def VTPM__destroy(self, context, vtpm):
        self.store.record("VTPM", vtpm)
        self.store.remove("VTPM", vtpm)

    def VTPM__get_contents(self, context, vtpm):
        self.store.record("VTPM", vtpm)
        return self.pool.vtpm_contents.get(vtpm, "")

    def VTPM__set_contents(self, context, vtpm, contents):
        self.store.record("VTPM", vtpm)
        try:
            base64.b64decode(contents, validate=True)
        except ValueError:
            raise Failure("INVALID_VALUE", "contents", "") from None
        self.pool.vtpm_contents[vtpm] = contents


class Timer:
    """Calls something later, unless the pool has closed."""

    def __init__(self, pool, seconds, work):
        self.timer = threading.Timer(seconds, lambda: None if pool.closing else work())
        self.timer.daemon = True
        self.timer.start()
