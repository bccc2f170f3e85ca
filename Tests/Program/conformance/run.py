"""Runs the conformance cases, observed on the original server, against ours.

    python -m conformance.run [--area AREA] [--case ID] [--verbose]

Cases that we answer differently on purpose stand in differences.json, each with the decision that says why; cases of
what is not built yet stand there with the word "later". Such a case has to fail, at the point named: a difference that
is gone, or another one, is an error too.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from conformance.case import Case, Failed  # noqa: E402
from conformance.world import World  # noqa: E402
from support.server import Server  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def outcome(world, description):
    try:
        Case(world, description).run()
        return None
    except Failed as error:
        return str(error)
    except Exception as error:  # a fault of the runner, or an answer that cannot be read at all
        detail = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({os.path.basename(detail.filename)}:{detail.lineno})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--area")
    parser.add_argument("--case", action="append")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()

    with open(os.path.join(HERE, "cases.json")) as file:
        cases = json.load(file)
    with open(os.path.join(HERE, "differences.json")) as file:
        differences = json.load(file)
    chosen = [
        case for case in cases["cases"]
        if (not options.area or case["area"] == options.area) and (not options.case or case["id"] in options.case)
    ]
    started = time.monotonic()
    with Server() as server:
        world = World(server, cases["world"])
        results = {}
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            waiting = {pool.submit(outcome, world, c): c for c in chosen if not c.get("serial")}
            for future in concurrent.futures.as_completed(waiting):
                results[waiting[future]["id"]] = future.result()
        for case in chosen:
            if case.get("serial"):
                results[case["id"]] = outcome(world, case)
        if server.process.poll() is not None:
            results["server"] = "the server ended: " + " | ".join(server.log[-10:])

    passed = failed = different = later = 0
    for case_id, problem in sorted(results.items()):
        known = differences.get(case_id)
        if known and problem and known["at"] in problem:
            if "decision" in known:
                different += 1
            else:
                later += 1
            if options.verbose:
                print(f"different  {case_id}: {known.get('decision') or known.get('later')}")
        elif problem:
            failed += 1
            print(f"FAILED  {case_id}: {problem}")
        elif known:
            failed += 1
            print(f"FAILED  {case_id}: passes, but differences.json says that it does not")
        else:
            passed += 1
    print(f"conformance: {passed} as the original, {different} different on purpose, {later} not built yet, "
          f"{failed} failed, in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
