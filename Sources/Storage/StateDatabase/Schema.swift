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
        migrator.registerMigration("peers-load-1") { database in
            // Made for ten million operations of a thousand members: names of members and plans stand once, the
            // comparison with a manifest reads nothing but `peer_operation_ids`.
            try database.execute(
                sql: """
                    CREATE TABLE peer_members (
                        number INTEGER PRIMARY KEY AUTOINCREMENT,
                        key_id TEXT UNIQUE,
                        operations INTEGER NOT NULL DEFAULT 0, series INTEGER NOT NULL DEFAULT 0
                    );
                    CREATE TABLE peer_series (
                        number INTEGER PRIMARY KEY AUTOINCREMENT,
                        member INTEGER NOT NULL, instance TEXT NOT NULL, repo_guid TEXT NOT NULL, plan TEXT NOT NULL,
                        repo TEXT NOT NULL,
                        UNIQUE (member, instance, repo_guid, plan, repo)
                    );
                    CREATE TABLE peer_operation_ids (
                        member INTEGER NOT NULL, original_id INTEGER NOT NULL,
                        counter INTEGER NOT NULL, operation INTEGER NOT NULL,
                        PRIMARY KEY (member, original_id)
                    ) WITHOUT ROWID;
                    INSERT INTO peer_members (key_id, operations, series)
                        SELECT key_id, count(*), count(DISTINCT json_array(instance, repo_guid, plan, repo))
                        FROM peer_operations GROUP BY key_id;
                    INSERT INTO peer_series (member, instance, repo_guid, plan, repo)
                        SELECT DISTINCT m.number, instance, repo_guid, plan, repo
                        FROM peer_operations o JOIN peer_members m ON m.key_id = o.key_id;
                    INSERT INTO peer_operation_ids
                        SELECT m.number, original_id, counter, o.number
                        FROM peer_operations o JOIN peer_members m ON m.key_id = o.key_id;
                    ALTER TABLE peer_operations RENAME TO old_peer_operations;
                    DROP INDEX peer_operations_by_flow;
                    DROP INDEX peer_operations_by_start;
                    CREATE TABLE peer_operations (
                        number INTEGER PRIMARY KEY AUTOINCREMENT,
                        member INTEGER NOT NULL, series INTEGER NOT NULL,
                        original_id INTEGER NOT NULL, original_flow INTEGER NOT NULL, flow INTEGER NOT NULL,
                        counter INTEGER NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL,
                        start INTEGER NOT NULL, end INTEGER NOT NULL,
                        message TEXT NOT NULL, payload BLOB NOT NULL
                    );
                    INSERT INTO peer_operations
                        SELECT o.number, m.number, s.number, original_id, original_flow, flow, counter, kind, status,
                            start, end, message, payload
                        FROM old_peer_operations o JOIN peer_members m ON m.key_id = o.key_id
                        JOIN peer_series s ON s.member = m.number AND s.instance = o.instance
                            AND s.repo_guid = o.repo_guid AND s.plan = o.plan AND s.repo = o.repo;
                    DROP TABLE old_peer_operations;
                    CREATE INDEX peer_operations_by_flow ON peer_operations (member, original_flow);
                    CREATE INDEX peer_operations_by_start ON peer_operations (start);
                    CREATE INDEX peer_operations_by_member ON peer_operations (member, start);
                    CREATE INDEX peer_operations_by_status ON peer_operations (status, start);
                    CREATE INDEX peer_operations_ended ON peer_operations (series, kind, start) WHERE end > 0;
                    """)
        }
        migrator.registerMigration("peers-hub") { database in
            try database.execute(
                sql: """
                    CREATE TABLE peer_tokens (
                        number INTEGER PRIMARY KEY,
                        id TEXT NOT NULL UNIQUE, hash BLOB NOT NULL, label TEXT NOT NULL, grants TEXT NOT NULL,
                        created INTEGER NOT NULL, expires INTEGER NOT NULL,
                        max_uses INTEGER NOT NULL, uses INTEGER NOT NULL
                    );
                    CREATE TABLE peer_views (key_id TEXT PRIMARY KEY, view BLOB NOT NULL) WITHOUT ROWID;
                    CREATE TABLE peer_pushes (
                        number INTEGER PRIMARY KEY AUTOINCREMENT,
                        key_id TEXT NOT NULL, time INTEGER NOT NULL, outcome TEXT NOT NULL,
                        subjects TEXT NOT NULL, message TEXT NOT NULL
                    );
                    CREATE INDEX peer_pushes_by_member ON peer_pushes (key_id, number);
                    """)
        }
        migrator.registerMigration("peers-member") { database in
            try database.execute(
                sql: """
                    CREATE TABLE own_operations (
                        id INTEGER PRIMARY KEY,
                        counter INTEGER NOT NULL, flow INTEGER NOT NULL,
                        subject TEXT NOT NULL UNIQUE, snapshot TEXT NOT NULL,
                        repo TEXT NOT NULL, repo_guid TEXT NOT NULL, plan TEXT NOT NULL,
                        kind INTEGER NOT NULL, start INTEGER NOT NULL, forgotten INTEGER, running INTEGER NOT NULL,
                        fingerprint INTEGER NOT NULL, payload BLOB NOT NULL
                    );
                    CREATE INDEX own_operations_by_snapshot ON own_operations (snapshot) WHERE snapshot <> '';
                    CREATE INDEX own_operations_by_flow ON own_operations (flow);
                    CREATE INDEX own_operations_by_repo ON own_operations (repo_guid, kind);
                    CREATE INDEX own_operations_running ON own_operations (id) WHERE running = 1;
                    CREATE TABLE own_counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE TABLE own_stores (name TEXT PRIMARY KEY, identity BLOB NOT NULL) WITHOUT ROWID;
                    """)
        }
        return migrator
    }
}
