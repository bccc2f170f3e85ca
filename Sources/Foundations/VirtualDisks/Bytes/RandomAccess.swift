/// A file that is open for reading and writing at any place, by several callers at once.
package protocol RandomAccess: Sendable {
    func size() async throws -> UInt64
    /// Fewer bytes only at the end of the file.
    func read(at offset: UInt64, count: Int) async throws -> [UInt8]
    /// Writing behind the end leaves zeros in between.
    func write(_ bytes: [UInt8], at offset: UInt64) async throws
    func truncate(to size: UInt64) async throws
    /// Has all that was written on the disk when it returns.
    func sync() async throws
}
