/// What may be done, as a set of the 23 privileges. (Spec: rest D.9.)
package struct Privileges: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let sysAudit = Privileges(rawValue: 1 << 0)
    package static let sysModify = Privileges(rawValue: 1 << 1)
    package static let sysPowerManagement = Privileges(rawValue: 1 << 2)
    package static let datastoreAudit = Privileges(rawValue: 1 << 3)
    package static let datastoreAllocate = Privileges(rawValue: 1 << 4)
    package static let datastoreModify = Privileges(rawValue: 1 << 5)
    package static let datastoreRead = Privileges(rawValue: 1 << 6)
    package static let datastoreVerify = Privileges(rawValue: 1 << 7)
    package static let datastoreBackup = Privileges(rawValue: 1 << 8)
    package static let datastorePrune = Privileges(rawValue: 1 << 9)
    package static let permissionsModify = Privileges(rawValue: 1 << 10)
    package static let remoteAudit = Privileges(rawValue: 1 << 11)
    package static let remoteModify = Privileges(rawValue: 1 << 12)
    package static let remoteRead = Privileges(rawValue: 1 << 13)
    package static let remoteDatastoreBackup = Privileges(rawValue: 1 << 14)
    package static let remoteDatastoreModify = Privileges(rawValue: 1 << 15)
    package static let remoteDatastorePrune = Privileges(rawValue: 1 << 16)
    package static let sysConsole = Privileges(rawValue: 1 << 17)
    package static let tapeAudit = Privileges(rawValue: 1 << 18)
    package static let tapeModify = Privileges(rawValue: 1 << 19)
    package static let tapeWrite = Privileges(rawValue: 1 << 20)
    package static let tapeRead = Privileges(rawValue: 1 << 21)
    package static let realmAllocate = Privileges(rawValue: 1 << 22)

    package static let all = Privileges(rawValue: 1 << 23 - 1)
    /// Any of these makes a namespace, a group or a datastore visible in listings.
    package static let namespaceVisibility: Privileges = [
        .datastoreAudit, .datastoreRead, .datastoreModify, .datastoreBackup,
    ]

    /// The names in the API, in the order of the bits.
    package static let allNames = [
        "Sys.Audit", "Sys.Modify", "Sys.PowerManagement", "Datastore.Audit", "Datastore.Allocate", "Datastore.Modify",
        "Datastore.Read", "Datastore.Verify", "Datastore.Backup", "Datastore.Prune", "Permissions.Modify",
        "Remote.Audit",
        "Remote.Modify", "Remote.Read", "Remote.DatastoreBackup", "Remote.DatastoreModify", "Remote.DatastorePrune",
        "Sys.Console", "Tape.Audit", "Tape.Modify", "Tape.Write", "Tape.Read", "Realm.Allocate",
    ]

    /// The one privilege of that name.
    package init?(name: some StringProtocol) {
        guard let bit = Self.allNames.firstIndex(where: { $0 == name }) else { return nil }
        self.init(rawValue: 1 << UInt32(bit))
    }

    package var names: [String] {
        Self.allNames.enumerated().filter { rawValue & 1 << UInt32($0.offset) != 0 }.map(\.element)
    }
}
