import BackupFormats
import PeerSyncProtocol
import SwiftProtobuf
import Testing

@Suite("Permissions of peers")
struct PermissionTests {
    @Test("allow what the original allows")
    func cases() throws {
        let samples = try Vectors.load("permissions").list("cases")
        #expect(samples.count == 18)
        for sample in samples {
            let name = try sample.text("name")
            let messages = try sample.list("permissions").map {
                try WireMultihost.Permission(jsonString: $0.compactText)
            }
            guard try sample.flag("valid") else {
                #expect(throws: PeerSyncFailure.self, "\(name)") { _ = try PeerPermissions(messages) }
                continue
            }
            let permissions = try PeerPermissions(messages)
            for check in try sample.list("checks") {
                let kind = try #require(PeerPermissions.Kind(named: try check.text("type")))
                let id = try check.text("id")
                let isAllowed =
                    switch try check.text("check") {
                    case "plan": permissions.allow([kind], .plan(id))
                    case "repo": permissions.allow([kind], .repo(id))
                    default: permissions.has(kind)
                    }
                #expect(isAllowed == (try check.flag("allowed")), "\(name): \(check.compactText)")
            }
        }
    }
}

extension PeerPermissions.Kind {
    init?(named name: String) {
        guard let value = Self.allCases.first(where: { "\($0)" == name || Self.names[$0] == name }) else { return nil }
        self = value
    }

    private static let names: [Self: String] = [
        .permissionReadOperations: "PERMISSION_READ_OPERATIONS", .permissionReadConfig: "PERMISSION_READ_CONFIG",
        .permissionReadWriteConfig: "PERMISSION_READ_WRITE_CONFIG",
        .permissionReceiveSharedRepos: "PERMISSION_RECEIVE_SHARED_REPOS",
    ]
}
