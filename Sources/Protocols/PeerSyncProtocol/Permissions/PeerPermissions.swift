/// What one side grants the other, and within which scope. (Spec: backrest-sync §5.4.)
package struct PeerPermissions: Sendable, Equatable {
    package typealias Kind = WireMultihost.Permission.TypeEnum

    package enum Subject: Sendable, Hashable {
        case repo(String)
        case plan(String)
    }

    private enum Scope: Hashable {
        case all
        case allow(Subject)
        case deny(Subject)

        init(parsing text: String) throws(PeerSyncFailure) {
            var rest = text[...]
            let isDenied = rest.first == "!"
            if isDenied { rest.removeFirst() }
            if rest == "*" && !isDenied {
                self = .all
                return
            }
            let subject: Subject
            if rest.hasPrefix("repo:"), rest.count > 5 {
                subject = .repo(String(rest.dropFirst(5)))
            } else if rest.hasPrefix("plan:"), rest.count > 5 {
                subject = .plan(String(rest.dropFirst(5)))
            } else {
                throw PeerSyncFailure(
                    .invalidArgument,
                    "the scope '\(text)' is none of *, repo:NAME, plan:NAME, !repo:NAME, !plan:NAME")
            }
            self = isDenied ? .deny(subject) : .allow(subject)
        }
    }

    /// The last entry of each kind counts, but one without scopes, which means everything, beats all others.
    private var scopes: [Kind: Set<Scope>] = [:]

    package init() {}

    /// - Throws: ``PeerSyncFailure`` (`invalidArgument`) with the scope that cannot be read.
    package init(_ messages: [WireMultihost.Permission]) throws(PeerSyncFailure) {
        for message in messages {
            var found: Set<Scope> = []
            for text in message.scopes { found.insert(try Scope(parsing: text)) }
            if found.isEmpty { found = [.all] }
            let isOpen = message.scopes.isEmpty
            if isOpen || !openKinds.contains(message.type) { scopes[message.type] = found }
            if isOpen { openKinds.insert(message.type) }
        }
    }
    /// Kinds that an entry without scopes has opened for good.
    private var openKinds: Set<Kind> = []

    package func has(_ kind: Kind) -> Bool { scopes[kind] != nil }

    /// Whether one of `kinds` covers the subject: no exclusion of it, and everything or it by name.
    package func allow(_ kinds: [Kind], _ subject: Subject) -> Bool {
        kinds.contains { kind in
            guard let scopes = scopes[kind], !scopes.contains(.deny(subject)) else { return false }
            return scopes.contains(.all) || scopes.contains(.allow(subject))
        }
    }

    package func mayReadOperations(_ subject: Subject) -> Bool { allow([.permissionReadOperations], subject) }
    package func mayViewConfig(_ subject: Subject) -> Bool {
        allow([.permissionReadConfig, .permissionReadWriteConfig], subject)
    }
    package func mayViewResources(_ subject: Subject) -> Bool {
        allow([.permissionReadOperations, .permissionReadConfig, .permissionReadWriteConfig], subject)
    }
    package func mayWriteConfig(_ subject: Subject) -> Bool { allow([.permissionReadWriteConfig], subject) }
    package func mayReceiveSharedRepos(_ subject: Subject) -> Bool { allow([.permissionReceiveSharedRepos], subject) }
}
