// BackupClient
