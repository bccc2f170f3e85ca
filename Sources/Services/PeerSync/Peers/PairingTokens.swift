import BackupFormats
import PeerSyncProtocol
import Platform
package import StateDatabase

/// The pairing tokens of a hub, in the state database. (Spec: backrest-sync §4.8.)
package struct PairingTokens: Sendable {
    /// Tokens that are kept at once.
    private static let maxCount = 1000
    private static let maxLabelBytes = 256
    /// Seconds that a token is still listed when it is over.
    private static let keptAfterEnd: Int64 = 86_400
    private static let idBytes = 4

    private let database: StateDatabase

    package init(database: StateDatabase) { self.database = database }

    /// Makes a token; blocks.
    ///
    /// - Returns: Its secret too, which is not kept.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for values that cannot be, `conflict` where there are too many.
    func create(_ request: PairingTokenRequest, now: Int64) throws -> (secret: String, PairingTokenDescription) {
        guard request.label.utf8.count <= Self.maxLabelBytes else {
            throw BackupFailure(.invalidInput, "the label of a token has at most \(Self.maxLabelBytes) bytes")
        }
        if let lifetime = request.lifetime, !(1...100 * 366 * 86_400).contains(lifetime) {
            throw BackupFailure(.invalidInput, "a token cannot be good for \(lifetime) seconds")
        }
        if let uses = request.maxUses, !(1...Int(Int32.max)).contains(uses) {
            throw BackupFailure(.invalidInput, "a token cannot be good for \(uses) uses")
        }
        let secret = Hex.encode(try SystemRandom.bytes(PairingSecret.randomBytes))
        let record = PeerTokenRecord(
            id: Hex.encode(try SystemRandom.bytes(Self.idBytes)), hash: PairingSecret.hash(of: secret),
            label: request.label, grants: request.grants.json.compactText, created: now,
            expires: request.lifetime.map { now + $0 } ?? 0, maxUses: request.maxUses ?? 0)
        try database.write { state in
            guard try state.peerTokens().count < Self.maxCount else {
                throw BackupFailure(.conflict, "there are \(Self.maxCount) pairing tokens already; remove some")
            }
            try state.add(record)
        }
        return (secret, try Self.description(record))
    }

    /// All of them; blocks.
    func all() throws -> [PairingTokenDescription] {
        try database.read { try $0.peerTokens() }.map(Self.description)
    }

    /// - Throws: ``BackupFailure`` of kind `notFound`.
    func remove(_ id: String) throws {
        guard try database.write({ try $0.removePeerToken(id) }) else {
            throw BackupFailure(.notFound, "no such pairing token '\(id)'")
        }
    }

    /// Forgets tokens that have been over for a day; blocks.
    func clean(now: Int64) throws {
        try database.write { try $0.removePeerTokens(endedBefore: now - Self.keptAfterEnd) }
    }

    /// The token whose secret this is, where it may be used now. The time it takes does not tell which one it is, or how
    /// much of it is right.
    func token(with secret: String, now: Int64) throws -> PairingTokenDescription? {
        var found: PeerTokenRecord?
        for record in try database.read({ try $0.peerTokens() }) {
            let kept = PairingSecret(
                hash: record.hash, expires: record.expires, maxUses: record.maxUses, uses: record.uses)
            if kept.accepts(secret, now: now) { found = record }
        }
        return try found.map(Self.description)
    }

    private static func description(_ record: PeerTokenRecord) throws -> PairingTokenDescription {
        guard let grants = [PeerGrant](json: try? JSONValue(parsing: record.grants)) else {
            throw BackupFailure(.corruptData, "The permissions of the pairing token \(record.id) cannot be read")
        }
        return PairingTokenDescription(
            id: record.id, label: record.label, grants: grants, created: record.created,
            expires: record.expires > 0 ? record.expires : nil, maxUses: record.maxUses > 0 ? record.maxUses : nil,
            uses: record.uses)
    }
}
