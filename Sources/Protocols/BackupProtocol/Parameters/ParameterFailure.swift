/// Parameters that break the schema of a call, or a body that cannot be read as parameters.
package struct ParameterFailure: Error, Sendable, Equatable {
    /// One refused parameter; items of a list are named `list/[0]`.
    package struct Item: Sendable, Equatable {
        package var name: String
        package var reason: String

        package init(name: String, reason: String) {
            self.name = name
            self.reason = reason
        }
    }

    /// How many items a failure holds at most, so that a hostile body cannot make a huge answer.
    package static let maxItems = 64

    package private(set) var items: [Item]
    /// Set where no single parameter is to blame.
    private let reason: String?

    package init(_ items: [Item]) {
        self.items = Array(items.prefix(Self.maxItems))
        reason = nil
    }

    package init(name: String, reason: String) {
        self.init([Item(name: name, reason: reason)])
    }

    /// A body of the wrong type or form.
    package init(unreadable reason: String) {
        items = []
        self.reason = reason
    }

    /// Whether single parameters are refused, and not the body as a whole.
    package var isVerification: Bool { reason == nil }
}

extension ParameterFailure: CustomStringConvertible {
    /// The text of the answer. (Spec: rest F.5.)
    package var description: String {
        if let reason { return reason }
        if items.count == 1, let item = items.first {
            return "parameter verification failed - '\(item.name)': \(item.reason)"
        }
        return items.reduce(into: "parameter verification failed:\n") { $0 += "- '\($1.name)': \($1.reason)\n" }
    }
}
