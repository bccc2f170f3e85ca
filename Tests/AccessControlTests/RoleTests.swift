import Testing

@testable import AccessControl

@Suite("The roles")
struct RoleTests {
    /// The table of the specification (rest D.9), word for word.
    static let table: [String: Set<String>] = [
        "Admin": Set(Privileges.allNames),
        "Audit": ["Sys.Audit", "Datastore.Audit"],
        "NoAccess": [],
        "DatastoreAdmin": [
            "Datastore.Audit", "Datastore.Modify", "Datastore.Read", "Datastore.Verify", "Datastore.Backup",
            "Datastore.Prune",
        ],
        "DatastoreReader": ["Datastore.Audit", "Datastore.Verify", "Datastore.Read"],
        "DatastoreBackup": ["Datastore.Backup"],
        "DatastorePowerUser": ["Datastore.Prune", "Datastore.Backup"],
        "DatastoreAudit": ["Datastore.Audit"],
        "RemoteAudit": ["Remote.Audit"],
        "RemoteAdmin": ["Remote.Audit", "Remote.Modify", "Remote.Read"],
        "RemoteSyncOperator": ["Remote.Audit", "Remote.Read"],
        "RemoteSyncPushOperator": ["Remote.Audit", "Remote.DatastoreBackup"],
        "RemoteDatastorePowerUser": ["Remote.Audit", "Remote.DatastoreBackup", "Remote.DatastorePrune"],
        "RemoteDatastoreAdmin": [
            "Remote.Audit", "Remote.DatastoreBackup", "Remote.DatastoreModify", "Remote.DatastorePrune",
        ],
        "TapeAudit": ["Tape.Audit"],
        "TapeAdmin": ["Tape.Audit", "Tape.Modify", "Tape.Read", "Tape.Write"],
        "TapeOperator": ["Tape.Audit", "Tape.Read", "Tape.Write"],
        "TapeReader": ["Tape.Audit", "Tape.Read"],
    ]

    @Test("are the 18 of the table, with its privileges")
    func table() {
        let roles = Dictionary(uniqueKeysWithValues: Role.allCases.map { ($0.rawValue, Set($0.privileges.names)) })
        #expect(roles == Self.table)
    }

    @Test("draw from 23 privileges, which are found by name")
    func privileges() {
        #expect(Privileges.allNames.count == 23)
        #expect(Privileges.all.names == Privileges.allNames)
        #expect(Privileges(name: "Datastore.Backup") == .datastoreBackup)
        #expect(Privileges(name: "Realm.Allocate") == .realmAllocate)
        #expect(Privileges(name: "Datastore.Nothing") == nil)
    }
}
