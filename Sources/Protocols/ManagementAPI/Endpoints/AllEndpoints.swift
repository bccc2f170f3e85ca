extension Endpoint {
    /// The whole REST API, in the order of the reference page. Method and path are unique.
    package static let all: [Endpoint] = [
        basics,
        access,
        content,
        archives,
        collections,
        configuration,
        jobs,
        remotes,
        synchronisation,
        peers,
        metrics,
        nodes,
        server,
        sessions,
        unbuilt,
    ].flatMap(\.self)
}
