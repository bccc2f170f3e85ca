package import BackupFormats

/// The content of `<date>.json`, with all members as they were read or will be written. (Spec: xo-proxy §4.6.)
package struct VMBackupMetadata: Sendable, Equatable {
    package var json: JSONObject

    package init(_ json: JSONObject) { self.json = json }

    package var mode: String { json["mode"]?.stringValue ?? "" }
    package var jobID: String { json["jobId"]?.stringValue ?? "" }
    package var scheduleID: String { json["scheduleId"]?.stringValue ?? "" }
    /// Unix milliseconds.
    package var timestamp: Int64 { json["timestamp"]?.intValue ?? 0 }
    package var size: Int64? { json["size"]?.intValue }
    package var vm: JSONObject { json["vm"]?.objectValue ?? [:] }
    package var vmSnapshot: JSONObject? { json["vmSnapshot"]?.objectValue }
    /// Records of the snapshot's disks, by reference.
    package var vdis: JSONObject { json["vdis"]?.objectValue ?? [:] }
    /// Paths of disks relative to the metadata file, by reference.
    package var vhds: JSONObject { json["vhds"]?.objectValue ?? [:] }
}

/// How many backups of a machine, mode and schedule stay. (Spec: xo-proxy §4.9.)
package struct RetentionRule: Sendable, Equatable {
    package struct Period: Sendable, Equatable {
        package let retention: Int
        /// `firstHourOfTheDay`, `firstDayOfWeek`, … as given.
        package let settings: JSONObject

        package init(retention: Int, settings: JSONObject) {
            self.retention = retention
            self.settings = settings
        }
    }

    /// `exportRetention`: backups kept, the new one included.
    package var count: Int
    /// By `daily`, `weekly`, `monthly`, `yearly`.
    package var longTerm: [String: Period]
    /// Name of the time zone; required with `longTerm`.
    package var timeZone: String?
    /// `maxMergedDeltasPerRun`; nil: no limit.
    package var maxMergedDeltas: Int?

    package init(
        count: Int, longTerm: [String: Period] = [:], timeZone: String? = nil, maxMergedDeltas: Int? = nil
    ) {
        self.count = count
        self.longTerm = longTerm
        self.timeZone = timeZone
        self.maxMergedDeltas = maxMergedDeltas
    }
}
