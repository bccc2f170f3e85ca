import BackupFormats
import BackupServer
import Datastore
import Logging
import Platform
import StateDatabase

extension MemberFeed {
    /// A look at all snapshots may take this part of the time.
    private static let scanShare: Double = 30
    /// Between two looks where something calls for one.
    private static let shortestInterval: Double = 1
    private static let batch = 200

    private var maker: OperationMaker { OperationMaker(instanceID: directory.instanceID) }

    // MARK: Datastores

    /// Takes notice of new, changed and removed datastores.
    func findStores(_ work: inout FeedWork) throws {
        let records = stores.records
        for name in work.stores.keys where !records.contains(where: { $0.name == name }) { work.stores[name] = nil }
        for record in records where work.stores[record.name]?.path != record.path {
            guard let identity = try identity(of: record.name) else { continue }
            work.stores[record.name] = FeedWork.StoreNote(
                path: record.path, view: StoreView(name: record.name, identity: identity), isDirty: true)
        }
    }

    /// The store's own, or the one that was given to it before; a store that cannot keep one gets it from here.
    private func identity(of name: String) throws -> [UInt8]? {
        let known = try database.read { try $0.storeIdentity(name) }
        guard let datastore = try? stores.datastore(name, for: .read) else { return known }
        let own = try datastore.identity()
        if let own, own == known { return own }
        if own == nil, let known { return known }
        let identity = try own ?? SystemRandom.uuid()
        try database.write { try $0.putStoreIdentity(identity, of: name) }
        return identity
    }

    // MARK: Snapshots

    /// Looks at the snapshots of those datastores that call for it.
    func scan(_ work: inout FeedWork, isStale: Bool) {
        for name in work.stores.keys.sorted() {
            guard var note = work.stores[name] else { continue }
            if let last = note.lastScan, !isStale {
                let age = (ContinuousClock.now - last).inSeconds
                let least = max(Self.shortestInterval, note.scanDuration.inSeconds * Self.scanShare)
                guard age >= (note.isDirty ? least : max(least, settings.scanInterval)) else { continue }
            }
            let start = ContinuousClock.now
            do {
                try scan(&note)
                note.isDirty = false
                note.mustReadManifests = false
            } catch {
                // As it was: what cannot be read is not gone.
                log.info(
                    "snapshots for hubs cannot be listed", metadata: ["datastore": "\(name)", "reason": "\(error)"])
            }
            note.lastScan = .now
            note.scanDuration = .now - start
            work.stores[name] = note
        }
    }

    private func scan(_ note: inout FeedWork.StoreNote) throws {
        let store = note.view
        let datastore = try stores.datastore(store.name, for: .read)
        // Asked before the folders: what is published meanwhile is seen next time.
        var known = Dictionary(
            try database.read { try $0.ownOperations(of: store.guid, kind: OperationKind.snapshot) }
                .map { ($0.content.subject, $0) }, uniquingKeysWith: { first, _ in first })
        var batch: [OwnOperationContent] = []
        var namespaces: [Namespace] = []
        for namespace in try datastore.namespaces() {
            let groups = try datastore.groupNames(in: namespace)
            if !groups.isEmpty { namespaces.append(namespace) }
            for group in groups {
                for entry in try datastore.snapshots(in: namespace, group: group) where entry.isFinished {
                    let subject = OwnSubject.snapshot(store.snapshotID(entry.name, in: namespace))
                    let old = known.removeValue(forKey: subject)
                    let fingerprint = entry.fingerprint
                    if let old, old.content.isForgotten != true, old.content.fingerprint == fingerprint,
                        !note.mustReadManifests
                    {
                        continue
                    }
                    // One that came back is another one: hubs may have let go of the first for good.
                    if let old, old.content.isForgotten == true {
                        try database.write { try $0.retireOwnOperation(old.id) }
                    }
                    batch.append(
                        try maker.operation(
                            of: entry, manifest: try? datastore.manifest(of: entry.name, in: namespace), in: store,
                            fingerprint: fingerprint))
                    try flush(&batch, atLeast: Self.batch)
                }
            }
        }
        for old in known.values where old.content.isForgotten == false {
            guard let whole = try database.read({ try $0.ownOperation(old.id) }) else { continue }
            batch.append(try maker.forgotten(whole.content))
            try flush(&batch, atLeast: Self.batch)
        }
        try flush(&batch, atLeast: 1)
        note.view.namespaces = namespaces.sorted()
    }

    private func flush(_ batch: inout [OwnOperationContent], atLeast count: Int) throws {
        guard batch.count >= count else { return }
        tell(try operations.put(batch))
        batch = []
    }
}

extension SnapshotEntry {
    /// Another one where the files, the owner or the protection are: then the manifest is read again.
    var fingerprint: Int64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ text: String) {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = (hash ^ 0xff) &* 0x100_0000_01b3
        }
        for file in files { add("\(file.name) \(file.byteCount)") }
        add(owner.map { "\($0)" } ?? "")
        add(isProtected ? "protected" : "")
        return Int64(bitPattern: hash)
    }
}
