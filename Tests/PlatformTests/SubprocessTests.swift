import CairnTestSupport
import Platform
import Testing

@Suite("A program that is run to its end")
struct SubprocessTests {
    private func shell(_ script: String, seconds: Int = 120) throws -> Subprocess.Outcome {
        try Subprocess.run("sh", ["-c", script], environment: ["PATH": "/usr/bin:/bin", "A": "b c"], seconds: seconds)
    }

    @Test("gives its status and all that it wrote, and sees its environment only")
    func runs() throws {
        let outcome = try shell("echo \"$A\"; echo error >&2; read x; exit 7")
        #expect(outcome.status == 7)
        #expect(outcome.output == "b c\nerror\n")
        #expect(!outcome.isTimedOut)
        #expect(try shell("env | grep -c HOME").output == "0\n")
        #expect(try shell("kill -9 $$").status == 137)
    }

    @Test("may write more than is kept")
    func longOutput() throws {
        let outcome = try shell("head -c 1000000 /dev/zero; exit 3")
        #expect(outcome.status == 3)
        #expect(outcome.output.utf8.count == 16 << 10)
    }

    @Test("is not waited for by those that it leaves in the background")
    func background() throws {
        let outcome = try shell("sleep 600 & echo $!")
        #expect(outcome.status == 0)
        let child = try #require(outcome.output.split(separator: "\n").first)
        _ = try shell("kill \(child)")
    }

    @Test("is killed with its children when it takes too long")
    func killed() throws {
        let outcome = try shell("sleep 600; echo never", seconds: 1)
        #expect(outcome.isTimedOut)
        #expect(outcome.status == 137)
        #expect(!outcome.output.contains("never"))
    }

    @Test("that does not exist is a failure")
    func missing() {
        #expect(throws: SystemError.self) {
            try Subprocess.run("/no/such/program", [], environment: [:], seconds: 1)
        }
    }
}
