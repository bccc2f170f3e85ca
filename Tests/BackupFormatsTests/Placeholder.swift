// BackupFormats
