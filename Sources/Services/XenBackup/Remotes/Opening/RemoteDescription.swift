package import BackupFormats

/// A remote as a call names it: `{ url, options?, id?, name?, … }`; all else is ignored. (Spec: xo-proxy §2.0.)
package struct RemoteDescription: Sendable {
    package let url: RemoteURL
    /// Mount options, for nfs and smb.
    package let options: String?
    /// Empty where none was given.
    package let id: String

    /// - Throws: ``BackupFailure`` of kind `invalidInput` where the address cannot be read.
    package init(_ remote: JSONObject) throws {
        guard let text = remote["url"]?.stringValue else {
            throw BackupFailure(.invalidInput, "The remote has no address (url)")
        }
        url = try RemoteURL(parsing: text)
        options = remote["options"]?.stringValue
        id = remote["id"]?.stringValue ?? ""
        givenName = remote["name"]?.stringValue
    }

    private let givenName: String?

    /// What the administrator calls it, else its id, else its address without credentials.
    package var name: String {
        if let givenName, !givenName.isEmpty { return givenName }
        return id.isEmpty ? url.display : id
    }

    /// Equal for those that may share what is open: the whole value, but what it is called.
    var key: Key { Key(url: url, options: options) }

    struct Key: Hashable, Sendable {
        let url: RemoteURL
        let options: String?
    }
}
