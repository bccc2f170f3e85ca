#!/usr/bin/env bash
# Cairn's hot paths beside SHA-256, a hub with a large manifest and with a thousand members, then Cairn beside restic and
# borg, then machines of a pool into a chunk store beside `cairn backup`. Ratios only, but for what the hub must reach:
# absolute times mean nothing elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/system-packages.sh bench
swift build -c release --product cairn-bench
.build/release/cairn-bench
.build/release/cairn-bench gc
.build/release/cairn-bench verify
.build/release/cairn-bench peers-manifest
.build/release/cairn-bench peers-crowd .build/release/cairn
export CAIRN="$PWD/.build/release/cairn"
(cd Benchmarks && python3 -m compare.run "$@")

# The double of a pool needs the packages of the outside tests.
venv=$PWD/.build/venv
if ! cmp -s Tests/Program/requirements.txt "$venv/.requirements"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r Tests/Program/requirements.txt
    cp Tests/Program/requirements.txt "$venv/.requirements"
fi
cd Benchmarks && exec "$venv/bin/python" -m compare.xen
