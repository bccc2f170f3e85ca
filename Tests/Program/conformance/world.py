"""Sets up what the cases take for granted: stores, namespaces, accounts, rights."""

import json
import os
import threading
import time
import urllib.parse

from support import http1


def quote(text):
    return urllib.parse.quote(str(text), safe="")


class World:
    def __init__(self, server, description):
        self.server = server
        self.accounts = description["accounts"]
        self.secrets = {}
        self.tickets = {}
        self.lock = threading.Lock()
        self.build(description)

    def build(self, description):
        server = self.server
        for store in description["stores"]:
            server.datastore(store["name"])
        for name, account in self.accounts.items():
            if account["kind"] == "user":
                server.owner("user", "create", account["id"], "--password", account["password"])
        server.owner("acl", "update", "/", "Admin", "--auth-id", self.accounts["admin"]["id"])
        admin = self.login("admin")
        for name, account in self.accounts.items():
            limits = {key: account[key] for key in ("enable", "expire") if key in account}
            if account["kind"] == "token":
                user, token = account["id"].split("!")
                answer = server.api(
                    "POST", f"/access/users/{quote(user)}/token/{token}", cookie=admin[0], csrf=admin[1],
                    json_body=limits)
                self.secrets[name] = answer["value"]
        for entry in description["namespaces"]:
            server.api(
                "POST", f"/admin/datastore/{entry['store']}/namespace", cookie=admin[0], csrf=admin[1],
                json_body={"name": entry["ns"]})
        for entry in description["acl"]:
            server.api(
                "PUT", "/access/acl", cookie=admin[0], csrf=admin[1],
                json_body={"path": entry["path"], "role": entry["role"], "propagate": entry["propagate"],
                           "auth-id": self.accounts[entry["account"]]["id"]})
        for name, account in self.accounts.items():
            limits = {key: account[key] for key in ("enable", "expire") if key in account}
            if account["kind"] == "user" and limits:
                server.api(
                    "PUT", f"/access/users/{quote(account['id'])}", cookie=admin[0], csrf=admin[1], json_body=limits)
        for store in description["stores"]:
            if "maintenance_mode" in store:
                server.api(
                    "PUT", f"/config/datastore/{store['name']}", cookie=admin[0], csrf=admin[1],
                    json_body={"maintenance-mode": store["maintenance_mode"]})

    def id(self, name):
        return self.accounts[name]["id"]

    def login(self, name):
        """(ticket, CSRF token) of an account, kept for ten minutes."""
        with self.lock:
            kept = self.tickets.get(name)
            if kept and time.monotonic() - kept[2] < 600:
                return kept
            body = json.dumps({"username": self.id(name), "password": self.accounts[name]["password"]}).encode()
            response = http1.request(
                self.server.address, "POST", "/api2/json/access/ticket",
                [("Host", "localhost"), ("Connection", "close"), ("Content-Type", "application/json"),
                 ("Content-Length", str(len(body)))], body)
            if response.status != 200:
                raise RuntimeError(f"login of {name}: {response.status} {response.body[:200]!r}")
            data = json.loads(response.body)["data"]
            self.tickets[name] = (data["ticket"], data["CSRFPreventionToken"], time.monotonic())
            return self.tickets[name]

    def credentials(self, name, method, csrf=True):
        """The headers by which an account shows itself."""
        if name is None:
            return []
        if self.accounts[name]["kind"] == "token":
            return [("Authorization", f"PBSAPIToken={self.id(name)}:{self.secrets[name]}")]
        ticket, token, _ = self.login(name)
        headers = [("Cookie", "PBSAuthCookie=" + quote(ticket))]
        if method != "GET" and csrf:
            headers.append(("CSRFPreventionToken", token))
        return headers

    def ticket_key(self):
        """The private key of the server's tickets, for the cases that forge one."""
        path = os.path.join(self.server.state, "authkey.key")
        if not os.path.exists(path):
            return None
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        with open(path, "rb") as file:
            return load_pem_private_key(file.read(), None)
