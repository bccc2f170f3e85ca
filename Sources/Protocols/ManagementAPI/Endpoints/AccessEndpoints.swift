import BackupFormats
import BackupProtocol

extension Endpoint {
    static let access: [Endpoint] = tickets + users + tokens + rights

    private static let tickets: [Endpoint] = [
        Endpoint(
            .post, "/access/ticket", "Logs in, or renews a ticket that is sent as password.", access: .world,
            [
                .userID("username", "Who logs in."),
                .text(
                    "password", "Password or current ticket; may be left out with `http-only` and a valid cookie.",
                    length: 1...1024
                )
                .optional(),
                .text(
                    "path", "Access path to check, with a terminal ticket.",
                    length: 0...EndpointParameter.Limits.accessPath
                ).optional(),
                .text("privs", "Privilege to check, with a terminal ticket.", length: 0...64).optional(),
                .integer("port", 0...65535, "Port to check, with a terminal ticket.").optional(),
                .text("tfa-challenge", "Ticket of the first step of a login with a second factor.").optional(),
                .boolean("http-only", "Send the ticket as a cookie only.").optional(false),
            ],
            result:
                "{username, ticket, CSRFPreventionToken}, with `http-only` {username, ticket-info, CSRFPreventionToken}"
        ),
        Endpoint(.delete, "/access/ticket", "Logs out: clears the cookie.", access: .world),
        Endpoint(
            .put, "/access/password", "Changes a password.",
            access: .anybody(note: "the own one, or Permissions.Modify on `/`; tokens are refused"),
            [
                .userID("userid", "Whose password."),
                .text("password", "The new password.", length: 8...64),
                .text("confirmation-password", "The caller's own current password.", length: 1...1024).optional(),
            ]),
        Endpoint(
            .get, "/access/domains", "Lists the realms.", access: .world,
            result: "[{realm, type, comment?, default?}] and `digest`"),
        Endpoint(
            .get, "/access/permissions", "Lists privileges by access path.",
            access: .anybody(note: "others than the own ones and those of own tokens need Sys.Audit on `/access`"),
            [
                .authID("auth-id", "Whose privileges; the caller's where absent.").optional(),
                .text("path", "Only this access path.", length: 0...EndpointParameter.Limits.accessPath).optional(),
            ],
            result: "{path: {privilege: propagates}}"),
    ]

    private static let userFields: [EndpointParameter] = [
        EndpointParameter.comment.optional(), EndpointParameter.enable.optional(), EndpointParameter.expire.optional(),
        EndpointParameter.text("firstname", "First name.", length: 2...64).optional(),
        EndpointParameter.text("lastname", "Last name.", length: 2...64).optional(),
        EndpointParameter.text("email", "Mail address.", length: 2...64).optional(),
    ]
    private static let userid = EndpointParameter.userID("userid", "The user.")
    private static let manage = AccessRule.privilege(anyOf: ["Permissions.Modify"], on: "/access/users")
    private static let manageOrSelf = AccessRule.selfOr(anyOf: ["Permissions.Modify"], on: "/access/users")
    private static let readOrSelf = AccessRule.selfOr(anyOf: ["Sys.Audit"], on: "/access/users")

    private static let users: [Endpoint] = [
        Endpoint(
            .get, "/access/users", "Lists users.",
            access: .anybody(note: "without Sys.Audit on `/access/users` only oneself"),
            [.boolean("include_tokens", "With the tokens of each user.").optional(false)],
            result: "[{userid, comment?, enable?, expire?, firstname?, lastname?, email?, tokens?}] and `digest`"),
        Endpoint(
            .post, "/access/users", "Makes a user.", access: manage,
            [userid, .text("password", "The password.", length: 8...64).optional()] + userFields),
        Endpoint(
            .get, "/access/users/{userid}", "Reads a user.", access: readOrSelf, [userid],
            result: "{userid, …} and `digest`"),
        Endpoint(
            .put, "/access/users/{userid}", "Changes a user.", access: manage,
            [userid] + userFields + [
                .text("password", "Accepted and ignored; use `/access/password`.", length: 8...64).optional(),
                EndpointParameter.list("delete", of: ["comment", "firstname", "lastname", "email"], "Fields to clear.")
                    .optional(),
                .digest,
            ]),
        Endpoint(.delete, "/access/users/{userid}", "Removes a user.", access: manage, [userid, .digest]),
    ]

    private static let tokens: [Endpoint] = [
        Endpoint(
            .get, "/access/users/{userid}/token", "Lists a user's tokens.", access: readOrSelf, [userid],
            result: "[{token-name, tokenid, comment?, enable?, expire?}] and `digest`"),
        Endpoint(
            .get, "/access/users/{userid}/token/{token-name}", "Reads a token.", access: readOrSelf,
            [userid, .tokenName],
            result: "{tokenid, comment?, enable?, expire?} and `digest`"),
        Endpoint(
            .post, "/access/users/{userid}/token/{token-name}", "Makes a token and shows its secret, once.",
            access: manageOrSelf, [userid, .tokenName] + tokenFields + [.digest], result: "{tokenid, value}"),
        Endpoint(
            .put, "/access/users/{userid}/token/{token-name}", "Changes a token.", access: manageOrSelf,
            [userid, .tokenName] + tokenFields + [
                .boolean("regenerate", "Make a new secret and show it.").optional(false),
                EndpointParameter.list("delete", of: ["comment"], "Fields to clear.").optional(),
                .digest,
            ],
            result: "null, or {secret} with `regenerate`"),
        Endpoint(
            .delete, "/access/users/{userid}/token/{token-name}", "Removes a token and its access entries.",
            access: manageOrSelf, [userid, .tokenName, .digest]),
    ]
    private static let tokenFields: [EndpointParameter] = [
        EndpointParameter.comment.optional(), EndpointParameter.enable.optional(), EndpointParameter.expire.optional(),
    ]

    private static let rights: [Endpoint] = [
        Endpoint(
            .get, "/access/roles", "Lists the roles and their privileges.", access: .anybody(note: ""),
            result: "[{roleid, privs, comment}]"),
        Endpoint(
            .get, "/access/acl", "Lists access entries.",
            access: .anybody(note: "without Sys.Audit on `/access/acl` only those of own tokens"),
            [
                .text("path", "Only this access path.", length: 0...EndpointParameter.Limits.accessPath).optional(),
                .boolean("exact", "Only the path itself, not those below.").optional(false),
            ],
            result: "[{path, ugid, ugid_type, propagate, roleid}] and `digest`"),
        Endpoint(
            .put, "/access/acl", "Adds or removes an access entry.",
            access: .anybody(note: "without Permissions.Modify on `/access/acl` only for own tokens"),
            [
                .text("path", "Access path.", length: 1...EndpointParameter.Limits.accessPath),
                .choice("role", roleNames, "Role."),
                EndpointParameter.boolean("propagate", "Whether it acts on paths below as well.").optional(true),
                EndpointParameter.authID("auth-id", "User or token.").optional(),
                EndpointParameter.text("group", "Groups are refused.", length: 3...64).optional(),
                EndpointParameter.boolean("delete", "Remove instead of adding.").optional(false),
                .digest,
            ]),
    ]

    /// All roles of rest D.9.
    package static let roleNames = [
        "Admin", "Audit", "NoAccess", "DatastoreAdmin", "DatastoreReader", "DatastoreBackup", "DatastorePowerUser",
        "DatastoreAudit", "RemoteAudit", "RemoteAdmin", "RemoteSyncOperator", "RemoteSyncPushOperator",
        "RemoteDatastorePowerUser", "RemoteDatastoreAdmin", "TapeAudit", "TapeAdmin", "TapeOperator", "TapeReader",
    ]
}
