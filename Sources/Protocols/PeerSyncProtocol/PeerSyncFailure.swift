/// Why a session, or an item of it, is refused.
///
/// `reason` is for the own log only: what the peer is told is the text of the kind, so that nobody learns by which check
/// they were refused. (Spec: backrest-sync §6.2.)
package struct PeerSyncFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// Identity, signature, key or secret.
        case authentication
        /// An item that this state or role does not take, or that cannot be read.
        case protocolError
        /// Larger, longer or more than is taken.
        case tooLarge
        /// A well-formed item with values that make no sense.
        case invalidArgument
        /// Not spoken here: an encoding, a version.
        case unsupported
        /// A newer session of the same peer took this one's place.
        case displaced
        case internalFault
    }

    package let kind: Kind
    package let reason: String

    package init(_ kind: Kind, _ reason: String) {
        self.kind = kind
        self.reason = reason
    }

    package var description: String { reason }
}
