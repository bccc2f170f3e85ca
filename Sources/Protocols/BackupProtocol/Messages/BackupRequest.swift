/// What a call inside a session says before its body.
package struct BackupRequestHead: Sendable, Equatable {
    package var method: String
    /// Without empty components and without the query: `/dynamic_chunk`. See ``RequestPath``.
    package var path: String
    /// What follows the `?`, still encoded; empty where there is none.
    package var query: String
    package var contentType: String?

    /// - Parameter path: Without empty components, beginning with a slash.
    package init(method: String, path: String, query: String = "", contentType: String? = nil) {
        self.method = method
        self.path = path
        self.query = query
        self.contentType = contentType
    }

    /// From the request target as it stands on the wire, `//dynamic_chunk?wid=1`. A path that is
    /// not allowed stays in `path` and is refused by the session.
    package init(method: String, target: String, contentType: String? = nil) {
        let (path, query) = RequestPath.split(target)
        self.init(method: method, path: RequestPath.normalized(path), query: query, contentType: contentType)
    }
}

/// One call inside a session with its whole body.
package struct BackupRequest: Sendable, Equatable {
    package var head: BackupRequestHead
    package var body: [UInt8]

    package init(head: BackupRequestHead, body: [UInt8] = []) {
        self.head = head
        self.body = body
    }
}
