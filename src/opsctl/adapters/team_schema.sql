-- The state of a team: journal, leases, history, windows. Safe to run again, also while others
-- write; it brings an older one up to date, and refuses a newer one. See opsctl state schema.
--
-- Three roles own what people may do. Give one of them to each person's own login role:
--   GRANT opsctl_operator TO ann;   carries plans out: appends to the journal, takes leases
--   GRANT opsctl_reader TO bob;     reads all of it, and writes nothing
--   GRANT opsctl_keeper TO cara;    says how many others approve a change, and reads
-- Nobody may change or remove a row of the journal: operators reach it by functions alone, and
-- triggers turn away the owner, too.

-- One at a time, and no room's table is written meanwhile.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('opsctl state'));

DO $$
BEGIN
  IF to_regclass('opsctl.opsctl_schema') IS NOT NULL THEN
    IF (SELECT max(version) FROM opsctl.opsctl_schema) > SCHEMA_VERSION THEN
      RAISE EXCEPTION 'it has version %; this opsctl knows SCHEMA_VERSION',
        (SELECT max(version) FROM opsctl.opsctl_schema) USING ERRCODE = 'OC003';
    END IF;
    -- In the order in which the journal's writers take them, and at once: one lock made stronger
    -- than another holds is a deadlock.
    LOCK TABLE opsctl.journal_head, opsctl.event IN ACCESS EXCLUSIVE MODE;
  END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS opsctl;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'opsctl_reader') THEN
    CREATE ROLE opsctl_reader NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'opsctl_operator') THEN
    CREATE ROLE opsctl_operator NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'opsctl_keeper') THEN
    CREATE ROLE opsctl_keeper NOLOGIN;
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS opsctl.opsctl_schema (version integer NOT NULL);
INSERT INTO opsctl.opsctl_schema
  SELECT SCHEMA_VERSION WHERE NOT EXISTS (SELECT FROM opsctl.opsctl_schema);
UPDATE opsctl.opsctl_schema SET version = SCHEMA_VERSION WHERE version < SCHEMA_VERSION;

-- The journal. `id` is the writer's own, so that a write whose answer was lost is not repeated.
CREATE TABLE IF NOT EXISTS opsctl.event (
  seq bigint PRIMARY KEY, run text NOT NULL, step text, kind text NOT NULL, at text NOT NULL,
  actor text NOT NULL, data text NOT NULL, fence bigint, db_user text, hash text,
  id text UNIQUE);
CREATE INDEX IF NOT EXISTS event_run ON opsctl.event (run, seq);

-- The chain's end: one row. It orders the writers, and shows that rows are missing at the end.
CREATE TABLE IF NOT EXISTS opsctl.journal_head (
  one boolean PRIMARY KEY DEFAULT true CHECK (one), seq bigint NOT NULL, hash text NOT NULL);
INSERT INTO opsctl.journal_head
  SELECT true, 0, repeat('0', 64) WHERE NOT EXISTS (SELECT FROM opsctl.journal_head);

-- One row an environment, for ever: its fence only grows. Without an `id` nobody holds it.
CREATE TABLE IF NOT EXISTS opsctl.lease (
  environment text PRIMARY KEY, fence bigint NOT NULL, id text, actor text NOT NULL,
  db_user text NOT NULL, pid integer NOT NULL, run text NOT NULL, command text NOT NULL,
  since timestamptz NOT NULL, beat_at timestamptz NOT NULL, expires_at timestamptz NOT NULL);

-- How many others approve a change: an environment's last row holds, else the last of '*'.
-- It binds whatever somebody's own settings say; those can only ask for more.
CREATE TABLE IF NOT EXISTS opsctl.approval_rule (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, environment text NOT NULL,
  approvals integer NOT NULL CHECK (approvals BETWEEN 0 AND 5),
  set_at timestamptz NOT NULL, db_user text NOT NULL);

CREATE OR REPLACE FUNCTION opsctl.append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
DROP TRIGGER IF EXISTS event_append_only ON opsctl.event;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON opsctl.event
  FOR EACH STATEMENT EXECUTE FUNCTION opsctl.append_only();
DROP TRIGGER IF EXISTS approval_rule_append_only ON opsctl.approval_rule;
CREATE TRIGGER approval_rule_append_only
  BEFORE UPDATE OR DELETE OR TRUNCATE ON opsctl.approval_rule
  FOR EACH STATEMENT EXECUTE FUNCTION opsctl.append_only();

CREATE OR REPLACE FUNCTION opsctl.set_approvals(p_environment text, p_approvals integer)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO opsctl.approval_rule (environment, approvals, set_at, db_user)
    VALUES (p_environment, p_approvals, clock_timestamp(), session_user)
$$;

CREATE OR REPLACE FUNCTION opsctl.approvals_demanded(p_environment text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(
    (SELECT approvals FROM opsctl.approval_rule WHERE environment = p_environment
      ORDER BY seq DESC LIMIT 1),
    (SELECT approvals FROM opsctl.approval_rule WHERE environment = '*'
      ORDER BY seq DESC LIMIT 1),
    0)
$$;

-- JSON whose text PostgreSQL can hold: it knows no NUL, and no half of a pair of surrogates.
CREATE OR REPLACE FUNCTION opsctl.as_json(written text) RETURNS json
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT regexp_replace(written, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g')::json
$$;

-- The same rule as opsctl.core.approval, where nobody's own copy of the program decides: a
-- change begins when enough others, told apart by database user and name, approved exactly it.
CREATE OR REPLACE FUNCTION opsctl.refuse_unapproved(p_run text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  author record;
  plan json;
  needed integer;
  given integer;
BEGIN
  -- A run that has begun may be finished.
  PERFORM 1 FROM opsctl.event WHERE run = p_run AND kind = 'started';
  IF FOUND OR NOT EXISTS (SELECT FROM opsctl.approval_rule WHERE approvals > 0) THEN
    RETURN;
  END IF;
  SELECT actor, db_user, opsctl.as_json(data) AS data INTO author
    FROM opsctl.event WHERE run = p_run AND kind = 'planned' ORDER BY seq LIMIT 1;
  plan := author.data->'plan';
  needed := opsctl.approvals_demanded(coalesce(plan->>'environment', ''));
  IF needed = 0 OR NOT coalesce((
    SELECT bool_or(step->>'action' IS NOT NULL AND step->>'undo' IS NOT NULL)
      FROM json_array_elements(plan->'steps') AS step), true) THEN
    RETURN;
  END IF;
  SELECT count(DISTINCT db_user) INTO given FROM opsctl.event
    WHERE run = p_run AND kind = 'approved'
      AND opsctl.as_json(data)->>'how' = 'runs approve'
      AND opsctl.as_json(data)->>'plan_hash' = author.data->>'sha256'
      AND db_user <> author.db_user AND actor <> author.actor
      AND at::timestamptz >= clock_timestamp() - interval '4 hours';
  IF given < needed THEN
    RAISE EXCEPTION '% of % approvals by others than %', given, needed,
      coalesce(author.actor, 'whoever planned it') USING ERRCODE = 'OC002';
  END IF;
END $$;

-- A field with its length before it, as opsctl.core.journal has it.
CREATE OR REPLACE FUNCTION opsctl.with_length(field text) RETURNS bytea
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN field IS NULL THEN convert_to('-,', 'UTF8')
    ELSE convert_to(octet_length(convert_to(field, 'UTF8')) || ':' || field || ',', 'UTF8') END
$$;

CREATE OR REPLACE FUNCTION opsctl.append_event(
  p_id text, p_environment text, p_fence bigint, p_run text, p_step text, p_kind text,
  p_actor text, p_data text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  head record;
  now_text text;
  new_hash text;
  known bigint;
BEGIN
  IF p_fence IS NOT NULL THEN
    -- Held until the end: whoever takes the lease over waits for this, and then we are late.
    PERFORM 1 FROM opsctl.lease
      WHERE environment = p_environment AND fence = p_fence AND id IS NOT NULL FOR SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the lease is another one''s' USING ERRCODE = 'OC001';
    END IF;
  END IF;
  SELECT * INTO STRICT head FROM opsctl.journal_head FOR UPDATE;
  SELECT seq INTO known FROM opsctl.event WHERE id = p_id;
  IF FOUND THEN
    RETURN known;
  END IF;
  IF p_kind = 'started' THEN
    PERFORM opsctl.refuse_unapproved(p_run);
  END IF;
  now_text := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"');
  new_hash := encode(sha256(
    opsctl.with_length(head.hash) || opsctl.with_length((head.seq + 1)::text)
    || opsctl.with_length(p_run) || opsctl.with_length(p_step) || opsctl.with_length(p_kind)
    || opsctl.with_length(now_text) || opsctl.with_length(p_actor) || opsctl.with_length(p_data)
    || opsctl.with_length(p_fence::text) || opsctl.with_length(session_user::text)), 'hex');
  INSERT INTO opsctl.event (seq, run, step, kind, at, actor, data, fence, db_user, hash, id)
    VALUES (head.seq + 1, p_run, p_step, p_kind, now_text, p_actor, p_data, p_fence,
      session_user, new_hash, p_id);
  UPDATE opsctl.journal_head SET seq = head.seq + 1, hash = new_hash;
  RETURN head.seq + 1;
END $$;

-- Leases go by the server's clock alone; what is left is given as a span.
CREATE OR REPLACE FUNCTION opsctl.take_lease(
  p_environment text, p_id text, p_actor text, p_pid integer, p_run text, p_command text,
  p_for_s double precision)
RETURNS TABLE (fence bigint, left_s double precision, since timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO opsctl.lease AS held (environment, fence, id, actor, db_user, pid, run, command,
      since, beat_at, expires_at)
    VALUES (p_environment, 1, p_id, p_actor, session_user, p_pid, p_run, p_command,
      clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => p_for_s))
    ON CONFLICT (environment) DO UPDATE SET fence = held.fence + 1, id = excluded.id,
      actor = excluded.actor, db_user = excluded.db_user, pid = excluded.pid,
      run = excluded.run, command = excluded.command, since = clock_timestamp(),
      beat_at = clock_timestamp(),
      expires_at = clock_timestamp() + make_interval(secs => p_for_s)
    WHERE held.id IS NULL OR held.expires_at < clock_timestamp() OR held.id = excluded.id
    RETURNING held.fence,
      extract(epoch FROM held.expires_at - clock_timestamp())::double precision, held.since
$$;

-- A beat never shortens what a step was promised; the next step may.
CREATE OR REPLACE FUNCTION opsctl.renew_lease(
  p_environment text, p_id text, p_fence bigint, p_for_s double precision, p_beat boolean)
RETURNS TABLE (left_s double precision)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE opsctl.lease SET beat_at = clock_timestamp(),
      expires_at = greatest(clock_timestamp() + make_interval(secs => p_for_s),
        CASE WHEN p_beat THEN expires_at END)
    WHERE environment = p_environment AND id = p_id AND fence = p_fence
    RETURNING extract(epoch FROM expires_at - clock_timestamp())::double precision
$$;

CREATE OR REPLACE FUNCTION opsctl.end_lease(p_environment text, p_id text, p_fence bigint)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE opsctl.lease SET id = NULL
    WHERE environment = p_environment AND id = p_id AND fence = p_fence
$$;

-- A person frees what a dead holder left. The fence grows: should he live, he writes nothing.
CREATE OR REPLACE FUNCTION opsctl.free_lease(
  p_environment text, p_id text, p_silent_s double precision)
RETURNS TABLE (freed boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE opsctl.lease SET id = NULL, fence = fence + 1
    WHERE environment = p_environment AND id = p_id
      AND beat_at < clock_timestamp() - make_interval(secs => p_silent_s)
    RETURNING true
$$;

-- TABLES

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA opsctl FROM PUBLIC;
GRANT USAGE ON SCHEMA opsctl TO opsctl_reader, opsctl_operator, opsctl_keeper;
GRANT SELECT ON ALL TABLES IN SCHEMA opsctl TO opsctl_reader, opsctl_operator, opsctl_keeper;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA opsctl TO opsctl_operator;
GRANT EXECUTE ON FUNCTION opsctl.approvals_demanded(text) TO opsctl_reader, opsctl_keeper;
-- Who carries plans out does not say who approves them.
REVOKE EXECUTE ON FUNCTION opsctl.set_approvals(text, integer) FROM opsctl_operator;
GRANT EXECUTE ON FUNCTION opsctl.set_approvals(text, integer) TO opsctl_keeper;
