import BackupFormats
import BackupProtocol

/// What looks into the archives of snapshots.
extension Endpoint {
    static let archives: [Endpoint] = [
        Endpoint(
            .get, "/admin/datastore/{store}/catalog", "Lists a folder of the unencrypted archives of a snapshot.",
            access: reading, [.store, .ns] + EndpointParameter.snapshot + [filePath, archiveName],
            result: "[{filepath, text, type, leaf, size?, mtime?}]"),
        Endpoint(
            .get, "/admin/datastore/{store}/pxar-file-download",
            "Sends a file of an unencrypted archive, or a folder as ZIP or tar.", access: reading,
            [.store, .ns] + EndpointParameter.snapshot + [
                filePath, archiveName,
                .boolean("tar", "A folder as tar, compressed with zstd, instead of ZIP.").optional(false),
            ],
            result: "bytes"),
    ]

    private static let reading = AccessRule.owned(full: ["Datastore.Read"], partial: ["Datastore.Backup"])
    private static let filePath = EndpointParameter.text(
        "filepath",
        "Base64 of the path: the archive's name, then names in it; `root` or `/` for the list of archives.",
        length: 1...EndpointParameter.Limits.path)
    private static let archiveName = EndpointParameter(
        "archive-name", .pattern(0...255) { ArchiveName($0) != nil }, "The archive, where `filepath` begins inside it.",
        form: "a name ending in `.didx`", expression: "^[A-Za-z0-9_][A-Za-z0-9._-]*\\.didx$"
    ).optional()
}
