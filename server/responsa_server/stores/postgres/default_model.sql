-- The default model of the installation. The role responsa_app reads and writes it.

-- name: get
SELECT provider, model, key_name, base_url, embedding, sealed_key, "window", judge, update_time FROM responsa.default_model;

-- name: put
INSERT INTO responsa.default_model (provider, model, key_name, base_url, embedding, sealed_key, "window", judge)
VALUES (%(provider)s, %(model)s, %(key_name)s, %(base_url)s, %(embedding)s, %(sealed_key)s, %(window)s, %(judge)s)
ON CONFLICT (single) DO UPDATE SET
    provider = excluded.provider, model = excluded.model, key_name = excluded.key_name, base_url = excluded.base_url,
    embedding = excluded.embedding, sealed_key = excluded.sealed_key, "window" = excluded."window", judge = excluded.judge, update_time = now()
    WHERE (default_model.provider, default_model.model, default_model.key_name, default_model.base_url, default_model.embedding,
        default_model.sealed_key, default_model."window", default_model.judge)
        IS DISTINCT FROM (excluded.provider, excluded.model, excluded.key_name, excluded.base_url, excluded.embedding, excluded.sealed_key,
        excluded."window", excluded.judge);

-- name: forget
DELETE FROM responsa.learned_model WHERE learn_time < now() - interval '1 day';

-- name: learn
INSERT INTO responsa.learned_model (base_url, model, facts) VALUES (%(base_url)s, %(model)s, %(facts)s)
ON CONFLICT (base_url, model) DO UPDATE SET facts = learned_model.facts || excluded.facts;

-- name: learned
SELECT base_url, model, facts FROM responsa.learned_model WHERE learn_time >= now() - interval '1 day';
