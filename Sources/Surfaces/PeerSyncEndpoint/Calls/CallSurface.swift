import AccessControl
import BackupFormats
import Logging
import ManagementAPI
import PeerSync
import PeerSyncProtocol
import Platform
import SwiftProtobuf

/// How long refusals are held back, counted from the request's arrival.
package struct CallDelays: Sendable {
    /// Of credentials.
    package var unauthenticated: Duration
    /// Of known callers without the privilege.
    package var unauthorized: Duration

    package init(unauthenticated: Duration = .seconds(3), unauthorized: Duration = .milliseconds(500)) {
        self.unauthenticated = unauthenticated
        self.unauthorized = unauthorized
    }
}

/// The calls behind the login: the state service, and what pairing needs of an instance's own control plane.
struct CallSurface: Sendable {
    let administration: any PeerAdministration
    let login: CallerLogin
    let workers: WorkerPool
    let delays: CallDelays
    let time: TimeSource
    let log: Logger

    func answer(_ call: PeerCall, _ request: RESTRequest) async -> RESTResponse {
        call.isStreamed ? await answerStream(call, request) : await answerMessage(call, request)
    }

    // MARK: - One message for another

    private func answerMessage(_ call: PeerCall, _ request: RESTRequest) async -> RESTResponse {
        guard let codec = ContentType(request.header("content-type")).flatMap({ MessageCodec(rawValue: $0.name) })
        else { return ConnectAnswer.unknownType }
        do {
            try StreamHead.checkVersion(request)
            _ = try StreamHead.timeout(of: request)
            let caller = try await authorize(call, request)
            let body = try content(call, request, try MessageEncoding(field: request.header("content-encoding")))
            let answer = try await perform(call, request, body, codec, caller)
            note(call, request, caller, nil)
            return ConnectAnswer.message(answer, as: codec)
        } catch {
            await holdBack(error, request)
            note(call, request, nil, error)
            return ConnectAnswer.failure(StreamEnd(error))
        }
    }

    private func content(
        _ call: PeerCall, _ request: RESTRequest, _ encoding: MessageEncoding
    ) throws(PeerSyncFailure) -> [UInt8] {
        let limit = call.bodyLimit(of: request.headers)
        guard request.body.count <= limit else {
            throw PeerSyncFailure(.tooLarge, "a request of more than \(limit) bytes")
        }
        return encoding == .gzip ? try encoding.decode(request.body, limit: limit) : request.body
    }

    private func perform(
        _ call: PeerCall, _ request: RESTRequest, _ body: [UInt8], _ codec: MessageCodec, _ caller: Identity?
    ) async throws -> [UInt8] {
        let answer: any Message
        switch call {
        case .login: answer = try await logIn(try codec.decode(body), from: request.peer)
        case .makeToken: answer = try await makeToken(try codec.decode(body), request, caller)
        case .setRemoteConfig: answer = try await push(try codec.decode(body), request, caller)
        case .operations: answer = try await operations(try codec.decode(body))
        case .config: answer = try await config()
        case .setConfig: throw Self.notHere("Cairn is configured by its own commands, peers by `cairn peer`")
        case .clearHistory: throw Self.notHere("`cairn peer remove` forgets a member with all its operations")
        case .backup: throw Self.notHere("`cairn backup` makes backups, on the machine that has the files")
        case .sync, .states, .log: throw Self.notHere("this is a stream")
        }
        return try codec.encode(answer)
    }

    private static func notHere(_ what: String) -> BackupFailure {
        BackupFailure(.unsupported, "Not by this call: \(what)")
    }

    // MARK: - A stream for a message

    private func answerStream(_ call: PeerCall, _ request: RESTRequest) async -> RESTResponse {
        do {
            guard let head = try StreamHead(request) else { return ConnectAnswer.unknownStreamType }
            let caller = try await authorize(call, request)
            let body = try single(try content(call, request, .identity), head.encoding)
            let pump: @Sendable (OutgoingMessages) async throws -> Void
            switch call {
            case .states: pump = states(try MessageCodec.binary.decode(body), to: caller)
            default: pump = try await logs(try MessageCodec.binary.decode(body))
            }
            note(call, request, caller, nil)
            return ConnectAnswer.stream(PumpedAnswer(timeout: head.timeout, pump))
        } catch {
            await holdBack(error, request)
            note(call, request, nil, error)
            return ConnectAnswer.streamEnd(StreamEnd(error))
        }
    }

    /// The one message of a request whose answer is a stream.
    private func single(_ body: [UInt8], _ encoding: MessageEncoding) throws(PeerSyncFailure) -> [UInt8] {
        var reader = EnvelopeReader()
        reader.append(body)
        guard let envelope = try reader.next(), !envelope.isEnd, try reader.next() == nil else {
            throw PeerSyncFailure(.invalidArgument, "the request is not one message")
        }
        try reader.finish()
        guard envelope.isCompressed else { return envelope.payload }
        return try encoding.decode(envelope.payload, limit: reader.limit)
    }

    // MARK: - Who may

    private func authorize(_ call: PeerCall, _ request: RESTRequest) async throws -> Identity? {
        guard let privilege = call.privilege else { return nil }
        let caller = try await login.identify(request)
        _ = try login.access.grant(privilege, on: .system, to: caller)
        return caller
    }

    private func holdBack(_ error: any Error, _ request: RESTRequest) async {
        let delay: Duration
        switch (error as? BackupFailure)?.kind {
        case .notAuthenticated: delay = delays.unauthenticated
        case .notAuthorized: delay = delays.unauthorized
        default: return
        }
        // A cancelled request needs no delay: nobody waits for its answer.
        try? await Task.sleep(until: request.arrival.advanced(by: delay), clock: .continuous)
    }

    // MARK: - What is written down

    private func note(_ call: PeerCall, _ request: RESTRequest, _ caller: Identity?, _ error: (any Error)?) {
        let outcome = error.map { StreamEnd($0).code?.rawValue ?? "unknown" } ?? "ok"
        log.info("\(request.peer) \(caller.map { "\($0.authID)" } ?? "-") \"POST \(call.rawValue)\" \(outcome)")
        if let error, StreamEnd(error).code == .internal {
            log.error("call failed", metadata: ["call": "\(call.rawValue)", "error": "\(error)"])
        }
    }

    /// Writes down a change that was made.
    func audit(_ call: PeerCall, _ request: RESTRequest, _ caller: Identity?, _ details: JSONObject) async {
        let record = AuditRecord(
            time: time.seconds, user: caller.map { "\($0.authID)" } ?? "-", address: request.peer, action: "POST",
            object: call.rawValue, details: details)
        do {
            try await workers.run { [log = login.access.audit] in try log.record(record) }
        } catch {
            log.error(
                "a change is not in the audit log", metadata: ["change": "\(call.rawValue)", "error": "\(error)"])
        }
    }
}
