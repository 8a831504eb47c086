#!/bin/sh
# Makes the files of the secrets of compose.yaml in the folder secrets beside this script. Files that exist stay as they are.
set -eu
umask 077
mkdir -p "$(dirname "$0")/secrets"
cd "$(dirname "$0")/secrets"

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
# The containers' users differ from this one. The folder keeps other users of this machine out.
keep() { [ -e "$1" ] || { cat >"$1" && chmod 0444 "$1"; }; }

for name in backup_key token_secret postgres_password database_password grafana_password QDRANT_API_KEY; do random | keep "$name"; done
# Those of your mail server and your webhook: write them into these files.
for name in alertmanager_mail_password alertmanager_webhook_token; do
    [ -e "$name" ] || install -m 0644 /dev/null "$name"
done
printf 'service:\n  api_key: %s\n' "$(cat QDRANT_API_KEY)" | keep qdrant.yaml
redis=$(random)
keep redis.conf <<CONF
requirepass $redis
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
CONF
redis=$(sed -n 's/^requirepass //p' redis.conf)
printf 'redis://:%s@redis:6379/0\n' "$redis" | keep REDIS_URL
printf 'postgresql://responsa:%s@postgres:5432/responsa\n' "$(cat database_password)" | keep DATABASE_URL
