import BackupFormats
import FoundationEssentials
import Logging
import PeerSyncProtocol
import Platform
import Tasks

// Logs of tasks, for hubs of our own make. (Spec: backrest-sync §5.8, §9.3.)
extension MemberSession {
    /// Bytes in one item.
    private static let maxLogPiece = 128 << 10
    private static let maxLogID = UPID.maxLength

    func startLog(_ id: String) async throws {
        let (feed, scope) = (feed, scope)
        let found: MemberOutbox.LogReading?
        if id.utf8.count <= Self.maxLogID, let task = try? UPID(parsing: id) {
            found = try await workers.run {
                try feed.logOwner(id, for: scope).map { MemberOutbox.LogReading(id: id, operation: $0, task: task) }
            }
        } else {
            found = nil
        }
        guard let found else {
            // The same for one that is not there and one that is not for this hub.
            return outbox.refuse(log: String(id.prefix(Self.maxLogID)), "there is no such log")
        }
        if !outbox.follow(found) { outbox.refuse(log: id, "too many logs are being read; try again") }
    }

    func sendPiece(of reading: MemberOutbox.LogReading) async throws {
        var reading = reading
        var data = WireSyncStreamItem.SyncActionReceiveLogData()
        data.logID = reading.id
        let (feed, task, offset) = (feed, reading.task, reading.offset)
        let piece: (bytes: [UInt8], isActive: Bool)?
        do {
            piece = try await workers.run { try feed.tasks.logPiece(task, from: offset, limit: Self.maxLogPiece) }
        } catch {
            data.errorMessage = "the log cannot be read"
            log.warning("a log cannot be read", metadata: ["task": "\(task)", "reason": "\(error)"])
            return try await send(.logData(data))
        }
        guard let piece else {
            data.errorMessage = "the log is not kept any more"
            return try await send(.logData(data))
        }
        if piece.bytes.isEmpty, piece.isActive { return outbox.rest(reading) }
        if offset == 0 {
            data.ownerOpid = reading.operation
            data.expirationTsUnix = feed.logExpiry(of: task)
        }
        data.chunk = Data(piece.bytes)
        try await send(.logData(data))
        // An empty chunk has ended it.
        guard !piece.bytes.isEmpty else { return }
        reading.offset += piece.bytes.count
        outbox.again(reading)
    }
}
