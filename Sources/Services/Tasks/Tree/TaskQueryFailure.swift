/// Why a question about tasks of trees has no answer. (Spec: xo-proxy §3.3, §3.4.)
package enum TaskQueryFailure: Error, Sendable, Equatable {
    /// There is no task of this id.
    case unknown(String)
    /// Only a pending task can be asked to end.
    case notPending(String, TaskTreeStatus)
    /// A task cannot be removed before it has ended.
    case pending(String)
    /// Only whole trees can be removed.
    case notRoot(String)
    /// A task of the server's own log, which this surface does not remove.
    case foreign(String)
    /// No token of the form that was given out.
    case malformedToken
    /// The changes since that token are no longer known; begin with an empty one.
    case eventsLost
}
