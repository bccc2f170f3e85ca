import BackupFormats
import Crypto

/// What is to be mounted, and how. (Spec: xo-proxy §4.2.)
package struct MountCommand: Hashable, Sendable {
    /// `nfs` or `cifs`.
    package let kind: String
    /// `host:/path` or `//host/share/folder`.
    package let source: String
    /// In the order of the command line.
    package let options: [String]
    /// Variables with the credentials, which never stand on the command line, where every user of the machine reads it.
    package let secrets: [String: String]

    /// - Parameter extra: The remote's `options`: comma-separated, as they come.
    /// - Returns: nil for an address that needs no mount.
    /// - Throws: ``BackupFailure`` of kind `invalidInput` for parts that the command line cannot hold.
    package init?(_ url: RemoteURL, extra: String?) throws {
        // What is on a file server must not become a program or a device here.
        var options = ["nosuid", "nodev"]
        switch url.place {
        case .nfs(let host, let port, let path):
            kind = "nfs"
            source = "\(host):\(path)"
            if let port { options.append("port=\(port)") }
            secrets = [:]
        case .smb(let share):
            kind = "cifs"
            let folder = share.folder.split(separator: "\\").map { "/\($0)" }.joined()
            source = "//\(share.host)/\(share.share)\(folder)"
            guard !share.domain.contains(",") else {
                throw BackupFailure(.invalidInput, "The domain of the remote \(url.display) contains a comma")
            }
            if !share.domain.isEmpty { options.append("domain=\(share.domain)") }
            secrets = ["USER": share.userName, "PASSWD": share.password]
        default: return nil
        }
        for option in (extra ?? "").split(separator: ",") {
            options.append(String(option.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()))
        }
        let texts = [source] + options + secrets.values
        guard texts.allSatisfy({ !$0.utf8.contains(0) && !$0.contains("\n") }) else {
            throw BackupFailure(
                .invalidInput, "The address or the options of the remote \(url.display) hold a zero or a line end")
        }
        self.options = options.filter { !$0.isEmpty }
    }

    /// Arguments of `mount`.
    package func arguments(target: String) -> [String] {
        ["-t", kind, "-o", options.joined(separator: ","), "--", source, target]
    }

    /// Tells mounts apart, whose secrets differ too; the name of the folder that is mounted on.
    package var id: String {
        let parts = [kind, source] + options + secrets.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        var hash = SHA256()
        for part in parts { hash.update(data: Array(part.utf8) + [0]) }
        return Hex.encode(Array(hash.finalize()).prefix(8))
    }
}
