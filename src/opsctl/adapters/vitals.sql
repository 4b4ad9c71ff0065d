-- What is asked of a server, each question on its own: a refused one leaves the others alone.
-- `-- NAME`, `-- NAME from 17` or `-- NAME until 16` begins a question.
-- No question opens a user's table, so none waits for a lock on one; sequences are the exception.

-- server
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS number,
       current_database() AS database,
       current_user AS role,
       pg_is_in_recovery() AS standby,
       r.rolsuper AS superuser, r.rolcreaterole AS creates_roles,
       pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS may_signal,
       pg_backend_pid() AS pid,
       (SELECT count(*)::int FROM pg_stat_activity
        WHERE query = '<insufficient privilege>') AS hidden,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS up_s,
       clock_timestamp()::text AS at
FROM pg_roles r WHERE r.rolname = current_user

-- limits
SELECT current_setting('max_connections')::int AS most,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved

-- connections
SELECT coalesce(usename::text, '?') AS role, coalesce(application_name, '') AS application,
       datname::text AS database, coalesce(state, '') AS state, count(*)::int AS count
FROM pg_stat_activity
WHERE datid IS NOT NULL AND usesysid IS NOT NULL
  AND (backend_type IS NULL OR backend_type = 'client backend')
  AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4

-- own_limits
SELECT 'role' AS kind, rolname::text AS name, rolconnlimit AS most,
       (SELECT count(*)::int FROM pg_stat_activity a
        WHERE a.usesysid = r.oid AND a.datid IS NOT NULL AND a.pid <> pg_backend_pid()) AS used
FROM pg_roles r WHERE rolcanlogin AND NOT rolsuper AND rolconnlimit > 0
UNION ALL
SELECT 'database', datname::text, datconnlimit,
       (SELECT count(*)::int FROM pg_stat_activity a
        WHERE a.datid = d.oid AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid())
FROM pg_database d WHERE datconnlimit > 0

-- transactions
SELECT pid, backend_start::text AS backend_start, xact_start::text AS xact_start,
       usename::text AS role, application_name AS application, datname::text AS database, state,
       backend_type AS kind,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_s,
       left(query, 300) AS query
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY pg_stat_activity.xact_start LIMIT 50

-- locks
WITH waiting AS (
  SELECT DISTINCT ON (pid) pid, waitstart, locktype, mode,
         CASE WHEN database = (SELECT oid FROM pg_database WHERE datname = current_database())
              THEN relation END AS relation
  FROM pg_locks WHERE NOT granted ORDER BY pid, waitstart
), tree AS (
  SELECT *, pg_blocking_pids(pid) AS blockers FROM waiting
), involved AS (
  SELECT pid FROM tree UNION SELECT unnest(blockers) FROM tree
)
SELECT i.pid, t.blockers, t.locktype, t.mode, t.relation::regclass::text AS relation,
       extract(epoch FROM clock_timestamp() - t.waitstart)::float8 AS waited_s,
       a.backend_start::text AS backend_start, a.xact_start::text AS xact_start,
       a.usename::text AS role, a.application_name AS application,
       a.datname::text AS database, a.state, a.backend_type AS kind,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_s,
       left(a.query, 300) AS query
FROM involved i LEFT JOIN tree t USING (pid) LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY i.pid

-- prepared
SELECT gid, owner::text AS role, database::text AS database,
       extract(epoch FROM clock_timestamp() - prepared)::float8 AS age_s
FROM pg_prepared_xacts ORDER BY prepared

-- slots until 16
SELECT slot_name::text AS name, slot_type AS type, database::text AS database, active,
       wal_status AS wal, safe_wal_size AS safe_bytes, '' AS reason, NULL::float8 AS inactive_s,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::bigint AS retained_bytes
FROM pg_replication_slots WHERE NOT temporary ORDER BY slot_name

-- slots from 17
SELECT slot_name::text AS name, slot_type AS type, database::text AS database, active,
       wal_status AS wal, safe_wal_size AS safe_bytes,
       coalesce(invalidation_reason, '') AS reason,
       extract(epoch FROM clock_timestamp() - inactive_since)::float8 AS inactive_s,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::bigint AS retained_bytes
FROM pg_replication_slots WHERE NOT temporary ORDER BY slot_name

-- slot_limit
SELECT pg_size_bytes(CASE setting WHEN '-1' THEN '-1' ELSE setting || ' MB' END) AS bytes
FROM pg_settings WHERE name = 'max_slot_wal_keep_size'

-- replicas
SELECT application_name AS name, coalesce(client_addr::text, 'local') AS address, state,
       sync_state, extract(epoch FROM replay_lag)::float8 AS lag_s,
       CASE WHEN NOT pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END AS lag_bytes
FROM pg_stat_replication ORDER BY 1, 2

-- standby
SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(),
                                                                 pg_postmaster_start_time())) END
         ::float8 AS lag_s,
       (SELECT count(*)::int FROM pg_stat_wal_receiver) AS receivers,
       pg_is_in_recovery() AND pg_is_wal_replay_paused() AS paused
WHERE pg_is_in_recovery()

-- archiver
SELECT current_setting('archive_mode') AS mode, failed_count AS failed,
       last_failed_wal AS failed_file,
       coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing
FROM pg_stat_archiver

-- size
SELECT pg_database_size(current_database()) AS bytes

-- wraparound
SELECT datname::text AS name, age(datfrozenxid) AS xids, mxid_age(datminmxid) AS multixacts,
       datname = current_database() AS own
FROM pg_database ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC LIMIT 5

-- oldest_tables
SELECT c.oid::regclass::text AS name, age(c.relfrozenxid) AS xids,
       mxid_age(c.relminmxid) AS multixacts
FROM pg_class c WHERE c.relkind IN ('r', 'm', 't') AND c.relfrozenxid <> '0'
ORDER BY age(c.relfrozenxid) DESC LIMIT 3

-- traffic
SELECT blks_hit AS hits, blks_read AS reads, deadlocks, stats_reset::text AS since
FROM pg_stat_database WHERE datname = current_database()

-- checksums
SELECT coalesce(datname::text, 'shared catalogs') AS name, checksum_failures AS failures
FROM pg_stat_database WHERE checksum_failures > 0

-- checkpoints until 16
SELECT checkpoints_timed AS timed, checkpoints_req AS requested,
       extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS over_s FROM pg_stat_bgwriter

-- checkpoints from 17
SELECT num_timed AS timed, num_requested AS requested,
       extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS over_s
FROM pg_stat_checkpointer

-- dead_tuples
SELECT * FROM (
  SELECT format('%I.%I', s.schemaname, s.relname) AS name, s.n_live_tup AS live,
         s.n_dead_tup AS dead, pg_has_role(c.relowner, 'USAGE') AS own, c.relpages::bigint * 8192 AS bytes,
         coalesce(greatest(s.last_vacuum, s.last_autovacuum)::text, '') AS vacuumed,
         coalesce((o.x ->> 'autovacuum_enabled')::bool, true) AS autovacuum,
         least(coalesce((o.x ->> 'autovacuum_vacuum_threshold')::float8,
                        current_setting('autovacuum_vacuum_threshold')::float8)
               + coalesce((o.x ->> 'autovacuum_vacuum_scale_factor')::float8,
                          current_setting('autovacuum_vacuum_scale_factor')::float8)
               * greatest(c.reltuples, 0),
               nullif(current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1))
           AS threshold
  FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
  CROSS JOIN LATERAL (SELECT jsonb_object_agg(option_name, option_value) AS x
                      FROM pg_options_to_table(c.reloptions)) o
  WHERE s.n_dead_tup > 0
) t WHERE dead > threshold ORDER BY dead DESC LIMIT 20

-- autovacuum_off
SELECT c.oid::regclass::text AS name, c.reltuples::bigint AS rows
FROM pg_class c
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
  AND EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
              WHERE option_name = 'autovacuum_enabled' AND NOT option_value::bool)
ORDER BY 2 DESC, 1 LIMIT 20

-- bloat
SELECT * FROM (
  SELECT c.oid::regclass::text AS name, c.relpages::bigint * 8192 AS bytes,
         (c.relpages - ceil(c.reltuples * (28 + w.width)
           / (8168 * coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
                               WHERE option_name = 'fillfactor'), 100) / 100)))::bigint * 8192
           AS wasted
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (
    SELECT sum((1 - s.null_frac) * s.avg_width) AS width, count(*) AS columns
    FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND NOT s.inherited
  ) w
  WHERE c.relkind IN ('r', 'm') AND c.relpages >= 1024 AND c.reltuples >= 0
    AND w.columns = (SELECT count(*) FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
) t WHERE wasted > 0 ORDER BY wasted DESC LIMIT 10

-- bloat_unseen
SELECT count(*)::int AS count FROM pg_class c
WHERE c.relkind IN ('r', 'm') AND c.relpages >= 1024 AND NOT has_table_privilege(c.oid, 'SELECT')

-- sequences
-- Those of extensions are theirs.
WITH owned AS (
  SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
  FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  UNION
  SELECT d.refobjid, a.adrelid, a.adnum
  FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
), last AS (
  SELECT s.seqrelid, s.seqincrement, s.seqmax, s.seqmin, s.seqcycle,
         CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT,USAGE')
              THEN pg_sequence_last_value(s.seqrelid) END AS value,
         has_sequence_privilege(s.seqrelid, 'SELECT,USAGE') AS seen
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
  WHERE c.relpersistence <> 't' AND NOT (pg_is_in_recovery() AND c.relpersistence = 'u')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = s.seqrelid AND d.deptype = 'e')
), ends AS (
  SELECT l.seqrelid::regclass::text AS name, a.attrelid::regclass::text AS relation,
         a.attname::text AS column, format_type(a.atttypid, NULL) AS type, l.value, l.seen,
         l.seqcycle AS cycles,
         CASE WHEN l.seqincrement > 0
              THEN least(l.seqmax, CASE a.atttypid WHEN 20 THEN 9223372036854775807
                                                   WHEN 23 THEN 2147483647
                                                   WHEN 21 THEN 32767 END)
              ELSE greatest(l.seqmin, CASE a.atttypid WHEN 20 THEN -9223372036854775808
                                                      WHEN 23 THEN -2147483648
                                                      WHEN 21 THEN -32768 END) END AS ends
  FROM last l LEFT JOIN owned o ON o.sequence = l.seqrelid
  LEFT JOIN pg_attribute a ON a.attrelid = o.relation AND a.attnum = o.number
)
SELECT *, count(*) OVER () AS all_of_them, count(*) FILTER (WHERE NOT seen) OVER () AS unseen,
       round(CASE WHEN value IS NULL OR cycles OR ends = 0 OR sign(value) <> sign(ends) THEN 0
                  ELSE value::numeric / ends END, 4)::float8 AS used
FROM ends ORDER BY used DESC, name LIMIT 20

-- invalid_indexes
SELECT i.indexrelid::regclass::text AS name, i.indrelid::regclass::text AS relation,
       i.indisunique AS is_unique, c.relkind = 'I' AS partitioned,
       i.indisexclusion AS exclusion, pg_has_role(c.relowner, 'USAGE') AS own,
       pg_relation_size(i.indrelid) AS bytes,
       c.relname ~ '_cc(new|old)[0-9]*$' AS leftover
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
  AND n.nspname <> 'pg_toast'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p
                  WHERE p.index_relid = i.indexrelid OR p.relid = i.indrelid)
ORDER BY 1

-- unvalidated
SELECT conrelid::regclass::text AS relation, quote_ident(conname) AS name
FROM pg_constraint WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1, 2 LIMIT 50

-- settings
-- What a new session would have: this one has a time-out of its own.
SELECT name, reset_val AS setting, source, pending_restart AS pending
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'track_counts',
  'track_activities', 'default_transaction_read_only', 'idle_in_transaction_session_timeout',
  'statement_timeout', 'log_statement', 'log_min_duration_statement', 'wal_level',
  'max_connections', 'autovacuum_freeze_max_age', 'autovacuum_multixact_freeze_max_age',
  'vacuum_failsafe_age', 'vacuum_multixact_failsafe_age', 'synchronous_standby_names', 'password_encryption', 'zero_damaged_pages',
  'ignore_checksum_failure', 'ignore_system_indexes', 'row_security', 'log_duration',
  'work_mem', 'data_checksums', 'hot_standby_feedback', 'transaction_timeout')
  OR pending_restart
ORDER BY name

-- roles
SELECT r.rolname::text AS name, r.rolsuper AS superuser,
       (SELECT jsonb_object_agg(split_part(x, '=', 1), substr(x, strpos(x, '=') + 1)
                                ORDER BY s.setrole <> 0, s.setdatabase <> 0)
        FROM pg_db_role_setting s, unnest(s.setconfig) x
        WHERE s.setrole IN (r.oid, 0)
          AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND split_part(x, '=', 1) IN ('statement_timeout', 'idle_in_transaction_session_timeout',
                                        'default_transaction_read_only')) AS settings,
       (SELECT jsonb_object_agg(split_part(x, '=', 1), substr(x, strpos(x, '=') + 1))
        FROM pg_db_role_setting s, unnest(s.setconfig) x
        WHERE s.setrole = r.oid AND s.setdatabase = (SELECT oid FROM pg_database
                                                     WHERE datname = current_database())) AS here
FROM pg_roles r WHERE r.rolname !~ '^pg_'
ORDER BY 1

-- extensions
SELECT name::text AS name, installed_version AS installed, default_version AS newest
FROM pg_available_extensions
WHERE installed_version IS NOT NULL AND installed_version <> default_version ORDER BY 1
