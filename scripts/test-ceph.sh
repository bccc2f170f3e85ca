#!/usr/bin/env bash
# The contract of the remotes against a Ceph of one node, which this starts and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --build-tests
venv=.build/venv
if ! cmp -s Tests/Program/requirements.txt "$venv/.requirements"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r Tests/Program/requirements.txt
    cp Tests/Program/requirements.txt "$venv/.requirements"
fi
python=${PYTHON:-$PWD/$venv/bin/python}

folder=$(mktemp -d /tmp/cairn-ceph-XXXXXX)
trap 'scripts/ceph-one-node.sh stop "$folder"' EXIT
started=$SECONDS
CAIRN_S3=$(scripts/ceph-one-node.sh "$folder") || { tail -20 "$folder/setup.log" >&2; exit 1; }
export CAIRN_S3 CAIRN_S3_CHECKS=1
echo "Ceph answers after $((SECONDS - started)) s"
(cd Tests/Program && "$python" -m objects.run)
