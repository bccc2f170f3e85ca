package import BackupFormats

/// A pool to connect to, as Xen Orchestra describes it. (Spec: xo-proxy §2.0.)
package struct XenTarget: Sendable, Equatable {
    package var address: XenAddress
    package var userName: String
    package var password: String
    /// Whether certificates are left unchecked.
    package var allowsUnauthorized: Bool
    /// An HTTP proxy on the way, with its own credentials.
    package var proxy: XenAddress?

    package init(
        address: XenAddress, userName: String, password: String, allowsUnauthorized: Bool = false,
        proxy: XenAddress? = nil
    ) {
        self.address = address
        self.userName = userName
        self.password = password
        self.allowsUnauthorized = allowsUnauthorized
        self.proxy = proxy
    }

    /// Reads `{ url, allowUnauthorized, credentials: { username, password }, httpProxy? }`; other members are ignored.
    /// Credentials inside the URL count only where `credentials` is absent.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput`, and `unsupported` for a proxy that is spoken to over TLS. No
    ///   message contains the URL, which may hold a password.
    package init(_ json: JSONObject) throws(BackupFailure) {
        guard let url = json["url"]?.stringValue else {
            throw BackupFailure(.invalidInput, "The connection to the pool has no url")
        }
        guard let address = XenAddress(url) else {
            throw BackupFailure(.invalidInput, "The url of the connection to the pool is not valid")
        }
        let credentials = json["credentials"]?.objectValue
        let userName = credentials == nil ? address.userName : credentials?["username"]?.stringValue
        let password = credentials == nil ? address.password : credentials?["password"]?.stringValue
        guard let userName, let password else {
            throw BackupFailure(.invalidInput, "The connection to the pool \(address.host) has no credentials")
        }
        var proxy: XenAddress?
        if let text = json["httpProxy"]?.stringValue, !text.isEmpty {
            guard let parsed = XenAddress(text, defaultScheme: "http") else {
                throw BackupFailure(.invalidInput, "The httpProxy of the pool \(address.host) is not a valid url")
            }
            guard parsed.scheme == "http" else {
                throw BackupFailure(.unsupported, "An httpProxy that is spoken to over TLS is not supported yet")
            }
            proxy = parsed
        }
        self.init(
            address: address, userName: userName, password: password,
            allowsUnauthorized: json["allowUnauthorized"]?.boolValue ?? false, proxy: proxy)
    }
}
