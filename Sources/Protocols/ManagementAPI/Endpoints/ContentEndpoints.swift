import BackupFormats
import BackupProtocol

/// What reads and changes the snapshots of a datastore.
extension Endpoint {
    static let content: [Endpoint] = stores + groups + snapshots + namespaces + work

    private static let base = "/admin/datastore/{store}"
    private static let listing = AccessRule.owned(full: ["Datastore.Audit"], partial: ["Datastore.Backup"])
    private static let describing = AccessRule.owned(full: ["Datastore.Modify"], partial: ["Datastore.Backup"])
    private static let removing = AccessRule.owned(full: ["Datastore.Modify"], partial: ["Datastore.Prune"])
    private static let reading = AccessRule.owned(full: ["Datastore.Read"], partial: ["Datastore.Backup"])

    private static let stores: [Endpoint] = [
        Endpoint(
            .get, "/admin/datastore", "Lists datastores.", access: .anybody(note: "those on which one has any right"),
            result: "[{store, comment, mount-status, maintenance?}]"),
        Endpoint(
            .get, "\(base)/status", "Tells how full a datastore is.",
            access: .anybody(
                note: "needs a right on it or below; the figures are zero without Datastore.Audit and Datastore.Backup"),
            [.store, .boolean("verbose", "With counts and the last garbage collection.").optional(false)],
            result: "{total, used, avail, counts?, gc-status?}"),
        Endpoint(
            .get, "\(base)/active-operations", "Counts what is running on a datastore.",
            access: .privilege(anyOf: ["Datastore.Audit", "Datastore.Backup"], on: "/datastore/{store}"), [.store],
            result: "{read, write}"),
    ]

    private static let groups: [Endpoint] = [
        Endpoint(
            .get, "\(base)/groups", "Lists the groups of a namespace.", access: listing, [.store, .ns],
            result: "[{backup-type, backup-id, last-backup, backup-count, files, owner?, comment?}]"),
        Endpoint(
            .delete, "\(base)/groups", "Removes a group with its snapshots.", access: removing,
            [.store, .ns] + EndpointParameter.group + [.errorOnProtected],
            result: "{removed-groups, removed-snapshots, protected-snapshots}"),
        Endpoint(
            .get, "\(base)/group-notes", "Reads the notes of a group.", access: listing,
            [.store, .ns] + EndpointParameter.group,
            result: "text"),
        Endpoint(
            .put, "\(base)/group-notes", "Sets the notes of a group.", access: describing,
            [.store, .ns] + EndpointParameter.group + [notes]),
        Endpoint(
            .post, "\(base)/change-owner", "Gives a group to another user or token.",
            access: .anybody(
                note: "Datastore.Modify on the namespace, or Datastore.Backup between oneself and own tokens"),
            [.store, .ns] + EndpointParameter.group + [.authID("new-owner", "Who owns it from now on.")]),
    ]

    private static let snapshots: [Endpoint] = [
        Endpoint(
            .get, "\(base)/snapshots", "Lists the snapshots of a namespace.", access: listing,
            [.store, .ns, EndpointParameter.backupType.optional(), EndpointParameter.backupID.optional()],
            result:
                "[{backup-type, backup-id, backup-time, files, protected, size?, owner?, comment?, verification?, fingerprint?}]"
        ),
        Endpoint(
            .delete, "\(base)/snapshots", "Removes a snapshot.", access: removing,
            [.store, .ns] + EndpointParameter.snapshot),
        Endpoint(
            .get, "\(base)/files", "Lists the files of a snapshot.",
            access: .owned(full: ["Datastore.Audit", "Datastore.Read"], partial: ["Datastore.Backup"]),
            [.store, .ns] + EndpointParameter.snapshot, result: "[{filename, crypt-mode?, size?}]"),
        Endpoint(
            .get, "\(base)/notes", "Reads the notes of a snapshot.", access: listing,
            [.store, .ns] + EndpointParameter.snapshot,
            result: "text"),
        Endpoint(
            .put, "\(base)/notes", "Sets the notes of a snapshot.", access: describing,
            [.store, .ns] + EndpointParameter.snapshot + [notes]),
        Endpoint(
            .get, "\(base)/protected", "Tells whether a snapshot is protected from removal.", access: listing,
            [.store, .ns] + EndpointParameter.snapshot, result: "boolean"),
        Endpoint(
            .put, "\(base)/protected", "Protects a snapshot from removal, or no longer.", access: describing,
            [.store, .ns] + EndpointParameter.snapshot + [.boolean("protected", "Whether it is protected.")]),
        Endpoint(
            .get, "\(base)/download", "Sends a file of a snapshot as it is stored.", access: reading,
            [.store, .ns] + EndpointParameter.snapshot + [.fileName], result: "bytes"),
        Endpoint(
            .get, "\(base)/download-decoded", "Sends the content of an unencrypted file.", access: reading,
            [.store, .ns] + EndpointParameter.snapshot + [.fileName], result: "bytes"),
        Endpoint(
            .post, "\(base)/upload-backup-log", "Adds the client's log to a snapshot, once.",
            access: .owned(full: [], partial: ["Datastore.Backup"]), [.store, .ns] + EndpointParameter.snapshot,
            body: .raw(limit: SessionLimits.blobBytes)),
    ]

    private static let namespaces: [Endpoint] = [
        Endpoint(
            .get, "\(base)/namespace", "Lists namespaces, the start among them.",
            access: .anybody(note: "those on which, or below which, one has a right"),
            [
                .store, EndpointParameter.namespace("parent", "Where to start.").optional(),
                EndpointParameter.integer("max-depth", 0...7, "Levels below the start.").optional(7),
            ],
            result: "[{ns, comment?}]"),
        Endpoint(
            .post, "\(base)/namespace", "Makes a namespace; one that exists is no error.",
            access: .anybody(note: "needs Datastore.Modify on the parent"),
            [.store, componentName, EndpointParameter.namespace("parent", "Where to make it.").optional()],
            result: "text"),
        Endpoint(
            .delete, "\(base)/namespace", "Removes a namespace and the empty ones below it.",
            access: .anybody(note: "needs Datastore.Modify on the parent"),
            [
                .store, .namespace("ns", "What to remove."),
                .boolean("delete-groups", "With the groups in it.").optional(false), .errorOnProtected,
            ],
            result: "{removed-groups, removed-snapshots, protected-snapshots}"),
    ]

    private static let work: [Endpoint] = [
        Endpoint(
            .post, "\(base)/prune", "Removes snapshots of a group that no rule keeps.", access: removing,
            [.store, .ns] + EndpointParameter.group + EndpointParameter.keep + [
                .boolean("dry-run", "Only tell what would go.").optional(false),
                .boolean("use-task", "Answer at once with the id of the task.").optional(false),
                .boolean("explain", "Say of each snapshot why it stays or goes, as `reason`. Cairn only.").optional(
                    false),
            ],
            result: "[{backup-type, backup-id, backup-time, keep, protected, ns?, reason?}], oldest first; or a task id"
        ),
        Endpoint(
            .post, "\(base)/prune-datastore", "Prunes the groups of a namespace and of those below.",
            access: .anybody(
                note: "Datastore.Modify, or Datastore.Prune for own groups; checked as the original does, with 400"),
            [.store, .ns, EndpointParameter.integer("max-depth", 0...7, "Levels below the namespace.").optional()]
                + EndpointParameter.keep + [
                    .boolean("dry-run", "Only tell what would go.").optional(false)
                ],
            result: "task id"),
        Endpoint(
            .post, "\(base)/verify", "Checks a snapshot, a group, or all of a namespace, as a task.",
            access: .owned(full: ["Datastore.Verify"], partial: ["Datastore.Backup"]),
            [
                .store, .ns, EndpointParameter.backupType.optional(), EndpointParameter.backupID.optional(),
                EndpointParameter.backupTime.optional(),
                .boolean("ignore-verified", "Leave out what was verified before.").optional(true),
                .integer("outdated-after", 0...Int64.max, "Days after which a verification no longer counts.")
                    .optional(),
                .integer("max-depth", 0...7, "Levels below the namespace.").optional(),
                .integer("read-threads", 1...32, "Threads that read chunks.").optional(),
                .integer("verify-threads", 1...32, "Threads that decode and digest.").optional(),
                .integer("rate", 1...Int64.max, "Bytes read in a second at most. Cairn only.").optional(),
            ],
            result: "task id"),
    ]

    private static let notes = EndpointParameter.text("notes", "The text; its first line is shown in listings.")
    private static let componentName = EndpointParameter(
        "name", .backupID, "Name of the new level.", form: EndpointParameter.Form.safeID,
        expression: EndpointParameter.Form.safeIDExpression)
}
