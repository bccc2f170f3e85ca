#!/usr/bin/env python3
"""Writes docs/reference/commands.md from the program's own help: scripts/commands-reference.py [CAIRN]"""
import json
import pathlib
import subprocess
import sys

top = pathlib.Path(__file__).resolve().parent.parent
cairn = sys.argv[1] if len(sys.argv) > 1 else str(top / ".build/release/cairn")
root = json.loads(subprocess.run([cairn, "--experimental-dump-help"], check=True, capture_output=True).stdout)["command"]


def spelled(argument):
    name = argument.get("valueName", "value")
    if argument["kind"] == "positional":
        text = f"<{name}>"
    else:
        flags = [("-" if n["kind"] == "short" else "--") + n["name"] for n in argument["names"]]
        text = ", ".join(flags) + (f" <{name}>" if argument["kind"] == "option" else "")
    return text + ("…" if argument.get("isRepeating") else "")


def describe(command, path, lines):
    name = " ".join(path + [command["commandName"]])
    children = [c for c in command.get("subcommands", []) if c["commandName"] != "help" and c.get("shouldDisplay", True)]
    if children:
        for child in children:
            describe(child, path + [command["commandName"]], lines)
        return
    arguments = [
        a for a in command.get("arguments", []) if a.get("shouldDisplay", True) and a.get("valueName") not in ("help", "version")
    ]
    usage = " ".join(
        [name] + [spelled(a) if not a["isOptional"] else f"[{spelled(a)}]" for a in arguments if a["kind"] == "positional"])
    lines += [f"## {name}", "", command.get("abstract", ""), "", "```", usage + " [options]", "```", ""]
    if command.get("discussion"):
        lines += [command["discussion"], ""]
    if arguments:
        lines += ["| Argument | Meaning |", "|---|---|"]
        for a in arguments:
            meaning = a.get("abstract", "").replace("|", "\\|")
            default = a.get("defaultValue")
            lines.append(f"| `{spelled(a)}` | {meaning}{f' Default: {default}.' if default not in (None, '') else ''} |")
        lines.append("")


lines = [
    "# Commands", "",
    "Made by `scripts/commands-reference.py` from the program's own help; `cairn help COMMAND` shows the same.", "",
    "Results go to standard output, everything else to standard error. The exit status is 0 for success and 255 for every",
    "error, a wrong command line included. The names of the stock client (`snapshots`, `files`, `forget`, `upload-log`) work",
    "as well.", "",
]
for command in root["subcommands"]:
    if command["commandName"] != "help" and command.get("shouldDisplay", True):
        describe(command, ["cairn"], lines)
lines += [
    "## Environment", "",
    "Each of the first four may also come from `NAME_FD` (an open descriptor), `NAME_FILE`, `NAME_CMD` (a shell command's",
    "output) or a systemd credential `proxmox-backup-client.{password,encryption-password,repository,fingerprint}`; only the",
    "first line counts.", "",
    "| Variable | Meaning |", "|---|---|",
    "| `PBS_REPOSITORY` | the repository, where `--repository` is not given |",
    "| `PBS_PASSWORD` | the password of the user, or the secret of the API token |",
    "| `PBS_FINGERPRINT` | SHA-256 of the server's certificate, which is then trusted |",
    "| `PBS_ENCRYPTION_PASSWORD` | the passphrase of the encryption key |",
    "| `PBS_NEW_ENCRYPTION_PASSWORD` | the new one, for `key change-passphrase` |",
    "| `PBS_MASTER_PASSWORD` | the passphrase of a private master key |",
    "| `PROXMOX_OUTPUT_FORMAT` | `text`, `json` or `json-pretty`, where `--output-format` is not given |", "",
    "## Files", "",
    "| File | Content |", "|---|---|",
    "| `~/.config/proxmox-backup/encryption-key.json` | the key that backups use where `--keyfile` is not given |",
    "| `~/.config/proxmox-backup/master-public.pem` | the public master key that seals the key of each encrypted backup |",
    "| `~/.config/proxmox-backup/fingerprints` | certificates that were accepted at the terminal, one server a line |",
    "| `$XDG_RUNTIME_DIR/proxmox-backup/tickets` | tickets of logins, usable for two hours (mode 0600) |", "",
]
target = top / "docs/reference/commands.md"
target.write_text("\n".join(lines))
