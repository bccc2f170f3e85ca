package import BackupFormats

/// What one synchronisation is to copy. (Spec: rest E.5.)
package struct SyncRequest: Sendable {
    package enum Direction: String, CaseIterable, Sendable {
        /// From the remote, or from another local datastore, into the datastore of this request.
        case pull
        /// From the datastore of this request to the remote.
        case push
    }

    package var direction: Direction
    /// The datastore of this server: the target of a pull, the source of a push.
    package var store: String
    package var namespace: Namespace
    /// Whose the groups are that a pull makes, and the only owner whose groups it touches.
    package var owner: AuthID
    /// The remote by its name; nil for another datastore of this server.
    package var remote: String?
    package var remoteStore: String
    package var remoteNamespace: Namespace
    /// Remove from the target what the source no longer has.
    package var removesVanished: Bool
    /// Levels of namespaces below the start.
    package var maxDepth: Int
    package var filters: [GroupFilter]
    /// Only so many of the newest snapshots of each group; nil for all.
    package var transferLast: Int?
    package var isEncryptedOnly: Bool
    package var isVerifiedOnly: Bool
    /// Fetch snapshots again whose verification failed here.
    package var resyncsCorrupt: Bool
    package var rates: SyncRates

    package init(direction: Direction = .pull, store: String, remote: String?, remoteStore: String) {
        self.direction = direction
        self.store = store
        namespace = .root
        owner = .root
        self.remote = remote
        self.remoteStore = remoteStore
        remoteNamespace = .root
        removesVanished = false
        maxDepth = Namespace.maxDepth
        filters = []
        isEncryptedOnly = false
        isVerifiedOnly = false
        resyncsCorrupt = false
        rates = SyncRates()
    }

    /// From the properties of a sync job, or the parameters of a pull or push; others are not looked at.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` naming the property.
    package init(properties: JSONObject) throws {
        let reader = SyncProperties(properties)
        let direction = try reader.text("sync-direction").map { text in
            guard let direction = Direction(rawValue: text) else { throw SyncProperties.wrong("sync-direction") }
            return direction
        }
        guard let store = try reader.text("store") else { throw SyncProperties.wrong("store") }
        guard let remoteStore = try reader.text("remote-store") else { throw SyncProperties.wrong("remote-store") }
        self.init(
            direction: direction ?? .pull, store: store, remote: try reader.text("remote"), remoteStore: remoteStore)
        namespace = try reader.namespace("ns")
        remoteNamespace = try reader.namespace("remote-ns")
        if let text = try reader.text("owner") {
            guard let owner = AuthID(parsing: text) else { throw SyncProperties.wrong("owner") }
            self.owner = owner
        }
        removesVanished = try reader.flag("remove-vanished")
        maxDepth = try reader.number("max-depth", in: 0...Int64(Namespace.maxDepth)) ?? Namespace.maxDepth
        filters = try reader.texts("group-filter").map { try GroupFilter(parsing: $0) }
        transferLast = try reader.number("transfer-last", in: 1...Int64.max)
        isEncryptedOnly = try reader.flag("encrypted-only")
        isVerifiedOnly = try reader.flag("verified-only")
        resyncsCorrupt = try reader.flag("resync-corrupt")
        rates = SyncRates(
            receive: try reader.rate("rate-in"), receiveBurst: try reader.rate("burst-in"),
            send: try reader.rate("rate-out"), sendBurst: try reader.rate("burst-out"))
        try check()
    }

    /// - Throws: ``BackupFailure`` of kind `invalidInput` for combinations that make no sense.
    private func check() throws {
        guard remote == nil else { return }
        guard direction == .pull else { throw BackupFailure(.invalidInput, "A push needs a remote") }
        guard store != remoteStore || !(namespace.contains(remoteNamespace) || remoteNamespace.contains(namespace))
        else {
            throw BackupFailure(
                .invalidInput, "Datastore '\(store)' cannot be copied into itself: the namespaces overlap")
        }
    }
}

/// Bytes a second, and bytes at once, that a synchronisation may use of the network; nil for no limit.
package struct SyncRates: Hashable, Sendable {
    package var receive: Int?
    package var receiveBurst: Int?
    package var send: Int?
    package var sendBurst: Int?

    package init(receive: Int? = nil, receiveBurst: Int? = nil, send: Int? = nil, sendBurst: Int? = nil) {
        self.receive = receive
        self.receiveBurst = receiveBurst
        self.send = send
        self.sendBurst = sendBurst
    }
}

/// Reads properties of a sync job with their types.
private struct SyncProperties {
    private let properties: JSONObject

    init(_ properties: JSONObject) { self.properties = properties }

    static func wrong(_ name: String) -> BackupFailure {
        BackupFailure(.invalidInput, "The property '\(name)' of a synchronisation is missing or wrong")
    }

    private subscript(_ name: String) -> JSONValue? {
        let value = properties[name]
        return value == .null ? nil : value
    }

    func text(_ name: String) throws -> String? {
        guard let value = self[name] else { return nil }
        guard let text = value.stringValue else { throw Self.wrong(name) }
        return text
    }

    /// A list of texts, or one alone.
    func texts(_ name: String) throws -> [String] {
        guard let value = self[name] else { return [] }
        if let text = value.stringValue { return [text] }
        guard let items = value.arrayValue else { throw Self.wrong(name) }
        return try items.map {
            guard let text = $0.stringValue else { throw Self.wrong(name) }
            return text
        }
    }

    func flag(_ name: String) throws -> Bool {
        guard let value = self[name] else { return false }
        guard let flag = value.boolValue else { throw Self.wrong(name) }
        return flag
    }

    func number(_ name: String, in range: ClosedRange<Int64>) throws -> Int? {
        guard let value = self[name] else { return nil }
        guard let number = value.intValue, range.contains(number) else { throw Self.wrong(name) }
        return Int(number)
    }

    func namespace(_ name: String) throws -> Namespace {
        do {
            return try Namespace(parsing: try text(name) ?? "")
        } catch let error as FormatError {
            throw BackupFailure(.invalidInput, "The property '\(name)' of a synchronisation is wrong", cause: error)
        }
    }

    /// Bytes as a number, or as a text with a unit.
    func rate(_ name: String) throws -> Int? {
        guard let value = self[name] else { return nil }
        if let number = value.intValue, number > 0 { return Int(number) }
        guard let text = value.stringValue, let bytes = ByteAmount.parse(text) else { throw Self.wrong(name) }
        return bytes
    }
}
