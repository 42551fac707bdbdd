-- The hot path of execution: claiming an attempt, and ending a step that succeeded while claiming the next one, each in one
-- statement and so in one commit. Everything that is rare (failures, conditions, refusals, people) is done in Python by
-- plans/execution; these functions then answer {"slow": true} without having done anything.
--
-- Order of locks, here as everywhere: plan (chiffon_hold, which is shared, so that steps of a plan never wait for each other and
-- only whoever stops the plan, by chiffon_stop, makes them wait), attempt, step, steps after it in the order of their keys.
-- Installed anew after each migration (plans/sql/__init__.py); a change that an older worker could not live with gets a new name.

CREATE OR REPLACE FUNCTION chiffon_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    -- RFC 9562, section 5.7: 48 bits of Unix milliseconds over random bits. PostgreSQL has its own from 18 on; 15 is supported.
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

CREATE OR REPLACE FUNCTION chiffon_time(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    -- As Python writes it, which is how canonical bytes hold a time.
    SELECT replace(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), '.000000', '')
$$;

CREATE OR REPLACE FUNCTION chiffon_hold(p_plan uuid) RETURNS void LANGUAGE sql VOLATILE AS $$
    -- Until the end of the transaction. In memory, because a lock on the row of the plan would be written for each step.
    SELECT pg_advisory_xact_lock_shared(hashtextextended(p_plan::text, 0))
$$;

CREATE OR REPLACE FUNCTION chiffon_stop(p_plan uuid) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(p_plan::text, 0))
$$;

CREATE OR REPLACE FUNCTION chiffon_need(step plans_step) RETURNS text LANGUAGE sql STABLE AS $$
    -- What a step asks of an agent. The router's choices are kept by it.
    SELECT jsonb_build_array(step.tool, step.agent_type, step.work_type, coalesce(step.resources -> 'labels', '[]'))::text
$$;

CREATE OR REPLACE FUNCTION chiffon_is_aimed(step plans_step) RETURNS boolean LANGUAGE sql STABLE AS $$
    -- Whether a step touches a host or a service: then it passes a circuit breaker before it is given an agent.
    SELECT step.hosts <> '[]' OR step.service <> ''
$$;

CREATE OR REPLACE FUNCTION chiffon_is_plain(step plans_step) RETURNS boolean LANGUAGE sql STABLE AS $$
    -- Whether a step starts as soon as the steps before it are done, with nothing to decide in between.
    SELECT step."when" = '' AND step.for_each IS NULL AND NOT chiffon_is_aimed(step)
$$;

CREATE OR REPLACE FUNCTION chiffon_starting(
    p_attempt uuid, p_number integer, p_token integer, p_because text, p_step plans_step, p_was text, p_plan plans_plan,
    p_agent uuid, p_agent_name text, p_choice jsonb, OUT at timestamptz, OUT canonical text, OUT claimed jsonb, OUT told jsonb
) LANGUAGE plpgsql AS $$
-- Of a started attempt: what its record holds, the events that tell of it, and everything its agent has to know.
DECLARE
    v_revision plans_revision;
BEGIN
    at := clock_timestamp();
    canonical := '{"actor":{"kind":"agent","name":' || to_json(p_agent_name)
        || '},"alternatives":' || coalesce(p_choice ->> 'others', '[]')
        || ',"at":"' || chiffon_time(at)
        || '","metadata":{"agent":' || to_json(p_agent_name) || ',"number":' || p_number
        || ',"score":' || coalesce(p_choice ->> 'score', 'null')
        || ',"step":' || to_json(p_step.key) || ',"token":' || p_token
        || '},"plan_id":"' || p_plan.id || '","reason":' || to_json(p_because) || ',"service":' || to_json(p_step.service)
        || ',"subject":{"id":"' || p_attempt || '","kind":"attempt"},"trace_id":"' || p_plan.trace_id
        || '","type":"attempt.started","v":1}';
    SELECT * INTO v_revision FROM plans_revision WHERE id = p_step.revision_id;
    claimed := jsonb_build_object(
        'now', extract(epoch FROM at), 'attempt', p_attempt, 'number', p_number, 'token', p_token,
        'agent', p_agent, 'agent_name', p_agent_name,
        'need', chiffon_need(p_step), 'plan', p_plan.id, 'plan_number', p_plan.number, 'trace', p_plan.trace_id,
        'requester', p_plan.requester_id,
        'revision', v_revision.id, 'digest', v_revision.digest, 'steps', v_revision.header -> 'steps', 'budget', v_revision.budget,
        'commit', v_revision."commit", 'tree', v_revision.tree,
        'location', CASE WHEN p_step.playbook IS NOT NULL OR p_step.fallback ->> 'playbook' IS NOT NULL THEN
            (SELECT location FROM agents_playbookrepository WHERE id = v_revision.repository_id) END,
        'depends_on', (SELECT coalesce(jsonb_agg(upstream.key), '[]') FROM plans_dependency edge
            JOIN plans_step upstream ON upstream.id = edge.upstream_id WHERE edge.downstream_id = p_step.id),
        -- What it is an item of, or undoes: an item is compared with that step, which is the one that was approved.
        'parent', (SELECT jsonb_build_object('step', to_jsonb(parent) - 'output', 'depends_on',
                (SELECT coalesce(jsonb_agg(upstream.key), '[]') FROM plans_dependency edge
                JOIN plans_step upstream ON upstream.id = edge.upstream_id WHERE edge.downstream_id = parent.id))
            FROM plans_step parent WHERE parent.id = p_step.parent_id),
        'step', to_jsonb(p_step));
    told := jsonb_build_array(p_attempt, p_step.key, jsonb_build_array(
        jsonb_build_array('step_changed', jsonb_build_object('was', p_was, 'now', 'running', 'waiting_for', '',
            'attempt', p_number, 'agent', p_agent_name), 0),
        jsonb_build_array('agent_started', jsonb_build_object('agent', p_agent_name, 'attempt', p_number), 0)));
END $$;

CREATE OR REPLACE FUNCTION chiffon_tell(p_plan uuid, p_at timestamptz, p_told jsonb) RETURNS void LANGUAGE plpgsql AS $$
-- One row for what is told together: [attempt, step key, [[type, data, milliseconds before p_at], …]], …; the last event is the
-- row's own.
DECLARE
    v_last jsonb := p_told #> '{-1,2,-1}';
BEGIN
    IF jsonb_array_length(p_told) > 0 THEN
        INSERT INTO plans_event (xid, plan_id, type, step_key, attempt_id, data, at, earlier)
        VALUES (pg_current_xact_id()::text::bigint, p_plan, v_last ->> 0, p_told -> -1 ->> 1, (p_told -> -1 ->> 0)::uuid, v_last -> 1,
            p_at - make_interval(secs => (v_last ->> 2)::float8 / 1000), p_told #- '{-1,2,-1}');
    END IF;
END $$;

CREATE OR REPLACE FUNCTION chiffon_claim(
    p_attempt uuid, p_expects integer, p_agent uuid, p_choice jsonb, p_lease double precision, p_begun boolean, p_tell boolean DEFAULT true
) RETURNS jsonb LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- Take an attempt whose step still has the token that is expected; NULL if somebody was first or it is not to run.
-- p_agent and p_choice say who takes an attempt that nobody was chosen for yet. A plan that has not begun is compared with what
-- was approved before its first step is taken: unless p_begun says that this was just done, the answer is {"begin": true}.
DECLARE
    v_plan plans_plan;
    v_attempt plans_attempt;
    v_step plans_step;
    v_agent_name text;
    v_was text;
    v_started record;
BEGIN
    SELECT plan_id INTO v_plan.id FROM plans_attempt WHERE id = p_attempt;
    PERFORM chiffon_hold(v_plan.id);
    SELECT * INTO v_plan FROM plans_plan WHERE id = v_plan.id;
    IF NOT FOUND OR v_plan.stage NOT IN ('approved', 'executing') OR v_plan.cancel_reason <> '' OR v_plan.waits_since IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_attempt FROM plans_attempt
        WHERE id = p_attempt AND status IN ('due', 'sent') AND (agent_id IS NOT NULL OR p_agent IS NOT NULL) FOR NO KEY UPDATE;
    IF NOT FOUND OR v_attempt.agent_id <> p_agent THEN  -- it was given to another one meanwhile
        RETURN NULL;
    END IF;
    SELECT * INTO v_step FROM plans_step WHERE id = v_attempt.step_id FOR NO KEY UPDATE;
    IF v_step.token <> p_expects OR v_step.status NOT IN ('ready', 'waiting') THEN
        RETURN NULL;
    END IF;
    IF v_plan.rollback_reason <> '' AND v_step.kind <> 'rollback' THEN
        RETURN CASE WHEN NOT p_begun THEN '{"begin": true}'::jsonb END;  -- it is taken back instead
    END IF;
    IF v_plan.stage = 'approved' AND NOT p_begun THEN
        RETURN '{"begin": true}';
    END IF;
    v_attempt.agent_id := coalesce(v_attempt.agent_id, p_agent);
    SELECT name INTO v_agent_name FROM agents_agent WHERE id = v_attempt.agent_id;
    v_was := v_step.status;
    UPDATE plans_attempt SET status = 'running', token = v_step.token + 1, agent_id = v_attempt.agent_id,
        routing = coalesce(p_choice -> 'routing', routing), lease_until = statement_timestamp() + make_interval(secs => p_lease), started_at = statement_timestamp()
        WHERE id = p_attempt;
    UPDATE plans_step SET status = 'running', waiting_for = '', token = token + 1, started_at = coalesce(started_at, statement_timestamp())
        WHERE id = v_step.id RETURNING * INTO v_step;
    v_started := chiffon_starting(p_attempt, v_attempt.number, v_step.token, v_attempt.because, v_step, v_was, v_plan, v_attempt.agent_id,
        v_agent_name, coalesce(p_choice, jsonb_build_object('score', trim_scale((v_attempt.routing ->> 'score')::numeric)::text)));
    INSERT INTO audit_decisionrecord
        (at, trace_id, type, actor_kind, actor, subject_kind, subject_id, service, plan_id, reason, canonical, sha256)
    VALUES (v_started.at, v_plan.trace_id, 'attempt.started', 'agent', v_agent_name, 'attempt', p_attempt, v_step.service, v_plan.id,
        v_attempt.because, v_started.canonical, encode(sha256(convert_to(v_started.canonical, 'UTF8')), 'hex'));
    IF v_step.kind = 'item' THEN  -- its step runs from now on, if it did not already
        UPDATE plans_step SET status = 'running', waiting_for = '', started_at = coalesce(started_at, statement_timestamp())
            WHERE id = v_step.parent_id AND status = 'ready' RETURNING key INTO v_was;
        IF FOUND THEN
            PERFORM chiffon_tell(v_plan.id, clock_timestamp(), jsonb_build_array(jsonb_build_array(NULL, v_was, jsonb_build_array(
                jsonb_build_array('step_changed', jsonb_build_object('was', 'ready', 'now', 'running', 'waiting_for', ''), 0)))));
        END IF;
    END IF;
    v_started.claimed := v_started.claimed || jsonb_build_object('by_fallback', v_attempt.by_fallback);
    IF NOT p_tell THEN  -- the caller tells it together with something else
        RETURN v_started.claimed || jsonb_build_object('told', v_started.told);
    END IF;
    PERFORM chiffon_tell(v_plan.id, clock_timestamp(), jsonb_build_array(v_started.told));
    RETURN v_started.claimed;
END $$;

CREATE OR REPLACE FUNCTION chiffon_next(p_agent uuid, p_choices jsonb, p_lease double precision, p_tell boolean DEFAULT true)
RETURNS jsonb LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- Claim the next due attempt that this agent may take. One of a plan that has not begun is only kept for it, as if a message to the
-- agent were under way, and named: {"begin": attempt}.
DECLARE
    v_due record;
    v_found boolean := false;
BEGIN
    FOR v_due IN
        SELECT few.id, few.plan_id, few.expects_token, few.agent_id, plan.stage, chiffon_need(step) AS need
        FROM (
            SELECT * FROM plans_attempt due WHERE status = 'due' AND next_at <= statement_timestamp() AND NOT EXISTS (
                SELECT FROM plans_plan waiting WHERE waiting.id = due.plan_id AND waiting.waits_since IS NOT NULL
            ) ORDER BY priority DESC, next_at LIMIT 30
        ) few
        JOIN plans_step step ON step.id = few.step_id
        JOIN plans_plan plan ON plan.id = few.plan_id
        WHERE p_choices ? chiffon_need(step) AND NOT few.by_fallback
            -- Breakers and a plan's limit are asked where agents are assigned: what has none yet is not taken past them.
            AND (few.agent_id = p_agent OR few.agent_id IS NULL AND plan.max_parallel IS NULL AND NOT chiffon_is_aimed(step))
            AND plan.stage IN ('approved', 'executing') AND plan.cancel_reason = ''
            AND (plan.rollback_reason = '' OR step.kind = 'rollback')
        ORDER BY few.priority DESC, few.next_at
    LOOP
        PERFORM FROM plans_attempt WHERE id = v_due.id AND status = 'due' AND agent_id IS NOT DISTINCT FROM v_due.agent_id
            FOR NO KEY UPDATE SKIP LOCKED;
        v_found := FOUND;
        EXIT WHEN v_found;
    END LOOP;
    IF NOT v_found THEN
        RETURN NULL;
    END IF;
    -- The plan comes before its attempt in the order of locks, but which plan it is was not known before: so it is not waited for.
    IF NOT pg_try_advisory_xact_lock_shared(hashtextextended(v_due.plan_id::text, 0)) THEN
        NOTIFY chiffon_due;  -- somebody is just stopping that plan; what else is due is looked at by the dispatcher
        RETURN NULL;
    END IF;
    IF v_due.stage = 'approved' THEN
        UPDATE plans_attempt SET status = 'sent', sent_at = statement_timestamp(), agent_id = p_agent,
            routing = CASE WHEN v_due.agent_id IS NULL THEN p_choices -> v_due.need -> 'routing' ELSE routing END WHERE id = v_due.id;
        RETURN jsonb_build_object('begin', v_due.id, 'expects', v_due.expects_token, 'need', v_due.need);
    END IF;
    RETURN chiffon_claim(v_due.id, v_due.expects_token, p_agent,
        CASE WHEN v_due.agent_id IS NULL THEN p_choices -> v_due.need END, p_lease, true, p_tell);
END $$;

CREATE OR REPLACE FUNCTION chiffon_finish(
    p_plan uuid, p_attempt uuid, p_token integer, p_summary text, p_output jsonb, p_progress jsonb, p_resources jsonb, p_services jsonb, p_lines_sha256 text,
    p_reason text, p_canonical text, p_sha256 text, p_at timestamptz, p_told jsonb,
    p_choices jsonb, p_lease double precision
) RETURNS jsonb LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- End an attempt that succeeded, count its step off at the steps after it, and claim the next attempt for the same agent: one of
-- the steps that became free, else the most urgent that is due. p_choices holds the router's choice for each need that it gives to
-- this agent; with none, nothing is claimed. Answers {"lost": true} if the token is no longer the holder's, {"slow": true} without
-- having done anything if what comes next needs a decision, else {"next": claimed or null, "completed": whether the plan is, "over":
-- whether it may have come to rest otherwise}.
DECLARE
    v_held record;
    v_plan plans_plan;
    v_step plans_step;
    v_after plans_step;
    v_mine plans_step;
    v_goes_on boolean;
    v_outranked boolean;
    v_take boolean;
    v_freed integer := 0;
    v_next jsonb;
    v_started record;
    v_told jsonb;
    v_because text;
    v_id uuid;
    v_mine_id uuid;
    v_over boolean;
    v_completed jsonb;
BEGIN
    PERFORM chiffon_hold(p_plan);
    SELECT plan, step, attempt.agent_id, agent.name AS agent, agent.status AS agent_status,
        -- What it used is charged to its plan (plans/execution/spending.py).
        revision.budget <> '{}' OR EXISTS (
            SELECT FROM plans_dependency edge JOIN plans_step after ON after.id = edge.downstream_id
            WHERE edge.upstream_id = step.id AND NOT chiffon_is_plain(after)) AS is_slow
        INTO v_held FROM plans_attempt attempt JOIN plans_plan plan ON plan.id = attempt.plan_id
        JOIN plans_step step ON step.id = attempt.step_id JOIN plans_revision revision ON revision.id = step.revision_id
        JOIN agents_agent agent ON agent.id = attempt.agent_id
        WHERE attempt.id = p_attempt AND attempt.token = p_token AND attempt.status = 'running';
    IF NOT FOUND THEN
        RETURN '{"lost": true}';
    END IF;
    v_plan := v_held.plan;
    v_step := v_held.step;
    IF v_held.is_slow OR v_plan.stage <> 'executing' OR v_plan.cancel_reason <> '' OR v_plan.rollback_reason <> '' OR v_step.kind <> 'step'
        OR v_step.status <> 'running'
    THEN
        RETURN '{"slow": true}';
    END IF;
    UPDATE plans_attempt SET status = 'completed', finished_at = statement_timestamp(), lease_until = NULL, summary = p_summary, output = p_output,
        progress = p_progress, resources_used = p_resources, services_touched = p_services, lines_sha256 = p_lines_sha256
        WHERE id = p_attempt AND token = p_token AND status = 'running';
    IF NOT FOUND THEN
        RETURN '{"lost": true}';
    END IF;
    INSERT INTO plans_unwrittentask (attempt_id) VALUES (p_attempt);
    UPDATE plans_step SET status = 'completed', released = true, output = p_output, summary = p_summary, error = '', waiting_for = '',
        finished_at = statement_timestamp() WHERE id = v_step.id;
    v_told := jsonb_build_array(jsonb_build_array(p_attempt, v_step.key, p_told || jsonb_build_array(
        jsonb_build_array('step_changed', jsonb_build_object('was', 'running', 'now', 'completed', 'waiting_for', ''), 0))));
    v_goes_on := v_held.agent_status IN ('ready', 'busy') AND p_choices <> '{}';  -- else it drains, or has no more time: others go on
    v_because := v_step.key || ' is completed.';
    IF NOT v_step.released THEN
        v_outranked := v_goes_on AND EXISTS (
            SELECT FROM plans_attempt due WHERE status = 'due' AND priority > v_plan.priority AND next_at <= statement_timestamp()
                AND NOT EXISTS (SELECT FROM plans_plan waiting WHERE waiting.id = due.plan_id AND waiting.waits_since IS NOT NULL));
        FOR v_after IN  -- read without a lock: what is looked at here never changes
            SELECT step.* FROM plans_dependency edge JOIN plans_step step ON step.id = edge.downstream_id
            WHERE edge.upstream_id = v_step.id ORDER BY step.id
        LOOP
            v_take := v_mine_id IS NULL AND v_goes_on AND NOT v_outranked AND v_plan.max_parallel IS NULL
                AND p_choices ? chiffon_need(v_after);
            UPDATE plans_step SET unmet = unmet - 1,
                status = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take THEN 'running' ELSE status END,
                waiting_for = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take THEN '' ELSE waiting_for END,
                token = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take THEN token + 1 ELSE token END,
                started_at = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take
                    THEN coalesce(started_at, statement_timestamp()) ELSE started_at END,
                attempts_made = CASE WHEN unmet = 1 AND status = 'waiting' THEN attempts_made + 1 ELSE attempts_made END
                WHERE id = v_after.id AND unmet > 0 RETURNING * INTO v_after;
            CONTINUE WHEN NOT FOUND OR v_after.unmet > 0 OR v_after.status NOT IN ('waiting', 'running');
            v_id := chiffon_uuid7();
            INSERT INTO plans_attempt (id, step_id, plan_id, number, status, priority, agent_id, expects_token, token, lease_until, started_at,
                because, cancel_requested, failure_mode, transient, error, summary, progress, resources_used, services_touched, line_count,
                lines_sha256, by_fallback, routing)
            VALUES (v_id, v_after.id, v_plan.id, v_after.attempts_made, CASE WHEN v_take THEN 'running' ELSE 'due' END, v_plan.priority,
                CASE WHEN v_take THEN v_held.agent_id END, CASE WHEN v_take THEN v_after.token - 1 ELSE v_after.token END,
                CASE WHEN v_take THEN v_after.token END,
                CASE WHEN v_take THEN statement_timestamp() + make_interval(secs => p_lease) END,
                CASE WHEN v_take THEN statement_timestamp() END,
                v_because, false, '', false, '', '', '{}', '{}', '[]', 0, '', false,
                CASE WHEN v_take THEN p_choices -> chiffon_need(v_after) -> 'routing' ELSE '{}' END);
            IF v_take THEN
                v_mine := v_after;
                v_mine_id := v_id;
                v_started := chiffon_starting(v_id, v_mine.attempts_made, v_mine.token, v_because, v_mine, 'waiting', v_plan, v_held.agent_id,
                    v_held.agent, p_choices -> chiffon_need(v_mine));
                v_next := v_started.claimed;
                v_told := v_told || jsonb_build_array(v_started.told);
            ELSE
                v_freed := v_freed + 1;
            END IF;
        END LOOP;
    END IF;
    IF v_mine_id IS NULL THEN
        INSERT INTO audit_decisionrecord
            (at, trace_id, type, actor_kind, actor, subject_kind, subject_id, service, plan_id, reason, canonical, sha256)
        VALUES (p_at, v_plan.trace_id, 'attempt.completed', 'agent', v_held.agent, 'attempt', p_attempt, v_step.service, v_plan.id,
            p_reason, p_canonical, p_sha256);
    ELSE  -- both in one statement: to find the partition takes longer than to write a row
        INSERT INTO audit_decisionrecord
            (at, trace_id, type, actor_kind, actor, subject_kind, subject_id, service, plan_id, reason, canonical, sha256)
        VALUES (p_at, v_plan.trace_id, 'attempt.completed', 'agent', v_held.agent, 'attempt', p_attempt, v_step.service, v_plan.id,
            p_reason, p_canonical, p_sha256),
            (v_started.at, v_plan.trace_id, 'attempt.started', 'agent', v_held.agent, 'attempt', v_mine_id, v_mine.service, v_plan.id,
            v_because, v_started.canonical, encode(sha256(convert_to(v_started.canonical, 'UTF8')), 'hex'));
    END IF;
    IF v_next IS NULL AND v_goes_on THEN
        v_next := chiffon_next(v_held.agent_id, p_choices, p_lease, false);
        IF v_next ->> 'plan' = v_plan.id::text THEN
            v_told := v_told || jsonb_build_array(v_next -> 'told');
        ELSIF v_next ? 'told' THEN
            PERFORM chiffon_tell((v_next ->> 'plan')::uuid, p_at, jsonb_build_array(v_next -> 'told'));
        END IF;
        v_next := v_next - 'told';
    END IF;
    v_over := v_freed = 0 AND v_mine_id IS NULL AND NOT EXISTS (
        SELECT FROM plans_attempt WHERE plan_id = v_plan.id AND status IN ('due', 'sent'));
    v_completed := CASE WHEN v_over THEN chiffon_complete(v_plan.id, v_step.revision_id, v_held.agent) END;
    IF v_completed IS NOT NULL THEN
        v_told := v_told || jsonb_build_array(v_completed);
    END IF;
    PERFORM chiffon_tell(v_plan.id, p_at, v_told);
    IF v_freed > 0 OR v_next IS NULL AND EXISTS (SELECT FROM plans_attempt WHERE status = 'due' AND next_at <= statement_timestamp()) THEN
        NOTIFY chiffon_due;  -- this agent leaves something that another may take
    END IF;
    -- Two last steps that end at once each see the other running, so both are asked to look again after their commit.
    RETURN jsonb_build_object('next', v_next, 'completed', v_completed IS NOT NULL, 'over', v_over);
END $$;
