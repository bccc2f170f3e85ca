package import BackupFormats
import Crypto
package import PeerSyncProtocol

/// A datastore as hubs see it: a repo, with a plan for each namespace that holds groups. (Spec: backrest-sync §9.1.)
package struct StoreView: Sendable, Hashable {
    package let name: String
    /// The 16 bytes that it is known by, whatever it is called.
    package let identity: [UInt8]
    package let guid: String
    /// Namespaces that hold groups, sorted.
    package var namespaces: [Namespace] = []

    package init(name: String, identity: [UInt8], namespaces: [Namespace] = []) {
        self.name = name
        self.identity = identity
        self.namespaces = namespaces
        guid = Hex.encode(SHA256.hash(data: Array("pbs-datastore/1".utf8) + [0] + identity))
    }

    package var repo: WireRepoMetadata {
        var repo = WireRepoMetadata()
        repo.id = name
        repo.guid = guid
        return repo
    }

    /// The name of the plan: the datastore's, and the namespace's path with `_`. Where a `_` in a name would make two
    /// places look like one, a few digits of the place's checksum follow: what is granted is granted by this name.
    package static func plan(_ store: String, _ namespace: Namespace) -> String {
        guard !namespace.isRoot else { return store }
        let path = ([store] + namespace.components).joined(separator: "_")
        guard store.contains("_") || namespace.components.contains(where: { $0.contains("_") }) else { return path }
        let place = Array("\(store)\0\(namespace)".utf8)
        return "\(path)~\(Hex.encode(SHA256.hash(data: place)).prefix(6))"
    }

    /// 64 hexadecimal digits.
    package func snapshotID(_ snapshot: SnapshotName, in namespace: Namespace) -> String {
        func prefixed(_ text: String) -> [UInt8] {
            let bytes = Array(text.utf8)
            return bigEndian(UInt32(bytes.count)) + bytes
        }
        let name =
            prefixed("\(namespace)") + prefixed(snapshot.group.type.rawValue) + prefixed(snapshot.group.id)
            + bigEndian(UInt64(bitPattern: snapshot.time))
        return Hex.encode(SHA256.hash(data: Array("pbs-snapshot/1".utf8) + [0] + identity + name))
    }
}

private func bigEndian<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) -> [UInt8] {
    stride(from: Value.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> Value($0)) }
}
