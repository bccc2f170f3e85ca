import BackupFormats

/// Who has which role where, as a tree of paths. A value: it is built anew when an entry changes.
struct AccessTree: Sendable {
    /// A role of one subject on one node.
    private struct Entry: Sendable {
        let role: Role
        let propagates: Bool
    }

    private struct Node: Sendable {
        var children: [String: Node] = [:]
        var entries: [AuthID: [Entry]] = [:]
    }

    private var top = Node()
    /// The paths that have entries, sorted.
    private(set) var paths: [AccessPath] = []

    init() {}

    mutating func add(_ role: Role, to subject: AuthID, on path: AccessPath, propagates: Bool) {
        Self.update(&top, path.components[...]) {
            $0.entries[subject, default: []].append(Entry(role: role, propagates: propagates))
        }
        if !paths.contains(path) {
            paths.insert(path, at: paths.firstIndex { path < $0 } ?? paths.endIndex)
        }
    }

    private static func update(_ node: inout Node, _ path: ArraySlice<String>, _ change: (inout Node) -> Void) {
        if let first = path.first {
            update(&node.children[first, default: Node()], path.dropFirst(), change)
        } else {
            change(&node)
        }
    }

    /// The privileges of one subject, nobody else's being looked at. (Spec: rest D.10.)
    ///
    /// From the root downwards, a node that has roles for the subject replaces what the nodes above gave. On the last
    /// node of the path all roles count, above it those that propagate.
    func privileges(of subject: AuthID, on path: AccessPath) -> HeldPrivileges {
        var node = top
        var held = Self.held(node, subject, isLast: path.components.isEmpty) ?? HeldPrivileges()
        for (index, component) in path.components.enumerated() {
            guard let child = node.children[component] else { break }
            node = child
            if let deeper = Self.held(node, subject, isLast: index == path.components.count - 1) { held = deeper }
        }
        return held
    }

    private static func held(_ node: Node, _ subject: AuthID, isLast: Bool) -> HeldPrivileges? {
        guard let entries = node.entries[subject]?.filter({ isLast || $0.propagates }), !entries.isEmpty else {
            return nil
        }
        // NoAccess shuts out all other roles of the node.
        if entries.contains(where: { $0.role == .noAccess }) { return HeldPrivileges() }
        var held = HeldPrivileges()
        for entry in entries {
            held.privileges.formUnion(entry.role.privileges)
            if entry.propagates { held.propagated.formUnion(entry.role.privileges) }
        }
        return held
    }
}

/// Privileges somewhere, and those among them that reach the paths below.
package struct HeldPrivileges: Hashable, Sendable {
    package var privileges: Privileges = []
    package var propagated: Privileges = []

    static let all = HeldPrivileges(privileges: .all, propagated: .all)

    func intersection(_ other: HeldPrivileges) -> HeldPrivileges {
        HeldPrivileges(
            privileges: privileges.intersection(other.privileges), propagated: propagated.intersection(other.propagated)
        )
    }
}
