-- The default model of the installation. The role responsa_app reads and writes it.

-- name: get
SELECT provider, model, key_name, base_url, embedding, sealed_key, update_time FROM responsa.default_model;

-- name: put
INSERT INTO responsa.default_model (provider, model, key_name, base_url, embedding, sealed_key)
VALUES (%(provider)s, %(model)s, %(key_name)s, %(base_url)s, %(embedding)s, %(sealed_key)s)
ON CONFLICT (single) DO UPDATE SET
    provider = excluded.provider, model = excluded.model, key_name = excluded.key_name, base_url = excluded.base_url,
    embedding = excluded.embedding, sealed_key = excluded.sealed_key, update_time = now()
    WHERE (default_model.provider, default_model.model, default_model.key_name, default_model.base_url, default_model.embedding,
        default_model.sealed_key)
        IS DISTINCT FROM (excluded.provider, excluded.model, excluded.key_name, excluded.base_url, excluded.embedding, excluded.sealed_key);
