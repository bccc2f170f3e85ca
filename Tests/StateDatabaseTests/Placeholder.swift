// StateDatabase
