package import BackupFormats
import BackupProtocol
import Crypto
import Platform
package import StateDatabase
import Synchronization

/// The token that callers show: one, in the file `xo-token` of the state folder, and while it is being replaced the one
/// before. (Spec: xo-proxy §1.3.)
package final class TokenStore: Sendable {
    package static let fileName = "xo-token"
    private static let previousFileName = "xo-token-previous"
    private static let byteCount = 32
    static let maxLength = 1024
    /// The old token stays good for so long, or until somebody comes with the new one.
    static let grace: Int64 = 86400

    private struct State {
        var token: String
        /// Unix seconds at which it was made.
        var made: Int64
        var previous: String?
        var previousEnd: Int64 = 0
    }

    /// What a caller has shown.
    enum Shown: Sendable {
        case current
        /// The one before, which is still good.
        case previous
        case wrong
    }

    private let folder: StateFolder
    private let time: TimeSource
    /// Seconds after which a token is replaced; nil where it never is.
    private let rotationAge: Int64?
    private let state: Mutex<State>
    /// Whether this start has made the first token.
    package let isNew: Bool

    /// Where the token stands.
    package var path: String { folder.path(of: Self.fileName) }

    /// Reads the token, or makes the first one.
    ///
    /// - Parameter rotationDays: Age at which a token is replaced by itself; nil where it never is.
    package init(folder: StateFolder, time: TimeSource, rotationDays: Int? = nil) throws {
        self.folder = folder
        self.time = time
        rotationAge = rotationDays.map { Int64($0) * 86400 }
        let now = time.seconds
        let stored = try folder.read(Self.fileName).map { Self.trimmed(String(decoding: $0, as: UTF8.self)) }
        if let stored, !stored.isEmpty {
            guard Self.isUsable(stored) else {
                throw BackupFailure(.invalidInput, "\(folder.path(of: Self.fileName)) holds no usable token")
            }
            isNew = false
            let file = try FileSystem.status(folder.path(of: Self.fileName))
            if file?.mode != 0o600 { try FileSystem.setMode(folder.path(of: Self.fileName), 0o600) }
            var state = State(token: stored, made: file?.modified ?? now)
            if let previous = try Self.readPrevious(folder), previous.token != stored {
                (state.previous, state.previousEnd) = (previous.token, previous.end)
            }
            self.state = Mutex(state)
        } else {
            isNew = true
            let token = try Self.makeToken()
            try folder.replace(Self.fileName, with: Array("\(token)\n".utf8))
            state = Mutex(State(token: token, made: now))
        }
    }

    private static func trimmed(_ text: String) -> String {
        String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }

    private static func makeToken() throws -> String {
        Base64.encode(try SystemRandom.bytes(byteCount)).replacing("+", with: "-").replacing("/", with: "_")
            .replacing("=", with: "")
    }

    /// Whether it can stand in the file and in a cookie.
    static func isUsable(_ token: String) -> Bool {
        !token.isEmpty && token.utf8.count <= maxLength && trimmed(token) == token
            && token.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
    }

    private static func readPrevious(_ folder: StateFolder) throws -> (token: String, end: Int64)? {
        guard let bytes = try folder.read(previousFileName), let json = try? JSONValue(parsing: bytes),
            let token = json["token"]?.stringValue, let end = json["end"]?.intValue
        else { return nil }
        return (token, end)
    }

    // MARK: Checking

    /// Compares what the cookie holds, as it came and percent-decoded, in a time that does not depend on where it
    /// differs.
    func judge(_ cookie: String) -> Shown {
        let decoded = FormText.decode(Array(cookie.utf8), plusIsBlank: false)
        let now = time.seconds
        let (current, previous) = state.withLock { ($0.token, $0.previousEnd > now ? $0.previous : nil) }
        let isCurrent = Self.isSame(cookie, decoded, current)
        let isPrevious = previous.map { Self.isSame(cookie, decoded, $0) } ?? false
        return isCurrent ? .current : isPrevious ? .previous : .wrong
    }

    private static func isSame(_ raw: String, _ decoded: String, _ token: String) -> Bool {
        // Digests of equal length are compared in constant time; their lengths tell nothing.
        let expected = SHA256.hash(data: Array(token.utf8))
        let isRaw = SHA256.hash(data: Array(raw.utf8)) == expected
        let isDecoded = SHA256.hash(data: Array(decoded.utf8)) == expected
        return (isRaw || isDecoded) && !token.isEmpty
    }

    // MARK: Replacing

    /// Another token from now on; no other is taken any more.
    ///
    /// - Throws: ``BackupFailure`` where it cannot be written; the old one then stays.
    func set(_ token: String) throws {
        try folder.replace(Self.fileName, with: Array("\(token)\n".utf8))
        let now = time.seconds
        state.withLock { $0 = State(token: token, made: now) }
        try folder.remove(Self.previousFileName)
    }

    /// Whether ``settle(_:)`` has something to do.
    func mustSettle(_ shown: Shown) -> Bool {
        let now = time.seconds
        return switch shown {
        case .previous: true
        case .current: state.withLock { $0.previous != nil || isDue($0, now) }
        case .wrong: false
        }
    }

    /// What follows from a call with a good token. Blocks.
    ///
    /// - Returns: The token that the caller shall use from now on, where it is another.
    func settle(_ shown: Shown) throws -> String? {
        switch shown {
        // Whoever still has the old one did not get the new one.
        case .previous: return state.withLock { $0.token }
        case .current:
            if state.withLock({ $0.previous != nil }) {
                try folder.remove(Self.previousFileName)
                state.withLock { $0.previous = nil }
            }
            return try rotateIfDue()
        case .wrong: return nil
        }
    }

    private func isDue(_ state: State, _ now: Int64) -> Bool { rotationAge.map { now - state.made >= $0 } ?? false }

    private func rotateIfDue() throws -> String? {
        let now = time.seconds
        guard state.withLock({ isDue($0, now) }) else { return nil }
        let next = try Self.makeToken()
        // Under the lock, so that two callers at once do not both replace it; it happens once in many days.
        return try state.withLock { state in
            guard isDue(state, now) else { return nil }
            let end = now + Self.grace
            let previous: JSONValue = ["token": .string(state.token), "end": .integer(end)]
            try folder.replace(Self.previousFileName, with: Array(previous.compactText.utf8))
            try folder.replace(Self.fileName, with: Array("\(next)\n".utf8))
            state = State(token: next, made: now, previous: state.token, previousEnd: end)
            return next
        }
    }
}
