/// A backup of a member that failed, or that did not come.
package struct PeerAlert: Hashable, Sendable {
    package enum Subject: String, Sendable {
        case failed, overdue
    }

    package let subject: Subject
    package let keyID: String
    package let instanceID: String
    package let repo: String
    package let plan: String
    /// When it ended, or was due; Unix seconds.
    package let since: Int64
    package let text: String
}
