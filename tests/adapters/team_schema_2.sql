-- The state of a team: journal, leases, history, windows. Safe to run again; see opsctl state schema.
--
-- Two roles own what people may do. Give one of them to each person's own login role:
--   GRANT opsctl_operator TO ann;   carries plans out: appends to the journal, takes leases
--   GRANT opsctl_reader TO bob;     reads all of it, and writes nothing
-- Nobody may change or remove a row of the journal: operators reach it by functions alone, and
-- triggers turn away the owner, too.

CREATE SCHEMA IF NOT EXISTS opsctl;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'opsctl_reader') THEN
    CREATE ROLE opsctl_reader NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'opsctl_operator') THEN
    CREATE ROLE opsctl_operator NOLOGIN;
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS opsctl.opsctl_schema (version integer NOT NULL);
INSERT INTO opsctl.opsctl_schema
  SELECT 2 WHERE NOT EXISTS (SELECT FROM opsctl.opsctl_schema);

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

CREATE OR REPLACE FUNCTION opsctl.append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the journal is append-only';
END $$;
DROP TRIGGER IF EXISTS event_append_only ON opsctl.event;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON opsctl.event
  FOR EACH STATEMENT EXECUTE FUNCTION opsctl.append_only();

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

-- What the rooms keep.
CREATE TABLE IF NOT EXISTS opsctl.health_sample (environment TEXT NOT NULL, name TEXT NOT NULL, due_ms BIGINT NOT NULL, began_ms BIGINT NOT NULL, took_ms DOUBLE PRECISION, own_ms DOUBLE PRECISION, status TEXT NOT NULL, reason TEXT NOT NULL, http_status INTEGER, PRIMARY KEY (environment, name, due_ms));
CREATE TABLE IF NOT EXISTS opsctl.health_day (environment TEXT NOT NULL, day INTEGER NOT NULL, name TEXT NOT NULL, passed INTEGER NOT NULL, warned INTEGER NOT NULL, failed INTEGER NOT NULL, unknown INTEGER NOT NULL, known_s DOUBLE PRECISION NOT NULL, down_s DOUBLE PRECISION NOT NULL, first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL, sketch BYTEA NOT NULL, outages TEXT NOT NULL, samples BYTEA NOT NULL, PRIMARY KEY (environment, day, name));
CREATE TABLE IF NOT EXISTS opsctl.maintenance_window (environment TEXT NOT NULL, id TEXT NOT NULL, begins_at DOUBLE PRECISION NOT NULL, ends_at DOUBLE PRECISION NOT NULL, reason TEXT NOT NULL, added_at DOUBLE PRECISION NOT NULL, added_by TEXT NOT NULL, removed_at DOUBLE PRECISION, removed_by TEXT, PRIMARY KEY (environment, id));
CREATE TABLE IF NOT EXISTS opsctl.incident_event (incident TEXT NOT NULL, seq BIGINT NOT NULL, event TEXT NOT NULL UNIQUE, environment TEXT NOT NULL, kind TEXT NOT NULL, at_ms BIGINT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (incident, seq));
CREATE TABLE IF NOT EXISTS opsctl.maintenance_event (environment TEXT NOT NULL, seq BIGINT NOT NULL, event TEXT NOT NULL UNIQUE, about TEXT NOT NULL, kind TEXT NOT NULL, at_ms BIGINT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (environment, seq));
CREATE TABLE IF NOT EXISTS opsctl.alert_state (environment TEXT NOT NULL, name TEXT NOT NULL, rule TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (environment, name, rule));
GRANT INSERT, UPDATE, DELETE ON opsctl.health_sample TO opsctl_operator;
GRANT INSERT, UPDATE, DELETE ON opsctl.health_day TO opsctl_operator;
GRANT INSERT, UPDATE, DELETE ON opsctl.maintenance_window TO opsctl_operator;
GRANT INSERT ON opsctl.incident_event TO opsctl_operator;
GRANT INSERT ON opsctl.maintenance_event TO opsctl_operator;
GRANT INSERT, UPDATE, DELETE ON opsctl.alert_state TO opsctl_operator;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA opsctl FROM PUBLIC;
GRANT USAGE ON SCHEMA opsctl TO opsctl_reader, opsctl_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA opsctl TO opsctl_reader, opsctl_operator;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA opsctl TO opsctl_operator;
