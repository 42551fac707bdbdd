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

CREATE OR REPLACE FUNCTION chiffon_depends_on(p_step uuid) RETURNS text LANGUAGE plpgsql STABLE AS $$
-- The keys of the steps before a step, quoted, between commas, in the order of the digest.
BEGIN
    RETURN (SELECT coalesce(string_agg(to_json(upstream.key)::text, ',' ORDER BY upstream.key COLLATE "C"), '') FROM plans_dependency edge
        JOIN plans_step upstream ON upstream.id = edge.upstream_id WHERE edge.downstream_id = p_step);
END $$;

CREATE OR REPLACE FUNCTION chiffon_plan_told(p_plan plans_plan, p_revision plans_revision, p_agent uuid, p_agent_name text)
RETURNS text LANGUAGE sql STABLE AS $$
    -- What an agent has to know of a plan whatever the step, as members of a JSON object.
    SELECT format('"agent":"%s","agent_name":%s,"plan":"%s","trace":"%s","requester":%s,"revision":"%s","digest":"%s","steps":%s,"budget":%s,'
        '"commit":%s,"tree":%s,',
        p_agent, to_json(p_agent_name), p_plan.id, p_plan.trace_id, p_plan.requester_id, p_revision.id, p_revision.digest,
        coalesce(p_revision.header -> 'steps', 'null'), p_revision.budget, to_json(p_revision."commit"), to_json(p_revision.tree))
$$;

CREATE OR REPLACE FUNCTION chiffon_started(
    p_at timestamptz, p_attempt uuid, p_number integer, p_token integer, p_because text, p_step plans_step, p_trace uuid, p_agent text,
    p_choice jsonb
) RETURNS text LANGUAGE sql STABLE AS $$
    -- What the record of a started attempt holds, as canonical text.
    SELECT format('{"actor":{"kind":"agent","name":%s},%s"at":"%s","metadata":{"number":%s,"score":%s,"step":%s,"token":%s},'
        '"reason":%s,%s"subject":{"id":"%s","kind":"attempt"},"trace_id":"%s","type":"attempt.started","v":2}',
        to_json(p_agent), '"alternatives":' || nullif(p_choice ->> 'others', '[]') || ',', chiffon_time(p_at), p_number,
        coalesce(p_choice ->> 'score', 'null'), to_json(p_step.key), p_token, to_json(p_because),
        '"service":' || to_json(nullif(p_step.service, '')) || ',', p_attempt, p_trace)
$$;

CREATE OR REPLACE FUNCTION chiffon_step_told(p_step plans_step, p_depends_on text) RETURNS text LANGUAGE sql STABLE AS $$
    -- What an agent has to know of a step, as JSON; p_depends_on are the keys of the steps before it, quoted, between commas.
    SELECT format('{"id":"%s","key":%s,"index":%s,"kind":"%s","tool":%s,"input":%s,"playbook":%s,"agent_type":%s,"work_type":%s,"resources":%s,'
        '"risk":%s,"timeout_seconds":%s,"retry":%s,"idempotent":%s,"when":%s,"on_failure":%s,"hosts":%s,"preview":%s,"for_each":%s,'
        '"fallback":%s,"service":%s,"proof":%s,"item":%s,"item_index":%s,"items":%s,"depends_on":[%s]}',
        p_step.id, to_json(p_step.key), p_step.index, p_step.kind, to_json(p_step.tool), p_step.input, coalesce(p_step.playbook, 'null'),
        to_json(p_step.agent_type), to_json(p_step.work_type), p_step.resources, to_json(p_step.risk), p_step.timeout_seconds, p_step.retry,
        to_json(p_step.idempotent), to_json(p_step."when"), to_json(p_step.on_failure), p_step.hosts, coalesce(p_step.preview, 'null'),
        coalesce(p_step.for_each, 'null'), coalesce(p_step.fallback, 'null'), to_json(p_step.service), p_step.proof,
        coalesce(p_step.item, 'null'), coalesce(p_step.item_index::text, 'null'), coalesce(p_step.items, 'null'), p_depends_on)
$$;

CREATE OR REPLACE FUNCTION chiffon_claimed(
    p_at timestamptz, p_attempt uuid, p_number integer, p_token integer, p_by_fallback boolean, p_need text, p_step plans_step, p_plan text
) RETURNS text LANGUAGE plpgsql AS $$
-- Everything an agent has to know of an attempt that it just took, as JSON. p_plan is what holds for the whole plan, from
-- chiffon_plan_told, or empty for who knows it already.
DECLARE
    v_depends_on text;
    v_parent plans_step;
    v_parent_told text := 'null';
    v_location text := 'null';
BEGIN
    v_depends_on := chiffon_depends_on(p_step.id);
    -- What it is an item of, or undoes: an item is compared with that step, which is the one that was approved.
    IF p_step.parent_id IS NOT NULL THEN
        SELECT * INTO v_parent FROM plans_step WHERE id = p_step.parent_id;
        v_parent_told := chiffon_step_told(v_parent, chiffon_depends_on(v_parent.id));
    END IF;
    IF p_step.playbook IS NOT NULL OR p_step.fallback ->> 'playbook' IS NOT NULL THEN
        SELECT to_json(repository.location) INTO v_location FROM plans_revision revision
            JOIN agents_playbookrepository repository ON repository.id = revision.repository_id WHERE revision.id = p_step.revision_id;
    END IF;
    RETURN format('{%s"now":%s,"attempt":"%s","number":%s,"token":%s,"by_fallback":%s,"need":%s,"location":%s,"parent":%s,"step":%s}',
        p_plan, extract(epoch FROM p_at), p_attempt, p_number, p_token, to_json(p_by_fallback), to_json(p_need),
        coalesce(v_location, 'null'), v_parent_told, chiffon_step_told(p_step, v_depends_on));
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

CREATE OR REPLACE FUNCTION chiffon_start_told(p_agent text, p_number integer, p_was text) RETURNS json LANGUAGE sql STABLE AS $$
    -- The data of the event that an agent began, with what its step was before.
    SELECT format('{"agent":%s,"attempt":%s,"was":"%s"}', to_json(p_agent), p_number, p_was)::json
$$;

CREATE OR REPLACE FUNCTION chiffon_claim(
    p_attempt uuid, p_expects integer, p_agent uuid, p_choice jsonb, p_lease double precision, p_begun boolean, p_earlier json DEFAULT NULL
) RETURNS text LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- Take an attempt whose step still has the token that is expected; NULL if somebody was first or it is not to run.
-- p_agent and p_choice say who takes an attempt that nobody was chosen for yet. A plan that has not begun is compared with what
-- was approved before its first step is taken: unless p_begun says that this was just done, the answer is {"begin": true}.
-- p_earlier is told in one row with the start.
BEGIN
    PERFORM chiffon_hold((SELECT plan_id FROM plans_attempt WHERE id = p_attempt));
    RETURN chiffon_take(p_attempt, p_expects, p_agent, p_choice, p_lease, p_begun, p_earlier);
END $$;

CREATE OR REPLACE FUNCTION chiffon_take(
    p_attempt uuid, p_expects integer, p_agent uuid, p_choice jsonb, p_lease double precision, p_begun boolean, p_earlier json
) RETURNS text LANGUAGE plpgsql AS $$
-- As chiffon_claim, for who holds the plan.
DECLARE
    v_held record;
    v_step plans_step;
    v_plan plans_plan;
    v_at timestamptz;
    v_record text;
    v_parent text;
BEGIN
    SELECT plan, step, revision, attempt.number, attempt.agent_id, attempt.because, attempt.by_fallback, agent.id AS taker, agent.name AS agent,
        coalesce(p_choice, jsonb_build_object('score', trim_scale((choice.body ->> 'score')::numeric)::text)) AS choice
        INTO v_held FROM plans_attempt attempt JOIN plans_step step ON step.id = attempt.step_id JOIN plans_plan plan ON plan.id = attempt.plan_id
        JOIN plans_revision revision ON revision.id = step.revision_id
        JOIN agents_agent agent ON agent.id = coalesce(attempt.agent_id, p_agent)
        LEFT JOIN plans_routingchoice choice ON choice.id = attempt.choice_id
        WHERE attempt.id = p_attempt AND attempt.status IN ('due', 'sent') AND step.token = p_expects AND step.status IN ('ready', 'waiting')
        FOR NO KEY UPDATE OF attempt, step;
    IF NOT FOUND OR v_held.agent_id <> p_agent THEN  -- it was given to another one meanwhile
        RETURN NULL;
    END IF;
    v_plan := v_held.plan;
    v_step := v_held.step;
    IF v_plan.stage NOT IN ('approved', 'executing') OR v_plan.cancel_reason <> '' OR v_plan.waits_since IS NOT NULL THEN
        RETURN NULL;
    END IF;
    IF v_plan.rollback_reason <> '' AND v_step.kind <> 'rollback' THEN
        RETURN CASE WHEN NOT p_begun THEN '{"begin": true}' END;  -- it is taken back instead
    END IF;
    IF v_plan.stage = 'approved' AND NOT p_begun THEN
        RETURN '{"begin": true}';
    END IF;
    UPDATE plans_attempt SET status = 'running', token = v_step.token + 1, agent_id = v_held.taker,
        choice_id = coalesce((p_choice ->> 'choice')::uuid, choice_id), lease_until = statement_timestamp() + make_interval(secs => p_lease),
        started_at = statement_timestamp() WHERE id = p_attempt;
    UPDATE plans_step SET status = 'running', waiting_for = '', token = token + 1, started_at = coalesce(started_at, statement_timestamp())
        WHERE id = v_step.id;
    v_at := clock_timestamp();
    v_record := chiffon_started(v_at, p_attempt, v_held.number, v_step.token + 1, v_held.because, v_step, v_plan.trace_id, v_held.agent, v_held.choice);
    INSERT INTO audit_decisionrecord
        (at, trace_id, type, actor_kind, actor, subject, service, canonical, sha256)
    VALUES (v_at, v_plan.trace_id, 'attempt.started', 'agent', v_held.agent, '', v_step.service,
        v_record, sha256(convert_to(v_record, 'UTF8')));
    IF v_step.kind = 'item' THEN  -- its step runs from now on, if it did not already
        UPDATE plans_step SET status = 'running', waiting_for = '', started_at = coalesce(started_at, statement_timestamp())
            WHERE id = v_step.parent_id AND status = 'ready' RETURNING key INTO v_parent;
        IF FOUND THEN
            PERFORM chiffon_tell(v_plan.id, clock_timestamp(), jsonb_build_array(jsonb_build_array(NULL, v_parent, jsonb_build_array(
                jsonb_build_array('step_changed', jsonb_build_object('was', 'ready', 'now', 'running', 'waiting_for', ''), 0)))));
        END IF;
    END IF;
    INSERT INTO plans_event (xid, plan_id, type, step_key, attempt_id, data, at, earlier)
    VALUES (pg_current_xact_id()::text::bigint, v_plan.id, 'agent_started', v_step.key, p_attempt,
        chiffon_start_told(v_held.agent, v_held.number, v_step.status), v_at, p_earlier);
    RETURN chiffon_claimed(v_at, p_attempt, v_held.number, v_step.token + 1, v_held.by_fallback, chiffon_need(v_step), v_step,
        chiffon_plan_told(v_plan, v_held.revision, v_held.taker, v_held.agent));
END $$;

CREATE OR REPLACE FUNCTION chiffon_next(
    p_agent uuid, p_choices jsonb, p_lease double precision, p_plan uuid DEFAULT NULL, p_earlier json DEFAULT NULL,
    OUT claimed text, OUT plan_id uuid
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- Claim the next due attempt that this agent may take. One of a plan that has not begun is only kept for it, as if a message to the
-- agent were under way, and named: {"begin": attempt}. plan_id is that of what was claimed; if it is p_plan, p_earlier was told with
-- its start.
DECLARE
    v_due record;
    v_mine record;
BEGIN
    FOR v_due IN
        SELECT due.id, due.plan_id, due.expects_token, due.agent_id FROM plans_attempt due
        WHERE due.status = 'due' AND due.next_at <= statement_timestamp() AND NOT due.by_fallback AND NOT EXISTS (
            SELECT FROM plans_plan waiting WHERE waiting.id = due.plan_id AND waiting.waits_since IS NOT NULL)
        ORDER BY due.priority DESC, due.next_at LIMIT 30
    LOOP
        CONTINUE WHEN v_due.agent_id <> p_agent;
        -- Breakers and a plan's limit are asked where agents are assigned: what has none yet is not taken past them.
        SELECT plan.stage, chiffon_need(step) AS need INTO v_mine FROM plans_attempt due
            JOIN plans_step step ON step.id = due.step_id JOIN plans_plan plan ON plan.id = due.plan_id
            WHERE due.id = v_due.id AND due.status = 'due' AND due.agent_id IS NOT DISTINCT FROM v_due.agent_id
                AND (due.agent_id IS NOT NULL OR plan.max_parallel IS NULL AND NOT chiffon_is_aimed(step))
                AND plan.stage IN ('approved', 'executing') AND plan.cancel_reason = ''
                AND (plan.rollback_reason = '' OR step.kind = 'rollback') AND p_choices ? chiffon_need(step)
            FOR NO KEY UPDATE OF due SKIP LOCKED;
        EXIT WHEN FOUND;
    END LOOP;
    IF v_mine IS NULL THEN
        RETURN;
    END IF;
    -- The plan comes before its attempt in the order of locks, but which plan it is was not known before: so it is not waited for.
    IF NOT pg_try_advisory_xact_lock_shared(hashtextextended(v_due.plan_id::text, 0)) THEN
        NOTIFY chiffon_due;  -- somebody is just stopping that plan; what else is due is looked at by the dispatcher
        RETURN;
    END IF;
    IF v_mine.stage = 'approved' THEN
        UPDATE plans_attempt SET status = 'sent', sent_at = statement_timestamp(), agent_id = p_agent,
            choice_id = CASE WHEN v_due.agent_id IS NULL THEN (p_choices -> v_mine.need ->> 'choice')::uuid ELSE choice_id END WHERE id = v_due.id;
        claimed := json_build_object('begin', v_due.id, 'expects', v_due.expects_token, 'need', v_mine.need);
        RETURN;
    END IF;
    claimed := chiffon_take(v_due.id, v_due.expects_token, p_agent, CASE WHEN v_due.agent_id IS NULL THEN p_choices -> v_mine.need END, p_lease, true,
        CASE WHEN v_due.plan_id = p_plan THEN p_earlier END);
    plan_id := CASE WHEN claimed IS NOT NULL THEN v_due.plan_id END;
END $$;

CREATE OR REPLACE FUNCTION chiffon_finish(
    p_plan uuid, p_attempt uuid, p_token integer, p_summary text, p_output jsonb, p_progress jsonb, p_resources jsonb, p_services jsonb, p_lines_sha256 text,
    p_canonical text, p_at timestamptz, p_told json,
    p_choices jsonb, p_lease double precision
) RETURNS text LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- End an attempt that succeeded, count its step off at the steps after it, and claim the next attempt for the same agent: one of
-- the steps that became free, else the most urgent that is due. p_choices holds the router's choice for each need that it gives to
-- this agent; with none, nothing is claimed. p_told is what happened, ready to be told. Answers {"lost": true} if the token is no
-- longer the holder's, {"slow": true} without having done anything if what comes next needs a decision, else {"next": claimed or
-- null, "completed": whether the plan is, "left": whether this agent goes on with nothing of the plan}. Who leaves a plan uncompleted
-- looks at it again after the commit: of two that leave at once each saw the other's step as it was before.
--
-- Each statement here costs every step: what is asked together is read together, and what only some need is asked behind an IF.
DECLARE
    v_held record;
    v_after plans_step;
    v_mine plans_step;
    v_afters uuid[];
    v_needs text[];
    v_plain boolean := true;
    v_goes_on boolean;
    v_holds text;
    v_take boolean;
    v_freed integer := 0;
    v_next text;
    v_next_plan uuid;
    v_at timestamptz;
    v_record text;
    v_because text;
    v_id uuid;
    v_mine_id uuid;
    v_mine_need text;
    v_left boolean := false;
    v_completed jsonb;
BEGIN
    v_holds := pg_advisory_xact_lock_shared(hashtextextended(p_plan::text, 0));  -- chiffon_hold, without a statement
    SELECT plan.stage = 'executing' AND plan.cancel_reason = '' AND plan.rollback_reason = '' AS goes, plan.priority, plan.max_parallel, plan.trace_id,
        step.id AS step_id, step.key, step.kind, step.status, step.service, step.released, step.revision_id,
        attempt.agent_id, agent.name AS agent, agent.status IN ('ready', 'busy') AS awake,
        (SELECT due.priority FROM plans_attempt due WHERE due.status = 'due' AND due.next_at <= statement_timestamp() AND NOT EXISTS (
            SELECT FROM plans_plan waiting WHERE waiting.id = due.plan_id AND waiting.waits_since IS NOT NULL)
            ORDER BY due.priority DESC LIMIT 1) AS most_urgent
        INTO v_held FROM plans_attempt attempt JOIN plans_plan plan ON plan.id = attempt.plan_id
        JOIN plans_step step ON step.id = attempt.step_id JOIN agents_agent agent ON agent.id = attempt.agent_id
        WHERE attempt.id = p_attempt AND attempt.token = p_token AND attempt.status = 'running';
    IF NOT FOUND THEN
        RETURN '{"lost": true}';
    END IF;
    -- Read without a lock: what is looked at here never changes.
    SELECT array_agg(step.id ORDER BY step.id), array_agg(chiffon_need(step) ORDER BY step.id), bool_and(chiffon_is_plain(step))
        INTO v_afters, v_needs, v_plain FROM plans_dependency edge JOIN plans_step step ON step.id = edge.downstream_id
        WHERE edge.upstream_id = v_held.step_id;
    IF NOT v_plain OR NOT v_held.goes OR v_held.kind <> 'step' OR v_held.status <> 'running' THEN
        RETURN '{"slow": true}';
    END IF;
    UPDATE plans_attempt SET status = 'completed', finished_at = statement_timestamp(), lease_until = NULL, summary = p_summary, output = p_output,
        progress = p_progress, resources_used = p_resources, services_touched = p_services, lines_sha256 = p_lines_sha256
        WHERE id = p_attempt AND token = p_token AND status = 'running';
    IF NOT FOUND THEN
        RETURN '{"lost": true}';
    END IF;
    INSERT INTO plans_unwrittentask (attempt_id) VALUES (p_attempt);
    UPDATE plans_step SET status = 'completed', output = p_output, summary = p_summary, error = '', waiting_for = '',
        finished_at = statement_timestamp() WHERE id = v_held.step_id;
    v_goes_on := v_held.awake AND p_choices <> '{}';  -- else it drains, or has no more time: others go on
    IF v_afters IS NOT NULL AND NOT v_held.released THEN
        v_because := v_held.key || ' is completed.';
        FOR v_place IN 1 .. array_length(v_afters, 1) LOOP
            v_take := v_mine_id IS NULL AND v_goes_on AND v_held.max_parallel IS NULL AND p_choices ? v_needs[v_place]
                AND (v_held.most_urgent IS NULL OR v_held.most_urgent <= v_held.priority);
            UPDATE plans_step SET unmet = unmet - 1,
                status = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take THEN 'running' ELSE status END,
                waiting_for = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take THEN '' ELSE waiting_for END,
                token = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take THEN token + 1 ELSE token END,
                started_at = CASE WHEN unmet = 1 AND status = 'waiting' AND v_take
                    THEN coalesce(started_at, statement_timestamp()) ELSE started_at END,
                attempts_made = CASE WHEN unmet = 1 AND status = 'waiting' THEN attempts_made + 1 ELSE attempts_made END
                WHERE id = v_afters[v_place] AND unmet > 0 RETURNING * INTO v_after;
            CONTINUE WHEN NOT FOUND OR v_after.unmet > 0 OR v_after.status NOT IN ('waiting', 'running');
            v_id := chiffon_uuid7();
            INSERT INTO plans_attempt (id, step_id, plan_id, number, status, priority, agent_id, expects_token, token, lease_until, started_at,
                because, cancel_requested, failure_mode, transient, error, summary, progress, resources_used, services_touched, line_count,
                lines_sha256, by_fallback, choice_id)
            VALUES (v_id, v_after.id, p_plan, v_after.attempts_made, CASE WHEN v_take THEN 'running' ELSE 'due' END, v_held.priority,
                CASE WHEN v_take THEN v_held.agent_id END, CASE WHEN v_take THEN v_after.token - 1 ELSE v_after.token END,
                CASE WHEN v_take THEN v_after.token END,
                CASE WHEN v_take THEN statement_timestamp() + make_interval(secs => p_lease) END,
                CASE WHEN v_take THEN statement_timestamp() END,
                v_because, false, '', false, '', '', '{}', '{}', '[]', 0, '', false,
                CASE WHEN v_take THEN (p_choices -> v_needs[v_place] ->> 'choice')::uuid END);
            IF v_take THEN
                v_mine := v_after;
                v_mine_id := v_id;
                v_mine_need := v_needs[v_place];
            ELSE
                v_freed := v_freed + 1;
            END IF;
        END LOOP;
    END IF;
    IF v_mine_id IS NOT NULL THEN
        v_at := clock_timestamp();
        v_record := chiffon_started(v_at, v_mine_id, v_mine.attempts_made, v_mine.token, v_because, v_mine, v_held.trace_id, v_held.agent,
            p_choices -> v_mine_need);
        INSERT INTO audit_decisionrecord  -- both in one statement: to find the partition takes longer than to write a row
            (at, trace_id, type, actor_kind, actor, subject, service, canonical, sha256)
        VALUES (p_at, v_held.trace_id, 'attempt.completed', 'agent', v_held.agent, '', v_held.service,
            p_canonical, sha256(convert_to(p_canonical, 'UTF8'))),
            (v_at, v_held.trace_id, 'attempt.started', 'agent', v_held.agent, '', v_mine.service,
            v_record, sha256(convert_to(v_record, 'UTF8')));
        INSERT INTO plans_event (xid, plan_id, type, step_key, attempt_id, data, at, earlier)
        VALUES (pg_current_xact_id()::text::bigint, p_plan, 'agent_started', v_mine.key, v_mine_id,
            chiffon_start_told(v_held.agent, v_mine.attempts_made, 'waiting'), p_at, p_told);
        v_next := chiffon_claimed(v_at, v_mine_id, v_mine.attempts_made, v_mine.token, false, v_mine_need, v_mine, '');
    ELSE
        INSERT INTO audit_decisionrecord
            (at, trace_id, type, actor_kind, actor, subject, service, canonical, sha256)
        VALUES (p_at, v_held.trace_id, 'attempt.completed', 'agent', v_held.agent, '', v_held.service,
            p_canonical, sha256(convert_to(p_canonical, 'UTF8')));
        IF v_goes_on THEN
            SELECT next.claimed, next.plan_id INTO v_next, v_next_plan FROM chiffon_next(v_held.agent_id, p_choices, p_lease, p_plan, p_told) next;
        END IF;
        v_left := v_next_plan IS DISTINCT FROM p_plan;
        IF v_left THEN  -- and nothing has told the end yet
            v_completed := chiffon_complete(p_plan, v_held.revision_id, v_held.agent);
            INSERT INTO plans_event (xid, plan_id, type, step_key, data, at, earlier)
            VALUES (pg_current_xact_id()::text::bigint, p_plan, CASE WHEN v_completed IS NULL THEN '' ELSE 'stage_changed' END, '',
                coalesce(v_completed, '{}'), p_at, p_told);
        END IF;
        IF v_next IS NULL AND EXISTS (SELECT FROM plans_attempt WHERE status = 'due' AND next_at <= statement_timestamp()) THEN
            v_freed := v_freed + 1;
        END IF;
    END IF;
    IF v_freed > 0 THEN
        NOTIFY chiffon_due;  -- this agent leaves something that another may take
    END IF;
    RETURN format('{"next":%s,"completed":%s,"left":%s}', coalesce(v_next, 'null'), to_json(v_completed IS NOT NULL), to_json(v_left));
END $$;
