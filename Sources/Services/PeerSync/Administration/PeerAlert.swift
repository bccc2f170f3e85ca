import BackupFormats
import Logging
import PeerSyncProtocol
import Synchronization

/// A backup of a member that failed, or that did not come.
package struct PeerAlert: Hashable, Sendable {
    package enum Subject: String, Sendable {
        case failed, overdue
    }

    package let subject: Subject
    package let keyID: String
    package let instanceID: String
    package let repo: String
    package let plan: String
    /// When it ended, or was due; Unix seconds.
    package let since: Int64
    package let text: String

    package init(
        subject: Subject, keyID: String, instanceID: String, repo: String, plan: String, since: Int64, text: String
    ) {
        self.subject = subject
        self.keyID = keyID
        self.instanceID = instanceID
        self.repo = repo
        self.plan = plan
        self.since = since
        self.text = text
    }
}

extension PeerService {
    private static let watchInterval = Duration.seconds(300)
    private static let failures: Set<WireOperationStatus> = [.statusError, .statusSystemCancelled]
    private static let maxTextBytes = 512

    /// What is wrong with the backups of members, now.
    package func alerts() async throws -> [PeerAlert] {
        try await lastResults().flatMap { result in
            let place = "plan '\(result.plan)' on '\(result.instanceID)'"
            var alerts: [PeerAlert] = []
            func add(_ subject: PeerAlert.Subject, _ since: Int64, _ text: String) {
                alerts.append(
                    PeerAlert(
                        subject: subject, keyID: result.keyID, instanceID: result.instanceID, repo: result.repo,
                        plan: result.plan, since: since, text: text))
            }
            if let last = result.last, Self.failures.contains(last.message.status) {
                let what = last.message.displayMessage.prefix { !$0.isNewline }.utf8.prefix(Self.maxTextBytes)
                let reason = what.isEmpty ? "" : ": \(String(decoding: what, as: UTF8.self))"
                add(.failed, last.message.unixTimeEndMs / 1000, "the last backup of \(place) failed\(reason)")
            }
            if let since = result.overdueSince { add(.overdue, since, "\(place) should have been backed up") }
            return alerts
        }
    }

    /// Looks at the backups of members now and then, and logs what has become wrong, once; until the task is cancelled.
    package func watch() async {
        while !Task.isCancelled {
            do {
                let alerts = try await alerts()
                let new = logged.withLock { logged in
                    defer { logged = Set(alerts) }
                    return alerts.filter { !logged.contains($0) }
                }
                for alert in new {
                    log.warning(
                        alert.subject == .failed ? "backup of a peer failed" : "backup of a peer overdue",
                        metadata: ["what": "\(alert.text)", "since": "\(BackupTime.text(alert.since))"])
                }
            } catch {
                log.warning("backups of peers not looked at", metadata: ["reason": "\(error)"])
            }
            try? await Task.sleep(for: Self.watchInterval)
        }
    }
}
