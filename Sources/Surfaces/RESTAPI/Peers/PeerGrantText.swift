import BackupFormats
import BackupProtocol
import PeerSync
import PeerSyncProtocol

/// Permissions as people write them: `read-operations` for everything, `read-operations=plan:web,repo:main` for a part.
extension PeerGrant {
    /// - Throws: ``ParameterFailure`` naming the parameter and what cannot be read.
    static func grants(parsing texts: [String], parameter: String = "permissions") throws -> [PeerGrant] {
        // Several entries of a kind add up here; in the protocol the last one would replace the others.
        var scopes: [(kind: Kind, scopes: [String])] = []
        for (index, text) in texts.enumerated() {
            func refuse(_ reason: String) -> ParameterFailure {
                ParameterFailure(name: "\(parameter)/[\(index)]", reason: reason)
            }
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let kind = Kind(rawValue: String(parts[0])) else {
                let kinds = Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw refuse("'\(parts[0].prefix(64))' is none of \(kinds)")
            }
            let own = parts.count == 2 ? parts[1].split(separator: ",").map(String.init) : ["*"]
            do { _ = try PeerGrant(kind, scopes: own) } catch { throw refuse(error.reason) }
            if let known = scopes.firstIndex(where: { $0.kind == kind }) {
                scopes[known].scopes += own.filter { !scopes[known].scopes.contains($0) }
            } else {
                scopes.append((kind, own))
            }
        }
        return try scopes.map { try PeerGrant($0.kind, scopes: $0.scopes) }
    }

    /// As ``grants(parsing:parameter:)`` reads it.
    var text: String { scopes == ["*"] ? kind.rawValue : "\(kind.rawValue)=\(scopes.joined(separator: ","))" }

    /// What the person should know who grants it, or nil.
    var warning: String? {
        switch kind {
        case .readConfig:
            "read-config: a Backrest sends repos with their passwords, environment and hooks to whoever may read its "
                + "settings; Cairn leaves secrets out of what it sends"
        case .readWriteConfig:
            "read-write-config: settings that a peer may write can run commands on a Backrest, and a Backrest sends "
                + "repos with their passwords to whoever has this permission; Cairn refuses settings that are pushed to it"
        case .readOperations, .receiveSharedRepos: nil
        }
    }
}
