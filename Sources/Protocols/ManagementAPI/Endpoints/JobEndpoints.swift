import BackupFormats
import BackupProtocol

/// Jobs: their configuration, how they do, and running them now. (Spec: rest E.5.)
extension Endpoint {
    static let jobs: [Endpoint] =
        JobDescription.all.flatMap(endpoints) + [
            Endpoint(
                .get, "/admin/alerts",
                "Lists what is overdue: jobs that did not run well, groups without new backups, plans of members that"
                    + " failed or were not backed up.",
                access: .anybody(
                    note: "those of namespaces on which one has Datastore.Audit; those of members with Sys.Audit on"
                        + " `/system`; only this server has it"),
                [EndpointParameter.store.optional()],
                result:
                    "[{type: job|group|peer, since, text, store?, ns?, job-type?, id?, backup-type?, backup-id?, peer?, plan?, repo?}]"
            )
        ]

    private static func endpoints(_ job: JobDescription) -> [Endpoint] {
        let id = EndpointParameter.jobID
        let path = "/config/\(job.name)"
        var statusParameters = [EndpointParameter.datastore("store", "Only jobs of this datastore.").optional()]
        if job.name == "sync" {
            statusParameters.append(
                EndpointParameter.choice("sync-direction", ["all", "push", "pull"], "Only jobs of this direction.")
                    .optional("all"))
        }
        return [
            Endpoint(
                .get, "/admin/\(job.name)", "Lists \(job.name) jobs with their state.",
                access: .anybody(note: job.sight), statusParameters,
                result: "[{id, …, next-run?, last-run-upid?, last-run-state?, last-run-endtime?}] and `digest`"),
            Endpoint(
                .post, "/admin/\(job.name)/{id}/run", "Runs a \(job.name) job now.", access: .anybody(note: job.change),
                [id], result: "task id"),
            Endpoint(
                .get, path, "Lists the configuration of \(job.name) jobs.", access: .anybody(note: job.sight),
                result: "[{id, store, …}] and `digest`"),
            Endpoint(
                .post, path, "Makes a \(job.name) job.", access: .anybody(note: job.change),
                [id] + job.required + job.optional.map { $0.optional() }),
            Endpoint(
                .get, "\(path)/{id}", "Reads the configuration of a \(job.name) job.",
                access: .anybody(note: job.sight),
                [id], result: "{id, store, …} and `digest`"),
            Endpoint(
                .put, "\(path)/{id}", "Changes a \(job.name) job.", access: .anybody(note: job.change),
                [id] + (job.required + job.optional).map { $0.optional() } + [
                    EndpointParameter.list("delete", of: job.optional.map(\.name), "Properties to remove.").optional(),
                    .digest,
                ]),
            Endpoint(
                .delete, "\(path)/{id}", "Removes a \(job.name) job.", access: .anybody(note: job.change),
                [id, .digest]),
        ]
    }
}

extension EndpointParameter {
    static let jobID = EndpointParameter(
        "id", .pattern(3...32) { SafeID.isValid($0) }, "Name of the job.", form: Form.safeID)
}

/// What one kind of job has.
private struct JobDescription {
    let name: String
    let required: [EndpointParameter]
    /// Without which a job can be, and which can be removed again.
    let optional: [EndpointParameter]
    /// Who sees it, and who may change and run it.
    let sight: String
    let change: String

    static let all = [prune, verify, sync]

    private static let schedule = EndpointParameter.text(
        "schedule", "When it runs, as a calendar event.", length: 1...256)
    private static let maxDepth = EndpointParameter.integer("max-depth", 0...7, "Levels below the namespace.")
    private static let onNamespace = "needs Datastore.Audit on the namespace"

    private static let prune = JobDescription(
        name: "prune", required: [.store, schedule],
        optional: [
            EndpointParameter.boolean("disable", "Whether it never runs by itself."), .comment, .ns, maxDepth,
        ] + EndpointParameter.keep,
        sight: onNamespace, change: "needs Datastore.Modify on the namespace")

    private static let verify = JobDescription(
        name: "verify", required: [.store],
        optional: [
            .ns, maxDepth, .boolean("ignore-verified", "Leave out what was verified before."),
            .integer("outdated-after", 0...Int64.max, "Days after which a verification no longer counts."),
            schedule, .comment, .integer("read-threads", 1...32, "Threads that read."),
            .integer("verify-threads", 1...32, "Threads that compute."),
        ],
        sight: onNamespace, change: "needs Datastore.Verify on the namespace")

    private static let sync = JobDescription(
        name: "sync",
        required: [.store, EndpointParameter.datastore("remote-store", "The datastore at the other end.")],
        optional: [
            .ns, .authID("owner", "Whose the copied groups are; `root@pam` where absent."),
            EndpointParameter(
                "remote", .pattern(3...32) { SafeID.isValid($0) }, "The remote; none for a datastore of this server.",
                form: EndpointParameter.Form.safeID),
            .namespace("remote-ns", "The namespace at the other end."),
            .boolean("remove-vanished", "Remove what the source no longer has."), maxDepth, .comment, schedule,
            EndpointParameter(
                "group-filter", .array(of: .text(1...1024)), "Which groups.",
                form: "`[include:\\|exclude:]type:…`, `group:…` or `regex:…`"),
            rate("rate-in", "Bytes a second that are received."), rate("burst-in", "Bytes received at once."),
            rate("rate-out", "Bytes a second that are sent."), rate("burst-out", "Bytes sent at once."),
            .integer("transfer-last", 1...Int64.max, "Only so many of the newest snapshots of a group."),
            .boolean("resync-corrupt", "Copy again what failed its verification."),
            .boolean("encrypted-only", "Only encrypted snapshots."),
            .boolean("verified-only", "Only verified snapshots."),
            .boolean("run-on-mount", "Accepted for compatibility."),
            .boolean("unmount-on-done", "Accepted for compatibility."),
            .choice("sync-direction", ["pull", "push"], "From there to here, or the other way."),
        ],
        sight: "\(onNamespace) and Remote.Audit on the remote",
        change:
            "pull: Datastore.Backup on the namespace, Remote.Read on the remote's datastore; push: Remote.DatastoreBackup there, Datastore.Read or Datastore.Backup here; more for removal and foreign owners"
    )

    private static func rate(_ name: String, _ summary: String) -> EndpointParameter {
        .text(name, summary + " A number with or without a unit such as `MB`.", length: 1...64)
    }
}
