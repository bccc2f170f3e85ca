import AccessControl
import BackupFormats
import BackupProtocol
import BackupServer
import ManagementAPI

/// Upgrades of HTTP/1.1 connections, and sessions on HTTP/2 connections. (Spec: protocol A.3, A.5; decision 8.)
extension Routes {
    static let sessions: [String: EndpointAction] = [
        "GET /backup": { try await upgrade($0, to: .backup) },
        "GET /reader": { try await upgrade($0, to: .reader) },
        "POST /backup": { try await openNative($0, .backup) },
        "POST /reader": { try await openNative($0, .reader) },
    ]

    private static func upgrade(_ call: Call, to id: ProtocolID) async throws -> EndpointResult {
        let session = try await open(call, id) {
            guard !call.request.isHTTP2 else {
                throw BackupFailure(.invalidInput, "On HTTP/2 a session is opened by POST, not by an upgrade")
            }
            guard let asked = call.request.header("upgrade") else {
                throw BackupFailure(.invalidInput, "the header 'Upgrade: \(id.rawValue)' is missing")
            }
            guard asked == id.rawValue else {
                throw BackupFailure(.invalidInput, "the header 'Upgrade' must be '\(id.rawValue)'")
            }
        }
        return .session(.upgrade(protocolID: id.rawValue, session: session))
    }

    private static func openNative(_ call: Call, _ id: ProtocolID) async throws -> EndpointResult {
        guard call.request.isHTTP2 else {
            throw Refusal(
                FailureStatus.needsHTTP2,
                "A session is opened by POST on HTTP/2 only: offer only 'h2' by ALPN, or send the HTTP/2 preface")
        }
        let identity = try call.identity.authID
        let session = try await open(call, id) {}
        let kind =
            switch id {
            case .backup: "backup"
            case .reader: "reader"
            }
        return .session(
            .nativeSession(kind: kind, session: session, identity: identity, AnswerFormat.json.success(.null)))
    }

    /// The checks of the original in their order: parameters (done before), privileges, datastore, then `protocolCheck`,
    /// then all that the session itself asks.
    private static func open(
        _ call: Call, _ id: ProtocolID, protocolCheck: () throws -> Void
    ) async throws -> any SessionHandler {
        let request = try OpenRequest(call.values)
        let caller = try call.identity
        let services = call.services
        switch id {
        case .backup:
            let path = AccessPath.datastore(request.datastore, request.namespace)
            let grant = try services.access.grant(.datastoreBackup, on: path, to: caller)
            let store = try await call.blocking { try services.stores.datastore(request.datastore, for: .write) }
            try protocolCheck()
            // Whether the store had a chunk tells what others have backed up.
            let mayReadAll = services.access.privileges(of: caller.authID, on: .datastore(request.datastore))
                .contains(.datastoreRead)
            return try await services.sessions.openBackup(
                request, in: store, grant: grant, revealsDuplicates: mayReadAll)
        case .reader:
            let grant: ContentGrant
            do {
                grant = try services.access.contentGrant(
                    full: .datastoreRead, partial: .datastoreBackup, store: request.datastore,
                    namespace: request.namespace, to: caller)
            } catch let failure as BackupFailure where failure.kind == .notAuthorized {
                // The original answers 400 here, not 403.
                throw BackupFailure(.invalidInput, failure.summary)
            }
            let store = try await call.blocking { try services.stores.datastore(request.datastore, for: .read) }
            try protocolCheck()
            return try await services.sessions.openReader(request, in: store, grant: grant)
        }
    }
}
