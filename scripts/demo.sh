#!/usr/bin/env bash
# Starts a server on loopback with a datastore of its own, backs up a folder twice, restores it and compares.
#   scripts/demo.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."

cairn=${CAIRN:-$PWD/.build/release/cairn}
work=$(mktemp -d "${TMPDIR:-/tmp}/cairn-demo.XXXXXX")
server=
finish() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    chmod -R u+rwX "$work" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

# The folder to back up: the user's own, or one made here of text, noise, a hole and this checkout's sources.
if [ -n "${1:-}" ]; then
    source=$(realpath "$1")
    [ -d "$source" ] || { echo "demo: $1 is not a folder" >&2; exit 1; }
else
    source=$work/source
    mkdir -p "$source/notes" "$source/empty"
    cp -R Sources docs "$source/"
    seq 1 400000 | sed 's/$/ the quick brown fox jumps over the lazy dog/' >"$source/notes/lines.txt"
    head -c 20M /dev/urandom >"$source/noise.bin"
    truncate -s 32M "$source/hole.img"
    printf 'hello' | dd of="$source/hole.img" bs=1 seek=5000000 conv=notrunc status=none
    ln -s notes/lines.txt "$source/link"
    ln "$source/noise.bin" "$source/hard-link.bin"
    chmod 750 "$source/notes"
fi

say "1. Start a server with a new state folder and an empty datastore"
mkdir -p "$work/store"
"$cairn" serve --state "$work/state" --listen 127.0.0.1:0 >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 1 300); do
    line=$(grep -m1 'listening on https://' "$work/server.log" || true)
    [ -n "$line" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.1
done
[ -n "$line" ] || { echo "demo: the server did not start in time" >&2; cat "$work/server.log" >&2; exit 1; }
echo "$line"
port=$(sed -E 's|.*https://[^ ]*:([0-9]+) .*|\1|' <<<"$line")
"$cairn" datastore create demo "$work/store" --state "$work/state"
"$cairn" user create demo@pbs --password demo-password --state "$work/state"
"$cairn" acl update /datastore/demo DatastoreAdmin --auth-id demo@pbs --state "$work/state"

export PBS_REPOSITORY="demo@pbs@127.0.0.1:$port:demo"
export PBS_PASSWORD=demo-password
export PBS_FINGERPRINT="${line##*fingerprint }"
export XDG_CACHE_HOME="$work/cache" XDG_RUNTIME_DIR="$work/run" XDG_CONFIG_HOME="$work/config"
mkdir -p "$work/run" && chmod 700 "$work/run"

say "2. Back up $source over TLS and HTTP/2"
"$cairn" backup "folder.pxar:$source" --backup-id demo

say "3. Back it up again: everything is read, next to nothing travels"
sleep 1.1
"$cairn" backup "folder.pxar:$source" --backup-id demo

say "4. What the datastore holds"
"$cairn" snapshot list host/demo

say "5. Restore the newest snapshot and compare"
snapshot=$("$cairn" snapshot list host/demo --output-format json |
    grep -o '"backup-time":[0-9]*' | cut -d: -f2 | sort -n | tail -1)
snapshot=host/demo/$(date -u -d "@$snapshot" +%Y-%m-%dT%H:%M:%SZ)
"$cairn" restore "$snapshot" folder.pxar "$work/restored"

# Names, kinds, modes, owners, sizes of files, times, link targets; then every byte.
listing() { (cd "$1" && find . -mindepth 1 \( -type d -printf '%P|%y|%m|%U:%G|%T@\n' -o -printf '%P|%y|%m|%U:%G|%s|%T@|%l\n' \) | LC_ALL=C sort); }
listing "$source" >"$work/source.list"
listing "$work/restored" >"$work/restored.list"
if diff "$work/source.list" "$work/restored.list" && diff -r --no-dereference "$source" "$work/restored" >/dev/null; then
    echo "restored tree is identical ($(wc -l <"$work/source.list") entries, $(du -sh --apparent-size "$source" | cut -f1))"
else
    echo "demo: the restored tree differs" >&2
    exit 1
fi

say "Go on"
cat <<TEXT
  make install                                   put cairn into /usr/local/bin
  cairn serve --state /var/lib/cairn             start a server that stays (port 8007)
  cairn datastore create NAME PATH --state /var/lib/cairn
  docs/start.md                                  first backup and restore in five minutes
TEXT
