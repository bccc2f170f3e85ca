package import BackupFormats

/// The address of a remote, as Xen Orchestra writes it. (Spec: xo-proxy §4.1.)
///
/// ```
/// file:///path                             nfs://host:[port:]/path
/// smb://user:password@domain\\host\share[NUL folder]
/// s3://key:secret@host/bucket[/folder]     s3+http://…
/// azure://account:key@host/container[/folder], azurite://…, azurite+http://…
/// ```
///
/// Options follow in a query, each value as JSON; for s3, a region after `#`.
package struct RemoteURL: Hashable, Sendable {
    package enum Place: Hashable, Sendable {
        /// An absolute path.
        case file(path: String)
        case nfs(host: String, port: Int?, path: String)
        case smb(SMBShare)
        case s3(S3Place)
        case azure(AzurePlace)
    }

    package struct SMBShare: Hashable, Sendable {
        package var userName: String
        package var password: String
        package var domain: String
        package var host: String
        package var share: String
        /// Separated by `\`; empty for the share itself.
        package var folder: String

        package init(
            userName: String, password: String, domain: String, host: String, share: String, folder: String = ""
        ) {
            self.userName = userName
            self.password = password
            self.domain = domain
            self.host = host
            self.share = share
            self.folder = folder
        }
    }

    package struct S3Place: Hashable, Sendable {
        package var isTLS: Bool
        package var accessKey: String
        package var secretKey: String
        /// With its port, if it has one.
        package var host: String
        package var bucket: String
        /// Below the bucket, without slashes at its ends; empty for the bucket itself.
        package var folder: String
        package var region: String?

        package init(
            isTLS: Bool, accessKey: String, secretKey: String, host: String, bucket: String, folder: String = "",
            region: String? = nil
        ) {
            self.isTLS = isTLS
            self.accessKey = accessKey
            self.secretKey = secretKey
            self.host = host
            self.bucket = bucket
            self.folder = folder
            self.region = region
        }
    }

    package struct AzurePlace: Hashable, Sendable {
        /// `azure`, `azurite` or `azurite+http`.
        package var scheme: String
        package var account: String
        package var key: String
        package var host: String
        /// Container and folder.
        package var path: String
    }

    package var place: Place
    /// In the order in which they stand; those that are unknown here too.
    package var options: JSONObject

    package init(_ place: Place, options: JSONObject = [:]) {
        self.place = place
        self.options = options
    }

    /// Reads an address.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` that says what is wrong, without repeating secrets.
    package init(parsing text: String) throws {
        var reader = try RemoteURLReader(text)
        place = try reader.place()
        options = reader.options
        try check()
    }

    private func check() throws {
        if case .string(let key)? = options["encryptionKey"], !key.isEmpty, !usesBlockFolders {
            throw BackupFailure(
                .invalidInput, "The address of a remote has an encryption key, but not useVhdDirectory=true")
        }
        guard lastName != "xo-vm-backups" else {
            throw BackupFailure(
                .invalidInput, "The address of a remote ends in xo-vm-backups, the folder that backups make in it",
                hints: ["Give the folder above it."])
        }
    }

    /// Of the path, whatever its separators.
    private var lastName: Substring? {
        let path =
            switch place {
            case .file(let path), .nfs(_, _, let path): path
            case .smb(let share): share.folder
            case .s3(let place): place.folder
            case .azure(let place): place.path
            }
        return path.split { $0 == "/" || $0 == "\\" }.last
    }
}

/// The options that mean something here.
extension RemoteURL {
    /// `useVhdDirectory`: disks as folders of blocks.
    package var usesBlockFolders: Bool { options["useVhdDirectory"] == true }
    package var encryptionKey: String? {
        guard let key = options["encryptionKey"]?.stringValue, !key.isEmpty else { return nil }
        return key
    }
    package var allowsUnauthorized: Bool { options["allowUnauthorized"] == true }
    package var isImmutable: Bool { options["immutable"] == true }
    /// `chunkStore`: a hint that a datastore is meant. (Spec: §10.1.)
    package var meansChunkStore: Bool { options["chunkStore"] == true }
}
