package import BackupFormats

/// A user as stored. (Spec: rest D.6, D.7.)
package struct UserRecord: Hashable, Sendable {
    /// Never a token.
    package var id: AuthID
    package var comment: String?
    package var isEnabled: Bool
    /// Unix seconds; 0 means never.
    package var expire: Int64
    package var firstName: String?
    package var lastName: String?
    package var email: String?
    /// The password in the form of crypt(3); nil where the user has none, and so cannot log in with one.
    package var passwordHash: String?

    package init(
        id: AuthID, comment: String? = nil, isEnabled: Bool = true, expire: Int64 = 0, firstName: String? = nil,
        lastName: String? = nil, email: String? = nil, passwordHash: String? = nil
    ) {
        self.id = id
        self.comment = comment
        self.isEnabled = isEnabled
        self.expire = expire
        self.firstName = firstName
        self.lastName = lastName
        self.email = email
        self.passwordHash = passwordHash
    }
}

/// An API token as stored.
package struct TokenRecord: Hashable, Sendable {
    package var id: AuthID
    package var comment: String?
    package var isEnabled: Bool
    /// Unix seconds; 0 means never.
    package var expire: Int64
    /// `sha256:` and 64 hexadecimal digits, or, for imported tokens, a hash in the form of crypt(3).
    package var secretHash: String

    package init(id: AuthID, comment: String? = nil, isEnabled: Bool = true, expire: Int64 = 0, secretHash: String) {
        self.id = id
        self.comment = comment
        self.isEnabled = isEnabled
        self.expire = expire
        self.secretHash = secretHash
    }
}

/// One role of one subject on one path.
package struct ACLRecord: Hashable, Sendable {
    /// As ``AccessControl`` normalises it: `/` or `/a/b`.
    package var path: String
    package var subject: AuthID
    package var role: String
    package var propagates: Bool

    package init(path: String, subject: AuthID, role: String, propagates: Bool) {
        self.path = path
        self.subject = subject
        self.role = role
        self.propagates = propagates
    }
}

/// A datastore as configured.
package struct DatastoreRecord: Hashable, Sendable {
    package var name: String
    /// Absolute path of its folder.
    package var path: String
    /// All further properties by their names in the API, the comment too. (Spec: rest E.6.)
    package var properties: JSONObject

    package init(name: String, path: String, properties: JSONObject = JSONObject()) {
        self.name = name
        self.path = path
        self.properties = properties
    }
}

/// A part of the configuration with an optimistic lock of its own.
///
/// Most sections are lists of entries (an id and JSON properties); ``users`` and ``acl`` have tables of their own and
/// only their digest is asked for under these names.
package struct ConfigSection: Hashable, Sendable {
    package let name: String

    package static let users = ConfigSection(name: "user")
    package static let acl = ConfigSection(name: "acl")
    package static let datastore = ConfigSection(name: "datastore")
    package static let pruneJob = ConfigSection(name: "prune")
    package static let verifyJob = ConfigSection(name: "verification")
    package static let syncJob = ConfigSection(name: "sync")
    package static let remote = ConfigSection(name: "remote")
    package static let trafficControl = ConfigSection(name: "traffic-control")
    package static let notification = ConfigSection(name: "notification")
    package static let node = ConfigSection(name: "node")

    package init(name: String) { self.name = name }
}

/// One entry of a section: its id and its properties by their names in the API.
package struct ConfigEntry: Hashable, Sendable {
    package var id: String
    package var properties: JSONObject

    package init(id: String, properties: JSONObject = JSONObject()) {
        self.id = id
        self.properties = properties
    }
}

/// A task as the list of tasks keeps it, running or ended.
package struct TaskRecord: Hashable, Sendable {
    /// The task's id as text.
    package var upid: String
    package var startTime: Int64
    package var workerType: String
    package var workerID: String?
    package var owner: String
    /// Nil while the task runs.
    package var endTime: Int64?
    /// How it ended: `OK`, `WARNINGS: n` or the text of the error; nil while the task runs.
    package var status: String?

    package init(
        upid: String, startTime: Int64, workerType: String, workerID: String?, owner: String, endTime: Int64? = nil,
        status: String? = nil
    ) {
        self.upid = upid
        self.startTime = startTime
        self.workerType = workerType
        self.workerID = workerID
        self.owner = owner
        self.endTime = endTime
        self.status = status
    }
}
