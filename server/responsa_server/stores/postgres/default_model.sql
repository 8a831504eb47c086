-- The default model of the installation. The role responsa_app reads and writes it.

-- name: get
SELECT provider, model, key_name, base_url, embedding, sealed_key, "window", input_usd_micros, output_usd_micros, update_time
FROM responsa.default_model;

-- name: put
INSERT INTO responsa.default_model (provider, model, key_name, base_url, embedding, sealed_key, "window", input_usd_micros,
    output_usd_micros)
VALUES (%(provider)s, %(model)s, %(key_name)s, %(base_url)s, %(embedding)s, %(sealed_key)s, %(window)s, %(input_usd_micros)s,
    %(output_usd_micros)s)
ON CONFLICT (single) DO UPDATE SET
    provider = excluded.provider, model = excluded.model, key_name = excluded.key_name, base_url = excluded.base_url,
    embedding = excluded.embedding, sealed_key = excluded.sealed_key, "window" = excluded."window",
    input_usd_micros = excluded.input_usd_micros, output_usd_micros = excluded.output_usd_micros, update_time = now()
    WHERE to_jsonb(default_model) - 'update_time' IS DISTINCT FROM to_jsonb(excluded) - 'update_time';

-- name: limits_money
-- Whether a budget of the tenant or a quota of one of its users limits what models may cost.
SELECT EXISTS (SELECT FROM responsa.tenant WHERE id = %(tenant)s AND budget_micros > 0) OR EXISTS (
    SELECT FROM responsa.user_quota
    WHERE tenant_id = %(tenant)s AND (cost_micros_per_day IS NOT NULL OR cost_micros_per_month IS NOT NULL)) AS limited;

-- name: forget
DELETE FROM responsa.learned_model WHERE learn_time < now() - interval '1 day';

-- name: learn
INSERT INTO responsa.learned_model (base_url, model, facts) VALUES (%(base_url)s, %(model)s, %(facts)s)
ON CONFLICT (base_url, model) DO UPDATE SET facts = learned_model.facts || excluded.facts;

-- name: learned
SELECT base_url, model, facts FROM responsa.learned_model WHERE learn_time >= now() - interval '1 day';
