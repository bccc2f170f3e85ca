import AccessControl
import BackupFormats
import BackupProtocol
import StateDatabase

extension Routes {
    static let rights: [String: EndpointAction] = [
        "GET /access/roles": { _ in
            .data(
                .array(
                    Role.allCases.map { role in
                        [
                            "roleid": .string(role.rawValue), "comment": .string(role.comment),
                            "privs": .array(role.privileges.names.map { .string($0) }),
                        ]
                    }))
        },
        "GET /access/acl": { call in
            let list = call.services.access.aclEntries(
                on: try accessPath(call, "path"), isExact: call.flag("exact"), for: try call.identity)
            let items = list.items.map { entry -> JSONValue in
                [
                    "path": .string(entry.path), "ugid": .string("\(entry.subject)"), "ugid_type": "user",
                    "propagate": .bool(entry.propagates), "roleid": .string(entry.role),
                ]
            }
            return .data(.array(items), beside: ["digest": .string(list.digest)])
        },
        "PUT /access/acl": { call in
            guard let subject = call.text("auth-id").flatMap({ AuthID(parsing: $0) }) else {
                throw BackupFailure(
                    .invalidInput,
                    call.values.contains("group") ? "groups of users are not supported" : "missing 'auth-id' parameter."
                )
            }
            guard let path = try accessPath(call, "path"), let role = Role(rawValue: try call.values.string("role"))
            else {
                throw ParameterFailure(name: "role", reason: "value is not defined in the enumeration.")
            }
            let caller = try call.identity
            let change = ACLChange(
                path: path, role: role, subject: subject, propagates: call.flag("propagate"),
                isRemoval: call.flag("delete"))
            try await call.blocking {
                try call.services.access.changeACL(change, digest: call.text("digest"), by: caller)
            }
            return .none
        },
    ]
}
