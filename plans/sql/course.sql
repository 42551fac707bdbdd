-- A plan's course beside its steps: it is approved, begins and ends, each in one statement as long as nothing has to be decided.
-- Plans that touch a host or a service, start with a condition or a list, or end with anything but completed steps go through Python
-- (plans/execution/starting.py, engine.py). Uses the functions of hot_path.sql.

CREATE OR REPLACE FUNCTION chiffon_move_plan(p_plan plans_plan, p_to text, p_reason text, p_actor_kind text, p_actor text, OUT moved jsonb)
LANGUAGE plpgsql AS $$
-- Move a plan that the caller has locked, with its record, as lifecycle.transition does; the data of the event that tells of it.
DECLARE
    v_at timestamptz := clock_timestamp();
    v_canonical text := '{"actor":{"kind":' || to_json(p_actor_kind) || ',"name":' || to_json(p_actor)
        || '},"at":"' || chiffon_time(v_at)
        || '","metadata":{"now":"' || p_to || '","was":"' || p_plan.stage
        || '"},"reason":' || to_json(p_reason)
        || coalesce(',"service":' || to_json(nullif(p_plan.service, '')), '')
        || ',"subject":{"id":"' || p_plan.id || '","kind":"plan"},"trace_id":"' || p_plan.trace_id
        || '","type":"plan.stage_changed","v":2}';
BEGIN
    UPDATE plans_plan SET stage = p_to, stage_reason = p_reason,
        started_at = CASE WHEN p_to = 'executing' THEN coalesce(started_at, statement_timestamp()) ELSE started_at END,
        finished_at = CASE WHEN p_to = 'completed' THEN statement_timestamp() END
        WHERE id = p_plan.id;
    INSERT INTO audit_decisionrecord
        (at, trace_id, type, actor_kind, actor, subject, service, canonical, sha256)
    VALUES (v_at, p_plan.trace_id, 'plan.stage_changed', p_actor_kind, p_actor, '', p_plan.service,
        v_canonical, sha256(convert_to(v_canonical, 'UTF8')));
    moved := jsonb_build_object('was', p_plan.stage, 'now', p_to, 'reason', p_reason);
END $$;

CREATE OR REPLACE FUNCTION chiffon_stage_told(p_moved jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    -- The move of a plan, as chiffon_tell takes it together with other events.
    SELECT jsonb_build_array(jsonb_build_array(NULL, '', jsonb_build_array(jsonb_build_array('stage_changed', p_moved, 0))))
$$;

CREATE OR REPLACE FUNCTION chiffon_start(
    p_plan uuid, p_revision uuid, p_reason text, p_because text, p_actor_kind text, p_actor text
) RETURNS boolean LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- Approve a plan and make its first steps due; false if it does not await approval. The others wait as they were drafted. Agents that
-- go on take what is due, or the dispatcher chooses one.
DECLARE
    v_plan plans_plan;
BEGIN
    SELECT * INTO v_plan FROM plans_plan WHERE id = p_plan AND stage = 'pending_approval' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM chiffon_tell(p_plan, statement_timestamp(),
        chiffon_stage_told(chiffon_move_plan(v_plan, 'approved', p_reason, p_actor_kind, p_actor)));
    WITH tried AS (
        UPDATE plans_step SET attempts_made = attempts_made + 1
            WHERE revision_id = p_revision AND unmet = 0 AND kind = 'step' AND status = 'waiting' RETURNING id, index, attempts_made, token
    )
    -- A microsecond apart, so that they stay in the order of the steps.
    INSERT INTO plans_attempt (id, step_id, plan_id, number, status, priority, next_at, expects_token, because, cancel_requested, failure_mode,
        transient, error, summary, progress, resources_used, services_touched, line_count, lines_sha256, by_fallback)
    SELECT chiffon_uuid7(), id, p_plan, attempts_made, 'due', v_plan.priority,
        statement_timestamp() - (count(*) OVER () - row_number() OVER (ORDER BY index)) * interval '1 microsecond', token, p_because, false, '',
        false, '', '', '{}', '{}', '[]', 0, '', false
        FROM tried ORDER BY index;
    NOTIFY chiffon_due;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION chiffon_facts(p_attempt uuid) RETURNS text LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- All that is compared before a plan begins with this attempt, as JSON: its plan, which is locked, the revision of its step, what the
-- answers of those who approved just that digest ask for, and every row of a step.
DECLARE
    v_plan_id uuid := (SELECT plan_id FROM plans_attempt WHERE id = p_attempt);
    v_plan plans_plan;
    v_revision plans_revision;
    v_votes json;
BEGIN
    PERFORM chiffon_hold(v_plan_id);  -- before its row, as who stops a plan does
    SELECT * INTO v_plan FROM plans_plan WHERE id = v_plan_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_revision FROM plans_revision WHERE id = (
        SELECT revision_id FROM plans_step WHERE id = (SELECT step_id FROM plans_attempt WHERE id = p_attempt));
    SELECT coalesce(json_agg(policy.approvals_needed), '[]') INTO v_votes FROM plans_approval approval
        JOIN plans_approvalpolicy policy ON policy.id = approval.policy_id
        WHERE approval.revision_id = v_revision.id AND approval.digest = v_revision.digest AND approval.decision = 'approved';
    RETURN format('{"plan":%s,"revision":%s,"votes":%s,"rows":%s}', to_json(v_plan), to_json(v_revision), v_votes, chiffon_rows(v_revision.id));
END $$;

CREATE OR REPLACE FUNCTION chiffon_rows(p_revision uuid) RETURNS text STABLE LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- Every leaf of a revision's digest as it is stored, with the keys it depends on, in order, as JSON. "carried" says whether an earlier
-- revision of the plan has done it, and its result is still the one that was left then.
BEGIN
    RETURN (SELECT '[' || coalesce(string_agg(format('{"unmet":%s,"carried":%s,"undoes":%s,', step.unmet,
            CASE WHEN step.carried_from_id IS NULL THEN 'false' ELSE to_json(step.status IN ('completed', 'skipped') AND EXISTS (
                SELECT FROM plans_step done WHERE done.id = step.carried_from_id AND done.plan_id = step.plan_id
                    AND done.status = step.status AND done.output IS NOT DISTINCT FROM step.output)) END,
            CASE WHEN step.parent_id IS NULL THEN '""' ELSE (SELECT to_json(key) FROM plans_step undone WHERE undone.id = step.parent_id) END)
        || substr(chiffon_step_told(step, chiffon_depends_on(step.id)), 2),
        ',' ORDER BY step.index), '') || ']'
    FROM plans_step step WHERE step.revision_id = p_revision AND step.kind <> 'item');
END $$;

CREATE OR REPLACE FUNCTION chiffon_standing(p_plan uuid, p_number integer) RETURNS text STABLE LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- What a plan's revision needs from its approvers and what it has, as JSON; NULL if there is no such revision, or no policy. An approval
-- counts while the one who gave it might give it today (ApprovalQuerySet.weighed says the same of the pages).
BEGIN
    RETURN (SELECT format('{"revision":%s,"policy":%s,"answers":%s,"rows":%s}', to_json(revision), to_json(policy), (
            SELECT coalesce(json_agg(json_build_object('decision', decision, 'digest', digest, 'approver_id', approver_id,
                'counts', decision = 'approved'
                    AND NOT (policy.four_eyes AND approver_id IN (requester_id, coalesce(author_id, requester_id)))
                    AND EXISTS (SELECT FROM auth_user person
                        JOIN auth_user_groups member ON member.user_id = person.id JOIN auth_group role ON role.id = member.group_id
                        WHERE person.id = approver_id AND person.is_active AND role.name = 'approver')
                ) ORDER BY id), '[]')
            FROM plans_approval WHERE revision_id = revision.id), chiffon_rows(revision.id))
        FROM plans_revision revision JOIN plans_approvalpolicy policy ON policy.active
        WHERE revision.plan_id = p_plan AND revision.number = p_number);
END $$;

CREATE OR REPLACE FUNCTION chiffon_begin(
    p_attempt uuid, p_expects integer, p_agent uuid, p_choice jsonb, p_lease double precision, p_reason text, p_actor_kind text, p_actor text
) RETURNS text LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
-- A plan that was just compared with what was approved begins, and its first attempt is claimed as chiffon_claim does it.
DECLARE
    v_plan plans_plan;
    v_told jsonb;
    v_claimed text;
BEGIN
    SELECT * INTO v_plan FROM plans_plan WHERE id = (SELECT plan_id FROM plans_attempt WHERE id = p_attempt);
    v_told := chiffon_stage_told(chiffon_move_plan(v_plan, 'executing', p_reason, p_actor_kind, p_actor));
    v_claimed := chiffon_claim(p_attempt, p_expects, p_agent, p_choice, p_lease, true, v_told::json);
    IF v_claimed IS NULL THEN
        PERFORM chiffon_tell(v_plan.id, clock_timestamp(), v_told);
    END IF;
    RETURN v_claimed;
END $$;

CREATE OR REPLACE FUNCTION chiffon_complete(p_plan uuid, p_revision uuid, p_actor text) RETURNS jsonb LANGUAGE plpgsql AS $$
-- A plan of which nothing is live is completed if each of its steps is; what is to be told of its stage, or NULL if there is more to
-- decide. Asked while attempt and step are locked, which come after the plan: so a plan that somebody else holds is left to who looks later.
DECLARE
    v_plan plans_plan;
    v_steps integer;
BEGIN
    IF EXISTS (SELECT FROM plans_attempt WHERE plan_id = p_plan AND status IN ('due', 'sent', 'running')) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_plan FROM plans_plan WHERE id = p_plan FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND OR v_plan.stage <> 'executing' OR v_plan.cancel_reason <> '' OR v_plan.rollback_reason <> '' OR v_plan.targets <> '[]'
        OR v_plan.waits_since IS NOT NULL OR NOT EXISTS (SELECT FROM plans_revision WHERE id = p_revision AND number = v_plan.revision_number)
        OR EXISTS (SELECT FROM plans_step WHERE revision_id = p_revision AND (status <> 'completed' OR kind = 'rollback'))
    THEN
        RETURN NULL;
    END IF;
    SELECT count(*) INTO v_steps FROM plans_step WHERE revision_id = p_revision AND kind = 'step';
    RETURN chiffon_move_plan(v_plan, 'completed',
        CASE WHEN v_steps = 1 THEN 'Its step is done.' ELSE 'All ' || v_steps || ' steps are done.' END, 'agent', p_actor);
END $$;
