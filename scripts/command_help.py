"""The commands of cairn as its own help dumps them, for those who write pages from it."""
import json
import subprocess

ENVIRONMENT_NOTE = (
    "Each of the first four may also come from `NAME_FD` (an open descriptor), `NAME_FILE`, `NAME_CMD` (a shell command's "
    "output) or a systemd credential `proxmox-backup-client.{password,encryption-password,repository,fingerprint}`; only "
    "the first line counts.")
ENVIRONMENT = [
    ("PBS_REPOSITORY", "the repository, where `--repository` is not given"),
    ("PBS_PASSWORD", "the password of the user, or the secret of the API token"),
    ("PBS_FINGERPRINT", "SHA-256 of the server's certificate, which is then trusted"),
    ("PBS_ENCRYPTION_PASSWORD", "the passphrase of the encryption key"),
    ("PBS_NEW_ENCRYPTION_PASSWORD", "the new one, for `key change-passphrase`"),
    ("PBS_MASTER_PASSWORD", "the passphrase of a private master key"),
    ("CAIRN_STATE", "the state folder of the server on this machine, where `--state` is not given"),
    ("PROXMOX_OUTPUT_FORMAT", "`text`, `json` or `json-pretty`, where `--output-format` is not given"),
]
FILES = [
    ("~/.config/proxmox-backup/encryption-key.json", "the key that backups use where `--keyfile` is not given"),
    ("~/.config/proxmox-backup/master-public.pem",
     "the public master key that seals the key of each encrypted backup"),
    ("~/.config/proxmox-backup/fingerprints", "certificates that were accepted at the terminal, one server a line"),
    ("$XDG_RUNTIME_DIR/proxmox-backup/tickets", "tickets of logins, usable for two hours (mode 0600)"),
    ("/var/lib/cairn", "the state folder of the packaged server"),
]
STATUS_NOTE = "The exit status is 0 for success and 255 for every error, a wrong command line included."


def load(program):
    """The program's own description of its commands."""
    dump = subprocess.run([program, "--experimental-dump-help"], check=True, capture_output=True).stdout
    return json.loads(dump)["command"]


def children(command):
    return [c for c in command.get("subcommands", []) if c["commandName"] != "help" and c.get("shouldDisplay", True)]


def leaves(command, path=()):
    """The commands that do something, with their whole names."""
    path = (*path, command["commandName"])
    below = children(command)
    if not below:
        yield " ".join(path), command
    for child in below:
        yield from leaves(child, path)


def arguments(command):
    return [
        a for a in command.get("arguments", [])
        if a.get("shouldDisplay", True) and a.get("valueName") not in ("help", "version")
    ]


def spelled(argument):
    """`--name <value>`, `<argument>…`"""
    name = argument.get("valueName", "value")
    if argument["kind"] == "positional":
        text = f"<{name}>"
    else:
        flags = [("-" if n["kind"] == "short" else "--") + n["name"] for n in argument["names"]]
        text = ", ".join(flags) + (f" <{name}>" if argument["kind"] == "option" else "")
    return text + ("…" if argument.get("isRepeating") else "")


def usage(name, command):
    words = [
        f"[{spelled(a)}]" if a["isOptional"] else spelled(a) for a in arguments(command) if a["kind"] == "positional"
    ]
    return " ".join([name, *words, "[options]"])


def meaning(argument):
    text = argument.get("abstract", "")
    default = argument.get("defaultValue")
    # What "default as flag" options take without a value is no default.
    is_flag = set(argument.get("allValues", [])) == {"true", "false"}
    return text if default in (None, "") or is_flag else f"{text} Default: {default}."
