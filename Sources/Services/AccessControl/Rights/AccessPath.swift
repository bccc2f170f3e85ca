package import BackupFormats

/// A place in the tree on which roles are given: `/`, `/datastore/store1/a/b`, `/system/tasks`. (Spec: rest D.10.)
package struct AccessPath: Hashable, Sendable {
    package static let maxLength = 128

    package static let root = AccessPath([])
    package static let access = AccessPath(["access"])
    package static let accessACL = AccessPath(["access", "acl"])
    package static let accessUsers = AccessPath(["access", "users"])
    package static let datastore = AccessPath(["datastore"])
    package static let remote = AccessPath(["remote"])
    package static let system = AccessPath(["system"])
    package static let systemStatus = AccessPath(["system", "status"])
    package static let systemTasks = AccessPath(["system", "tasks"])

    package let components: [String]

    /// For paths whose components the program itself knows to be safe ids.
    package init(_ components: [String]) { self.components = components }

    /// Reads `/` or `/a/b`; nil where it does not begin with a slash, has a component that is no safe id, or is longer
    /// than 128 bytes.
    package init?(parsing text: some StringProtocol) {
        guard text.utf8.first == UInt8(ascii: "/"), text.utf8.count <= Self.maxLength else { return nil }
        if text.utf8.count == 1 {
            components = []
        } else {
            let parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
            guard parts.allSatisfy({ SafeID.isValid($0) }) else { return nil }
            components = parts.map { String($0) }
        }
    }

    /// The path of a datastore, or of a namespace in it.
    package static func datastore(_ name: String, _ namespace: Namespace = .root) -> AccessPath {
        AccessPath(["datastore", name] + namespace.components)
    }

    /// The path of a remote, or of a datastore and namespace there.
    package static func remote(_ name: String, store: String? = nil, _ namespace: Namespace = .root) -> AccessPath {
        AccessPath(["remote", name] + (store.map { [$0] + namespace.components } ?? []))
    }

    package func appending(_ component: String) -> AccessPath { AccessPath(components + [component]) }

    /// Whether roles may be given here: the tree has fixed branches.
    package var isValidForACL: Bool {
        let rest = components.dropFirst()
        return switch components.first {
        case nil: true
        case "access": Self.isAccess(rest)
        case "datastore": rest.count <= 1 + Namespace.maxDepth
        case "remote": rest.count <= 2 + Namespace.maxDepth
        case "system": Self.isSystem(rest)
        case "tape": rest.isEmpty || ["device", "pool", "job"].contains(rest.first) && rest.count <= 2
        default: false
        }
    }

    private static func isAccess(_ rest: ArraySlice<String>) -> Bool {
        switch rest.first {
        case nil: true
        case "acl", "users", "domains": rest.count == 1
        case "openid": rest.count <= 2
        default: false
        }
    }

    private static func isSystem(_ rest: ArraySlice<String>) -> Bool {
        switch rest.first {
        case nil: true
        case "certificates", "disks", "log", "notifications", "status", "tasks", "time": rest.count == 1
        case "services", "s3-endpoint": rest.count <= 2
        case "network":
            switch rest.dropFirst().first {
            case nil: true
            case "dns": rest.count == 2
            case "interfaces": rest.count <= 3
            default: false
            }
        default: false
        }
    }
}

extension AccessPath: CustomStringConvertible {
    package var description: String { "/" + components.joined(separator: "/") }
}

extension AccessPath: Comparable {
    package static func < (left: AccessPath, right: AccessPath) -> Bool {
        left.components.lexicographicallyPrecedes(right.components)
    }
}
