import AccessControl
import BackupFormats

/// A remote as the target of a push, and what its version can do. (Spec: protocol C.5.)
struct RemoteTarget: Sendable {
    /// The oldest version that a push works with.
    private static let minimum = [2, 2, 0]
    /// From here on removals can be asked to leave protected snapshots without an error.
    private static let removesAroundProtection = [3, 2, 11]

    let connection: any RemoteConnection
    /// Who this server is there.
    let authID: AuthID
    let version: [Int]

    /// - Throws: ``BackupFailure`` of kind `unsupported` where the remote is too old.
    init(_ connection: any RemoteConnection, _ remote: Remote) async throws {
        self.connection = connection
        authID = remote.authID
        let answer = try await connection.call("GET", "/version", [:])
        let texts = [answer["version"]?.stringValue ?? "", answer["release"]?.stringValue ?? ""]
        // `version` is "3.2", `release` its last part or the whole.
        let parts = texts.map { $0.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) } }
        version = parts[1].count > 1 ? parts[1] : parts[0] + parts[1]
        guard !Self.isBelow(version, Self.minimum) else {
            throw BackupFailure(
                .unsupported, "remote \(remote.label) has version \(texts[0]); a push needs at least 2.2")
        }
    }

    private static func isBelow(_ version: [Int], _ other: [Int]) -> Bool {
        version.lexicographicallyPrecedes(other)
    }

    /// Whether a group there is this server's to remove.
    func owns(_ group: RemoteCatalog.Group) -> Bool {
        group.owner.map { Ownership.accepts(owner: $0, caller: authID) } ?? false
    }

    /// Parameters for removals.
    var leavesProtected: JSONObject {
        Self.isBelow(version, Self.removesAroundProtection) ? [:] : ["error-on-protected": .bool(false)]
    }
}
