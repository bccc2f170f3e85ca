"""The proxy of Xen Orchestra as its caller sees it: transport, every method, tasks and events.

    python -m orchestra.run [TEST…]

Hosts and machines are tried by `xen.run`. `CAIRN_SOAK=1`: more waiters at once.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from orchestra import tasks, transport  # noqa: E402
from orchestra.world import World  # noqa: E402
from support.checks import Checks  # noqa: E402


def main():
    checks = Checks("orchestra")
    with World() as world:
        checks.run_all(transport.TESTS + tasks.TESTS, world)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
