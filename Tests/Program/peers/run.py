"""Peer sync from the outside: a client and a hub of our own, made from docs/protocols/peer-sync.md alone.

    python -m peers.run [NAME…]

First both against the vectors and each other, then against the program, which is tried as a hub and as a member.
"""

import sys

from support.checks import Checks

from . import ourselves, vectors


def main():
    checks = Checks("peers")
    checks.run_all(vectors.ALL)
    checks.run_all(ourselves.ALL)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
