/// What an administrator copies from the hub to a member: `<key id>:<secret>#<instance id>`, all three the hub's.
/// (Spec: backrest-sync §4.8.)
package struct PairingToken: Sendable, Hashable, CustomStringConvertible {
    package let keyID: String
    package let secret: String
    package let instanceID: String

    package init(keyID: String, secret: String, instanceID: String) {
        self.keyID = keyID
        self.secret = secret
        self.instanceID = instanceID
    }

    /// Cuts at the last `#`, then at the first `:`; nothing is trimmed.
    ///
    /// - Throws: ``PeerSyncFailure`` (`invalidArgument`) naming what is missing.
    package init(parsing text: String) throws(PeerSyncFailure) {
        guard let hash = text.lastIndex(of: "#") else {
            throw PeerSyncFailure(.invalidArgument, "the pairing token has no '#' before the instance's name")
        }
        let left = text[..<hash]
        guard let colon = left.firstIndex(of: ":") else {
            throw PeerSyncFailure(.invalidArgument, "the pairing token has no ':' behind the key id")
        }
        keyID = String(left[..<colon])
        secret = String(left[left.index(after: colon)...])
        instanceID = String(text[text.index(after: hash)...])
        guard !keyID.isEmpty, !secret.isEmpty, !instanceID.isEmpty else {
            throw PeerSyncFailure(.invalidArgument, "a part of the pairing token is empty")
        }
    }

    package var description: String { "\(keyID):\(secret)#\(instanceID)" }
}
