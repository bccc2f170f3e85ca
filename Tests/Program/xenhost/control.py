"""What a test in another process may ask of the double: `POST /double` with `{"call": …, "arguments": {…}}`."""

import json

NAMES = {
    "add_machine", "add_disk", "remove_disk", "remove_machine", "grow", "scribble", "change", "digests", "disks_of",
    "suspend", "write_raw", "expire_sessions", "leftovers", "machines", "methods", "unexpected_calls", "record", "xapi"}
SWITCHES = {
    "json_rpc", "old_errors", "snapshot_ignores", "licence_restricted", "coalesce", "checksums", "declare_length",
    "early_answers", "task_delay", "guest_delay", "shutdown_delay", "guest_tools"}


def perform(pool, call, arguments):
    if call in NAMES:
        return getattr(pool, call)(**arguments)
    if call == "digest":
        return pool.disk(arguments["disk"]).digest()
    if call == "set":
        for name, value in arguments.items():
            if name == "shape":
                from .vhd import Shape
                pool.shape = Shape(**value)
            elif name in SWITCHES:
                setattr(pool, name, value)
            else:
                raise KeyError(name)
        return True
    if call == "fault":
        return pool.faults.add(**arguments).identity
    if call == "clear":
        pool.faults.clear()
        return True
    if call == "reached":
        return pool.faults.rules[arguments["fault"]].reached.wait(arguments.get("timeout", 0))
    if call == "release":
        pool.faults.rules[arguments["fault"]].release()
        return True
    if call == "log":
        return pool.log[arguments.get("from", 0):]
    if call == "transfers":
        return pool.transfers[arguments.get("from", 0):]
    raise KeyError(call)


def answer(pool, body):
    try:
        request = json.loads(body)
        return json.dumps({"result": perform(pool, request["call"], request.get("arguments", {}))}).encode()
    except Exception as problem:  # noqa: BLE001: the test that asked shall see it
        return json.dumps({"error": f"{type(problem).__name__}: {problem}"}).encode()
