-- Every object of the schema as (kind, name, definition, details): what `catalog.py` reads.
-- Runs with search_path = pg_catalog, so that every name comes out qualified. {managed} is the
-- list of the platform's own schemas; {new} chooses by the server's major version.
WITH ns AS MATERIALIZED (
  SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
  WHERE nspname !~ '^(pg_|opsctl_)' AND nspname <> 'information_schema'
    AND nspname <> 'supabase_migrations' AND NOT nspname = ANY ({managed})
),
member AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
rel AS MATERIALIZED (
  SELECT c.*, format('%I.%I', n.nspname, c.relname) AS label
  FROM pg_class c JOIN ns n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND NOT (n.nspname = 'public' AND c.relname = '_prisma_migrations')
    AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
),
proc AS MATERIALIZED (
  SELECT p.*, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
    AS label
  FROM pg_proc p JOIN ns n ON n.oid = p.pronamespace
  WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
    -- A range's constructors come and go with it.
    AND NOT EXISTS (SELECT 1 FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass
                      AND i.objid = p.oid AND i.deptype = 'i')
),
-- What views, functions, policies and triggers stand on; a row type counts as its table.
dep AS MATERIALIZED (
  SELECT d.classid, d.objid, coalesce(nullif(t.typrelid, 0), nullif(e.typrelid, 0), e.oid, d.refobjid) AS ref
  FROM pg_depend d
  LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
  LEFT JOIN pg_type e ON e.oid = t.typelem
  WHERE d.deptype = 'n' AND d.objid >= 16384 AND d.refobjid >= 16384
    AND d.classid IN ('pg_proc'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass,
                      'pg_rewrite'::regclass)
),
typ AS MATERIALIZED (
  SELECT t.*, format('%I.%I', n.nspname, t.typname) AS label
  FROM pg_type t JOIN ns n ON n.oid = t.typnamespace
  LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
    AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
),
-- Tables that triggers and policies of the project may stand on: its own and the platform's.
host AS MATERIALIZED (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS label,
         n.nspname = ANY ({managed}) AS managed
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'f')
    AND (c.oid IN (SELECT oid FROM rel) OR n.nspname = ANY ({managed}))
),
acl AS MATERIALIZED (
  SELECT 'SCHEMA' AS what, format('%I', nspname) AS label, nspowner AS owner,
         coalesce(nspacl, acldefault('n', nspowner)) AS items, '' AS columns FROM ns
  UNION ALL
  SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, label, relowner,
         coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)), ''
  FROM rel
  -- An identity column's sequence comes and goes with the column, its privileges too.
  WHERE NOT EXISTS (SELECT 1 FROM pg_depend i WHERE i.classid = 'pg_class'::regclass
                    AND i.objid = rel.oid AND i.deptype = 'i' AND rel.relkind = 'S')
  UNION ALL
  SELECT 'TABLE', r.label, r.relowner, a.attacl, format('(%I)', a.attname)
  FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid
  WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL
  SELECT CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, label, proowner,
         coalesce(proacl, acldefault('f', proowner)), '' FROM proc
  UNION ALL
  SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, label, typowner,
         coalesce(typacl, acldefault('T', typowner)), '' FROM typ
),
one_grant AS MATERIALIZED (
  SELECT a.what, a.label, a.columns, x.privilege_type AS privilege, x.is_grantable,
         CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS role
  FROM acl a CROSS JOIN LATERAL aclexplode(a.items) x
  -- MAINTAIN came with 17: a privilege that older servers cannot have makes no difference.
  WHERE x.privilege_type <> 'MAINTAIN' AND x.grantee <> a.owner
)
SELECT 'schema' AS kind, format('%I', nspname) AS name, 'owner ' || pg_get_userbyid(nspowner) AS definition,
       json_build_object('oid', oid::int8, 'owner', quote_ident(pg_get_userbyid(nspowner))) AS details
FROM ns
UNION ALL
SELECT 'extension', format('%I', e.extname), 'in schema ' || format('%I', n.nspname),
       json_build_object('oid', e.oid::int8)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql'
UNION ALL
SELECT 'table', label, concat_ws('; ',
    CASE relkind WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(oid)
                 WHEN 'f' THEN 'foreign' ELSE 'plain' END,
    CASE relpersistence WHEN 'u' THEN 'unlogged' END,
    CASE WHEN relrowsecurity THEN 'row level security' END,
    CASE WHEN relforcerowsecurity THEN 'forced' END,
    CASE WHEN relreplident <> 'd' THEN 'replica identity ' || relreplident::text END,
    'options ' || (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(reloptions) o),
    'of ' || (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
              FROM pg_inherits i WHERE i.inhrelid = rel.oid),
    CASE WHEN relispartition THEN pg_get_expr(relpartbound, oid) END,
    'owner ' || pg_get_userbyid(relowner)),
  json_build_object('oid', oid::int8, 'kind', relkind, 'rls', relrowsecurity,
                    'forced', relforcerowsecurity, 'partition', relispartition,
                    'options', to_json(coalesce(reloptions, '{}')),
                    'replica', relreplident, 'persistence', relpersistence,
                    'owner', quote_ident(pg_get_userbyid(relowner)))
FROM rel WHERE relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'column', r.label || '.' || quote_ident(a.attname), concat_ws(' ',
    format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation <> t.typcollation
         THEN 'COLLATE ' || a.attcollation::regcollation::text END,
    CASE WHEN a.attnotnull THEN 'NOT NULL' END,
    CASE WHEN a.attgenerated <> '' THEN 'GENERATED ' || a.attgenerated::text || ' AS ' || pg_get_expr(d.adbin, d.adrelid)
         WHEN d.adbin IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
    CASE a.attidentity WHEN 'a' THEN 'IDENTITY ALWAYS' WHEN 'd' THEN 'IDENTITY BY DEFAULT' END),
  json_build_object('oid', r.oid::int8, 'number', a.attnum, 'table', r.label,
    'column', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod),
    'type_name', (SELECT format('%I.%I', tn.nspname, et.typname) FROM pg_type et JOIN pg_namespace tn
                  ON tn.oid = et.typnamespace WHERE et.oid = coalesce(nullif(t.typelem, 0), t.oid)),
    'array', t.typelem <> 0 AND t.typlen = -1,
    'notnull', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated <> '',
    'inherited', a.attinhcount > 0,
    'default', pg_get_expr(d.adbin, d.adrelid))
FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'constraint', r.label || '.' || quote_ident(k.conname), pg_get_constraintdef(k.oid),
  json_build_object('oid', k.oid::int8, 'table', r.label, 'name', quote_ident(k.conname), 'type', k.contype)
FROM pg_constraint k JOIN rel r ON r.oid = k.conrelid
-- NOT NULL has constraints of its own from 18; the column says it on every server.
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0 AND k.coninhcount = 0
UNION ALL
SELECT 'index', format('%I.%I', n.nspname, c.relname),
  pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid AND i.indisready THEN '' ELSE ' (invalid)' END
  || CASE WHEN i.indisreplident THEN ' (replica identity)' ELSE '' END
  || CASE WHEN i.indisclustered THEN ' (clustered)' ELSE '' END,
  json_build_object('oid', c.oid::int8, 'table', r.label, 'create', pg_get_indexdef(i.indexrelid))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN rel r ON r.oid = i.indrelid
WHERE NOT c.relispartition
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'sequence', r.label, concat_ws(' ', 'AS', format_type(s.seqtypid, NULL), 'START', s.seqstart, 'INCREMENT', s.seqincrement,
    'MINVALUE', s.seqmin, 'MAXVALUE', s.seqmax, 'CACHE', s.seqcache,
    CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END,
    'OWNED BY ' || (SELECT format('%s.%I', o.refobjid::regclass, a.attname) FROM pg_depend o
       JOIN pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
       WHERE o.classid = 'pg_class'::regclass AND o.objid = r.oid AND o.deptype = 'a' AND o.refobjsubid > 0 LIMIT 1),
    'owner', pg_get_userbyid(r.relowner)),
  json_build_object('oid', r.oid::int8, 'owner', quote_ident(pg_get_userbyid(r.relowner)), 'owned',
    (SELECT o.refobjid::regclass::text FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = r.oid
       AND o.deptype = 'a' AND o.refobjsubid > 0 LIMIT 1))
FROM rel r JOIN pg_sequence s ON s.seqrelid = r.oid
WHERE NOT EXISTS (SELECT 1 FROM pg_depend i WHERE i.classid = 'pg_class'::regclass AND i.objid = r.oid AND i.deptype = 'i')
UNION ALL
SELECT CASE relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, label, concat_ws(' ',
    'WITH (' || (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(reloptions) o) || ')',
    'AS', pg_get_viewdef(oid), 'owner', pg_get_userbyid(relowner)),
  json_build_object('oid', oid::int8, 'create', concat_ws(' ', 'CREATE',
    CASE relkind WHEN 'm' THEN 'MATERIALIZED' END, 'VIEW', label,
    'WITH (' || (SELECT string_agg(o, ', ') FROM unnest(reloptions) o) || ')', 'AS', rtrim(pg_get_viewdef(oid), '; ')),
    'owner', quote_ident(pg_get_userbyid(relowner)),
    'uses', (SELECT coalesce(json_agg(DISTINCT d.ref::int8), '[]') FROM pg_rewrite w
             JOIN dep d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
             WHERE w.ev_class = rel.oid AND d.ref <> rel.oid))
FROM rel WHERE relkind IN ('v', 'm')
UNION ALL
SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, label,
  CASE prokind WHEN 'a' THEN (SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggtranstype::regtype, agginitval)
                              FROM pg_aggregate WHERE aggfnoid = proc.oid)
       ELSE pg_get_functiondef(oid) END || ' owner ' || pg_get_userbyid(proowner),
  json_build_object('oid', oid::int8, 'returns', pg_get_function_result(oid),
                    'arguments', pg_get_function_arguments(oid), 'signature', oid::regprocedure::text,
                    'owner', quote_ident(pg_get_userbyid(proowner)),
                    'uses', (SELECT coalesce(json_agg(DISTINCT d.ref::int8), '[]') FROM dep d
                             WHERE d.classid = 'pg_proc'::regclass AND d.objid = proc.oid),
                    'create', CASE WHEN prokind <> 'a' THEN pg_get_functiondef(oid) END)
FROM proc
UNION ALL
SELECT 'trigger', h.label || '.' || quote_ident(t.tgname),
  pg_get_triggerdef(t.oid) || ' enabled ' || t.tgenabled::text,
  json_build_object('oid', t.oid::int8, 'table', h.label, 'name', quote_ident(t.tgname),
                    'create', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled,
                    'uses', (SELECT coalesce(json_agg(DISTINCT d.ref::int8), '[]') FROM dep d
                             WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid))
FROM pg_trigger t JOIN host h ON h.oid = t.tgrelid
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgname !~ '^opsctl_'
  AND NOT (h.managed AND pn.nspname = ANY ({managed}))
UNION ALL
SELECT 'policy', h.label || '.' || quote_ident(p.polname), def,
  json_build_object('oid', p.oid::int8, 'table', h.label, 'name', quote_ident(p.polname),
                    'create', format('CREATE POLICY %I ON %s %s', p.polname, h.label, def),
                    'uses', (SELECT coalesce(json_agg(DISTINCT d.ref::int8), '[]') FROM dep d
                             WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid))
FROM pg_policy p JOIN host h ON h.oid = p.polrelid
CROSS JOIN LATERAL (SELECT concat_ws(' ',
    CASE WHEN p.polpermissive THEN 'AS PERMISSIVE' ELSE 'AS RESTRICTIVE' END,
    'FOR ' || CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                            WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    'TO ' || (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', '
                                ORDER BY pg_get_userbyid(r) COLLATE "C") FROM unnest(p.polroles) r),
    'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
    'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS def) AS d
UNION ALL
SELECT 'rule', r.label || '.' || quote_ident(w.rulename), pg_get_ruledef(w.oid),
  json_build_object('oid', w.oid::int8, 'table', r.label, 'name', quote_ident(w.rulename), 'create', pg_get_ruledef(w.oid),
    'uses', (SELECT coalesce(json_agg(DISTINCT d.ref::int8), '[]') FROM dep d
             WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.ref <> w.ev_class))
FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT CASE typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'composite type' END,
  label, def || ' owner ' || pg_get_userbyid(typowner),
  json_build_object('oid', t.oid::int8, 'body', def,
    'owner', quote_ident(pg_get_userbyid(typowner)), 'create', CASE typtype
    WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', label, def)
    WHEN 'd' THEN format('CREATE DOMAIN %s AS %s', label, def)
    WHEN 'c' THEN format('CREATE TYPE %s AS (%s)', label, def) END)
FROM typ t
CROSS JOIN LATERAL (SELECT coalesce(CASE typtype
    WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
    WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod),
      'DEFAULT ' || t.typdefault, CASE WHEN t.typnotnull THEN 'NOT NULL' END,
      (SELECT string_agg(format('CONSTRAINT %I %s', conname, pg_get_constraintdef(k.oid)), ' ' ORDER BY conname COLLATE "C")
         FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
    WHEN 'r' THEN (SELECT 'of ' || rngsubtype::regtype::text FROM pg_range WHERE rngtypid = t.oid)
    ELSE (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END, '') AS def) AS d
UNION ALL
SELECT 'grant', concat(what, ' ', label, columns, ' to ', role),
  string_agg(privilege || CASE WHEN is_grantable THEN ' with grant option' ELSE '' END, ', ' ORDER BY privilege COLLATE "C"),
  json_build_object('what', what, 'label', label, 'columns', columns, 'role', role,
    'privileges', json_agg(privilege ORDER BY privilege COLLATE "C"),
    'grantable', json_agg(is_grantable ORDER BY privilege COLLATE "C"))
FROM one_grant GROUP BY what, label, columns, role
UNION ALL
SELECT 'default privileges', concat_ws(' ', pg_get_userbyid(d.defaclrole), n.nspname, d.defaclobjtype::text),
  (SELECT string_agg(x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END || ' to ' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END,
     ', ' ORDER BY x.privilege_type COLLATE "C", pg_get_userbyid(x.grantee) COLLATE "C")
     FROM aclexplode(d.defaclacl) x WHERE x.privilege_type <> 'MAINTAIN'),
  json_build_object('for', quote_ident(pg_get_userbyid(d.defaclrole)), 'schema', quote_ident(n.nspname),
    'what', CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                 WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' END,
    'items', (SELECT coalesce(json_agg(json_build_array(x.privilege_type, x.is_grantable,
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END)
        ORDER BY x.privilege_type COLLATE "C", pg_get_userbyid(x.grantee) COLLATE "C"), '[]')
      FROM aclexplode(d.defaclacl) x WHERE x.privilege_type <> 'MAINTAIN'))
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclnamespace = 0 OR d.defaclnamespace IN (SELECT oid FROM ns)
UNION ALL
SELECT 'comment', x.type || ' ' || x.identity, d.description,
  json_build_object('type', x.type, 'identity', x.identity, 'text', d.description)
FROM pg_description d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) x
WHERE (d.classoid = 'pg_class'::regclass AND d.objoid IN (SELECT oid FROM rel))
   OR (d.classoid = 'pg_proc'::regclass AND d.objoid IN (SELECT oid FROM proc))
   OR (d.classoid = 'pg_type'::regclass AND d.objoid IN (SELECT oid FROM typ))
   OR (d.classoid = 'pg_namespace'::regclass AND d.objoid IN (SELECT oid FROM ns)
       -- What initdb says about it, until somebody says something else.
       AND d.description <> 'standard public schema')
   OR (d.classoid = 'pg_class'::regclass AND d.objoid IN
       (SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM rel)))
   OR (d.classoid = 'pg_constraint'::regclass AND d.objoid IN
       (SELECT oid FROM pg_constraint WHERE conrelid IN (SELECT oid FROM rel) AND contype <> 'n'))
   OR (d.classoid = 'pg_trigger'::regclass AND d.objoid IN
       (SELECT oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM host)))
   OR (d.classoid = 'pg_policy'::regclass AND d.objoid IN
       (SELECT oid FROM pg_policy WHERE polrelid IN (SELECT oid FROM host)))
UNION ALL
SELECT 'publication', format('%I', pubname), concat_ws(' ',
    CASE WHEN puballtables THEN 'all tables' END, CASE WHEN pubinsert THEN 'insert' END,
    CASE WHEN pubupdate THEN 'update' END, CASE WHEN pubdelete THEN 'delete' END,
    CASE WHEN pubtruncate THEN 'truncate' END, CASE WHEN pubviaroot THEN 'via root' END),
  json_build_object('oid', oid::int8, 'all', puballtables, 'root', pubviaroot, 'publish', concat_ws(', ',
    CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
    CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END))
FROM pg_publication
UNION ALL
SELECT 'publication table', format('%I ', p.pubname) || r.label, '',
  json_build_object('publication', format('%I', p.pubname), 'table', r.label)
FROM pg_publication_rel x JOIN pg_publication p ON p.oid = x.prpubid JOIN rel r ON r.oid = x.prrelid
UNION ALL
SELECT 'event trigger', format('%I', e.evtname), concat_ws(' ', e.evtevent, e.evtfoid::regproc, e.evtenabled::text,
    array_to_string(e.evttags, ',')), json_build_object('oid', e.oid::int8)
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN ns ON ns.oid = p.pronamespace
UNION ALL
SELECT 'statistics', format('%I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid),
  json_build_object('oid', s.oid::int8, 'create', pg_get_statisticsobjdef(s.oid))
FROM pg_statistic_ext s JOIN ns n ON n.oid = s.stxnamespace
