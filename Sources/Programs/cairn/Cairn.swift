import ArgumentParser
import BackupFormats
import Commands
import Platform

@main
struct Cairn: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cairn", abstract: "Backup server and client that speak the Proxmox Backup Server protocol.",
        version: CairnVersion.text, subcommands: [Serve.self] + CairnCommands.all + [StateCommand.self])

    static func main() async {
        MemoryTuning.keepBigBlocks()
        ProcessControl.ignoreBrokenPipes()
        ProcessControl.exit(await CairnCommands.run(Cairn.self))
    }
}
