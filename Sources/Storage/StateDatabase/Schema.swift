import GRDB

/// The tables, as steps that each database goes through once. A step that was released never changes again.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE users (
                        number INTEGER PRIMARY KEY,
                        id TEXT NOT NULL UNIQUE,
                        comment TEXT, enabled INTEGER NOT NULL, expire INTEGER NOT NULL,
                        first_name TEXT, last_name TEXT, email TEXT, password_hash TEXT
                    );
                    CREATE TABLE tokens (
                        number INTEGER PRIMARY KEY,
                        id TEXT NOT NULL UNIQUE,
                        comment TEXT, enabled INTEGER NOT NULL, expire INTEGER NOT NULL,
                        secret_hash TEXT NOT NULL
                    );
                    CREATE TABLE acl (
                        path TEXT NOT NULL, subject TEXT NOT NULL, role TEXT NOT NULL, propagates INTEGER NOT NULL,
                        PRIMARY KEY (path, subject, role)
                    ) WITHOUT ROWID;
                    CREATE TABLE config (
                        number INTEGER PRIMARY KEY,
                        section TEXT NOT NULL, id TEXT NOT NULL, properties TEXT NOT NULL,
                        UNIQUE (section, id)
                    );
                    CREATE TABLE tasks (
                        number INTEGER PRIMARY KEY,
                        upid TEXT NOT NULL UNIQUE,
                        start_time INTEGER NOT NULL, worker_type TEXT NOT NULL, worker_id TEXT, owner TEXT NOT NULL,
                        end_time INTEGER, status TEXT
                    );
                    CREATE INDEX tasks_by_time ON tasks (start_time);
                    CREATE INDEX tasks_running ON tasks (number) WHERE end_time IS NULL;
                    """)
        }
        return migrator
    }
}
