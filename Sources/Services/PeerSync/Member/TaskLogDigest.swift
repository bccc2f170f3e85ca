import BackupFormats
import Tasks

/// What an operation says of its task's log. (Spec: backrest-sync §9.1.)
struct TaskLogDigest: Sendable {
    /// Bytes that are read of a log, from its begin: of prunes, which tell there what they removed, and of others. The
    /// end is read always.
    private static let maxPruneBytes = 16 << 20
    private static let maxBytes = 256 << 10
    private static let pieceBytes = 256 << 10
    private static let tailBytes = 4 << 10
    private static let maxWarnings = 50
    private static let maxRemoved = 1000
    private static let maxTextBytes = 500
    /// A time of fixed width, and `: `.
    private static let timeBytes = 27

    /// The snapshot that a session works on, and where.
    private(set) var session: (snapshot: SnapshotName, namespace: Namespace)?
    private(set) var warnings: [String] = []
    /// Snapshots that a prune has removed.
    private(set) var removed: [(namespace: Namespace, snapshot: SnapshotName)] = []
    /// The rules of a prune: `last` and so on.
    private(set) var keeps: [String: Int32] = [:]
    private(set) var byteCount = 0
    /// The last lines, as they stand there.
    private(set) var tail = ""
    private var place = Namespace.root
    private var rest: [UInt8] = []

    /// Reads the log of a task. Blocks.
    ///
    /// - Parameter isStart: Whether only the begin is wanted, which tells what a session works on.
    init(of task: UPID, in tasks: TaskRegistry, isStart: Bool = false) throws {
        let limit = ["prune", "prunejob"].contains(task.workerType) ? Self.maxPruneBytes : Self.maxBytes
        var offset = 0
        while offset < limit,
            let piece = try tasks.logPiece(task, from: offset, limit: Self.pieceBytes)?.bytes, !piece.isEmpty
        {
            take(piece)
            offset += piece.count
            if isStart { return }
        }
        byteCount = try tasks.logByteCount(task) ?? 0
        var tail =
            try tasks.logPiece(task, from: max(0, byteCount - Self.tailBytes - 1), limit: Self.tailBytes + 1)?.bytes
            ?? []
        if tail.count > Self.tailBytes {
            // The first line is cut; the byte before the limit tells whether it is.
            tail = Array(tail.drop { $0 != UInt8(ascii: "\n") }.dropFirst())
        }
        self.tail = String(decoding: tail, as: UTF8.self)
    }

    private mutating func take(_ piece: [UInt8]) {
        var lines = (rest + piece)[...]
        while let end = lines.firstIndex(of: UInt8(ascii: "\n")) {
            if lines.startIndex + Self.timeBytes <= end {
                read(String(decoding: lines[(lines.startIndex + Self.timeBytes)..<end], as: UTF8.self))
            }
            lines = lines[(end + 1)...]
        }
        rest = Array(lines)
    }

    private mutating func read(_ line: String) {
        if session == nil {
            session =
                Self.session(in: line, "starting backup of ", " into datastore '")
                ?? Self.session(in: line, "reading ", " of datastore '")
        }
        if line.hasPrefix("warning: "), warnings.count < Self.maxWarnings {
            warnings.append(String(decoding: line.utf8.dropFirst(9).prefix(Self.maxTextBytes), as: UTF8.self))
        } else if line.hasPrefix("prune ") {
            readRules(line)
        } else if line.hasPrefix("group "), let end = line.firstRange(of: " of ") {
            place = Self.namespace(ofPlace: line[end.upperBound...]) ?? place
        } else if line.hasPrefix("remove "), removed.count < Self.maxRemoved {
            let name = line.dropFirst(7).prefix { $0 != " " }
            if let snapshot = SnapshotName(parsing: name) { removed.append((place, snapshot)) }
        }
    }

    /// `prune PLACE: --keep-last 3`, `prune group GROUP of PLACE: …`
    private mutating func readRules(_ line: String) {
        guard let colon = line.firstRange(of: ": ") else { return }
        let words = line[colon.upperBound...].split(separator: " ")
        for (name, value) in zip(words, words.dropFirst()) where name.hasPrefix("--keep-") {
            keeps[String(name.dropFirst(7))] = Int32(value)
        }
        let start = line[..<colon.lowerBound].dropFirst("prune ".count)
        let text = start.hasPrefix("group ") ? start.firstRange(of: " of ").map { start[$0.upperBound...] } : start
        if let text { place = Self.namespace(ofPlace: text) ?? place }
    }

    /// `store`, `store:a/b`
    private static func namespace(ofPlace text: Substring) -> Namespace? {
        let parts = text.split(separator: ":", maxSplits: 1)
        return parts.count == 2 ? try? Namespace(parsing: parts[1].prefix { $0 != " " }) : .root
    }

    /// `… SNAPSHOT … 'STORE' in namespace 'NS'`
    private static func session(
        in line: String, _ begin: String, _ middle: String
    ) -> (snapshot: SnapshotName, namespace: Namespace)? {
        guard line.hasPrefix(begin), let middle = line.firstRange(of: middle) else { return nil }
        let name = line[line.index(line.startIndex, offsetBy: begin.count)..<middle.lowerBound]
        guard let snapshot = SnapshotName(parsing: name) else { return nil }
        guard let mark = line.firstRange(of: "' in namespace '"), line.hasSuffix("'") else { return (snapshot, .root) }
        guard let namespace = try? Namespace(parsing: line[mark.upperBound...].dropLast()) else { return nil }
        return (snapshot, namespace)
    }
}
