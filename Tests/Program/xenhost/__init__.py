"""A double of a pool of XCP-ng hosts, for tests.

Written from the host's public documentation (class reference, wire protocol, VHD and XVA notes), not from Cairn's
client: it is the judge of it. In process:

    with Pool() as pool:
        vm = pool.add_machine("web", disks=[64 << 20])
        ... pool.address, pool.slave_address, pool.faults, pool.log, pool.leftovers() ...

As a program: `python -m xenhost --state FOLDER`; see `__main__.py`.
"""

from .pool import Pool  # noqa: F401
from .values import NULL, Failure  # noqa: F401
