"""Cairn over loopback TLS beside restic and borg on local repositories: ratios of one run.

    python -m compare.run [--gib N] [--rounds N]
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Tests", "Program"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from compare import data, measure  # noqa: E402
from support.server import Server, program  # noqa: E402


class Cairn:
    name = "cairn"

    def __init__(self, work):
        self.folder = os.path.join(work, "cairn")
        os.makedirs(self.folder)
        self.server = Server(folder=self.folder)
        self.server.datastore("bench")
        self.server.owner("user", "create", "bench@pbs", "--password", "bench-password")
        self.server.owner("acl", "update", "/datastore/bench", "DatastoreAdmin", "--auth-id", "bench@pbs")
        self.environment = {
            "PBS_REPOSITORY": f"bench@pbs@127.0.0.1:{self.server.address[1]}:bench",
            "PBS_PASSWORD": "bench-password", "PBS_FINGERPRINT": self.server.fingerprint,
            "XDG_CACHE_HOME": self.folder, "XDG_CONFIG_HOME": self.folder, "XDG_RUNTIME_DIR": self.folder,
        }
        self.time = int(time.time()) - 1000

    def call(self, *arguments):
        return measure.run([program(), *arguments], self.environment, server=self.server.process.pid)

    def backup(self, tree, image, group="all"):
        self.time += 1
        items = [f"tree.pxar:{tree}"] * bool(tree) + [f"disk.img:{image}"] * bool(image)
        return self.call("backup", *items, "--backup-id", group, "--backup-time", str(self.time))

    first = unchanged = backup

    def restore(self, target):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.time))
        a = self.call("restore", f"host/all/{stamp}", "tree.pxar", os.path.join(target, "tree"))
        b = self.call("restore", f"host/all/{stamp}", "disk.img", os.path.join(target, "disk.img"))
        memory = {key: max(a.memory[key], b.memory[key]) for key in a.memory}
        return measure.Cost(a.wall + b.wall, a.cpu + b.cpu, memory)

    def close(self):
        self.server.stop()


class Restic:
    name = "restic"

    def __init__(self, work):
        self.folder = os.path.join(work, "restic")
        self.environment = {"RESTIC_REPOSITORY": self.folder, "RESTIC_PASSWORD": "bench",
                            "RESTIC_CACHE_DIR": os.path.join(work, "restic-cache")}
        self.call("init")

    def call(self, *arguments):
        return measure.run(["restic", *arguments], self.environment)

    def first(self, tree, image):
        return self.call("backup", tree, image)

    def unchanged(self, tree, image):
        return self.call("backup", "--force", tree, image)

    def restore(self, target):
        return self.call("restore", "latest", "--target", target)

    def close(self):
        pass


class Borg:
    name = "borg"

    def __init__(self, work):
        self.folder = os.path.join(work, "borg")
        self.environment = {"BORG_REPO": self.folder, "BORG_BASE_DIR": os.path.join(work, "borg-base"),
                            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        self.call("init", "--encryption=none")

    def call(self, *arguments, cwd=None):
        return measure.run(["borg", *arguments], self.environment, cwd=cwd)

    def first(self, tree, image):
        return self.call("create", "::first", tree, image)

    def unchanged(self, tree, image):
        return self.call("create", "--files-cache=disabled", "::second", tree, image)

    def restore(self, target):
        return self.call("extract", "::second", cwd=target)

    def close(self):
        pass


def identical(source, restored):
    return os.system(f"diff -r --no-dereference {source} {restored} >/dev/null") == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    top = tempfile.mkdtemp(prefix="cairn-bench-")
    steps = ("first", "unchanged", "restore")
    results = {}
    try:
        print(f"making {options.gib} GiB of data …", flush=True)
        tree, image = data.make(top, int(options.gib * (1 << 30)))
        size = int(options.gib * (1 << 30))
        for number in range(options.rounds):
            for tool in (Cairn, Restic, Borg):
                work = os.path.join(top, "work")
                os.makedirs(work)
                program_under_test = tool(work)
                target = os.path.join(work, "target")
                os.makedirs(target)
                for step in steps:
                    action = getattr(program_under_test, step)
                    cost = action(target) if step == "restore" else action(tree, image)
                    key = (tool.name, step)
                    results[key] = cost.best(results.get(key))
                    print(f"  round {number + 1} {tool.name:7} {step:10} {cost.wall:7.1f} s", flush=True)
                if tool is Cairn:
                    if not identical(tree, os.path.join(target, "tree")) or not identical(
                            image, os.path.join(target, "disk.img")):
                        raise SystemExit("bench: the restored data differs")
                    for kind, arguments in (("tree", (tree, None)), ("image", (None, image))):
                        cost = program_under_test.backup(*arguments, group=f"only-{kind}")
                        key = (tool.name, f"only-{kind}")
                        results[key] = cost.best(results.get(key))
                program_under_test.close()
                shutil.rmtree(work)
    finally:
        shutil.rmtree(top, ignore_errors=True)

    print(f"\n{'':22}{'wall s':>9}{'CPU s':>9}{'MiB/s':>9}{'peak MiB':>18}")
    for step in steps:
        for tool in ("cairn", "restic", "borg"):
            cost = results[tool, step]
            memory = " + ".join(f"{value >> 20}" for value in cost.memory.values())
            print(f"{step:11}{tool:11}{cost.wall:9.1f}{cost.cpu:9.1f}{size / cost.wall / (1 << 20):9.0f}{memory:>18}")
    print("\nratios (others / cairn; above 1: cairn is faster or smaller)")
    print(f"{'':22}{'wall':>9}{'CPU':>9}{'memory':>9}{'goal (wall)':>14}")
    goals = {("first", "fastest"): 1.5, ("unchanged", "restic"): 1.0, ("restore", "restic"): 1.0}
    for step in steps:
        mine = results["cairn", step]
        fastest = min((results[t, step] for t in ("restic", "borg")), key=lambda c: c.wall)
        for tool, cost in (("restic", results["restic", step]), ("borg", results["borg", step]), ("fastest", fastest)):
            goal = goals.get((step, tool))
            memory = sum(cost.memory.values()) / sum(mine.memory.values())
            print(f"{step:11}{tool:11}{cost.wall / mine.wall:9.2f}{cost.cpu / mine.cpu:9.2f}{memory:9.2f}"
                  f"{f'≥ {goal}' if goal else '':>14}")
    only = results["cairn", "only-tree"].wall / results["cairn", "only-image"].wall
    print(f"image beside tree, rate: {only:.2f} (goal ≥ 1.0)")


if __name__ == "__main__":
    main()
