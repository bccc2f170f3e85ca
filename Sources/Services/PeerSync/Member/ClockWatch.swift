import BackupFormats

/// Tells when the wall clock has jumped: the machine slept, or somebody set it. (Spec: backrest-sync §5.9.)
struct ClockWatch {
    private let time: TimeSource
    private let tolerance: Double
    private var wall: Int64
    private var machine: ContinuousClock.Instant

    init(_ time: TimeSource, tolerance: Double) {
        self.time = time
        self.tolerance = tolerance
        wall = time.nanoseconds()
        machine = .now
    }

    /// - Returns: Whether it has jumped since the last call.
    mutating func hasJumped() -> Bool {
        let (nowWall, nowMachine) = (time.nanoseconds(), ContinuousClock.now)
        defer { (wall, machine) = (nowWall, nowMachine) }
        return abs(Double(nowWall &- wall) / 1e9 - (nowMachine - machine).inSeconds) > tolerance
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
