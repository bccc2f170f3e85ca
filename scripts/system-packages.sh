#!/usr/bin/env bash
# Makes sure that the system packages are there: as root installs what is missing, otherwise prints the line to run.
set -euo pipefail

needed=(libzstd-dev libdeflate-dev libsqlite3-dev libcrypt-dev python3-venv)
case "${1:-}" in
bench) needed+=(restic borgbackup) ;;
test) needed+=(qemu-utils tzdata) ;;
test-ceph) needed+=(ceph-mon ceph-mgr ceph-osd radosgw ceph-common uuid-runtime) ;;
esac

missing=()
for package in "${needed[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ! command -v swift >/dev/null; then
    echo "Swift 6.3 is needed: see https://www.swift.org/install/linux/" >&2
    exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ]; then
    echo "installing system packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
else
    echo "Some system packages are missing. Run this line, then try again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi
