"""The double as a program.

    python -m xenhost --state FOLDER [--master 127.0.0.1:0] [--slave 127.0.0.1:0] [--plain] [--machine NAME:SIZE[:SHARE]]…

Prints one line of JSON: the addresses, user and password, and the machines with their uuids. Each port takes plain HTTP
and TLS; `--plain` only changes what the line and redirections say. Ends with its standard input, or by a signal.
"""

import argparse
import json
import sys

from .pool import Pool


def main():
    parser = argparse.ArgumentParser(prog="xenhost")
    parser.add_argument("--state", required=True)
    parser.add_argument("--master", default="127.0.0.1:0")
    parser.add_argument("--slave", default="127.0.0.1:0")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--machine", action="append", default=[], metavar="NAME:MEBIBYTES[:SHARE]")
    given = parser.parse_args()
    pool = Pool(given.state, given.master, given.slave, tls=not given.plain)
    for text in given.machine:
        name, size, *share = text.split(":")
        pool.add_machine(name, disks=[int(size) << 20], fill=float(share[0]) if share else 1)
    print(json.dumps({
        "master": pool.url, "slave": pool.slave_url, "user": pool.user, "password": pool.password,
        "pool": pool.record("pool", pool.pool)["uuid"], "machines": pool.machines(),
        "storage": {name: pool.record("SR", ref)["uuid"] for name, ref in pool.storage.items()}}), flush=True)
    try:
        sys.stdin.read()
    except KeyboardInterrupt:
        pass
    pool.close()


main()
