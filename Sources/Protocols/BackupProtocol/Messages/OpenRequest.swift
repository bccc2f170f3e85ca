package import BackupFormats

/// What a client asks for when it opens a session: the query of the upgrade, or the JSON body of a native open.
/// (Spec: protocol A.3; decision 8.)
package struct OpenRequest: Sendable, Equatable {
    package var datastore: String
    package var namespace: Namespace
    package var snapshot: SnapshotName
    /// More lines in the task's log.
    package var debug: Bool
    /// Only for backups, and only of the group `host/benchmark`.
    package var isBenchmark: Bool

    package init(
        datastore: String, namespace: Namespace = .root, snapshot: SnapshotName, debug: Bool = false,
        isBenchmark: Bool = false
    ) {
        self.datastore = datastore
        self.namespace = namespace
        self.snapshot = snapshot
        self.debug = debug
        self.isBenchmark = isBenchmark
    }

    private static let common: [Parameter] = [
        .required("store", .datastore), .optional("ns", .namespace), .required("backup-type", .backupType),
        .required("backup-id", .backupID), .required("backup-time", .backupTime), .optional("debug", .boolean),
    ]

    /// The parameters of an open request of that protocol.
    package static func schema(of id: ProtocolID) -> ParameterSchema {
        switch id {
        case .backup: backupSchema
        case .reader: readerSchema
        }
    }

    private static let readerSchema = ParameterSchema(common)
    private static let backupSchema = ParameterSchema(
        common + [.optional("benchmark", .boolean), .optional("no-cache", .boolean)])

    /// From values that ``schema(of:)`` has checked.
    package init(_ values: ParameterValues) throws(ParameterFailure) {
        self.init(
            datastore: try values.string("store"), namespace: try values.namespace(), snapshot: try values.snapshot(),
            debug: values.booleanIfPresent("debug") ?? false,
            isBenchmark: values.booleanIfPresent("benchmark") ?? false)
    }

    /// The parameters as a client sends them.
    package func parameters(for id: ProtocolID) -> [(name: String, value: String)] {
        var pairs = [
            ("backup-id", snapshot.group.id), ("backup-time", String(snapshot.time)),
            ("backup-type", snapshot.group.type.rawValue),
        ]
        if id == .backup { pairs.append(("benchmark", String(isBenchmark))) }
        pairs.append(("debug", String(debug)))
        if !namespace.isRoot { pairs.append(("ns", namespace.description)) }
        pairs.append(("store", datastore))
        return pairs.map { (name: $0.0, value: $0.1) }
    }
}
