import BackupFormats
import BackupProtocol

/// The configuration of datastores, and how full they are.
extension Endpoint {
    static let configuration: [Endpoint] = [
        Endpoint(
            .get, "/config/datastore", "Lists the configuration of datastores.",
            access: .anybody(note: "those on which one has Datastore.Audit"), result: "[{name, path, …}] and `digest`"),
        Endpoint(
            .post, "/config/datastore", "Makes a datastore, as a task.",
            access: .privilege(anyOf: ["Datastore.Allocate"], on: "/datastore"),
            [
                .datastore("name", "Its name."),
                .text(
                    "path", "Its folder, below one of the configured roots.", length: 1...EndpointParameter.Limits.path),
                .boolean("reuse-datastore", "Take over a folder that already is a datastore.").optional(false),
                .boolean("overwrite-in-use", "Accepted for compatibility.").optional(false),
            ] + settings,
            result: "task id"),
        Endpoint(
            .get, "/config/datastore/{name}", "Reads the configuration of a datastore.",
            access: .privilege(anyOf: ["Datastore.Audit"], on: "/datastore/{name}"), [.datastore("name", "Its name.")],
            result: "{name, path, …} and `digest`"),
        Endpoint(
            .put, "/config/datastore/{name}", "Changes the configuration of a datastore.",
            access: .privilege(anyOf: ["Datastore.Modify"], on: "/datastore/{name}"),
            [.datastore("name", "Its name.")] + settings + [
                .list("delete", of: settings.map(\.name), "Settings to remove.").optional(), .digest,
            ]),
        Endpoint(
            .delete, "/config/datastore/{name}", "Forgets a datastore, or removes it with its content, as a task.",
            access: .privilege(anyOf: ["Datastore.Allocate"], on: "/datastore/{name}"),
            [
                .datastore("name", "Its name."),
                .boolean("keep-job-configs", "Keep the jobs that work on it.").optional(false),
                .boolean("destroy-data", "Remove the content as well.").optional(false), .digest,
            ],
            result: "task id"),
        Endpoint(
            .get, "/status/datastore-usage", "Tells how full the datastores are.",
            access: .anybody(note: "those on which one has a right; figures need Datastore.Audit or Datastore.Backup"),
            result: "[{store, total?, used?, avail?, mount-status, gc-status?, error?}]"),
    ]

    /// What can be set on a datastore beside name and path. Texts are kept as they are sent.
    private static let settings: [EndpointParameter] =
        [
            EndpointParameter.comment, .text("gc-schedule", "When to collect garbage.", length: 1...256),
            .text("prune-schedule", "When to prune.", length: 1...256),
        ].map { $0.optional() } + EndpointParameter.keep
        + [
            EndpointParameter.boolean("verify-new", "Verify each new snapshot."),
            .text("notify-user", "Who is told.", length: 3...64), .text("notify", "What is told.", length: 1...256),
            .choice("notification-mode", ["legacy-sendmail", "notification-system"], "How it is told."),
            .text("tuning", "Settings of the store: `sync-level=none|file|filesystem`, …", length: 1...1024),
            .text("overdue-after", "When a group is overdue: a length of time, or `never`.", length: 1...64),
            .text("maintenance-mode", "`read-only` or `offline`, with `message=…`.", length: 1...1024),
        ].map { $0.optional() }
}
