import AccessControl
import BackupFormats
import BackupProtocol
import StateDatabase

extension Routes {
    static let users: [String: EndpointAction] = [
        "GET /access/users": { call in
            let caller = try call.identity
            let access = call.services.access
            let list = access.users(for: caller)
            let items = try list.items.map { user -> JSONValue in
                var object = json(user)
                if call.flag("include_tokens") {
                    object["tokens"] = .array(
                        try access.tokens(of: user.id, for: caller).items.map { .object(json($0)) })
                }
                return .object(object)
            }
            return .data(.array(items), beside: ["digest": .string(list.digest)])
        },
        "POST /access/users": { call in
            try await call.services.access.addUser(
                NewUser(
                    id: try user(call), password: call.text("password"), comment: call.text("comment"),
                    isEnabled: call.values.booleanIfPresent("enable") ?? true,
                    expire: call.values.integerIfPresent("expire") ?? 0, firstName: call.text("firstname"),
                    lastName: call.text("lastname"), email: call.text("email")),
                by: try call.identity)
            return .none
        },
        "GET /access/users/{userid}": { call in
            let list = try call.services.access.user(try user(call), for: try call.identity)
            guard let found = list.items.first else { return .none }
            return .data(.object(json(found)), beside: ["digest": .string(list.digest)])
        },
        "PUT /access/users/{userid}": { call in
            let id = try user(call)
            let caller = try call.identity
            let removed = Set(call.values.strings("delete"))
            func change(_ name: String) -> Change<String> { Change(call.text(name), isDeleted: removed.contains(name)) }
            let changes = UserChange(
                isEnabled: call.values.booleanIfPresent("enable"), expire: call.values.integerIfPresent("expire"),
                comment: change("comment"), firstName: change("firstname"), lastName: change("lastname"),
                email: change("email"))
            let digest = call.text("digest")
            try await call.blocking { [access = call.services.access] in
                try access.changeUser(id, changes, digest: digest, by: caller)
            }
            return .none
        },
        "DELETE /access/users/{userid}": { call in
            let id = try user(call)
            let caller = try call.identity
            let digest = call.text("digest")
            try await call.blocking { [access = call.services.access] in
                try access.removeUser(id, digest: digest, by: caller)
            }
            return .none
        },
    ]

    static let tokens: [String: EndpointAction] = [
        "GET /access/users/{userid}/token": { call in
            let list = try call.services.access.tokens(of: try user(call), for: try call.identity)
            let items = list.items.map { token -> JSONValue in
                var object = json(token)
                object["token-name"] = .string(token.id.token ?? "")
                return .object(object)
            }
            return .data(.array(items), beside: ["digest": .string(list.digest)])
        },
        "GET /access/users/{userid}/token/{token-name}": { call in
            let list = try call.services.access.token(try token(call), for: try call.identity)
            guard let found = list.items.first else { return .none }
            return .data(.object(json(found)), beside: ["digest": .string(list.digest)])
        },
        "POST /access/users/{userid}/token/{token-name}": { call in
            let id = try token(call)
            let caller = try call.identity
            let secret = try await call.blocking {
                try call.services.access.addToken(
                    id, comment: call.text("comment"), isEnabled: call.values.booleanIfPresent("enable") ?? true,
                    expire: call.values.integerIfPresent("expire") ?? 0, digest: call.text("digest"), by: caller)
            }
            return .data(["tokenid": .string("\(id)"), "value": .string(secret)])
        },
        "PUT /access/users/{userid}/token/{token-name}": { call in
            let id = try token(call)
            let caller = try call.identity
            let changes = TokenChange(
                isEnabled: call.values.booleanIfPresent("enable"), expire: call.values.integerIfPresent("expire"),
                comment: Change(call.text("comment"), isDeleted: call.values.strings("delete").contains("comment")))
            let secret = try await call.blocking {
                try call.services.access.changeToken(
                    id, changes, isRegenerated: call.flag("regenerate"), digest: call.text("digest"), by: caller)
            }
            return .data(secret.map { ["secret": .string($0)] } ?? .null)
        },
        "DELETE /access/users/{userid}/token/{token-name}": { call in
            let id = try token(call)
            let caller = try call.identity
            try await call.blocking {
                try call.services.access.removeToken(id, digest: call.text("digest"), by: caller)
            }
            return .none
        },
    ]

    private static func token(_ call: Call) throws -> AuthID {
        guard let id = try user(call).withToken(try call.values.string("token-name")) else {
            throw ParameterFailure(name: "token-name", reason: "value does not match the regex pattern")
        }
        return id
    }

    private static func json(_ user: UserRecord) -> JSONObject {
        var object: JSONObject = ["userid": .string("\(user.id)")]
        object["comment"] = user.comment.map { .string($0) }
        // Stored values only where they differ from what an absent member means.
        if !user.isEnabled { object["enable"] = false }
        if user.expire > 0 { object["expire"] = .integer(user.expire) }
        object["firstname"] = user.firstName.map { .string($0) }
        object["lastname"] = user.lastName.map { .string($0) }
        object["email"] = user.email.map { .string($0) }
        return object
    }

    private static func json(_ token: TokenRecord) -> JSONObject {
        var object: JSONObject = ["tokenid": .string("\(token.id)")]
        object["comment"] = token.comment.map { .string($0) }
        if !token.isEnabled { object["enable"] = false }
        if token.expire > 0 { object["expire"] = .integer(token.expire) }
        return object
    }
}
