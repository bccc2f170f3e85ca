package import BackupFormats

extension VMBackup {
    /// What the caller sees of this backup: the members of spec xo-proxy §2.5, whatever the layout.
    package func listing(remoteID: String) -> JSONObject {
        var entry: JSONObject = [
            "backupRepository": .string(remoteID),
            "disks": .array(disks),
            "id": .string(id),
            "isImmutable": .bool(isImmutable),
            "jobId": metadata.json["jobId"] ?? "",
            "mode": .string(metadata.mode),
            "scheduleId": metadata.json["scheduleId"] ?? "",
        ]
        if let size = metadata.json["size"], !size.isNull { entry["size"] = size }
        entry["tags"] = metadata.json["tags"] ?? []
        entry["timestamp"] = metadata.json["timestamp"] ?? 0
        entry["type"] = "xo-vm-backup"
        entry["vm"] = [
            "uuid": metadata.vm["uuid"] ?? "",
            "name_label": metadata.vm["name_label"] ?? "",
            "name_description": metadata.vm["name_description"] ?? "",
            "tags": metadata.vm["tags"] ?? [],
        ]
        entry["withMemory"] = .bool(withMemory)
        if let kinds = metadata.json["isVhdDifferencing"]?.objectValue {
            let differencing = kinds.members.count { $0.value.boolValue == true }
            let dynamic = kinds.members.count { $0.value.boolValue == false }
            entry["differencingVhds"] = .integer(differencing)
            entry["dynamicVhds"] = .integer(max(0, withMemory ? dynamic - 1 : dynamic))
        }
        return entry
    }

    private var withMemory: Bool {
        guard let suspended = metadata.vmSnapshot?["suspend_VDI"]?.stringValue else { return false }
        return suspended != "OpaqueRef:NULL" && !suspended.isEmpty
    }

    private var disks: [JSONValue] {
        guard metadata.mode == VMBackupMode.delta.rawValue else { return [] }
        let folder = id.lastIndex(of: "/").map { id[..<$0] } ?? ""
        return metadata.vhds.members.map { member in
            let record = metadata.vdis[member.name]
            let relative = member.value.stringValue.map { $0.hasPrefix("./") ? $0.dropFirst(2) : $0[...] } ?? ""
            return [
                "id": .string("\(folder)/\(relative)"),
                "name": record?["name_label"] ?? "",
                "uuid": record?["uuid"] ?? "",
            ]
        }
    }
}
