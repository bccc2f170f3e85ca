import BackupFormats
import XenBackup

extension Methods {
    private static let remote: ParameterList = [.required("remote", .object)]

    private static func remote(_ parameters: JSONObject) -> JSONObject { parameters["remote"]?.objectValue ?? [:] }

    static let remotes: [Method] = [
        Method(
            name: "remote.test", description: "Writes and reads back a file, and says how fast that went.",
            parameters: ParameterList(
                members: [.optional("remote", .object), .optional("url", .string())], isOpen: true),
            result: ResultForm.object
        ) { parameters, services in
            // The caller passes the remote as a member, older ones as the parameters themselves.
            guard parameters["remote"] != nil || parameters["url"] != nil else {
                throw RPCFailure.invalidParameters([.missing("remote")])
            }
            return .value(.object(await services.xen.testRemote(parameters["remote"]?.objectValue ?? parameters)))
        },
        Method(
            name: "remote.ping", description: "Opens a remote.", parameters: remote, result: ResultForm.object
        ) { parameters, services in
            try await services.xen.pingRemote(remote(parameters))
            return .value(["success": true])
        },
        Method(
            name: "remote.getInfo", description: "Size of a remote, where it has one.", parameters: remote,
            result: ResultForm.object
        ) { parameters, services in .value(.object(try await services.xen.remoteInfo(remote(parameters)))) },
        Method(
            name: "remote.getTotalBackupSize", description: "Sum of the sizes of all backups of machines.",
            parameters: remote, result: ResultForm.object
        ) { parameters, services in .value(.object(try await services.xen.totalBackupSize(remote(parameters)))) },
    ]
}
