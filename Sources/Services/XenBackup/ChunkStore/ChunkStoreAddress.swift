package import BackupFormats

/// Which datastore a remote of Xen Orchestra means: one of this server, or one of a configured remote server.
///
/// | path of the `file` URL                              | datastore                                        |
/// |-----------------------------------------------------|--------------------------------------------------|
/// | `/chunkstore/<datastore>[/<namespace>…]`            | of this server                                   |
/// | `/chunkstore/@<remote>/<datastore>[/<namespace>…]`  | of a server elsewhere, by the name of the remote |
///
/// (Spec: xo-proxy §10.1.)
package struct ChunkStoreAddress: Sendable, Hashable {
    package static let root = "chunkstore"

    /// The configured remote; nil for this server.
    package let remote: String?
    package let datastore: String
    package let namespace: Namespace

    package init(remote: String? = nil, datastore: String, namespace: Namespace = .root) {
        self.remote = remote
        self.datastore = datastore
        self.namespace = namespace
    }

    /// Whether the path of a `file` URL lies in the space of names that means datastores.
    package static func isChunkStore(path: String) -> Bool {
        path.split(separator: "/", maxSplits: 1).first.map { $0 == root } ?? false
    }

    /// Reads the path of a `file` URL, decoded and without options.
    ///
    /// - Returns: nil where it does not begin with `/chunkstore`.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where what follows names no datastore.
    package init?(path: String) throws {
        guard Self.isChunkStore(path: path) else { return nil }
        var parts = path.split(separator: "/").dropFirst().map { String($0) }
        func refuse(_ reason: String) -> BackupFailure {
            BackupFailure(
                .invalidInput, "'\(path)' names no datastore: \(reason)",
                hints: [
                    "Write file:///chunkstore/DATASTORE[/NAMESPACE…], or file:///chunkstore/@REMOTE/DATASTORE[/NAMESPACE…]."
                ])
        }
        var remote: String?
        if let first = parts.first, first.hasPrefix("@") {
            remote = String(first.dropFirst())
            guard SafeID.isValid(remote ?? "") else { throw refuse("'\(first)' is no name of a remote") }
            parts.removeFirst()
        }
        guard let datastore = parts.first else { throw refuse("the name of the datastore is missing") }
        guard SafeID.isValid(datastore) else { throw refuse("'\(datastore)' is no name of a datastore") }
        let namespace: Namespace
        do { namespace = try Namespace(components: Array(parts.dropFirst())) } catch { throw refuse("\(error)") }
        self.init(remote: remote, datastore: datastore, namespace: namespace)
    }
}

extension ChunkStoreAddress: CustomStringConvertible {
    /// The path that ``init(path:)`` reads.
    package var description: String {
        let parts = [Self.root] + (remote.map { ["@\($0)"] } ?? []) + [datastore] + namespace.components
        return "/" + parts.joined(separator: "/")
    }
}

extension ChunkStoreAddress {
    /// In the words of a message: `datastore 'main', namespace 'xo'`.
    var label: String {
        let place = namespace.isRoot ? "datastore '\(datastore)'" : "datastore '\(datastore)', namespace '\(namespace)'"
        return remote.map { "\(place) of remote '\($0)'" } ?? place
    }
}
