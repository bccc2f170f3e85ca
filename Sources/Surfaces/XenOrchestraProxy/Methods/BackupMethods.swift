import BackupFormats
import Tasks
import XenBackup

extension Methods {
    private static func object(_ name: String, _ parameters: JSONObject) -> JSONObject {
        parameters[name]?.objectValue ?? [:]
    }

    private static func wantsLog(_ parameters: JSONObject) -> Bool { parameters["streamLogs"]?.boolValue ?? false }

    static let backups: [Method] = [
        Method(
            name: "backup.run", description: "Runs a job.",
            parameters: [
                .required("job", .object), .required("remotes", .object), .required("schedule", .object),
                .optional("xapis", .object), .optional("recordToXapi", .object), .optional("jobData", .object),
                .optional("streamLogs", .boolean, false),
            ],
            result: ResultForm.text
        ) { parameters, services in try await run(parameters, services) },
        Method(
            name: "backup.listRunningJobs", description: "Ids of the jobs that run.", parameters: .none,
            result: ResultForm.list(of: "string")
        ) { _, services in .list(services.xen.runningJobs().map { .string($0) }) },
        Method(
            name: "backup.importVmBackup", description: "Restores a backup as a new machine.",
            parameters: [
                .required("backupId", .string(minLength: 1)), .required("remote", .object),
                .required("srUuid", .string(minLength: 1)), .required("xapi", .object), .optional("settings", .object),
                .optional("streamLogs", .boolean, false),
            ],
            result: ResultForm.text
        ) { parameters, services in try await importMachine(parameters, services) },
        Method(
            name: "backup.listVmBackups", description: "Backups of machines by remote and machine.",
            parameters: [.required("remotes", .object), .optional("vmId", .string(minLength: 1))],
            result: ResultForm.object
        ) { parameters, services in
            .value(
                .object(
                    try await services.xen.listVMBackups(
                        remotes: object("remotes", parameters), vm: parameters["vmId"]?.stringValue)))
        },
        metadataListing(
            "backup.listPoolMetadataBackups", "Backups of pools' metadata by remote and pool.", .pool),
        metadataListing(
            "backup.listXoMetadataBackups", "Backups of Xen Orchestra's configuration by remote.", .orchestra),
        Method(
            name: "backup.restoreMetadataBackup", description: "Restores the metadata of a pool or of Xen Orchestra.",
            parameters: [
                .required("backupId", .string(minLength: 1)), .required("remote", .object), .optional("xapi", .object),
            ],
            result: ResultForm.log
        ) { parameters, services in try await restoreMetadata(parameters, services) },
        Method(
            name: "backup.deleteMetadataBackup", description: "Deletes a backup of metadata.",
            parameters: [.required("backupId", .string(minLength: 1)), .required("remote", .object)],
            result: ResultForm.done
        ) { parameters, services in
            try await services.xen.deleteMetadataBackup(
                parameters["backupId"]?.stringValue ?? "", remote: object("remote", parameters))
            return .done
        },
        Method(
            name: "backup.deleteVmBackups", description: "Deletes backups of machines.",
            parameters: [.required("filenames", .array(of: .string(minLength: 1))), .required("remote", .object)],
            result: ResultForm.done
        ) { parameters, services in
            let ids = parameters["filenames"]?.arrayValue?.compactMap(\.stringValue) ?? []
            return try await delete(ids, parameters, "backup.deleteVmBackups", services)
        },
        Method(
            name: "backup.deleteVmBackup", description: "Deletes one backup of a machine.",
            parameters: [.required("filename", .string(minLength: 1)), .required("remote", .object)],
            result: ResultForm.done
        ) { parameters, services in
            let ids = [parameters["filename"]?.stringValue ?? ""]
            return try await delete(ids, parameters, "backup.deleteVmBackup", services)
        },
    ]

    // MARK: Jobs

    private static let runningMessage = "job is already running"

    private static func run(_ parameters: JSONObject, _ services: ProxyServices) async throws -> Outcome {
        let job = object("job", parameters)
        let id = job["id"]?.stringValue
        do { try services.xen.admit(parameters) } catch let failure as BackupFailure {
            guard failure.summary == runningMessage else { throw failure }
            throw RPCFailure.other(runningMessage, ["jobId": .string(id ?? "")])
        }
        let data = parameters["jobData"]?.objectValue
        let root: TaskRoot
        do {
            root = try services.trees.start(
                "xo-backup", id: id, name: "backup run", properties: data ?? properties(of: job, parameters),
                isFollowed: wantsLog(parameters))
        } catch {
            services.xen.withdraw(parameters)
            throw error
        }
        let work = Task { try await root.run { try await services.xen.run(parameters, root: $0) } }
        if let stream = root.stream { return .log(stream, isModern: data != nil) }
        try await work.value
        return .value(.string(root.id))
    }

    private static func properties(of job: JSONObject, _ parameters: JSONObject) -> JSONObject {
        var properties: JSONObject = [:]
        properties["jobId"] = job["id"]
        properties["jobName"] = job["name"]
        properties["mode"] = job["mode"]
        properties["reportWhen"] = job["settings"]?[""]?["reportWhen"]
        properties["scheduleId"] = object("schedule", parameters)["id"]
        return properties
    }

    // MARK: Restores

    private static func importMachine(_ parameters: JSONObject, _ services: ProxyServices) async throws -> Outcome {
        let properties = try await services.xen.admitImport(parameters)
        let root = try services.trees.start(
            "xo-restore", id: parameters["backupId"]?.stringValue, name: "restore", properties: properties,
            isFollowed: wantsLog(parameters))
        let work = Task {
            try await root.run(result: { .object($0) }) { node in
                try await services.xen.importVMBackup(parameters, root: node)
            }
        }
        if let stream = root.stream { return .log(stream, isModern: false) }
        return .value(try await work.value["id"] ?? true)
    }

    private static func restoreMetadata(_ parameters: JSONObject, _ services: ProxyServices) async throws -> Outcome {
        let properties = try await services.xen.admitMetadataRestore(parameters)
        let root = try services.trees.start(
            "xo-metadata-restore", id: parameters["backupId"]?.stringValue, name: "metadataRestore",
            properties: properties, isFollowed: true)
        Task {
            try await root.run(result: { $0 }) { node in
                try await services.xen.restoreMetadata(parameters, root: node)
            }
        }
        guard let stream = root.stream else { return .done }
        return .log(stream, isModern: false)
    }

    // MARK: Listings and deletion

    private static func metadataListing(_ name: String, _ description: String, _ kind: MetadataKind) -> Method {
        Method(
            name: name, description: description, parameters: [.required("remotes", .object)],
            result: ResultForm.object
        ) { parameters, services in
            let remotes = object("remotes", parameters)
            return .value(.object(try await services.xen.listMetadataBackups(kind.rawValue, remotes: remotes)))
        }
    }

    private static func delete(
        _ ids: [String], _ parameters: JSONObject, _ name: String, _ services: ProxyServices
    ) async throws -> Outcome {
        let remote = object("remote", parameters)
        let root = try services.trees.start("xo-delete", id: remote["id"]?.stringValue, name: name)
        try await root.run { try await services.xen.deleteVMBackups(ids, remote: remote, root: $0) }
        return .done
    }
}
