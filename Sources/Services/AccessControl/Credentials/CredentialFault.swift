/// Why credentials do not count. The reason goes into the authentication log and, where no password was tried, into the
/// answer; it never holds a secret.
struct CredentialFault: Error, Equatable {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}
