extension Endpoint {
    /// The whole REST API, in the order of the reference page. Method and path are unique.
    package static let all: [Endpoint] =
        basics + access + content + collections + configuration + jobs + remotes + synchronisation + metrics + nodes
        + sessions + unbuilt
}
