/// What kind of machine a backup is of. The raw value is the folder name and the word in the protocol.
/// The order is that of listings: `ct`, `host`, `vm`.
package enum BackupType: String, CaseIterable, Sendable, Comparable, Codable {
    case ct, host, vm

    package static func < (left: BackupType, right: BackupType) -> Bool { left.rawValue < right.rawValue }
}

/// A group of snapshots: one machine in one namespace. Prints as `type/id`.
package struct BackupGroup: Hashable, Sendable {
    package let type: BackupType
    package let id: String

    /// - Returns: nil where `id` is not a safe id, or longer than 255 bytes (a folder name).
    package init?(type: BackupType, id: String) {
        guard SafeID.isValid(id), id.utf8.count <= 255 else { return nil }
        self.type = type
        self.id = id
    }

    /// Reads `type/id`.
    package init?(parsing text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let type = BackupType(rawValue: String(parts[0])) else { return nil }
        self.init(type: type, id: String(parts[1]))
    }

    /// The reserved group of benchmark sessions.
    package static let benchmark = BackupGroup(type: .host, id: "benchmark")!
}

extension BackupGroup: CustomStringConvertible {
    package var description: String { "\(type.rawValue)/\(id)" }
}

extension BackupGroup: Comparable {
    /// By type; then ids that are numbers by value, before all others, which compare as text. (Spec: formats §9.3.)
    package static func < (left: BackupGroup, right: BackupGroup) -> Bool {
        if left.type != right.type { return left.type < right.type }
        return switch (UInt64(left.id), UInt64(right.id)) {
        case (let a?, let b?) where a != b: a < b
        case (.some, nil): true
        case (nil, .some): false
        default: left.id.utf8.lexicographicallyPrecedes(right.id.utf8)
        }
    }
}

/// One snapshot: a group and the second at which it was taken. Prints as `type/id/2024-06-01T00:00:00Z`.
package struct SnapshotName: Hashable, Sendable {
    package let group: BackupGroup
    /// Unix seconds, 1 or later.
    package let time: Int64

    /// - Returns: nil where `time` is below 1 or its text would need more than four digits for the year.
    package init?(group: BackupGroup, time: Int64) {
        guard time >= 1, time <= 253_402_300_799 else { return nil }
        self.group = group
        self.time = time
    }

    /// Reads `type/id/2024-06-01T00:00:00Z`.
    package init?(parsing text: some StringProtocol) {
        guard let slash = text.lastIndex(of: "/"),
            let group = BackupGroup(parsing: text[..<slash]),
            let time = BackupTime.parse(text[text.index(after: slash)...])
        else { return nil }
        self.init(group: group, time: time)
    }

    /// The folder name: `2024-06-01T00:00:00Z`.
    package var timeText: String { BackupTime.text(time) }
}

extension SnapshotName: CustomStringConvertible {
    package var description: String { "\(group)/\(timeText)" }
}

extension SnapshotName: Comparable {
    package static func < (left: SnapshotName, right: SnapshotName) -> Bool {
        left.group != right.group ? left.group < right.group : left.time < right.time
    }
}
