#!/usr/bin/env bash
# Puts the program, its completions, its manual pages and the systemd unit below DESTDIR/PREFIX.
#   BIN=.build/release/cairn PREFIX=/usr/local DESTDIR= scripts/install.sh
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-.build/release/cairn}
prefix=${PREFIX:-/usr/local}
place=${DESTDIR:-}$prefix

install -D -m 755 "$bin" "$place/bin/cairn"

completion() {
    install -d -m 755 "$(dirname "$2")"
    "$bin" --generate-completion-script "$1" >"$2"
    chmod 644 "$2"
}
completion bash "$place/share/bash-completion/completions/cairn"
completion zsh "$place/share/zsh/site-functions/_cairn"
completion fish "$place/share/fish/vendor_completions.d/cairn.fish"

pages=$(mktemp -d "${TMPDIR:-/tmp}/cairn-man.XXXXXX")
trap 'rm -rf "$pages"' EXIT
python3 scripts/manual-pages.py "$bin" "$pages"
install -d -m 755 "$place/share/man/man1"
install -m 644 "$pages"/*.1 "$place/share/man/man1/"

install -d -m 755 "$place/lib/systemd/system"
sed "s|@PREFIX@|$prefix|" packaging/cairn.service >"$place/lib/systemd/system/cairn.service"
chmod 644 "$place/lib/systemd/system/cairn.service"
