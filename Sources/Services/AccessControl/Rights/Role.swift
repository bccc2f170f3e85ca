/// A named set of privileges; access entries give roles, never single privileges. (Spec: rest D.9.)
package enum Role: String, CaseIterable, Sendable {
    case admin = "Admin"
    case audit = "Audit"
    case noAccess = "NoAccess"
    case datastoreAdmin = "DatastoreAdmin"
    case datastoreReader = "DatastoreReader"
    case datastoreBackup = "DatastoreBackup"
    case datastorePowerUser = "DatastorePowerUser"
    case datastoreAudit = "DatastoreAudit"
    case remoteAudit = "RemoteAudit"
    case remoteAdmin = "RemoteAdmin"
    case remoteSyncOperator = "RemoteSyncOperator"
    case remoteSyncPushOperator = "RemoteSyncPushOperator"
    case remoteDatastorePowerUser = "RemoteDatastorePowerUser"
    case remoteDatastoreAdmin = "RemoteDatastoreAdmin"
    case tapeAudit = "TapeAudit"
    case tapeAdmin = "TapeAdmin"
    case tapeOperator = "TapeOperator"
    case tapeReader = "TapeReader"

    package var privileges: Privileges {
        switch self {
        case .admin: .all
        case .audit: [.sysAudit, .datastoreAudit]
        case .noAccess: []
        case .datastoreAdmin:
            [.datastoreAudit, .datastoreModify, .datastoreRead, .datastoreVerify, .datastoreBackup, .datastorePrune]
        case .datastoreReader: [.datastoreAudit, .datastoreVerify, .datastoreRead]
        case .datastoreBackup: [.datastoreBackup]
        case .datastorePowerUser: [.datastorePrune, .datastoreBackup]
        case .datastoreAudit: [.datastoreAudit]
        case .remoteAudit: [.remoteAudit]
        case .remoteAdmin: [.remoteAudit, .remoteModify, .remoteRead]
        case .remoteSyncOperator: [.remoteAudit, .remoteRead]
        case .remoteSyncPushOperator: [.remoteAudit, .remoteDatastoreBackup]
        case .remoteDatastorePowerUser: [.remoteAudit, .remoteDatastoreBackup, .remoteDatastorePrune]
        case .remoteDatastoreAdmin:
            [.remoteAudit, .remoteDatastoreBackup, .remoteDatastoreModify, .remoteDatastorePrune]
        case .tapeAudit: [.tapeAudit]
        case .tapeAdmin: [.tapeAudit, .tapeModify, .tapeRead, .tapeWrite]
        case .tapeOperator: [.tapeAudit, .tapeRead, .tapeWrite]
        case .tapeReader: [.tapeAudit, .tapeRead]
        }
    }

    /// One line for listings.
    package var comment: String {
        switch self {
        case .admin: "May do everything"
        case .audit: "May look at the system and at datastores"
        case .noAccess: "Takes away what a path above has given"
        case .datastoreAdmin: "May do everything with a datastore but create and remove it"
        case .datastoreReader: "May look at, verify and restore all backups"
        case .datastoreBackup: "May back up, and restore own backups"
        case .datastorePowerUser: "May back up, restore and prune own backups"
        case .datastoreAudit: "May look at a datastore and list its backups"
        case .remoteAudit: "May look at remotes"
        case .remoteAdmin: "May do everything with remotes"
        case .remoteSyncOperator: "May pull from remotes"
        case .remoteSyncPushOperator: "May push to remotes"
        case .remoteDatastorePowerUser: "May push to remotes and prune what was pushed"
        case .remoteDatastoreAdmin: "May push to remotes, and change and prune what is there"
        case .tapeAudit: "May look at tapes"
        case .tapeAdmin: "May do everything with tapes"
        case .tapeOperator: "May back up to and restore from tapes"
        case .tapeReader: "May look at and restore from tapes"
        }
    }
}
