/// Writes a catalog while a tree is walked; memory holds the folders that are open, not the tree.
///
/// The root folder is open from the start. It gets one folder for each archive, named like the archive on
/// the server (`root.pxar.didx`). What ``takeOutput()`` returns, joined, is the catalog.
package struct CatalogWriter {
    private struct Folder {
        let name: [UInt8]
        var count: UInt64 = 0
        /// The entries so far, without the distances to sub-folders.
        var entries: [UInt8] = []
        /// Where in `entries` the distance to which block belongs: known when the folder is written.
        var children: [(offset: Int, position: UInt64)] = []
    }

    private var open: [Folder] = [Folder(name: [])]
    private var output: [UInt8] = []
    private var written: UInt64 = 0
    private var isFinished = false

    package init() {
        output.appendLittleEndian(CatalogLayout.magic)
    }

    /// Folders that are open inside the root.
    package var depth: Int { open.count - 1 }

    /// - Throws: ``FormatError`` where the name cannot stand in a catalog, or above ``CatalogLayout/maxDepth``.
    package mutating func beginDirectory(_ name: [UInt8]) throws(FormatError) {
        requireOpen()
        try CatalogLayout.checkName(name, offset: position)
        guard depth < CatalogLayout.maxDepth else {
            throw .invalid("folders nested deeper than \(CatalogLayout.maxDepth)", offset: position)
        }
        open.append(Folder(name: name))
    }

    /// Writes the folder opened last and enters it into the one around it.
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` where no folder but the root is open.
    package mutating func endDirectory() throws(FormatError) {
        requireOpen()
        guard depth > 0 else { throw .invalid("no folder is open", offset: position) }
        let folder = open.removeLast()
        let block = write(folder)
        add(TypeByte.directory, folder.name)
        open[depth].children.append((open[depth].entries.count, block))
    }

    package mutating func addFile(_ name: [UInt8], size: UInt64, modified: Int64) throws(FormatError) {
        try addChecked(TypeByte.file, name)
        Varint.append(size, to: &open[depth].entries)
        Varint.append(signed: modified, to: &open[depth].entries)
    }

    package mutating func addSymlink(_ name: [UInt8]) throws(FormatError) { try addChecked(TypeByte.symlink, name) }
    package mutating func addHardLink(_ name: [UInt8]) throws(FormatError) { try addChecked(TypeByte.hardLink, name) }
    package mutating func addFIFO(_ name: [UInt8]) throws(FormatError) { try addChecked(TypeByte.fifo, name) }
    package mutating func addSocket(_ name: [UInt8]) throws(FormatError) { try addChecked(TypeByte.socket, name) }
    package mutating func addBlockDevice(_ name: [UInt8]) throws(FormatError) {
        try addChecked(TypeByte.blockDevice, name)
    }
    package mutating func addCharacterDevice(_ name: [UInt8]) throws(FormatError) {
        try addChecked(TypeByte.characterDevice, name)
    }

    /// Writes the root and its position. Take the output once more afterwards.
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` where a folder is still open.
    package mutating func finish() throws(FormatError) {
        requireOpen()
        guard depth == 0 else { throw .invalid("\(depth) folders are still open", offset: position) }
        let root = write(open[0])
        output.appendLittleEndian(root)
        isFinished = true
    }

    /// Bytes that wait in ``takeOutput()``.
    package var pendingByteCount: Int { output.count }

    /// The bytes made since the last call.
    package mutating func takeOutput() -> [UInt8] {
        written += UInt64(output.count)
        defer { output = [] }
        return output
    }

    private typealias TypeByte = CatalogLayout.TypeByte

    private var position: Int { Int(written) + output.count }

    private func requireOpen() {
        precondition(!isFinished, "a finished catalog takes nothing more")
    }

    private mutating func addChecked(_ type: UInt8, _ name: [UInt8]) throws(FormatError) {
        requireOpen()
        try CatalogLayout.checkName(name, offset: position)
        add(type, name)
    }

    private mutating func add(_ type: UInt8, _ name: [UInt8]) {
        open[depth].count += 1
        open[depth].entries.append(type)
        Varint.append(UInt64(name.count), to: &open[depth].entries)
        open[depth].entries += name
    }

    /// Writes the block of `folder` and returns where it starts.
    private mutating func write(_ folder: Folder) -> UInt64 {
        let start = UInt64(position)
        var content: [UInt8] = []
        content.reserveCapacity(folder.entries.count + 4 * folder.children.count + 10)
        Varint.append(folder.count, to: &content)
        var copied = 0
        for child in folder.children {
            content += folder.entries[copied..<child.offset]
            copied = child.offset
            Varint.append(start - child.position, to: &content)
        }
        content += folder.entries[copied...]
        Varint.append(UInt64(content.count), to: &output)
        output += content
        return start
    }
}
