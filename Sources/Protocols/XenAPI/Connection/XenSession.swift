import BackupFormats

/// Who we are to the pool, and which of its hosts we talk to: logs in when needed, follows the pool's master, and tries
/// the other members where it cannot be reached. (Spec: xo-proxy §6.2.)
actor XenSession {
    struct State: Sendable {
        let address: XenAddress
        let reference: String
    }

    /// A call without a session in front, to an address.
    typealias Sender = @Sendable (_ method: String, _ parameters: [JSONValue], XenAddress) async throws -> JSONValue

    private let target: XenTarget
    private let send: Sender
    private var address: XenAddress
    private var members: [XenAddress] = []
    private var state: State?
    private var login: Task<State, any Error>?
    private var isClosed = false

    init(_ target: XenTarget, send: @escaping Sender) {
        self.target = target
        self.send = send
        address = target.address
        address.userName = nil
        address.password = nil
    }

    /// The session, after a log-in where there is none. Many callers share one log-in.
    func current() async throws -> State {
        guard !isClosed else { throw BackupFailure(.unavailable, "The connection to \(address.display) is closed") }
        if let state { return state }
        let running = login ?? Task { try await self.logIn() }
        login = running
        return try await running.value
    }

    /// The host knows this session no more, or cannot be reached: the next call logs in again, at any member.
    func forget(_ old: State) {
        if state?.reference == old.reference { state = nil }
    }

    /// The host said which one is the master instead.
    func move(from old: State, to master: String) {
        guard state?.reference == old.reference else { return }
        state = nil
        address = address.member(master) ?? address
    }

    func know(members addresses: [String]) {
        members = addresses.compactMap { address.member($0) }
    }

    /// Ends a log-in that is on its way; those who wait for it fail.
    func abortLogIn() { login?.cancel() }

    /// The session to log out of, if there is one.
    func close() -> State? {
        isClosed = true
        defer { state = nil }
        return state
    }

    private func logIn() async throws -> State {
        defer { login = nil }
        var waiting = [address] + members.filter { $0 != address }
        var tried: Set<XenAddress> = []
        var firstFailure: (any Error)?
        while !waiting.isEmpty {
            let candidate = waiting.removeFirst()
            guard tried.insert(candidate).inserted else { continue }
            do {
                let result = try await send(
                    "session.login_with_password", [.string(target.userName), .string(target.password)], candidate)
                guard let reference = result.stringValue else {
                    throw BackupFailure(.corruptData, "The host \(candidate.display) answered no session")
                }
                let fresh = State(address: candidate, reference: reference)
                address = candidate
                state = fresh
                return fresh
            } catch let failure as XenFailure where failure.code == "HOST_IS_SLAVE" {
                guard let master = failure.parameters.first.flatMap({ candidate.member($0) }) else { throw failure }
                waiting.insert(master, at: 0)
            } catch let failure as XenFailure where failure.code == "SESSION_AUTHENTICATION_FAILED" {
                throw BackupFailure(
                    .notAuthenticated, "The host \(candidate.display) refuses the credentials of \(target.userName)",
                    cause: XenFailure(code: failure.code))
            } catch let failure as XenFailure {
                throw failure
            } catch let error as CancellationError {
                throw error
            } catch {
                firstFailure = firstFailure ?? error
            }
        }
        throw firstFailure
            ?? BackupFailure(.unavailable, "No host of the pool \(address.display) says it is the master")
    }
}
