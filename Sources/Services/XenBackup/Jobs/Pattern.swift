package import BackupFormats

/// What a JSON value must look like. (Spec: xo-proxy §5.3.)
///
/// A scalar matches an equal one. An array matches an array in which some element matches each of its patterns. An object
/// of the one member `__and`, `__or` or `__not` combines; any other matches an object whose members match its own.
package struct Pattern: Sendable, Equatable {
    /// Patterns inside each other; deeper ones match nothing.
    package static let depthLimit = 64

    private let pattern: JSONValue

    package init(_ pattern: JSONValue) { self.pattern = pattern }

    package func matches(_ value: JSONValue) -> Bool { Self.matches(pattern, value, depth: 0) }

    private static func matches(_ pattern: JSONValue, _ value: JSONValue, depth: Int) -> Bool {
        guard depth < depthLimit else { return false }
        func inner(_ pattern: JSONValue, _ value: JSONValue) -> Bool { matches(pattern, value, depth: depth + 1) }

        switch pattern {
        case .null, .bool, .string: return pattern == value
        case .number: return isSameNumber(pattern, value)
        case .array(let patterns):
            guard let elements = value.arrayValue else { return false }
            return patterns.allSatisfy { pattern in elements.contains { inner(pattern, $0) } }
        case .object(let object):
            let members = object.members
            if members.count == 1 {
                switch (members[0].name, members[0].value) {
                case ("__and", .array(let patterns)): return patterns.allSatisfy { inner($0, value) }
                case ("__or", .array(let patterns)): return patterns.contains { inner($0, value) }
                case ("__not", let pattern): return !inner(pattern, value)
                default: break
                }
            }
            guard let candidate = value.objectValue else { return false }
            return members.allSatisfy { member in candidate[member.name].map { inner(member.value, $0) } ?? false }
        }
    }

    /// `1`, `1.0` and `1e0` are one number.
    private static func isSameNumber(_ pattern: JSONValue, _ value: JSONValue) -> Bool {
        if pattern == value { return true }
        guard let number = pattern.doubleValue, let other = value.doubleValue else { return false }
        if let whole = pattern.intValue, let otherWhole = value.intValue { return whole == otherWhole }
        return number == other
    }
}
