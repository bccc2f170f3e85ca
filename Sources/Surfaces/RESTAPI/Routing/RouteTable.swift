import ManagementAPI

/// What an endpoint does once the request has passed all checks.
typealias EndpointAction = @Sendable (Call) async throws -> EndpointResult

/// An endpoint and what it does.
struct Route: Sendable {
    let endpoint: Endpoint
    let action: EndpointAction
}

/// All routes as a tree of path components.
struct RouteTable: Sendable {
    /// What a path leads to.
    enum Match: Sendable {
        /// - Parameter values: What stood in place of the braces, by name.
        case route(Route, values: [(name: String, value: String)])
        /// `GET` of a path that has others below it and no endpoint of its own: their names.
        case directory([String])
        case nothing
    }

    private final class Node: Sendable {
        let routes: [String: Route]
        let children: [String: Node]
        let wildcard: (name: String, node: Node)?

        /// - Parameter routes: Each with the components that still follow.
        init(_ routes: [(rest: ArraySlice<String>, route: Route)]) {
            self.routes = Dictionary(
                routes.filter(\.rest.isEmpty).map { ($0.route.endpoint.method.rawValue, $0.route) },
                uniquingKeysWith: { _, _ in preconditionFailure("two endpoints have the same method and path") })
            let below = Dictionary(grouping: routes.filter { !$0.rest.isEmpty }, by: { $0.rest[$0.rest.startIndex] })
                .mapValues { Node($0.map { ($0.rest.dropFirst(), $0.route) }) }
            children = below.filter { !$0.key.hasPrefix("{") }
            wildcard = below.first { $0.key.hasPrefix("{") }.map { (String($0.key.dropFirst().dropLast()), $0.value) }
            precondition(below.count - children.count <= 1, "two parameters have the same place in a path")
        }
    }

    private let root: Node

    init(_ routes: [Route]) {
        root = Node(routes.map { (ArraySlice($0.endpoint.path.split(separator: "/").map(String.init)), $0) })
    }

    /// Where `method` and the components of a path lead. A fixed name wins over a parameter.
    func match(_ method: String, _ components: [String]) -> Match {
        var node = root
        var values: [(name: String, value: String)] = []
        for component in components {
            if let child = node.children[component] {
                node = child
            } else if let wildcard = node.wildcard {
                values.append((wildcard.name, component))
                node = wildcard.node
            } else {
                return .nothing
            }
        }
        if let route = node.routes[method] { return .route(route, values: values) }
        guard method == "GET", !node.children.isEmpty else { return .nothing }
        return .directory(node.children.keys.sorted())
    }
}
