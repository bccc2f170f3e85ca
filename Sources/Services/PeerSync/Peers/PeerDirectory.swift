import BackupFormats
package import PeerSyncProtocol
package import StateDatabase
import Synchronization

/// The peers that this instance knows, and who it is itself. What is changed here is stored before anybody sees it.
///
/// Secrets that are still to be shown to hubs stand in a section of their own, as those of remotes do.
package final class PeerDirectory: Sendable {
    package static let section = ConfigSection(name: "peer")
    static let secrets = ConfigSection(name: "peer-secret")
    static let keyFile = "peer.key"
    /// Longest instance id. (Spec: backrest-sync §5.3.)
    package static let maxInstanceBytes = 50

    package enum Change: Sendable {
        case added(Peer)
        case changed(old: Peer, new: Peer)
        case removed(Peer)
    }

    package let identity: PeerIdentity
    package let instanceID: String
    private let database: StateDatabase

    private struct State {
        var peers: [Peer] = []
        var observers: [@Sendable (Change) -> Void] = []
    }
    private let state: Mutex<State>
    /// Held while a change is stored and told, so that observers see changes in their order.
    private let changing = Mutex(())

    /// Reads the peers; makes the key at the first start. Blocks.
    ///
    /// - Parameter name: Of this machine; what does not belong into an instance id becomes `-`.
    package init(database: StateDatabase, name: String) throws {
        self.database = database
        instanceID = Self.instanceID(of: name)
        identity = try Self.identity(in: database.folder)
        let (entries, secrets) = try database.read {
            (try $0.entries(Self.section), try $0.entries(Self.secrets))
        }
        let bySecret = Dictionary(secrets.map { ($0.id, $0.properties["secret"]?.stringValue) }) { first, _ in first }
        state = Mutex(
            State(peers: try entries.map { try Peer(entry: $0, pairingSecret: bySecret[$0.id] ?? nil) }))
    }

    package static func instanceID(of name: String) -> String {
        let plain = name.utf8.prefix(maxInstanceBytes).map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                byte
            case UInt8(ascii: "_"): byte
            default: UInt8(ascii: "-")
            }
        }
        let text = String(decoding: plain, as: UTF8.self)
        if text.isEmpty { return "cairn" }
        return text.hasPrefix("_") && text.hasSuffix("_") ? "cairn" + text.dropFirst() : text
    }

    private static func identity(in folder: StateFolder) throws -> PeerIdentity {
        if let stored = try folder.read(keyFile) {
            let text = String(decoding: stored, as: UTF8.self).filter { !$0.isWhitespace }
            guard let seed = Hex.decode(text), let identity = try? PeerIdentity(seed: seed) else {
                throw BackupFailure(
                    .corruptData, "\(keyFile) in the state folder does not hold a key",
                    hints: [
                        "Bring it back from an exported state. Without it peers must be paired anew: remove the file."
                    ])
            }
            return identity
        }
        let identity = try PeerIdentity()
        try folder.replace(keyFile, with: Array((Hex.encode(identity.seed) + "\n").utf8))
        return identity
    }

    // MARK: - Reading

    /// In order of their coming.
    package var peers: [Peer] { state.withLock { $0.peers } }

    package func peer(keyID: String) -> Peer? { state.withLock { $0.peers.first { $0.keyID == keyID } } }

    /// By key id or instance id.
    ///
    /// - Throws: ``BackupFailure`` of kind `notFound`.
    package func peer(named name: String) throws -> Peer {
        guard let peer = state.withLock({ $0.peers.first { $0.keyID == name || $0.instanceID == name } }) else {
            throw BackupFailure(.notFound, "no such peer '\(name)'", hints: ["`cairn peer list` shows all."])
        }
        return peer
    }

    /// Calls `observer` after each change, in order, on the thread of whoever made it. It must not block.
    package func observe(_ observer: @escaping @Sendable (Change) -> Void) {
        state.withLock { $0.observers.append(observer) }
    }

    // MARK: - Changes (they block)

    /// - Parameter also: What else belongs to the same transaction.
    /// - Throws: ``BackupFailure`` of kind `conflict` where name or key is taken, `invalidInput` for a name that cannot be.
    package func add(_ peer: Peer, also: (StateWriter) throws -> Void = { _ in }) throws {
        guard !peer.instanceID.isEmpty, peer.instanceID.utf8.count <= Self.maxInstanceBytes,
            !(peer.instanceID.hasPrefix("_") && peer.instanceID.hasSuffix("_"))
        else { throw BackupFailure(.invalidInput, "'\(peer.instanceID)' cannot be the name of an instance") }
        try change { peers in
            guard peer.keyID != identity.keyID, peer.instanceID != instanceID else {
                throw BackupFailure(.conflict, "'\(peer.instanceID)' is this instance itself, or has its name")
            }
            if let other = peers.first(where: { $0.keyID == peer.keyID || $0.instanceID == peer.instanceID }) {
                throw BackupFailure(
                    .conflict, "a peer with the name '\(other.instanceID)' and the key \(other.keyID) is there already",
                    hints: ["Remove it first: `cairn peer remove \(other.instanceID)`."])
            }
            try database.write { state in
                try put(peer, in: state)
                try also(state)
            }
            peers.append(peer)
            return .added(peer)
        }
    }

    /// - Throws: ``BackupFailure`` of kind `notFound`.
    @discardableResult
    package func update(keyID: String, _ body: (inout Peer) throws -> Void) throws -> Peer {
        var result: Peer?
        try change { peers in
            guard let index = peers.firstIndex(where: { $0.keyID == keyID }) else {
                throw BackupFailure(.notFound, "no such peer '\(keyID)'")
            }
            let old = peers[index]
            var new = old
            try body(&new)
            result = new
            guard new != old else { return nil }
            try database.write { [new] in try put(new, in: $0) }
            peers[index] = new
            return .changed(old: old, new: new)
        }
        guard let result else { throw BackupFailure(.internalFault, "a peer was changed and is not there") }
        return result
    }

    /// - Parameter also: What else goes in the same transaction.
    package func remove(keyID: String, also: (StateWriter) throws -> Void = { _ in }) throws {
        try change { peers in
            guard let index = peers.firstIndex(where: { $0.keyID == keyID }) else {
                throw BackupFailure(.notFound, "no such peer '\(keyID)'")
            }
            try database.write { state in
                _ = try state.remove(keyID, from: Self.section)
                _ = try state.remove(keyID, from: Self.secrets)
                try also(state)
            }
            return .removed(peers.remove(at: index))
        }
    }

    private func change(_ body: (inout [Peer]) throws -> Change?) throws {
        try changing.withLock { _ in
            var peers = state.withLock { $0.peers }
            guard let change = try body(&peers) else { return }
            let observers = state.withLock { [peers] state in
                state.peers = peers
                return state.observers
            }
            for observer in observers { observer(change) }
        }
    }

    private func put(_ peer: Peer, in state: StateWriter) throws {
        try state.put(peer.entry, in: Self.section)
        if let secret = peer.pairingSecret {
            try state.put(ConfigEntry(id: peer.keyID, properties: ["secret": .string(secret)]), in: Self.secrets)
        } else {
            _ = try state.remove(peer.keyID, from: Self.secrets)
        }
    }
}

extension Peer {
    fileprivate var entry: ConfigEntry {
        var properties: JSONObject = [
            "instance": .string(instanceID), "role": .string(role == .hub ? "hub" : "member"),
            "added": .integer(added),
            "permissions": grants.json,
        ]
        if let address {
            properties["url"] = .string("\(address)")
            properties["fingerprint"] = address.fingerprint.map(JSONValue.string)
        }
        return ConfigEntry(id: keyID, properties: properties)
    }

    fileprivate init(entry: ConfigEntry, pairingSecret: String?) throws {
        let properties = entry.properties
        func damaged() -> BackupFailure {
            BackupFailure(.corruptData, "The configuration of the peer '\(entry.id)' cannot be read")
        }
        guard let instance = properties["instance"]?.stringValue, let role = properties["role"]?.stringValue,
            let added = properties["added"]?.intValue, let grants = [PeerGrant](json: properties["permissions"])
        else { throw damaged() }
        self.init(
            keyID: entry.id, instanceID: instance, role: role == "hub" ? .hub : .member,
            address: try properties["url"]?.stringValue.map {
                try HubAddress(parsing: $0, fingerprint: properties["fingerprint"]?.stringValue)
            },
            grants: grants,
            pairingSecret: pairingSecret, added: added)
    }
}
