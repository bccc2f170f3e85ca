import BackupClient
import BackupFormats
import Platform

/// Passwords that a command sets.
enum Passwords {
    /// A new one, asked for twice; nil without a terminal.
    static func new(for user: String) throws -> String? {
        guard Terminal.isThere, let first = Terminal.askSecret("Password of \(user): ") else { return nil }
        guard Terminal.askSecret("Once more: ") == first else {
            throw BackupFailure(.invalidInput, "The two passwords differ")
        }
        return first
    }

    /// One that exists: of the environment, else asked for; nil without a terminal.
    static func given(for place: String) throws -> String? {
        if let password = try SecretSource.password.value(in: .current) { return password }
        return Terminal.isThere ? Terminal.askSecret("Password at \(place): ") : nil
    }
}
