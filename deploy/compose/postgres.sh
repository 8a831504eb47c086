#!/bin/sh
# Makes the database and its owner, who is no superuser, when the container of PostgreSQL starts for the first time.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$(cat /run/secrets/database_password)" --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
CREATE ROLE responsa LOGIN CREATEROLE PASSWORD :'password';
-- What a backup reads as, which a login that is no superuser cannot make.
CREATE ROLE responsa_backup NOLOGIN BYPASSRLS;
GRANT responsa_backup TO responsa;
CREATE DATABASE responsa OWNER responsa;
\connect responsa
CREATE EXTENSION vector;
SQL
