// BackupHTTP2
