"""Runs a command and tells wall time, CPU time and peak memory of it and its server."""

import os
import re
import subprocess
import time


class Cost:
    def __init__(self, wall, cpu, memory):
        self.wall, self.cpu, self.memory = wall, cpu, memory

    def best(self, other):
        return self if other is None or self.wall <= other.wall else other


def server_cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server_peak(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) * 1024


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def run(command, environment=None, cwd=None, server=None):
    """`server` is the process id of a server that does a part of the work."""
    if server:
        reset_peak(server)
    before = server_cpu(server) if server else 0.0
    started = time.monotonic()
    process = subprocess.Popen(
        command, env=dict(os.environ, **(environment or {})), cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{output.decode(errors='replace')[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    memory = {"client": usage.ru_maxrss * 1024}
    if server:
        cpu += server_cpu(server) - before
        memory["server"] = server_peak(server)
    return Cost(wall, cpu, memory)
