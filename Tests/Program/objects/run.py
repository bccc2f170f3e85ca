"""Remotes in object stores: the contract of the remotes against a real S3 server.

    python -m objects.run [NAME …]

Against the store of CAIRN_S3=http://key:secret@host:port/bucket where that is set, else against moto's server, which
this starts on a free port of the loopback and stops again. The tests must be built (`swift build --build-tests`).
"""

import hashlib
import os
import re
import subprocess
import sys
import threading
import urllib.parse

import boto3
import urllib3
from botocore.config import Config

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from objects.machines import through_the_server  # noqa: E402
from support.checks import Checks, expect, same  # noqa: E402
from support.server import ROOT  # noqa: E402

urllib3.disable_warnings()  # of certificates of nobody


class Store:
    """The store under test, and another client of it."""

    def __init__(self, is_tls=False):
        self.process = None
        self.lines = []
        given = None if is_tls else os.environ.get("CAIRN_S3")
        self.address = given or self.start_moto(["-s"] if is_tls else [])
        parts = urllib.parse.urlsplit(self.address)
        self.bucket = parts.path.strip("/")
        self.client = boto3.client(
            "s3", endpoint_url=f"{parts.scheme}://{parts.hostname}:{parts.port}", region_name="us-east-1",
            aws_access_key_id=parts.username, aws_secret_access_key=parts.password, verify=False,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}))
        self.client.create_bucket(Bucket=self.bucket)

    def start_moto(self, options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"] + options,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found, ready = [], threading.Event()

        def read():
            for line in self.process.stdout:
                match = re.search(r"(https?)://127\.0\.0\.1:(\d+)", line)
                if match and not found:
                    found.append(match.groups())
                    ready.set()
                self.lines.append(line)
                del self.lines[:-50]
            ready.set()

        threading.Thread(target=read, daemon=True).start()
        if not ready.wait(120) or not found:
            raise SystemExit("moto's server did not start:\n" + "".join(self.lines))
        return f"{found[0][0]}://key:secret@127.0.0.1:{found[0][1]}/cairn"

    def keys(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)


def run_suite(store, chosen, least):
    """Those tests of the suite, which are skipped where no store is."""
    result = subprocess.run(
        ["swift", "test", "--skip-build", "--ignore-lock", "--no-parallel", "--filter", chosen], cwd=ROOT,
        capture_output=True, text=True, env=dict(os.environ, CAIRN_S3=store.address))
    text = result.stdout + result.stderr
    failures = [line for line in text.splitlines() if "\u2718" in line or "error:" in line]
    expect(result.returncode == 0, "\n".join(failures[:20]) or text[-2000:])
    ran = re.search(r"Test run with (\d+) tests? in \d+ suites? passed after [\d.]+ seconds", text)
    expect(ran and int(ran.group(1)) >= least, f"the tests did not run: {text[-500:]}")
    print(f"{chosen}: {ran.group(0)}", flush=True)


def contract(store):
    """The whole contract, over plain HTTP, with signed payloads."""
    run_suite(store, "S3ContractTests", 9)


def contract_over_tls(_):
    """The contract over TLS, where payloads are not signed, and the certificate is one of nobody."""
    store = Store(is_tls=True)
    try:
        run_suite(store, "S3ContractTests/(contract|certificate)", 2)
    finally:
        store.stop()


def witness(store):
    """What it left reads the same by another client, whatever way it was written."""
    keys = store.keys("witness/streams/")
    same(len(keys), 4, "objects left")
    for key in keys:
        _, count, digest = key.rsplit("/", 1)[1].split(" ")
        body = store.client.get_object(Bucket=store.bucket, Key=key)["Body"].read()
        same((str(len(body)), hashlib.sha256(body).hexdigest()), (count, digest), key)


def nothing_left(store):
    """No parts of broken uploads, no objects of the contract."""
    same(store.client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", []), [], "unfinished uploads")
    same([key for key in store.keys("") if not key.startswith("witness/")], [], "objects")


def main():
    checks = Checks("objects")
    store = Store()
    try:
        checks.run_all([contract, witness, nothing_left, contract_over_tls, through_the_server], store)
    finally:
        store.stop()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
