/// A place in a datastore's tree of namespaces; the root is empty. Prints as `a/b/c`.
///
/// At most 7 components of safe ids, at most 256 characters in all. (Spec: formats §9.2.)
package struct Namespace: Hashable, Sendable {
    package static let maxDepth = 7
    package static let maxLength = 256
    package static let root = Namespace(unchecked: [])

    package let components: [String]

    private init(unchecked components: [String]) {
        self.components = components
    }

    /// - Throws: ``FormatError/invalid(_:offset:)`` naming the rule that is broken.
    package init(components: [String]) throws(FormatError) {
        guard components.count <= Self.maxDepth else {
            throw .invalid("namespace depth exceeds \(Self.maxDepth)", offset: 0)
        }
        for component in components where !SafeID.isValid(component) {
            throw .invalid("'\(component)' is not a valid namespace component", offset: 0)
        }
        guard components.reduce(components.count - 1, { $0 + $1.utf8.count }) <= Self.maxLength else {
            throw .invalid("namespace is longer than \(Self.maxLength) characters", offset: 0)
        }
        self.components = components
    }

    /// Reads `a/b/c`; the empty text is the root.
    package init(parsing text: some StringProtocol) throws(FormatError) {
        if text.isEmpty {
            self = .root
        } else {
            try self.init(
                components: String(text).split(separator: "/", omittingEmptySubsequences: false).map { String($0) })
        }
    }

    package var isRoot: Bool { components.isEmpty }
    package var depth: Int { components.count }
    package var parent: Namespace? { isRoot ? nil : Namespace(unchecked: Array(components.dropLast())) }

    package func appending(_ component: String) throws(FormatError) -> Namespace {
        try Namespace(components: components + [component])
    }

    /// Whether `other` is this namespace or lies below it.
    package func contains(_ other: Namespace) -> Bool { other.components.starts(with: components) }
}

extension Namespace: CustomStringConvertible {
    package var description: String { components.joined(separator: "/") }
}

extension Namespace: Comparable {
    package static func < (left: Namespace, right: Namespace) -> Bool {
        left.components.lexicographicallyPrecedes(right.components)
    }
}
