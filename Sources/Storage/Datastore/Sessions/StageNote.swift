import BackupFormats

/// The file beside a staged folder, `<uuid>.task`: whose it is, for the opener who finds it after a crash.
/// Three lines: UPID, namespace, snapshot.
struct StageNote {
    static let suffix = ".task"
    static let limit = 4096

    let task: String
    let namespace: Namespace
    let snapshot: SnapshotName

    init(_ request: SnapshotRequest) {
        task = request.task
        namespace = request.namespace
        snapshot = request.snapshot
    }

    init?(parsing text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 3, let namespace = try? Namespace(parsing: lines[1]),
            let snapshot = SnapshotName(parsing: lines[2])
        else { return nil }
        task = String(lines[0])
        self.namespace = namespace
        self.snapshot = snapshot
    }

    var text: String { "\(task)\n\(namespace)\n\(snapshot)\n" }
}
