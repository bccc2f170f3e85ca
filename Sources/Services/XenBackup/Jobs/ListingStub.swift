import BackupFormats

extension VMBackup {
    /// The members that tell backups apart, until the whole form is there.
    func listed(remoteID: String) -> JSONObject {
        ["id": .string(id), "mode": .string(metadata.mode), "timestamp": .integer(metadata.timestamp)]
    }
}
