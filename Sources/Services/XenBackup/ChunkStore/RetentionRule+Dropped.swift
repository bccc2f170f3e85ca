import BackupFormats

extension RetentionRule {
    /// The backups that are no longer kept.
    ///
    /// - Parameters:
    ///   - backups: Those of one machine, mode and schedule, ascending by time.
    ///   - isBefore: Whether one more is yet to come.
    func dropped<Item>(_ backups: [Item], isBefore: Bool) throws -> [Item] {
        Array(backups.dropLast(max(0, isBefore ? count - 1 : count)))
    }
}
