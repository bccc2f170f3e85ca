import BackupFormats
import VirtualDisks

/// The folder of one disk of a machine and job: `vdis/<job>/<disk>`. (Spec: xo-proxy §4.5.)
struct DiskFolder: Sendable {
    let machine: MachineFolder
    let job: String
    let disk: String

    var files: any RemoteFiles { machine.files }
    var path: String { "\(machine.path)/\(ClassicPath.disks)/\(job)/\(disk)" }

    func path(_ name: String) -> String { "\(path)/\(name)" }

    static func isDisk(_ name: String) -> Bool { ClassicPath.isName(name) && name.hasSuffix(".vhd") }
    static func isAlias(_ name: String) -> Bool { ClassicPath.isName(name) && name.hasSuffix(".alias.vhd") }
}
