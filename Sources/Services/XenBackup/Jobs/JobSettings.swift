package import BackupFormats

/// The settings of one job, by level: later levels win over earlier ones. (Spec: xo-proxy §5.4.)
package struct JobSettingLevels: Sendable {
    /// Those of the proxy's configuration: for all jobs, then for this kind of job.
    package var configuration: [JSONObject]
    /// `job.settings`: under `""` for the whole job, else by the id of a schedule, machine, remote or storage.
    package var job: JSONObject
    package var scheduleID: String

    package init(configuration: [JSONObject] = [], job: JSONObject, scheduleID: String) {
        self.configuration = configuration
        self.job = job
        self.scheduleID = scheduleID
    }

    /// What holds for the job, or for one machine in it, or for one target of that machine.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` naming the setting whose value is of a wrong type.
    package func resolve(vm: String? = nil, target: String? = nil, schedule: String? = nil) throws -> JobSettings {
        var merged = JSONObject()
        let names = [[""], [schedule ?? scheduleID], vm.map { [$0] } ?? [], target.map { [$0] } ?? []].joined()
        for level in configuration + names.compactMap({ job[$0]?.objectValue }) {
            for member in level.members where !member.value.isNull { merged[member.name] = member.value }
        }
        return try JobSettings(merged)
    }
}

/// Settings of a job as they hold for one of its parts. Members that are not known are ignored.
package struct JobSettings: Sendable, Equatable {
    /// No retention, interval or count is larger.
    package static let countLimit = 1_000_000

    package var exportRetention = 0
    package var copyRetention = 0
    package var snapshotRetention = 0
    package var retentionPoolMetadata = 0
    package var retentionXoMetadata = 0
    package var deleteFirst = false
    /// 0: never; n: after a base at most n - 1 deltas.
    package var fullInterval = 0
    /// Machines at a time; 0: no limit.
    package var concurrency = 2
    /// Disks of a machine at a time; 0: no limit.
    package var diskPerVMConcurrency = 0
    package var offlineBackup = false
    package var offlineSnapshot = false
    package var checkpointSnapshot = false
    package var unconditionalSnapshot = false
    package var bypassVDIChainsCheck = false
    package var preferNBD = false
    package var cbtDestroySnapshotData = false
    /// For the whole job and for one machine; nil: none.
    package var timeout: Duration?
    package var vmTimeout: Duration?
    /// Bytes per second, shared by the job; 0: no limit.
    package var maxExportRate = 0
    package var maxMergedDeltas: Int?
    package var retries = 0
    package var longTermRetention: [String: RetentionRule.Period] = [:]
    package var timeZone: String?
    package var healthCheckStorage: String?
    package var distributeBackups = false
    package var distributeReplications = false
    /// For opening a remote.
    package var remoteTimeout = Duration.seconds(300)

    package init() {}

    package init(_ settings: JSONObject) throws {
        let reader = SettingReader(settings: settings)
        exportRetention = try reader.count("exportRetention") ?? exportRetention
        copyRetention = try reader.count("copyRetention") ?? copyRetention
        snapshotRetention = try reader.count("snapshotRetention") ?? snapshotRetention
        retentionPoolMetadata = try reader.count("retentionPoolMetadata") ?? retentionPoolMetadata
        retentionXoMetadata = try reader.count("retentionXoMetadata") ?? retentionXoMetadata
        deleteFirst = try reader.flag("deleteFirst") ?? deleteFirst
        fullInterval = try reader.count("fullInterval") ?? fullInterval
        concurrency = try reader.count("concurrency") ?? concurrency
        diskPerVMConcurrency = try reader.count("diskPerVmConcurrency") ?? diskPerVMConcurrency
        offlineBackup = try reader.flag("offlineBackup") ?? offlineBackup
        offlineSnapshot = try reader.flag("offlineSnapshot") ?? offlineSnapshot
        checkpointSnapshot = try reader.flag("checkpointSnapshot") ?? checkpointSnapshot
        unconditionalSnapshot = try reader.flag("unconditionalSnapshot") ?? unconditionalSnapshot
        bypassVDIChainsCheck = try reader.flag("bypassVdiChainsCheck") ?? bypassVDIChainsCheck
        preferNBD = try reader.flag("preferNbd") ?? preferNBD
        cbtDestroySnapshotData = try reader.flag("cbtDestroySnapshotData") ?? cbtDestroySnapshotData
        timeout = try reader.milliseconds("timeout")
        vmTimeout = try reader.milliseconds("vmTimeout")
        maxExportRate = try reader.count("maxExportRate", limit: Int.max) ?? maxExportRate
        maxMergedDeltas = try reader.count("maxMergedDeltasPerRun")
        retries = try reader.count("nRetriesVmBackupFailures") ?? retries
        longTermRetention = try reader.periods("longTermRetention")
        timeZone = try reader.text("timezone")
        healthCheckStorage = try reader.text("healthCheckSr")
        distributeBackups = try reader.flag("distributeBackups") ?? distributeBackups
        distributeReplications = try reader.flag("distributeReplications") ?? distributeReplications
        remoteTimeout = try reader.milliseconds("getRemoteTimeout") ?? remoteTimeout
    }

    /// How many backups stay on a remote.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where long-term retention lacks its time zone, or names one
    ///   that does not exist.
    package func exportRule() throws -> RetentionRule {
        if !longTermRetention.isEmpty, timeZone == nil {
            throw BackupFailure(.invalidInput, "setting longTermRetention needs the setting timezone")
        }
        let rule = RetentionRule(
            count: exportRetention, longTerm: longTermRetention, timeZone: timeZone, maxMergedDeltas: maxMergedDeltas)
        try RetentionTable.check(rule)
        return rule
    }
}

/// Takes typed values out of settings.
private struct SettingReader {
    let settings: JSONObject

    func count(_ name: String, limit: Int = JobSettings.countLimit) throws -> Int? {
        try value(name, "a whole number from 0 to \(limit)") { value in
            guard let number = value.doubleValue, number >= 0, number.rounded() == number, number <= Double(limit)
            else { return nil }
            return Int(exactly: number) ?? limit
        }
    }

    func flag(_ name: String) throws -> Bool? {
        try value(name, "true or false") { $0.boolValue }
    }

    /// An empty text counts as absent.
    func text(_ name: String) throws -> String? {
        let text = try value(name, "a text") { $0.stringValue }
        return text == "" ? nil : text
    }

    /// 0 is nil: none.
    func milliseconds(_ name: String) throws -> Duration? {
        let count = try count(name, limit: 1 << 52)
        return count == 0 ? nil : count.map { .milliseconds($0) }
    }

    func periods(_ name: String) throws -> [String: RetentionRule.Period] {
        let form = "an object of daily, weekly, monthly, yearly, each with a retention"
        let object = try value(name, form) { $0.objectValue } ?? [:]
        var periods: [String: RetentionRule.Period] = [:]
        for member in object.members where !member.value.isNull {
            guard ["daily", "weekly", "monthly", "yearly"].contains(member.name),
                let retention = member.value["retention"]?.intValue,
                (0...Int64(JobSettings.countLimit)).contains(retention)
            else { throw wrong(name, form) }
            guard retention > 0 else { continue }
            periods[member.name] = RetentionRule.Period(
                retention: Int(retention), settings: member.value["settings"]?.objectValue ?? [:])
        }
        return periods
    }

    private func value<Value>(_ name: String, _ form: String, _ read: (JSONValue) -> Value?) throws -> Value? {
        guard let value = settings[name] else { return nil }
        guard let result = read(value) else { throw wrong(name, form) }
        return result
    }

    private func wrong(_ name: String, _ form: String) -> BackupFailure {
        BackupFailure(.invalidInput, "setting \(name) must be \(form)")
    }
}
