import AccessControl
import BackupFormats
import BackupProtocol
import ManagementAPI

extension Routes {
    static let tickets: [String: EndpointAction] = [
        "POST /access/ticket": logIn,
        "DELETE /access/ticket": { _ in .data(.null, headers: [("set-cookie", AuthCookie.clearing)]) },
        "PUT /access/password": { call in
            try await call.services.access.changePassword(
                of: try user(call), to: try call.values.string("password"),
                confirmation: call.text("confirmation-password"), by: try call.identity)
            return .none
        },
        "GET /access/domains": { _ in
            let realms = Realm.allCases.map { realm -> JSONValue in
                var object: JSONObject = [
                    "realm": .string(realm.rawValue), "type": .string(realm.rawValue),
                    "comment": .string(realm.comment),
                ]
                if realm.isDefault { object["default"] = true }
                return .object(object)
            }
            return .data(.array(realms), beside: ["digest": .string(emptyDigest)])
        },
        "GET /access/permissions": { call in
            let subject = call.text("auth-id").flatMap { AuthID(parsing: $0) }
            let list = try call.services.access.permissions(
                of: subject, on: try accessPath(call, "path"), for: try call.identity)
            let paths = list.map { path, held in
                JSONObject.Member(
                    name: "\(path)",
                    value: .object(
                        JSONObject(
                            held.privileges.names.map { name in
                                let propagates =
                                    Privileges(name: name).map { held.propagated.isSuperset(of: $0) } ?? false
                                return JSONObject.Member(name: name, value: .bool(propagates))
                            })))
            }
            return .data(.object(JSONObject(paths)))
        },
    ]

    /// SHA-256 of nothing: realms have no configuration that could change.
    private static let emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private static let logIn: EndpointAction = { call in
        let id = try user(call, "username")
        let isHTTPOnly = call.flag("http-only")
        guard call.values.contains("password") || isHTTPOnly else {
            throw ParameterFailure(name: "password", reason: "parameter is missing and it is not optional.")
        }
        let isTerminal = ["path", "privs", "port"].contains { call.values.contains($0) }
        let result = try await call.services.access.login(
            LoginRequest(
                userID: id, password: call.text("password"), tfaChallenge: call.text("tfa-challenge"),
                isHTTPOnly: isHTTPOnly, isTerminalCheck: isTerminal, headers: call.request.headers,
                peer: call.request.peer))
        var data: JSONObject = [
            "username": .string("\(result.userID)"), "CSRFPreventionToken": .string(result.csrfToken),
        ]
        guard isHTTPOnly else {
            data["ticket"] = .string(result.ticket)
            return .data(.object(data))
        }
        data["ticket-info"] = .string(result.ticketInfo)
        return .data(.object(data), headers: [("set-cookie", AuthCookie.setting(result.ticket))])
    }

    /// The user of a parameter whose form was checked.
    static func user(_ call: Call, _ name: String = "userid") throws -> AuthID {
        guard let id = AuthID(parsing: try call.values.string(name)), !id.isToken else {
            throw ParameterFailure(name: name, reason: "value does not match the regex pattern")
        }
        return id
    }

    /// The access path of a parameter; nil where it is absent.
    static func accessPath(_ call: Call, _ name: String) throws -> AccessPath? {
        guard let text = call.text(name) else { return nil }
        guard let path = AccessPath(parsing: text) else {
            throw BackupFailure(.invalidInput, "invalid acl path '\(text)'.")
        }
        return path
    }
}
