import BackupFormats
import Tasks

/// An error as it goes to the caller. (Spec: xo-proxy §1.10.)
struct RPCFailure: Error, Equatable {
    let code: Int
    let message: String
    let data: JSONValue?

    static let invalidJSON = RPCFailure(code: -32700, message: "invalid JSON", data: nil)

    static func invalidRequest(_ reason: String) -> RPCFailure {
        RPCFailure(code: -32600, message: reason, data: nil)
    }

    /// - Parameter feature: What the method would belong to, where it is known but not built.
    static func unknownMethod(_ name: String, feature: String? = nil) -> RPCFailure {
        RPCFailure(
            code: -32601,
            message: feature.map { "method not found: \($0) is not supported yet" } ?? "method not found: \(name)",
            data: .string(name))
    }

    static func noSuchObject(_ type: String, _ id: String) -> RPCFailure {
        RPCFailure(code: 1, message: "no such \(type) \(id)", data: ["id": .string(id), "type": .string(type)])
    }

    static func forbidden(_ operation: String, _ reason: String) -> RPCFailure {
        RPCFailure(
            code: 5, message: "forbidden operation: \(operation)",
            data: ["operation": .string(operation), "reason": .string(reason)])
    }

    /// Callers take it for a sign of an old proxy and ask again in an older way: never for anything but parameters.
    static func invalidParameters(_ violations: [Violation]) -> RPCFailure {
        RPCFailure(
            code: 10, message: "invalid parameters", data: ["errors": .array(violations.map(\.json))])
    }

    static func incorrectState(of id: String, _ property: String, actual: String, expected: String) -> RPCFailure {
        RPCFailure(
            code: 25, message: "incorrect state: \(property) of \(id) is \(actual), not \(expected)",
            data: [
                "actual": .string(actual), "expected": .string(expected), "object": .string(id),
                "property": .string(property),
            ])
    }

    static func other(_ message: String, _ data: JSONObject = [:]) -> RPCFailure {
        RPCFailure(code: -32000, message: message, data: .object(data))
    }
}

extension RPCFailure {
    /// Whatever a method throws.
    init(_ error: any Error, operation: String) {
        switch error {
        case let failure as RPCFailure: self = failure
        case let failure as TaskQueryFailure: self.init(failure, operation: operation)
        case let failure as BackupFailure: self.init(failure)
        case is CancellationError: self = .other("canceled", ["name": "CanceledError"])
        default: self = .other("\(error)")
        }
    }

    private init(_ failure: TaskQueryFailure, operation: String) {
        let pending = TaskTreeStatus.pending.rawValue
        switch failure {
        case .unknown(let id): self = .noSuchObject("task", id)
        case .notPending(let id, let status):
            self = .incorrectState(of: id, "status", actual: status.rawValue, expected: pending)
        case .pending(let id):
            self = .incorrectState(of: id, "status", actual: pending, expected: "ended")
        case .notRoot(let id):
            self = .forbidden(operation, "\(id) is part of another task, which is removed as a whole")
        case .foreign(let id):
            self = .forbidden(operation, "\(id) belongs to the server's own log of tasks")
        case .malformedToken:
            let violation = Violation(path: "/token", keyword: "format", "must be empty or a token that was given out")
            self = .invalidParameters([violation])
        case .eventsLost:
            self = .other(
                "the events since this token are no longer known, begin with an empty one", ["code": "EVENTS_LOST"])
        }
    }

    private init(_ failure: BackupFailure) {
        var data: JSONObject = ["kind": .string(failure.kind.rawValue)]
        if let code = TaskFailure.code(of: failure) { data["code"] = .string(code) }
        if !failure.hints.isEmpty { data["hints"] = .array(failure.hints.map { .string($0) }) }
        self = .other(failure.description, data)
    }
}
