"""Jobs run by themselves and by hand, keep what they know over a crash, and the metrics page is as Prometheus wants it.

    python -m jobs.run
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from support import http1  # noqa: E402
from support.checks import Checks, expect  # noqa: E402
from support.server import Server, wait_for  # noqa: E402

TOKEN = "prometheus-0123456789"
# A busy machine may be slow; the first full minute comes within sixty seconds on any.
PATIENCE = 300

checks = Checks("jobs and metrics")


def check(what, condition, detail=""):
    checks.run(what, expect, condition, detail)


class Owner:
    """Calls the API as the owner of the state folder."""

    def __init__(self, server):
        self.server = server

    def call(self, method, path, body=None):
        with open(os.path.join(self.server.state, "local-admin.token")) as file:
            secret = file.read().strip()
        return self.server.api(method, path, authorization=f"CairnLocal {secret}", json_body=body)

    def job(self, kind, name):
        return next(job for job in self.call("GET", f"/admin/{kind}") if job["id"] == name)

    def status(self, upid):
        return self.call("GET", f"/nodes/localhost/tasks/{urllib.parse.quote(upid, safe='')}/status")

    def ended(self, upid):
        wait_for(lambda: self.status(upid)["status"] == "stopped", PATIENCE)
        return self.status(upid).get("exitstatus")


def metrics(server, token=None):
    headers = [("Host", "localhost"), ("Connection", "close")]
    if token:
        headers.append(("Authorization", f"Bearer {token}"))
    return http1.request(server.address, "GET", "/metrics", headers)


def run_jobs(owner):
    owner.call("POST", "/config/verify", {"id": "v-often", "store": "store1", "schedule": "minutely"})
    owner.call("POST", "/config/prune", {"id": "p-daily", "store": "store1", "schedule": "daily", "keep-last": 2})
    owner.call("PUT", "/config/datastore/store1", {"gc-schedule": "minutely"})
    check("a new job has a next run and no last one",
          owner.job("verify", "v-often").get("next-run") and "last-run-upid" not in owner.job("verify", "v-often"))

    upid = owner.call("POST", "/admin/prune/p-daily/run")
    check("a job that is run by hand ends well", owner.ended(upid) == "OK", owner.status(upid))
    check("and it was the last run", owner.job("prune", "p-daily").get("last-run-upid") == upid)

    wait_for(lambda: "last-run-endtime" in owner.job("verify", "v-often"), PATIENCE)
    job = owner.job("verify", "v-often")
    check("a job that is due runs by itself", job.get("last-run-state") == "OK", job)
    check("as a task of root", job.get("last-run-upid", "").endswith(":root@pam:"), job)
    wait_for(lambda: [t for t in owner.call("GET", "/nodes/localhost/tasks?typefilter=garbage") if t.get("endtime")],
             PATIENCE)
    tasks = owner.call("GET", "/nodes/localhost/tasks?typefilter=garbage")
    check("so does garbage collection", tasks and tasks[-1].get("status") == "OK", tasks)
    check("which knows its next run", owner.call("GET", "/admin/datastore/store1/gc").get("next-run"))


def read_metrics(server, owner):
    check("without its token the page is closed", metrics(server).status == 401)
    page = metrics(server, TOKEN)
    check("with it the page opens", page.status == 200)
    text = page.body.decode()
    for name in ["cairn_datastore_size_bytes", "cairn_job_last_run_success", "cairn_tasks_ended_total",
                 "cairn_http_requests_total", "process_resident_memory_bytes"]:
        check(f"{name} is there", f"# TYPE {name} " in text)
    promtool = shutil.which("promtool")
    if promtool:
        result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        check("promtool finds nothing to complain about", result.returncode == 0 and not result.stdout.strip(),
              result.stdout + result.stderr)
    else:
        print("skipped: needs promtool (Debian package prometheus)")
    rows = owner.call("GET", "/admin/datastore/store1/rrd?timeframe=hour&cf=AVERAGE")
    check("measurements are kept", any("used" in row for row in rows))


def crash(server, owner):
    before = owner.job("prune", "p-daily")
    server.stop(signal.SIGKILL)
    server.start()
    after = owner.job("prune", "p-daily")
    check("a job knows its last and next run after a crash", before == after, json.dumps([before, after]))
    owner.call("DELETE", "/config/prune/p-daily")
    check("a job that was removed is gone", owner.call("GET", "/config/prune") == [])
    owner.ended(owner.call("DELETE", "/config/datastore/store1"))
    check("a datastore takes its jobs with it", owner.call("GET", "/config/verify") == [])


def main():
    folder = os.environ.get("TMPDIR", "/tmp")
    token = os.path.join(folder, f"cairn-metrics-token-{os.getpid()}")
    with open(token, "w") as file:
        file.write(TOKEN + "\n")
    try:
        with Server(["--metrics-token-file", token]) as server:
            server.datastore("store1")
            owner = Owner(server)
            run_jobs(owner)
            read_metrics(server, owner)
            crash(server, owner)
    finally:
        os.unlink(token)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
