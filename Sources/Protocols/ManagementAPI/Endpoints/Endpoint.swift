package import BackupProtocol

/// One endpoint of the REST API as data: router, access check, reference page and clients read this.
package struct Endpoint: Sendable {
    package enum Method: String, Sendable, CaseIterable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case delete = "DELETE"
    }

    /// What a request's body is.
    package enum Body: Sendable, Equatable {
        /// Parameters: a form or a JSON object.
        case parameters
        /// Opaque bytes; parameters come from the query only.
        case raw(limit: Int)
    }

    package var method: Method
    /// Below `/api2/json`, values in braces: `/admin/datastore/{store}/snapshots`.
    package var path: String
    /// One sentence, for the reference page.
    package var summary: String
    package var access: AccessRule
    /// Those in the path as well.
    package var parameters: [EndpointParameter]
    /// The shape of `data`, for the reference page.
    package var result: String
    package var body: Body
    /// Whether this server does it; else the answer is 501.
    package var isBuilt: Bool

    package init(
        _ method: Method, _ path: String, _ summary: String, access: AccessRule, _ parameters: [EndpointParameter] = [],
        result: String = "null", body: Body = .parameters, isBuilt: Bool = true
    ) {
        self.method = method
        self.path = path
        self.summary = summary
        self.access = access
        self.parameters = parameters
        self.result = result
        self.body = body
        self.isBuilt = isBuilt
    }

    /// Method and path, which are unique: `GET /version`.
    package var name: String { "\(method.rawValue) \(path)" }
    package var schema: ParameterSchema { ParameterSchema(parameters.map(\.parameter)) }
}
