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
        migrator.registerMigration("jobs-1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE job_states (
                        job TEXT PRIMARY KEY,
                        schedule TEXT NOT NULL, counted_from INTEGER NOT NULL, good_since INTEGER NOT NULL,
                        task TEXT, end_time INTEGER, status TEXT
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("metrics-1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE samples (
                        series TEXT NOT NULL, step INTEGER NOT NULL, time INTEGER NOT NULL,
                        count INTEGER NOT NULL, average REAL NOT NULL, maximum REAL NOT NULL,
                        PRIMARY KEY (series, step, time)
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("peers-1") { database in
            try database.execute(
                sql: """
                    CREATE TABLE peer_operations (
                        number INTEGER PRIMARY KEY AUTOINCREMENT,
                        key_id TEXT NOT NULL, original_id INTEGER NOT NULL,
                        original_flow INTEGER NOT NULL, flow INTEGER NOT NULL, counter INTEGER NOT NULL,
                        kind INTEGER NOT NULL, status INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
                        instance TEXT NOT NULL, repo TEXT NOT NULL, repo_guid TEXT NOT NULL, plan TEXT NOT NULL,
                        message TEXT NOT NULL, payload BLOB NOT NULL,
                        UNIQUE (key_id, original_id)
                    );
                    CREATE INDEX peer_operations_by_flow ON peer_operations (key_id, original_flow);
                    CREATE INDEX peer_operations_by_start ON peer_operations (start);
                    """)
        }
        return migrator
    }
}
