#!/usr/bin/env bash
# The whole behaviour: unit and in-process tests, and the built program from the outside.
# CAIRN_SOAK=1 runs everything at full count.
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --build-tests

# The Python packages of the outside tests, in a folder of their own.
venv=.build/venv
stamp=$venv/.requirements
if ! cmp -s Tests/Program/requirements.txt "$stamp"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r Tests/Program/requirements.txt
    cp Tests/Program/requirements.txt "$stamp"
fi
export CAIRN="$PWD/.build/debug/cairn"

# promtool checks the metrics page. Debian's package is unpacked, not installed: installed, it starts a server.
if ! command -v promtool >/dev/null; then
    tools=$PWD/.build/tools
    if [ ! -x "$tools/usr/bin/promtool" ]; then
        mkdir -p "$tools"
        (cd "$tools" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb usr/bin/prometheus) \
            >/dev/null 2>&1 || echo "promtool is not there: the package prometheus cannot be downloaded"
    fi
    export PATH="$PATH:$tools/usr/bin"
fi

outside() {
    echo "== $1"
    (cd Tests/Program && "../../$venv/bin/python" -m "$1")
}

failed=0
outside replay.run || failed=1
outside independent.run || failed=1
outside conformance.run || failed=1
outside restore.run || failed=1
outside adoption.run || failed=1
outside crowd.run || failed=1
outside faults.run || failed=1
outside kills.run || failed=1
outside sync.run || failed=1
outside jobs.run || failed=1
outside owner.run || failed=1
outside install.run || failed=1
outside state.run || failed=1
outside recorded.run || failed=1
outside callers.run || failed=1
outside orchestra.run || failed=1
outside proxmoxer_calls.run || failed=1
outside fuzz.run || failed=1
outside xenhost.run || failed=1
outside xen.run || failed=1
outside objects.run || failed=1
outside peers.run || failed=1
outside fleet.run || failed=1

# One after the other: what waits for a time limit must not depend on what else runs.
swift test --skip-build --no-parallel || failed=1
exit $failed
