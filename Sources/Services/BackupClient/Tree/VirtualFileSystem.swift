/// File systems that show the kernel's state rather than files; never worth a backup.
enum VirtualFileSystem {
    /// Numbers of linux/magic.h: proc, sysfs, devpts, cgroup, cgroup2, debugfs, tracefs, securityfs, configfs,
    /// pstore, bpf, mqueue, hugetlbfs, binfmt_misc, autofs, selinuxfs, efivarfs, rpc_pipefs, fusectl, nsfs.
    private static let magics: Set<UInt64> = [
        0x9fa0, 0x6265_6572, 0x1cd1, 0x27_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6265_6570,
        0x6165_676c, 0xcafe_4a11, 0x1980_0202, 0x9584_58f6, 0x4249_4e4d, 0x0187, 0xf97c_ff8c, 0xde5e_81e4,
        0x6759_6969, 0x6573_5543, 0x6e73_6673,
    ]

    static func isVirtual(_ magic: UInt64) -> Bool { magics.contains(magic) }
}
