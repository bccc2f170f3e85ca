import Platform

/// What tests look at and change in the state folder.
enum FileSystemProbe {
    static func removeCertificate(in folder: String) throws {
        _ = try FileSystem.removeFile("\(folder)/proxy.pem")
    }

    static func mode(of path: String) throws -> UInt32? { try FileSystem.status(path)?.mode }
}
