import BackupFormats
import BackupProtocol

extension Endpoint {
    static let basics: [Endpoint] = [
        Endpoint(.get, "/ping", "Answers as soon as the server runs.", access: .world, result: #"{"pong": true}"#),
        Endpoint(
            .get, "/version", "Tells which level of the protocol is spoken, and the version of this program.",
            access: .anybody(note: ""), result: #"{version, release, repoid, cairn}"#),
    ]

    static let sessions: [Endpoint] = [
        Endpoint(
            .get, "/backup", "Turns an HTTP/1.1 connection into a backup session.",
            access: .anybody(note: "needs Datastore.Backup on the namespace, and owner of the group"),
            sessionParameters + [
                .boolean("benchmark", "Throw the snapshot away at the end.").optional(false), noCache,
            ],
            result: "101, then the backup protocol"),
        Endpoint(
            .get, "/reader", "Turns an HTTP/1.1 connection into a reader session.",
            access: .anybody(note: "needs Datastore.Read, or Datastore.Backup and owner of the group"),
            sessionParameters, result: "101, then the reader protocol"),
        Endpoint(
            .post, "/backup", "Opens a backup session on an HTTP/2 connection.",
            access: .anybody(note: "needs Datastore.Backup on the namespace, and owner of the group"),
            sessionParameters + [
                .boolean("benchmark", "Throw the snapshot away at the end.").optional(false), noCache,
            ],
            result: "null; the session's endpoints follow below `/api2/json/backup/`"),
        Endpoint(
            .post, "/reader", "Opens a reader session on an HTTP/2 connection.",
            access: .anybody(note: "needs Datastore.Read, or Datastore.Backup and owner of the group"),
            sessionParameters, result: "null; the session's endpoints follow below `/api2/json/reader/`"),
    ]

    private static let sessionParameters: [EndpointParameter] =
        [.store, .ns] + EndpointParameter.snapshot + [
            .boolean("debug", "Write more lines to the task log.").optional(false)
        ]
    private static let noCache = EndpointParameter.boolean("no-cache", "Accepted for compatibility; has no effect.")
        .optional(false)
}
