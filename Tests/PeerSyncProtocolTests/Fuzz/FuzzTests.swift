import Testing

/// Ten million inputs with `CAIRN_SOAK=1`, a hundred thousand without; `CAIRN_SEED` repeats a run.
@Suite("Whatever a peer sends")
struct FuzzTests {
    @Test("as envelopes is read as it stands or refused, without a crash, a hang or growing memory")
    func envelopes() async throws {
        let seed = FuzzRun.seed(of: "envelopes")
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardOutputContent, \.standardErrorContent]
        ) { [seed = seed as UInt64] in
            FuzzRun(seed: seed, count: FuzzRun.total * 35 / 100).run(EnvelopeFuzzer.self)
        }
        tell(result)
    }

    @Test("as items is read or refused, without a crash, a hang or growing memory")
    func items() async throws {
        let seed = FuzzRun.seed(of: "items")
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardOutputContent, \.standardErrorContent]
        ) { [seed = seed as UInt64] in
            FuzzRun(seed: seed, count: FuzzRun.total * 35 / 100).run(ItemFuzzer.self)
        }
        tell(result)
    }

    @Test("in whatever state of a session is taken or ends it, without a crash, a hang or growing memory")
    func states() async throws {
        let seed = FuzzRun.seed(of: "states")
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardOutputContent, \.standardErrorContent]
        ) { [seed = seed as UInt64] in
            FuzzRun(seed: seed, count: FuzzRun.total * 30 / 100).run(SessionFuzzer.self)
        }
        tell(result)
    }

    /// The figures of a run, or what it found.
    private func tell(_ result: ExitTest.Result?) {
        guard let result else { return }
        let output = String(decoding: result.standardOutputContent, as: UTF8.self)
        for line in output.split(separator: "\n") where line.contains("inputs in") { print(line) }
        let errors = String(decoding: result.standardErrorContent, as: UTF8.self)
        if case .exitCode(0) = result.exitStatus { return }
        Issue.record("\(errors.suffix(8000))")
    }
}
