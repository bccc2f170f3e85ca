"""Runs the program's client commands against a test server."""

import os
import subprocess

from .server import program


class Client:
    def __init__(self, server, repository_user, store, password, folder):
        self.environment = dict(
            os.environ,
            PBS_REPOSITORY=f"{repository_user}@127.0.0.1:{server.address[1]}:{store}", PBS_PASSWORD=password,
            PBS_FINGERPRINT=server.fingerprint, XDG_CACHE_HOME=folder, XDG_CONFIG_HOME=folder, XDG_RUNTIME_DIR=folder,
            TZ="UTC")

    def command(self, *arguments):
        return [program(), *arguments]

    def run(self, *arguments, check=True, text=True, environment=None):
        result = subprocess.run(
            self.command(*arguments), env=dict(self.environment, **(environment or {})), capture_output=True,
            text=text)
        if check and result.returncode != 0:
            raise RuntimeError(f"cairn {' '.join(arguments)}: exit {result.returncode}: {str(result.stderr)[-1500:]}")
        return result

    def start(self, *arguments):
        return subprocess.Popen(
            self.command(*arguments), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
