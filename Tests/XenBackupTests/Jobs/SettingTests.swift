import BackupFormats
import Testing

@testable import XenBackup

@Suite("Settings of a job")
struct SettingTests {
    /// Levels from the weakest to the strongest, each with a value of its own.
    static func levels(_ count: Int) -> JobSettingLevels {
        func value(_ level: Int) -> JSONObject { level < count ? ["exportRetention": .integer(level + 1)] : [:] }
        return JobSettingLevels(
            configuration: [value(0), value(1)],
            job: [
                "": .object(value(2)), "s1": .object(value(3)), "vm1": .object(value(4)), "r1": .object(value(5)),
                "s2": ["exportRetention": 99], "vm2": ["exportRetention": 98], "r2": ["exportRetention": 97],
            ],
            scheduleID: "s1")
    }

    @Test("win over those of the levels before", arguments: 0...6)
    func precedence(_ count: Int) throws {
        #expect(try Self.levels(count).resolve(vm: "vm1", target: "r1").exportRetention == count)
    }

    @Test("of a machine or target do not reach the others")
    func scope() throws {
        #expect(try Self.levels(6).resolve().exportRetention == 4)
        #expect(try Self.levels(6).resolve(vm: "vm1").exportRetention == 5)
        #expect(try Self.levels(6).resolve(vm: "vm2").exportRetention == 98)
        #expect(try Self.levels(6).resolve(vm: "vm2", target: "r1").exportRetention == 6)
    }

    @Test("are as documented where nobody says anything")
    func defaults() throws {
        #expect(try JobSettings([:]) == JobSettings())
        #expect(JobSettings().concurrency == 2)
        #expect(JobSettings().remoteTimeout == .seconds(300))
    }

    @Test("ignore what is null or unknown")
    func ignored() throws {
        let settings = try JobSettingLevels(
            job: [
                "": ["retentionXoMetadata": nil, "reportWhen": "always", "exportRetention": 3],
                "s1": ["exportRetention": nil],
            ],
            scheduleID: "s1"
        ).resolve()
        #expect(settings.retentionXoMetadata == 0)
        #expect(settings.exportRetention == 3)
    }

    @Test(
        "name the one that is wrong",
        arguments: [
            ("exportRetention", #""3""#), ("exportRetention", "-1"), ("exportRetention", "1.5"),
            ("exportRetention", "10000000000"), ("deleteFirst", "1"), ("concurrency", "[]"), ("timezone", "1"),
            ("longTermRetention", "[]"), ("longTermRetention", #"{"hourly":{"retention":1}}"#),
            ("longTermRetention", #"{"daily":{}}"#), ("timeout", "true"),
        ])
    func wrong(_ name: String, _ value: String) throws {
        let settings: JSONObject = [name: try JSONValue(parsing: value)]
        let failure = try #require(throws: BackupFailure.self) { try JobSettings(settings) }
        #expect(failure.summary.contains(name))
    }

    @Test("make the rule of retention")
    func rule() throws {
        let settings = try JobSettings([
            "exportRetention": 3, "timezone": "Europe/Paris", "maxMergedDeltasPerRun": 2, "timeout": 0,
            "vmTimeout": 1500,
            "longTermRetention": ["daily": ["retention": 7], "weekly": ["retention": 0]],
        ])
        #expect(
            try settings.exportRule()
                == RetentionRule(
                    count: 3, longTerm: ["daily": .init(retention: 7, settings: [:])], timeZone: "Europe/Paris",
                    maxMergedDeltas: 2))
        #expect(settings.timeout == nil)
        #expect(settings.vmTimeout == .milliseconds(1500))
    }

    @Test("need a time zone for long-term retention")
    func timeZone() throws {
        let settings = try JobSettings(["longTermRetention": ["yearly": ["retention": 1]]])
        #expect(throws: BackupFailure.self) { try settings.exportRule() }
    }
}

@Suite("The name of a snapshot")
struct NameTemplateTests {
    @Test(
        "is made from job and machine",
        arguments: [
            ("[XO Backup {job.name}] {vm.name_label}", "[XO Backup nightly] web1"), ("{job.id}-{vm.uuid}", "7-u1"),
            ("{vm.unknown} {x} {", "{vm.unknown} {x} {"), (#"\{job.name} \\"#, #"{job.name} \"#), ("", ""),
        ])
    func fills(_ template: String, name: String) {
        let job: JSONObject = ["name": "nightly", "id": 7]
        #expect(NameTemplate(template).fill(job: job, vm: ["name_label": "web1", "uuid": "u1"]) == name)
    }
}

@Suite("Marks of a snapshot")
struct BackupMarkTests {
    @Test("are read as they were written")
    func roundTrip() {
        let marks = BackupMarks(jobID: "j", scheduleID: "s", vm: "v", datetime: "20231114T22:13:20Z")
        let config = JSONObject(marks.initialMembers.map { .init(name: $0.key, value: .string($0.value)) })
        #expect(BackupMarks(config) == marks)
    }

    @Test("tell of export and chain")
    func exported() {
        let marks = BackupMarks([
            "xo:backup:job": "j", "xo:backup:vm": "v", "xo:backup:datetime": "20231114T22:13:20Z",
            "xo:backup:exported": "true", "xo:backup:deltaChainLength": "4",
        ])
        #expect(marks?.isExported == true)
        #expect(marks?.chainLength == 4)
        #expect(marks?.scheduleID == "")
    }

    @Test("are none where the job is missing")
    func missing() {
        #expect(BackupMarks(["xo:backup:vm": "v", "xo:backup:datetime": "d"]) == nil)
        #expect(BackupMarks(nil) == nil)
    }
}
