import BackupFormats
import StateDatabase
import Testing

@testable import AccessControl

@Suite("Guessing passwords")
struct GuardingTests {
    let ann = AuthID(parsing: "ann@pbs")!
    let bob = AuthID(parsing: "bob@pbs")!

    @Test("costs nothing at first, then ever more seconds, up to a bound")
    func delays() {
        var guarding = LoginGuard()
        var seen: [Int64] = []
        for number in 0..<16 {
            if case .check(let seconds) = guarding.verdict(ann, from: "10.0.0.\(number)", at: 1000) {
                seen.append(seconds)
            }
            _ = guarding.failed(ann, from: "10.0.0.\(number)", at: 1000)
        }
        #expect(seen == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 8, 8])
    }

    @Test("locks an account for the address that guesses, for nobody else, and for a time only")
    func locks() {
        var guarding = LoginGuard()
        var locked: [Bool] = []
        for _ in 0..<LoginGuard.lockThreshold { locked.append(guarding.failed(ann, from: "10.0.0.1", at: 1000)) }
        #expect(locked.last == true && locked.dropLast().allSatisfy { !$0 })
        #expect(guarding.verdict(ann, from: "10.0.0.1", at: 1001) == .locked(until: 1000 + LoginGuard.memory))
        #expect(guarding.verdict(ann, from: "10.0.0.2", at: 1001) == .check(after: 8))
        #expect(guarding.verdict(bob, from: "10.0.0.1", at: 1001) == .check(after: 0))
        #expect(guarding.verdict(ann, from: "10.0.0.1", at: 1000 + LoginGuard.memory) == .check(after: 0))
        guarding.forget(ann)
        #expect(guarding.verdict(ann, from: "10.0.0.1", at: 1001) == .check(after: 0))
    }

    @Test("at many accounts from one address is slowed as well, and other addresses are not")
    func addresses() {
        var guarding = LoginGuard()
        for number in 0..<40 {
            guard let user = AuthID(parsing: "user\(number)@pbs") else { continue }
            _ = guarding.failed(user, from: "10.0.0.1", at: 1000)
        }
        #expect(guarding.verdict(ann, from: "10.0.0.1", at: 1000) == .check(after: 30))
        #expect(guarding.verdict(ann, from: "10.0.0.2", at: 1000) == .check(after: 0))
    }

    @Test("counts IPv6 addresses by their network")
    func networks() {
        #expect(PeerNetwork.of("127.0.0.1:50") == "127.0.0.1")
        #expect(PeerNetwork.of("[::ffff:10.1.2.3]:50") == "10.1.2.3")
        #expect(PeerNetwork.of("[2001:db8:1:2:3:4:5:6]:50") == PeerNetwork.of("[2001:db8:1:2:ffff::1]:51"))
        #expect(PeerNetwork.of("[2001:db8::1]:50") == PeerNetwork.of("[2001:db8:0:0::2]:50"))
        #expect(PeerNetwork.of("[2001:db8::1]:50") != PeerNetwork.of("[2001:db9::1]:50"))
    }

    @Test("needs bounded memory, whoever guesses")
    func bounded() {
        var guarding = LoginGuard()
        for number in 0..<10_000 {
            _ = guarding.failed(ann, from: "10.\(number >> 16).\(number >> 8 & 255).\(number & 255)", at: Int64(number))
        }
        #expect(guarding.countOfCounters <= 8192)
    }
}

@Suite("The audit log")
struct AuditLogTests {
    @Test("goes on in a new file, keeps eight old ones, and reads over all of them")
    func rotates() throws {
        let setting = try AccessSetting()
        let log = AuditLog(folder: setting.folder, fileLimit: 1000)
        for number in 0..<200 {
            try log.record(
                AuditRecord(
                    time: Int64(number), user: "ann@pbs", address: "10.0.0.1:1", action: "PUT", object: "/x/\(number)",
                    details: ["comment": .string(String(repeating: "c", count: 2000))]))
        }
        var filter = AuditFilter()
        filter.limit = 5
        #expect(try log.records(filter).records.map(\.time) == [199, 198, 197, 196, 195])
        filter.start = 3
        #expect(try log.records(filter).records.first?.time == 196)
        filter = AuditFilter()
        filter.limit = 0
        let all = try log.records(filter)
        #expect(all.isComplete && all.records.count == 9 && all.records.allSatisfy { "\($0.json)".utf8.count < 1500 })
        filter.object = "/x/198"
        #expect(try log.records(filter).records.map(\.time) == [198])
    }
}
