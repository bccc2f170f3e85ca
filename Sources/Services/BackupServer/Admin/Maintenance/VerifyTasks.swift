package import AccessControl
package import BackupFormats
import Datastore
import Platform
import Tasks

// Verifications that a caller asks for, each a task of its own. (Spec: rest E.4, D.11.)
extension MaintenanceService {
    /// Starts a verification in the background; of a namespace only those groups that the caller may verify.
    ///
    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where there is nothing of that name, `invalidInput` for a group
    ///   that the caller would have to own.
    package func startVerify(_ request: VerifyRequest, by grant: ContentGrant) async throws -> UPID {
        let place = request.place
        try await workers.run {
            let content = ContentService(stores: stores, access: access)
            if let snapshot = request.snapshot {
                _ = try content.store(place, snapshot.group, .write, grant).snapshot(snapshot, in: place.namespace)
            } else if let group = request.group {
                _ = try content.store(place, group, .write, grant)
            } else {
                _ = try content.store(place, .write, grant)
            }
        }
        let (type, id) = Self.worker(of: request)
        return tasks.run(type, id: id, owner: grant.authID) { task in
            try await onOwnThread {
                try verify(request, in: task) { namespace, owner in
                    let grant = try? access.contentGrant(
                        full: .datastoreVerify, partial: .datastoreBackup, store: request.store, namespace: namespace,
                        to: grant.grant.identity)
                    return grant.map { ContentService.sees(owner, $0) } ?? false
                }
            }
        }
    }

    /// Worker type and id. The namespace stands there as its folders: `ns/a/ns/b`. (Spec: rest E.8.)
    private static func worker(of request: VerifyRequest) -> (type: String, id: String) {
        let place = request.place
        let folders = place.namespace.components.map { "ns/\($0)" }.joined(separator: "/")
        if let snapshot = request.snapshot {
            let digits = String(snapshot.time, radix: 16, uppercase: true)
            let time = String(repeating: "0", count: max(0, 8 - digits.count)) + digits
            return ("verify_snapshot", "\(place.store):\(folders)/\(snapshot.group)/\(time)")
        }
        if let group = request.group { return ("verify_group", "\(place.store):\(folders)/\(group)") }
        return ("verify", place.namespace.isRoot ? place.store : "\(place.store):\(place.namespace)")
    }
}
