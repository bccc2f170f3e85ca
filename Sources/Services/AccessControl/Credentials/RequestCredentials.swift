import BackupFormats

/// What a request brings to say who sends it. (Spec: rest D.5.)
enum RequestCredentials: Equatable {
    /// The ticket of a cookie, and the CSRF token where the header is there.
    case ticket(String, csrf: String?)
    /// The text behind `PBSAPIToken` and its separator: `<token id>:<secret>`.
    case token(String)
    /// The text behind `CairnLocal `.
    case local(String)
    case none

    static let csrfHeader = "csrfpreventiontoken"
    private static let tokenScheme = "PBSAPIToken"
    private static let localScheme = "CairnLocal "

    /// - Parameter headers: In order of arrival, names in lower case.
    init(headers: [(name: String, value: String)]) {
        var cookie: Substring?
        var hostCookie: Substring?
        var authorization: Substring?
        for header in headers {
            switch header.name {
            case "cookie":
                for pair in header.value.split(separator: ";") {
                    let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    guard parts.count == 2 else { continue }
                    switch Self.trimmed(parts[0]) {
                    case AuthCookie.name: cookie = cookie ?? Self.trimmed(parts[1])
                    case AuthCookie.hostName: hostCookie = hostCookie ?? Self.trimmed(parts[1])
                    default: break
                    }
                }
            case "authorization": authorization = authorization ?? Substring(header.value)
            default: break
            }
        }
        if let ticket = hostCookie ?? cookie {
            // A cookie that is no text is a ticket that does not verify.
            self = .ticket(Percent.decode(ticket) ?? "", csrf: headers.first { $0.name == Self.csrfHeader }?.value)
        } else if let authorization, let token = Self.token(authorization) {
            self = .token(String(token))
        } else if let authorization, authorization.hasPrefix(Self.localScheme) {
            self = .local(String(authorization.dropFirst(Self.localScheme.count)))
        } else {
            self = .none
        }
    }

    /// What follows the scheme and exactly one blank or `=`.
    private static func token(_ value: Substring) -> Substring? {
        guard value.hasPrefix(tokenScheme) else { return nil }
        let rest = value.dropFirst(tokenScheme.count)
        guard let separator = rest.first, separator == " " || separator == "=" else { return nil }
        return rest.dropFirst()
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

/// The cookies that carry a login ticket. (Spec: rest D.2, D.5.)
package enum AuthCookie {
    package static let name = "PBSAuthCookie"
    /// Wins over the other; browsers take it over TLS and for the whole host only.
    package static let hostName = "__Host-PBSAuthCookie"

    /// The value of `Set-Cookie` that gives the ticket to a browser, out of reach of scripts.
    package static func setting(_ ticket: String) -> String {
        "\(hostName)=\(Percent.encode(ticket)); Secure; SameSite=Lax; HttpOnly; Path=/;"
    }

    /// The value of `Set-Cookie` that takes it away again.
    package static let clearing =
        "\(hostName)=; Secure; SameSite=Lax; HttpOnly; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT;"
}
