// BackupProtocol
