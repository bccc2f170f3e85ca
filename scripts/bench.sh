#!/usr/bin/env bash
# Cairn's hot paths beside SHA-256, then Cairn beside restic and borg. Ratios only: absolute times mean nothing elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/system-packages.sh bench
swift build -c release --product cairn-bench
.build/release/cairn-bench
.build/release/cairn-bench gc
.build/release/cairn-bench verify
export CAIRN="$PWD/.build/release/cairn"
cd Benchmarks && exec python3 -m compare.run "$@"
