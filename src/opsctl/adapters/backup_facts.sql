-- What a dump leaves out and a restore must know; each query is named by the line before it.
-- name: server
SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
       NOT r.rolsuper AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'supabase_admin'),
       clock_timestamp(), pg_database_size(current_database())::int8,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text
FROM pg_roles r WHERE r.rolname = current_user
-- name: database
SELECT d.datname, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding),
       to_jsonb(d) ->> 'datlocprovider', d.datcollate, d.datctype,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), d.datconnlimit
FROM pg_database d WHERE d.datname = current_database()
-- name: database_acl
SELECT x.privilege_type, CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.is_grantable
FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) x
WHERE d.datname = current_database() ORDER BY 2, 1
-- name: settings
SELECT coalesce(pg_get_userbyid(nullif(s.setrole, 0)), ''), c
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
WHERE d.datname = current_database() ORDER BY 1, 2
-- name: roles
SELECT r.rolname,
       array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN NOT rolinherit THEN 'NOINHERIT' END,
         CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
         CASE WHEN rolcanlogin THEN 'LOGIN' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
         CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
         CASE WHEN rolconnlimit >= 0 THEN 'CONNECTION LIMIT ' || rolconnlimit END], NULL),
       coalesce((SELECT array_agg(c ORDER BY c) FROM pg_db_role_setting s, unnest(s.setconfig) c
                 WHERE s.setrole = r.oid AND s.setdatabase = 0), '{}'),
       coalesce((SELECT array_agg(DISTINCT pg_get_userbyid(m.roleid) ORDER BY pg_get_userbyid(m.roleid))
                 FROM pg_auth_members m WHERE m.member = r.oid), '{}')
FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1
-- name: extensions
WITH member AS (SELECT classid, objid, refobjid AS extension FROM pg_depend WHERE deptype = 'e'),
used AS (
  SELECT DISTINCT d.refclassid, d.refobjid FROM pg_depend d
  WHERE d.deptype IN ('n', 'a') AND d.refobjid >= 16384
    AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = d.classid AND m.objid = d.objid)
    -- The default, rule or array type of a member is a member in all but name.
    AND d.classid <> 'pg_extension'::regclass
)
SELECT e.extname, e.extversion, n.nspname,
  coalesce((SELECT array_agg(DISTINCT format('%I.%I', tn.nspname, t.typname)) FROM member m
            JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid AND t.typtype = 'b'
            JOIN pg_namespace tn ON tn.oid = t.typnamespace
            JOIN used u ON u.refclassid = 'pg_type'::regclass AND u.refobjid IN (t.oid, t.typarray)
            WHERE m.extension = e.oid), '{}'),
  coalesce((SELECT json_agg(json_build_array(format('%I.%I', fn.nspname, p.proname),
                     pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid))) FROM member m
            JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid AND p.prokind = 'f'
            JOIN pg_namespace fn ON fn.oid = p.pronamespace
            JOIN used u ON u.refclassid = 'pg_proc'::regclass AND u.refobjid = p.oid
            WHERE m.extension = e.oid), '[]')
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY 1
