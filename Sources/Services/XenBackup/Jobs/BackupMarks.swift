package import BackupFormats

/// The keys in `other_config` by which snapshots and their disks are known as those of a job. (Spec: xo-proxy §5.7.)
package enum BackupMarkKey {
    package static let datetime = "xo:backup:datetime"
    package static let job = "xo:backup:job"
    package static let schedule = "xo:backup:schedule"
    package static let vm = "xo:backup:vm"
    package static let exported = "xo:backup:exported"
    package static let chainLength = "xo:backup:deltaChainLength"
    package static let baseDisk = "xo:base_delta_vdi"

    /// Whether a key is one of those that a live machine must not carry.
    package static func isMark(_ key: String) -> Bool {
        key.hasPrefix("xo:backup:") || key == "xo:copy_of" || key == baseDisk
    }
}

/// What is written on a snapshot, and on each of its disks.
package struct BackupMarks: Sendable, Equatable {
    package var jobID: String
    package var scheduleID: String
    package var vm: String
    /// `YYYYMMDDTHH:mm:ssZ`, in UTC; sorts by time.
    package var datetime: String
    /// The snapshot is on some target, so that it can be the base of a delta.
    package var isExported: Bool
    /// Deltas since the last full one; nil where the mark is missing.
    package var chainLength: Int?

    package init(
        jobID: String, scheduleID: String, vm: String, datetime: String, isExported: Bool = false,
        chainLength: Int? = nil
    ) {
        self.jobID = jobID
        self.scheduleID = scheduleID
        self.vm = vm
        self.datetime = datetime
        self.isExported = isExported
        self.chainLength = chainLength
    }

    /// The marks in an `other_config`; nil where it is not of a job.
    package init?(_ otherConfig: JSONObject?) {
        guard let otherConfig, let jobID = otherConfig[BackupMarkKey.job]?.stringValue, !jobID.isEmpty,
            let vm = otherConfig[BackupMarkKey.vm]?.stringValue,
            let datetime = otherConfig[BackupMarkKey.datetime]?.stringValue
        else { return nil }
        self.init(
            jobID: jobID, scheduleID: otherConfig[BackupMarkKey.schedule]?.stringValue ?? "", vm: vm,
            datetime: datetime, isExported: otherConfig[BackupMarkKey.exported]?.stringValue == "true",
            chainLength: otherConfig[BackupMarkKey.chainLength]?.stringValue.flatMap { Int($0) })
    }

    /// Those that a new snapshot gets at once.
    package var initialMembers: [(key: String, value: String)] {
        [
            (BackupMarkKey.datetime, datetime), (BackupMarkKey.job, jobID), (BackupMarkKey.schedule, scheduleID),
            (BackupMarkKey.vm, vm),
        ]
    }
}

/// Disks that are not to be backed up say so in their name.
package enum IgnoredDisks {
    package static let word = "[NOBAK]"

    package static func contains(name: String) -> Bool { name.contains(word) }
}
