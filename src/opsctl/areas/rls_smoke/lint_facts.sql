-- What the lints judge, in one document. Nothing here takes a lock on a table: expressions are
-- read as the trees that the catalog stores, not printed.
WITH nsp AS MATERIALIZED (
  SELECT n.oid, n.nspname, n.nspowner FROM pg_catalog.pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), api AS MATERIALIZED (
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname IN ('anon', 'authenticated')
), ext AS MATERIALIZED (
  SELECT d.classid, d.objid, e.extname FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
  WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass
), rel AS MATERIALIZED (
  SELECT c.oid, c.relname, c.relnamespace, c.relkind, c.relowner, c.relrowsecurity,
         c.relforcerowsecurity, c.reloptions, c.relispartition, c.reltuples, c.relpages, c.relacl,
         n.nspname, x.extname
  FROM pg_catalog.pg_class c JOIN nsp n ON n.oid = c.relnamespace
  LEFT JOIN ext x ON x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
), held AS MATERIALIZED (
  SELECT rel.oid, json_object_agg(api.rolname, (
    SELECT string_agg(p.word, ',') FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'),
      ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) AS p(word)
    WHERE rel.relkind <> 'S' AND pg_catalog.has_table_privilege(api.oid, rel.oid, p.word)
       OR rel.relkind = 'S' AND p.word IN ('SELECT', 'UPDATE')
          AND pg_catalog.has_sequence_privilege(api.oid, rel.oid, p.word))) AS roles
  FROM rel CROSS JOIN api GROUP BY 1
), att AS MATERIALIZED (
  SELECT a.attrelid, json_agg(json_build_array(a.attnum, a.attname, t.typname, t.typtype,
           a.attnotnull, b.typname, e.typname, a.attgenerated <> '') ORDER BY a.attnum) AS columns
  FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
  LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
  WHERE a.attnum > 0 AND NOT a.attisdropped AND rel.relkind <> 'S'
  GROUP BY 1
), own_default AS (
  SELECT d.adrelid, json_agg(d.adnum) AS numbers FROM pg_catalog.pg_attrdef d
  JOIN rel ON rel.oid = d.adrelid
  JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
    AND p.refclassid = 'pg_catalog.pg_proc'::regclass
  JOIN pg_catalog.pg_proc f ON f.oid = p.refobjid AND f.proname = 'uid'
  JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace AND n.nspname = 'auth'
  GROUP BY 1
), colacl AS (
  SELECT h.attrelid, json_agg(json_build_array(h.rolname, h.word, h.numbers)) AS grants FROM (
    SELECT a.attrelid, api.rolname, p.word, json_agg(a.attnum) AS numbers
    FROM pg_catalog.pg_attribute a JOIN rel ON rel.oid = a.attrelid CROSS JOIN api
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS p(word)
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
      AND pg_catalog.has_column_privilege(api.oid, a.attrelid, a.attnum, p.word)
    GROUP BY 1, 2, 3) h GROUP BY 1
), public_held AS (
  SELECT rel.oid, string_agg(g.privilege_type, ',' ORDER BY g.privilege_type) AS words
  FROM rel, pg_catalog.aclexplode(rel.relacl) g WHERE g.grantee = 0 GROUP BY 1
), rule AS (
  SELECT w.oid, w.ev_class, w.ev_action::text ~ ':funcid (2077|3294) ' AS settings
  FROM pg_catalog.pg_rewrite w JOIN rel ON rel.oid = w.ev_class WHERE rel.relkind IN ('v', 'm')
), reads AS (
  SELECT v.ev_class, json_agg(json_build_array(v.refobjid, v.numbers)) AS relations FROM (
    SELECT rule.ev_class, d.refobjid, json_agg(DISTINCT d.refobjsubid) AS numbers
    FROM rule JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
      AND d.objid = rule.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
    WHERE d.refobjid <> rule.ev_class GROUP BY 1, 2) v GROUP BY 1
), calls AS (
  SELECT rule.ev_class, bool_or(rule.settings) AS settings, json_agg(DISTINCT d.refobjid)
         FILTER (WHERE d.refobjid IS NOT NULL) AS functions
  FROM rule LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
    AND d.objid = rule.oid AND d.refclassid = 'pg_catalog.pg_proc'::regclass GROUP BY 1
), available AS MATERIALIZED (
  SELECT a.name, a.default_version FROM pg_catalog.pg_available_extensions() a
), bloat AS (
  SELECT rel.oid, sum(s.avg_width * (1 - s.null_frac)) AS width
  FROM rel JOIN pg_catalog.pg_stats s ON s.schemaname = rel.nspname AND s.tablename = rel.relname
    AND NOT s.inherited
  WHERE rel.relkind IN ('r', 'm') AND rel.relpages > %(bloat_pages)s GROUP BY 1
)
SELECT json_build_object(
'major', pg_catalog.current_setting('server_version_num')::int / 10000,
'user', current_user,
'stats_age_s', extract(epoch FROM pg_catalog.now() - coalesce(
  (SELECT d.stats_reset FROM pg_catalog.pg_stat_database d
   WHERE d.datname = pg_catalog.current_database()),
  (SELECT least(pg_catalog.pg_postmaster_start_time(), min(t.last_vacuum), min(t.last_autovacuum),
                min(t.last_analyze), min(t.last_autoanalyze))
   FROM pg_catalog.pg_stat_all_tables t))),
'equals', (SELECT json_agg(o.oid::int8) FROM pg_catalog.pg_operator o WHERE o.oprname = '='),
'roles', (SELECT json_agg(json_build_array(r.oid::int8, r.rolname, r.rolsuper, r.rolbypassrls,
    r.rolcanlogin, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolinherit,
    (SELECT json_agg(api.rolname) FROM api WHERE pg_catalog.pg_has_role(api.oid, r.oid, 'USAGE')),
    coalesce((SELECT pg_catalog.pg_has_role(a.oid, r.oid, 'MEMBER') FROM pg_catalog.pg_roles a
              WHERE a.rolname = 'authenticator'), false),
    EXISTS (SELECT FROM pg_catalog.pg_roles l WHERE l.rolcanlogin AND NOT l.rolsuper
            AND l.rolname <> 'authenticator' AND pg_catalog.pg_has_role(l.oid, r.oid, 'MEMBER')),
    (SELECT json_agg(api.rolname) FROM api WHERE pg_catalog.pg_has_role(api.oid, r.oid, 'MEMBER'))
  )) FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_'
     OR EXISTS (SELECT FROM api WHERE pg_catalog.pg_has_role(api.oid, r.oid, 'MEMBER'))),
'settings', (SELECT json_agg(json_build_array(coalesce(r.rolname, ''), s.setconfig))
  FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                              WHERE d.datname = pg_catalog.current_database()))
    AND (r.rolname IN ('authenticator', 'anon', 'authenticated') OR s.setrole = 0)),
'schemas', (SELECT json_agg(json_build_array(n.oid::int8, n.nspname, n.nspowner::int8,
    (SELECT json_agg(api.rolname) FROM api
     WHERE pg_catalog.has_schema_privilege(api.oid, n.oid, 'USAGE')),
    (SELECT json_agg(api.rolname) FROM api
     WHERE pg_catalog.has_schema_privilege(api.oid, n.oid, 'CREATE')))) FROM nsp n),
'relations', (SELECT json_agg(json_build_array(rel.oid::int8, rel.nspname, rel.relname, rel.relkind,
    rel.relowner::int8, rel.relrowsecurity, rel.relforcerowsecurity, rel.reloptions,
    rel.relispartition, (SELECT i.inhparent::int8 FROM pg_catalog.pg_inherits i
                         WHERE i.inhrelid = rel.oid AND rel.relispartition),
    rel.reltuples, rel.relpages, rel.extname, held.roles, public_held.words, att.columns,
    colacl.grants, reads.relations, calls.functions, calls.settings, own_default.numbers,
    CASE WHEN rel.relkind IN ('r', 'm') THEN pg_catalog.pg_stat_get_numscans(rel.oid) END,
    bloat.width) ORDER BY rel.nspname, rel.relname)
  FROM rel LEFT JOIN held ON held.oid = rel.oid LEFT JOIN public_held ON public_held.oid = rel.oid
  LEFT JOIN att ON att.attrelid = rel.oid LEFT JOIN colacl ON colacl.attrelid = rel.oid
  LEFT JOIN reads ON reads.ev_class = rel.oid LEFT JOIN calls ON calls.ev_class = rel.oid
  LEFT JOIN own_default ON own_default.adrelid = rel.oid LEFT JOIN bloat ON bloat.oid = rel.oid),
'policies', (SELECT json_agg(json_build_array(p.oid::int8, p.polname, p.polrelid::int8, p.polcmd,
    p.polpermissive, p.polroles::int8[], p.polqual::text, p.polwithcheck::text)
    ORDER BY p.polname) FROM pg_catalog.pg_policy p JOIN rel ON rel.oid = p.polrelid),
'constraints', (SELECT json_agg(json_build_array(k.oid::int8, k.conname, k.conrelid::int8,
    k.contype, k.conkey, k.confrelid::int8, k.confkey, k.conindid::int8, k.conparentid <> 0)
    ORDER BY k.conname) FROM pg_catalog.pg_constraint k JOIN rel ON rel.oid = k.conrelid
  WHERE k.contype IN ('p', 'u', 'x', 'f')),
'indexes', (SELECT json_agg(json_build_array(i.indexrelid::int8, c.relname, i.indrelid::int8,
    i.indkey::int2[], i.indnkeyatts, i.indclass::int8[], i.indcollation::int8[],
    i.indoption::int2[], i.indisunique, i.indisprimary, i.indisvalid,
    i.indpred::text, i.indexprs::text, m.amname,
    pg_catalog.pg_stat_get_numscans(i.indexrelid), c.relpages, c.relispartition,
    i.indisreplident OR i.indisexclusion OR i.indisclustered,
    to_jsonb(i) ->> 'indnullsnotdistinct' = 'true') ORDER BY c.relname)
  FROM pg_catalog.pg_index i JOIN rel ON rel.oid = i.indrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam),
'functions', (SELECT json_agg(json_build_array(p.oid::int8, n.nspname, p.proname,
    pg_catalog.pg_get_function_identity_arguments(p.oid), p.proowner::int8, p.prosecdef,
    p.proconfig, l.lanname, p.provolatile, p.prosrc, p.prosqlbody::text, p.prokind,
    t.typname, p.proretset, x.extname,
    (SELECT json_agg(api.rolname) FROM api
     WHERE pg_catalog.has_function_privilege(api.oid, p.oid, 'EXECUTE')), p.pronargs,
    p.proacl IS NULL OR EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) g WHERE g.grantee = 0)
    ) ORDER BY n.nspname, p.proname, p.oid)
  FROM pg_catalog.pg_proc p JOIN nsp n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  JOIN pg_catalog.pg_type t ON t.oid = p.prorettype
  LEFT JOIN ext x ON x.classid = 'pg_catalog.pg_proc'::regclass AND x.objid = p.oid
  WHERE x.extname IS NULL
     OR x.extname IN ('http', 'pg_net', 'dblink', 'file_fdw', 'postgres_fdw', 'adminpack')),
'extensions', (SELECT json_agg(json_build_array(e.extname, e.extversion, n.nspname,
    e.extrelocatable, a.default_version) ORDER BY e.extname)
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
  LEFT JOIN available a ON a.name = e.extname),
'default_privileges', (SELECT json_agg(json_build_array(r.rolname, n.nspname, d.defaclobjtype,
    coalesce(g.rolname, 'PUBLIC'), a.privilege_type))
  FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
  CROSS JOIN pg_catalog.aclexplode(d.defaclacl) a
  LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
  WHERE a.grantee = 0 OR g.rolname IN ('anon', 'authenticated')),
'publications', (SELECT json_agg(json_build_array(p.pubname, p.puballtables, (
    SELECT json_agg(c.oid::int8) FROM rel c WHERE c.relkind IN ('r', 'p') AND (p.puballtables
      OR c.oid IN (SELECT r.prrelid FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid)
      OR c.relnamespace IN (SELECT s.pnnspid FROM pg_catalog.pg_publication_namespace s
                            WHERE s.pnpubid = p.oid))))) FROM pg_catalog.pg_publication p),
'can_read_buckets', coalesce((SELECT pg_catalog.has_table_privilege(rel.oid, 'SELECT')
    AND pg_catalog.has_schema_privilege(rel.nspname, 'USAGE')
    AND NOT pg_catalog.row_security_active(rel.oid)
  FROM rel WHERE rel.nspname = 'storage' AND rel.relname = 'buckets'), false)
)
