import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI
import Platform

/// One request that has passed authentication, the access rule and the parameter check.
struct Call: Sendable {
    let request: RESTRequest
    let endpoint: Endpoint
    let values: ParameterValues
    let services: RESTServices
    /// Nil only at endpoints for everybody.
    let caller: Identity?
    /// For endpoints whose rule is a privilege on a path; nil where somebody acts on itself.
    let grant: Grant?
    /// For endpoints whose rule is ``AccessRule/owned(full:partial:)``.
    let content: ContentGrant?

    /// Who calls.
    var identity: Identity {
        get throws {
            guard let caller else { throw BackupFailure(.internalFault, "\(endpoint.name) needs an identity") }
            return caller
        }
    }

    /// The grant that the endpoint's rule has given.
    var contentGrant: ContentGrant {
        get throws {
            guard let content else { throw BackupFailure(.internalFault, "\(endpoint.name) needs a grant") }
            return content
        }
    }

    var requiredGrant: Grant {
        get throws {
            guard let grant else { throw BackupFailure(.internalFault, "\(endpoint.name) needs a grant") }
            return grant
        }
    }

    /// The flag of that name, or what its description assumes, or false.
    func flag(_ name: String) -> Bool {
        values.booleanIfPresent(name)
            ?? endpoint.parameters.first { $0.name == name }?.assumed?.boolValue ?? false
    }

    /// The number of that name, or what its description assumes.
    func number(_ name: String) -> Int64? {
        values.integerIfPresent(name) ?? endpoint.parameters.first { $0.name == name }?.assumed?.intValue
    }

    func text(_ name: String) -> String? { values.stringIfPresent(name) }

    /// The parameter `ns`, and where it is in which datastore.
    var place: ContentPlace {
        get throws { ContentPlace(store: try values.string("store"), namespace: try values.namespace()) }
    }

    /// Does blocking work away from the threads of this call.
    func blocking<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await services.workers.run(work)
    }
}

/// What an endpoint gives back.
enum EndpointResult: Sendable {
    /// The value of `data`, members beside it, and fields of the head.
    case data(JSONValue, beside: JSONObject = [:], headers: [(name: String, value: String)] = [])
    /// An answer of its own form, whatever the format.
    case whole(RESTResponse)
    /// A session.
    case session(RESTAnswer)

    static let none = EndpointResult.data(.null)
}

extension ParameterValues {
    /// All values as JSON, sorted by name.
    var members: [JSONObject.Member] {
        names.compactMap { name in self[name].map { JSONObject.Member(name: name, value: Self.json($0)) } }
    }

    static func json(_ value: ParameterValue) -> JSONValue {
        switch value {
        case .string(let text): .string(text)
        case .integer(let number): .integer(number)
        case .boolean(let value): .bool(value)
        case .number(let number): .number("\(number)")
        case .array(let items): .array(items.map { json($0) })
        case .json(let value): value
        }
    }
}
