/// Garbage collection. (Spec: rest E.4, E.5.)
extension Endpoint {
    static let collections: [Endpoint] = [
        Endpoint(
            .post, "\(base)/gc",
            "Starts a garbage collection, as a task: chunks that nothing references are removed.",
            access: .privilege(anyOf: ["Datastore.Modify"], on: "/datastore/{store}"), [.store], result: "task id"),
        Endpoint(
            .get, "\(base)/gc", "Tells the figures of the last garbage collection.",
            access: .privilege(anyOf: ["Datastore.Audit"], on: "/datastore/{store}"), [.store], result: figures),
        Endpoint(
            .get, "/admin/gc", "Tells the figures of all datastores.",
            access: .anybody(note: "those on which one has Datastore.Audit"), result: "[\(figures)]"),
        Endpoint(
            .get, "/admin/gc/{store}", "Tells the figures of one datastore, as a list.",
            access: .privilege(anyOf: ["Datastore.Audit"], on: "/datastore/{store}"), [.store],
            result: "[\(figures)]"),
    ]

    private static let base = "/admin/datastore/{store}"
    private static let figures =
        "{store, upid, index-file-count, index-data-bytes, disk-bytes, disk-chunks, removed-bytes, removed-chunks, pending-bytes, pending-chunks, removed-bad, still-bad, schedule?, next-run?, last-run-endtime?, last-run-state?, duration?}"
}
