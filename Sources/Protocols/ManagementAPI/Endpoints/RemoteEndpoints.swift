import BackupFormats
import BackupProtocol

/// Remotes, and what is copied from and to them. (Spec: rest E.5.)
extension Endpoint {
    static let remotes: [Endpoint] = [
        Endpoint(
            .get, "/config/remote", "Lists the remotes, without passwords.",
            access: .anybody(note: "those on which one has Remote.Audit"),
            result: "[{name, host, port?, auth-id, fingerprint?, comment?}] and `digest`"),
        Endpoint(
            .post, "/config/remote", "Adds a remote.",
            access: .privilege(anyOf: ["Remote.Modify"], on: "/remote"),
            [
                remoteName, host, .authID("auth-id", "Who logs in there."),
                .text("password", "Password of the user, or secret of the token.", length: 1...1024),
            ] + optional),
        Endpoint(
            .get, "/config/remote/{name}", "Reads a remote, without its password.",
            access: .privilege(anyOf: ["Remote.Audit"], on: "/remote/{name}"), [remoteName],
            result: "{name, host, port?, auth-id, fingerprint?, comment?} and `digest`"),
        Endpoint(
            .put, "/config/remote/{name}", "Changes a remote.",
            access: .privilege(anyOf: ["Remote.Modify"], on: "/remote/{name}"),
            [
                remoteName, host.optional(), EndpointParameter.authID("auth-id", "Who logs in there.").optional(),
                EndpointParameter.text("password", "Password of the user, or secret of the token.", length: 1...1024)
                    .optional(),
            ] + optional + [
                .list("delete", of: optional.map(\.name), "Settings to remove.").optional(), .digest,
            ]),
        Endpoint(
            .delete, "/config/remote/{name}", "Removes a remote that no job uses.",
            access: .privilege(anyOf: ["Remote.Modify"], on: "/remote/{name}"), [remoteName, .digest]),
        Endpoint(
            .get, "/config/remote/{name}/scan", "Lists the datastores of a remote.",
            access: .privilege(anyOf: ["Remote.Audit"], on: "/remote/{name}"), [remoteName],
            result: "what the remote answers to `GET /admin/datastore`"),
        Endpoint(
            .get, "/config/remote/{name}/scan/{store}/namespaces", "Lists the namespaces of a remote's datastore.",
            access: .privilege(anyOf: ["Remote.Audit"], on: "/remote/{name}/{store}"), [remoteName, .store],
            result: "[{ns, comment?}]"),
        Endpoint(
            .get, "/config/remote/{name}/scan/{store}/groups", "Lists the groups of a remote's datastore.",
            access: .privilege(anyOf: ["Remote.Audit"], on: "/remote/{name}/{store}"),
            [remoteName, .store, .namespace("namespace", "Namespace; empty for the root.").optional()],
            result: "as `GET /admin/datastore/{store}/groups`"),
    ]

    static let synchronisation: [Endpoint] = [
        Endpoint(
            .post, "/pull", "Copies snapshots of a remote, or of another datastore here, into a datastore, as a task.",
            access: .anybody(
                note: "needs Datastore.Backup on the target, Datastore.Prune with `remove-vanished`, and Remote.Read on"
                    + " the remote's datastore or Datastore.Backup on the local source"),
            [
                .store, .ns, EndpointParameter.remote.optional(),
                .datastore("remote-store", "The source."), .remoteNamespace,
            ] + EndpointParameter.sync + [
                EndpointParameter.boolean("resync-corrupt", "Fetch again what failed its verification here.").optional(
                    false)
            ],
            result: "task id"),
        Endpoint(
            .post, "/push", "Copies snapshots of a datastore to a remote, as a task.",
            access: .anybody(
                note: "needs Datastore.Read or Datastore.Backup on the source, Remote.DatastoreBackup on the target,"
                    + " Remote.DatastorePrune and Remote.DatastoreModify with `remove-vanished`"),
            [.store, .ns, .remote, .datastore("remote-store", "The target."), .remoteNamespace]
                + EndpointParameter.sync,
            result: "task id"),
    ]

    private static let remoteName = EndpointParameter(
        "name", .pattern(3...32) { SafeID.isValid($0) }, "Name of the remote.", form: EndpointParameter.Form.safeID)
    private static let host = EndpointParameter(
        "host",
        .pattern(1...253) { text in
            text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: ":"):
                    true
                default: false
                }
            }
        }, "Name or address of the server.", form: "a host name or an address")
    private static let optional: [EndpointParameter] =
        [
            .integer("port", 1...65535, "Where it listens; 8007 where absent."),
            EndpointParameter(
                "fingerprint",
                .pattern(64...95) { text in
                    let digits = text.filter { $0 != ":" }
                    return digits.count == 64 && digits.allSatisfy { $0.isHexDigit }
                }, "SHA-256 of its certificate; without it an authority must vouch for it.",
                form: "32 bytes in hex joined by `:`"),
            .comment,
        ].map { $0.optional() }
}

/// Parameters of synchronisations; sync jobs have them too.
extension EndpointParameter {
    package static let remote = EndpointParameter(
        "remote", .pattern(3...32) { SafeID.isValid($0) }, "Name of the remote; absent for a local datastore.",
        form: Form.safeID)
    package static let remoteNamespace = namespace("remote-ns", "Namespace there; empty for the root.").optional()

    package static let sync: [EndpointParameter] =
        [
            boolean("remove-vanished", "Remove from the target what the source no longer has.").optional(false),
            integer("max-depth", 0...Int64(Namespace.maxDepth), "Levels of namespaces below the start.").optional(),
            EndpointParameter(
                "group-filter", .array(of: .text(1...1024)), "Groups to take or to leave out.",
                form: "`[include:|exclude:]type:vm|ct|host`, `group:type/id` or `regex:…`"
            ).optional(),
            integer("transfer-last", 1...Int64.max, "Only so many of the newest snapshots of each group.").optional(),
            boolean("encrypted-only", "Only encrypted snapshots.").optional(false),
            boolean("verified-only", "Only snapshots that were verified and found good.").optional(false),
        ]
        + ["rate-in", "burst-in", "rate-out", "burst-out"].map {
            EndpointParameter(
                $0, .text(1...64), "Bytes a second, or at once, on the network.", form: "a number with `MB`, `MiB` …"
            )
            .optional()
        }
}
