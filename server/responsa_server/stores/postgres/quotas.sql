-- Quotas of one tenant's users (role responsa_app, tenant set).

-- name: user_role
SELECT role FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(user)s;

-- name: exception
SELECT fields, tokens_per_day, tokens_per_month, cost_micros_per_day, cost_micros_per_month, revision FROM responsa.user_quota
WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: write_exception
INSERT INTO responsa.user_quota (tenant_id, user_id, fields, tokens_per_day, tokens_per_month, cost_micros_per_day, cost_micros_per_month)
VALUES (%(tenant)s, %(user)s, %(fields)s, %(tokens_per_day)s, %(tokens_per_month)s, %(cost_micros_per_day)s, %(cost_micros_per_month)s)
ON CONFLICT (user_id, tenant_id) DO UPDATE
    SET fields = excluded.fields, tokens_per_day = excluded.tokens_per_day, tokens_per_month = excluded.tokens_per_month,
    cost_micros_per_day = excluded.cost_micros_per_day, cost_micros_per_month = excluded.cost_micros_per_month,
        revision = user_quota.revision + 1,
    update_time = now();

-- name: first_usage
-- Makes the row that `hold_usage` locks.
INSERT INTO responsa.user_usage (tenant_id, user_id, day, month)
VALUES (%(tenant)s, %(user)s, (now() AT TIME ZONE 'UTC')::date, date_trunc('month', now() AT TIME ZONE 'UTC')::date)
ON CONFLICT DO NOTHING;

-- name: hold_usage
-- The usage of a user, whose row stays locked until the transaction ends. A transaction may have waited for the row
-- over midnight, so the time is not now().
SELECT time, reserved_tokens, reserved_micros,
    CASE WHEN day >= today THEN day_tokens ELSE 0 END AS day_tokens, CASE WHEN day >= today THEN day_micros ELSE 0 END AS day_micros,
    CASE WHEN month >= date_trunc('month', today) THEN month_tokens ELSE 0 END AS month_tokens,
    CASE WHEN month >= date_trunc('month', today) THEN month_micros ELSE 0 END AS month_micros
FROM (
    SELECT u.*, clock_timestamp() AS time, (clock_timestamp() AT TIME ZONE 'UTC')::date AS today FROM responsa.user_usage AS u
    WHERE u.tenant_id = %(tenant)s AND u.user_id = %(user)s
    FOR NO KEY UPDATE
) AS held;

-- name: read_usage
-- One row, also for a user who has used nothing. The messages are the turns in the sums of insight.sql, those that have
-- ended and are in no sum yet, and the open ones.
SELECT now() AS time, coalesce(u.reserved_tokens, 0) AS reserved_tokens, coalesce(u.reserved_micros, 0) AS reserved_micros,
    CASE WHEN u.day >= p.day THEN u.day_tokens ELSE 0 END AS day_tokens, CASE WHEN u.day >= p.day THEN u.day_micros
        ELSE 0 END AS day_micros,
    CASE WHEN u.month >= p.month THEN u.month_tokens ELSE 0 END AS month_tokens, CASE WHEN u.month >= p.month
        THEN u.month_micros ELSE 0 END AS month_micros,
    t.day_messages, t.month_messages
FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS day, date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month) AS p
CROSS JOIN LATERAL (
    SELECT coalesce(sum(turns) FILTER (WHERE time >= p.day::timestamp AT TIME ZONE 'UTC'), 0)::bigint AS day_messages,
        coalesce(sum(turns), 0)::bigint AS month_messages
    FROM (
        SELECT hour AS time, answered + refused + failed + cancelled AS turns FROM responsa.usage_hour
        WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND hour >= p.month::timestamp AT TIME ZONE 'UTC'
        UNION ALL
        SELECT time, 1 FROM responsa.usage_event
        WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND kind IN ('answered', 'refused', 'failed', 'cancelled')
        UNION ALL
        SELECT create_time, 1 FROM responsa.turn
            WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND state IN ('queued', 'pending', 'running')
    ) AS m
    WHERE time >= p.month::timestamp AT TIME ZONE 'UTC'
) AS t
LEFT JOIN responsa.user_usage AS u ON u.tenant_id = %(tenant)s AND u.user_id = %(user)s;

-- name: stored_by
-- The numbers of what a user keeps; `stored_bytes` has its size.
SELECT (SELECT count(*) FROM responsa.document
        WHERE tenant_id = %(tenant)s AND owner_id = %(user)s AND (version > 0 OR state <> 'failed')) AS documents,
    (SELECT count(*) FROM responsa.collection
        WHERE tenant_id = %(tenant)s AND owner_id = %(user)s AND conversation_id IS NULL) AS collections,
    (SELECT count(*) FROM responsa.conversation WHERE tenant_id = %(tenant)s AND user_id = %(user)s) AS conversations;

-- name: reserve_all
-- Follows `accept_turn` in the same message. If that statement accepted the turn, this one reserves the most that the
-- turn can use, or undoes the transaction if the
-- limits of the user's role do not allow it; then the call tries again with `hold_usage` and `reserve`. A user with an
-- exception is not accepted that way.
WITH mine AS MATERIALIZED (
    SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s::text AND id = %(id)s::uuid AND xmin = pg_current_xact_id()::xid
), held AS (
    UPDATE responsa.user_usage SET reserved_tokens = reserved_tokens + coalesce(%(reserved_tokens)s::bigint, 0),
        reserved_micros = reserved_micros + coalesce(%(reserved_micros)s::bigint, 0)
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s::uuid AND EXISTS (SELECT FROM mine)
        AND (%(tokens_per_day)s::bigint IS NULL OR reserved_tokens + %(reserved_tokens)s::bigint
            + CASE WHEN day >= (clock_timestamp() AT TIME ZONE 'UTC')::date THEN day_tokens ELSE 0 END <= %(tokens_per_day)s::bigint)
        AND (%(tokens_per_month)s::bigint IS NULL OR reserved_tokens + %(reserved_tokens)s::bigint
            + CASE WHEN month >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') THEN month_tokens
                ELSE 0 END <= %(tokens_per_month)s::bigint)
        AND (%(cost_micros_per_day)s::bigint IS NULL OR %(reserved_micros)s::bigint IS NULL OR reserved_micros + %(reserved_micros)s::bigint
            + CASE WHEN day >= (clock_timestamp() AT TIME ZONE 'UTC')::date THEN day_micros ELSE 0 END <= %(cost_micros_per_day)s::bigint)
        AND (%(cost_micros_per_month)s::bigint IS NULL OR %(reserved_micros)s::bigint IS NULL
            OR reserved_micros + %(reserved_micros)s::bigint
            + CASE WHEN month >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') THEN month_micros
                ELSE 0 END <= %(cost_micros_per_month)s::bigint)
    RETURNING 1
)
SELECT responsa.must_hold((SELECT count(*) FROM held) = (SELECT count(*) FROM mine));

-- name: reserve
WITH held AS (
    UPDATE responsa.user_usage
        SET reserved_tokens = reserved_tokens + coalesce(%(tokens)s::bigint, 0),
        reserved_micros = reserved_micros + coalesce(%(micros)s::bigint, 0)
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s
)
UPDATE responsa.turn SET reserved_tokens = %(tokens)s, reserved_micros = %(micros)s,
    short_of_tokens = %(short_of_tokens)s, short_of_micros = %(short_of_micros)s
WHERE tenant_id = %(tenant)s AND id = %(turn)s;

-- name: charge
-- What a text may use is counted before it is written: if its server dies, nothing has to be released.
SELECT responsa.add_usage(%(tenant)s::text, %(user)s::uuid, %(tokens)s::bigint, %(micros)s::bigint, 0, 0),
    (now() AT TIME ZONE 'UTC')::date AS day;

-- name: settle_charge
-- Replaces a charge by what was used, on the day of the charge; after midnight, the charge stays. The use is also that
-- of the tenant and its agents.
WITH noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, agent, model, input_tokens, output_tokens,
        cost_micros, unpriced_tokens)
    SELECT tenant_id, id, now(), 'spent', %(agent)s, %(model)s, %(input_tokens)s, %(output_tokens)s, %(cost_micros)s, %(unpriced_tokens)s
    FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(user)s
    RETURNING 1
)
SELECT responsa.add_usage(%(tenant)s::text, %(user)s::uuid, %(tokens)s::bigint, %(micros)s::bigint, 0, 0) FROM noted
WHERE %(day)s::date IS NULL OR %(day)s::date = (now() AT TIME ZONE 'UTC')::date;
