import BackupFormats
import ManagementAPI

/// Every endpoint with what it does.
enum Routes {
    static let all: [Route] = Endpoint.all.map { endpoint in
        guard endpoint.isBuilt else { return Route(endpoint: endpoint, action: unbuilt) }
        guard let action = actions[endpoint.name] else {
            preconditionFailure("\(endpoint.name) is described as built and has no action")
        }
        return Route(endpoint: endpoint, action: action)
    }

    /// By method and path. A name that stands twice ends the program when it is first asked for.
    static let actions: [String: EndpointAction] = [
        basics,
        sessions,
        tickets,
        users,
        tokens,
        rights,
        stores,
        groups,
        snapshots,
        files,
        archives,
        namespaces,
        maintenance,
        collections,
        configuration,
        jobs,
        remotes,
        synchronisation,
        peers,
        metrics,
        nodes,
        server,
        tasks,
    ].reduce(into: [:]) { all, area in
        all.merge(area) { _, _ in preconditionFailure("an endpoint has two actions") }
    }

    private static let unbuilt: EndpointAction = { call in
        throw BackupFailure(.unsupported, "\(call.endpoint.name) is not built")
    }
}
