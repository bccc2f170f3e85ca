#!/usr/bin/env python3
"""Writes docs/reference/commands.md from the program's own help: scripts/commands-reference.py [CAIRN]"""
import pathlib
import sys
import textwrap

import command_help as help

top = pathlib.Path(__file__).resolve().parent.parent
root = help.load(sys.argv[1] if len(sys.argv) > 1 else str(top / ".build/release/cairn"))


def wrapped(text):
    return textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False) + [""]


def cell(text):
    return text.replace("|", "\\|")


def describe(name, command):
    lines = [f"## {name}", "", command.get("abstract", ""), "", "```", help.usage(name, command), "```", ""]
    if command.get("discussion"):
        lines += [command["discussion"], ""]
    arguments = help.arguments(command)
    if arguments:
        lines += ["| Argument | Meaning |", "|---|---|"]
        lines += [f"| `{cell(help.spelled(a))}` | {cell(help.meaning(a))} |" for a in arguments]
        lines.append("")
    return lines


lines = ["# Commands", ""]
lines += wrapped(
    "Made by `scripts/commands-reference.py` from the program's own help; `cairn help COMMAND` and the manual pages show "
    "the same.")
lines += wrapped(
    f"Results go to standard output, everything else to standard error. {help.STATUS_NOTE} The names of the stock client "
    "(`snapshots`, `files`, `forget`, `upload-log`) work as well.")
for name, command in help.leaves(root):
    lines += describe(name, command)
lines += ["## Environment", ""] + wrapped(help.ENVIRONMENT_NOTE) + ["| Variable | Meaning |", "|---|---|"]
lines += [f"| `{name}` | {meaning} |" for name, meaning in help.ENVIRONMENT]
lines += ["", "## Files", "", "| File | Content |", "|---|---|"]
lines += [f"| `{name}` | {meaning} |" for name, meaning in help.FILES] + [""]
(top / "docs/reference/commands.md").write_text("\n".join(lines))
