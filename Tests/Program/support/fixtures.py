"""The store that the original server wrote, complete and writable."""

import os
import shutil

from . import values
from .server import ROOT

FIXTURES = os.path.join(ROOT, "Tests", "Fixtures", "pbs")
# Left out of the repository for their size: slices of the generated file random-9m.bin.
GENERATED = [
    ("91154410673a4faa745294d3af85d0a4bae8bf2e814efc8e577ab957d2f68278", 3525354, 4146440),
    ("7067c98d66f1be2020431ea7e1edd7632082a8d80988c45af3b2b17c0802e578", 686264, 2839090),
]


def random_9m():
    return values.shactr("pbs-fixture-random-9m", 9 << 20)


def fixture_store(folder):
    """A copy of the store."""
    shutil.copytree(os.path.join(FIXTURES, "store"), folder, symlinks=True)
    data = random_9m()
    for digest, offset, count in GENERATED:
        os.makedirs(os.path.join(folder, ".chunks", digest[:4]), exist_ok=True)
        with open(os.path.join(folder, ".chunks", digest[:4], digest), "wb") as file:
            file.write(values.blob(data[offset:offset + count]))
    return folder
