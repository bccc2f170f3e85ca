import BackupFormats
import XenAPI

/// A disk of a machine or snapshot, with its record.
struct LiveDisk: Sendable {
    let reference: String
    let record: JSONObject

    var uuid: String { record["uuid"]?.stringValue ?? "" }
    var name: String { record["name_label"]?.stringValue ?? uuid }
    var size: UInt64 { UInt64(clamping: record["virtual_size"]?.wholeNumber ?? 0) }
    var storage: String? { XenReference.of(record["SR"]) }
    var isIgnored: Bool { IgnoredDisks.contains(name: name) }

    /// The disks that a machine has attached, each once, in the order of its attachments.
    static func all(of machine: XenRecord, _ host: any XenHost) async throws -> [LiveDisk] {
        var disks: [LiveDisk] = []
        for attachment in try await host.attachments(of: machine.reference) {
            guard let reference = attachment.disk, !disks.contains(where: { $0.reference == reference }) else {
                continue
            }
            try await host.unlessGone {
                disks.append(LiveDisk(reference: reference, record: try await host.record("VDI", reference)))
            }
        }
        return disks
    }
}

extension JSONValue {
    /// Hosts write large numbers as numbers or as text.
    var wholeNumber: Int64? { intValue ?? stringValue.flatMap { Int64($0) } }
}

/// Whether the storage under a machine's disks has merged what earlier snapshots left. (Spec: xo-proxy §5.6 step 8.)
struct ChainCheck {
    /// Links that wait to be merged and are accepted: the storage may be at it.
    static let tolerance = 1
    /// Longer chains are not followed.
    static let chainLimit = 1000

    let host: any XenHost

    /// - Throws: ``BackupFailure`` with the summary `unhealthy VDI chain`.
    func run(_ disks: [LiveDisk]) async throws {
        guard disks.contains(where: { Self.parent(of: $0.record) != nil }) else { return }
        var records: [String: JSONObject] = [:]
        var children: [String: [JSONObject]] = [:]
        for record in try await host.records("VDI") {
            records[record.uuid] = record.fields
            if let parent = Self.parent(of: record.fields) { children[parent, default: []].append(record.fields) }
        }
        for disk in disks {
            var waiting = 0
            var next = Self.parent(of: disk.record)
            for _ in 0..<Self.chainLimit {
                guard let uuid = next, let record = records[uuid] else { break }
                let below = children[uuid] ?? []
                if Self.isUnmanaged(record), below.count == 1, Self.isUnmanaged(below[0]) { waiting += 1 }
                next = Self.parent(of: record)
            }
            if waiting > Self.tolerance { throw BackupFailure(.conflict, "unhealthy VDI chain") }
        }
    }

    private static func parent(of record: JSONObject) -> String? {
        let uuid = record["sm_config"]?["vhd-parent"]?.stringValue
        return uuid == "" ? nil : uuid
    }

    private static func isUnmanaged(_ record: JSONObject) -> Bool { record["managed"]?.boolValue == false }
}
