import BackupFormats
import ObjectStorage

extension RemoteURL {
    /// The address as Xen Orchestra writes it, with its secrets.
    package var text: String { text(hidesSecrets: false) }

    /// For logs and messages: secrets are replaced, and a key that encrypts is not shown.
    package var display: String { text(hidesSecrets: true) }

    private func text(hidesSecrets: Bool) -> String {
        func secret(_ value: String) -> String { hidesSecrets ? "***" : value }
        func encoded(_ value: String) -> String { PercentCoding.encode(value, keeping: "!*'()") }
        var fragment = ""
        let address: String
        switch place {
        case .file(let path): address = "file://\(path)"
        case .nfs(let host, let port, let path): address = "nfs://\(host):\(port.map { "\($0):" } ?? "")\(path)"
        case .smb(let share):
            let folder = share.folder.isEmpty ? "" : "\(hidesSecrets ? "\\" : "\0")\(share.folder)"
            address =
                "smb://\(share.userName):\(secret(share.password))@\(share.domain)"
                + "\\\\\(share.host)\\\(share.share)\(folder)"
        case .s3(let place):
            let folder = place.folder.isEmpty ? "" : "/\(PercentCoding.encode(place.folder, keeping: "/"))"
            address =
                "s3\(place.isTLS ? "" : "+http")://\(encoded(place.accessKey)):\(secret(encoded(place.secretKey)))"
                + "@\(place.host)/\(PercentCoding.encode(place.bucket))\(folder)"
            fragment = place.region.map { "#\(PercentCoding.encode($0))" } ?? ""
        case .azure(let place):
            address =
                "\(place.scheme)://\(encoded(place.account)):\(secret(encoded(place.key)))"
                + "@\(place.host)/\(PercentCoding.encode(place.path, keeping: "/"))"
        }
        return address + query(hidesSecrets: hidesSecrets) + fragment
    }

    private func query(hidesSecrets: Bool) -> String {
        let parts = options.members.map { option in
            let isSecret = hidesSecrets && option.name == "encryptionKey"
            let value = isSecret ? "***" : PercentCoding.encode(option.value.compactText, keeping: "!*'()")
            return "\(PercentCoding.encode(option.name))=\(value)"
        }
        return parts.isEmpty ? "" : "?\(parts.joined(separator: "&"))"
    }
}

extension RemoteURL.S3Place {
    /// The region that the address names, that of Amazon's host, or the usual one.
    package var effectiveRegion: String {
        if let region { return region }
        let names = host.split(separator: ".")
        if names.count == 4, names[0] == "s3", names[2] == "amazonaws", names[3] == "com" { return String(names[1]) }
        return "us-east-1"
    }
}
