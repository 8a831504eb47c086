"""Rights in the database. The tests compare every table, policy, grant and SECURITY DEFINER function with a list, and
check the rows that a tenant sees if only the policies separate tenants.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from responsa_local.embedded import EmbeddedPostgres
from responsa_server.stores.postgres.migrate import migrate
from tests.conftest import DatabaseUrls, urls_of

# Conditions of restrictive policies, which the caller's transaction must meet in addition to `tenant_isolation`; see
# 0003_pre_knowledge.sql.
_SERVER = "( SELECT responsa.unrestricted() AS unrestricted)"
_ADMIN = "(( SELECT responsa.acting_role() AS acting_role) = 'admin'::text)"
_READABLE = "( SELECT unnest(responsa.readable_collections()) AS unnest)"
_SUBJECTS = "( SELECT responsa.readable_subjects() AS readable_subjects)"
_ALL_SUBJECTS = "( SELECT (responsa.readable_subjects() IS NULL))"
ACCESS: Mapping[str, str] = {
    "collection": f"({_SERVER} OR ({_ADMIN} AND (conversation_id IS NULL)) OR (id IN {_READABLE}))",
    **dict.fromkeys(
        ("collection_reader", "collection_generation"),
        f"({_SERVER} OR {_ADMIN} OR (collection_id IN {_READABLE}))",
    ),
    **dict.fromkeys(
        ("document", "passage"),
        f"({_SERVER} OR ((collection_id IN {_READABLE}) AND ((subject = ''::text) OR (subject = ANY ({_SUBJECTS})) OR {_ALL_SUBJECTS})))",
    ),
    **dict.fromkeys(
        ("subject_stat", "subject_term_stat"),
        f"({_SERVER} OR ((collection_id IN {_READABLE}) AND ((subject = ANY ({_SUBJECTS})) OR {_ALL_SUBJECTS})))",
    ),
    **dict.fromkeys(("deleted_document", "last_reader"), _SERVER),
    **dict.fromkeys(("collection_stat", "term_stat"), f"({_SERVER} OR (collection_id IN {_READABLE}))"),
    "document_version": (
        f"({_SERVER} OR (EXISTS ( SELECT FROM responsa.document d WHERE ((d.tenant_id = "
        "document_version.tenant_id) AND (d.id = document_version.document_id)))))"
    ),
    "passage_vector": f"({_SERVER} OR ((collection_id IN {_READABLE}) AND ((( SELECT "
    "responsa.hides_subjects(responsa.current_tenant(), NULL) AS hides_subjects) IS NOT TRUE)"
    " OR (EXISTS ( SELECT FROM responsa.passage p WHERE (p.id = passage_vector.passage_id))))))",
    "generation_vector": f"({_SERVER} OR (EXISTS ( SELECT FROM responsa.passage p WHERE (p.id = generation_vector.passage_id))))",
    "operation": f"({_SERVER} OR {_ADMIN} OR (user_id = ( SELECT responsa.acting_user() AS acting_user)) OR (collection_id IN {_READABLE})"
    " OR (EXISTS ( SELECT FROM responsa.document d WHERE ((d.tenant_id = operation.tenant_id) AND (d.id = operation.document_id)))))",
}
# Every caller but a widget reads all turns of the tenant; the stores ask for those of one user.
WIDGETS = {"turn": "((( SELECT responsa.acting_role() AS acting_role) <> 'widget'::text) OR widget)"}
OWN = "(tenant_id = responsa.current_tenant())"
ALL = "SELECT INSERT UPDATE DELETE"


@dataclass(frozen=True, slots=True)
class Table:
    """The grants of each role on a table, and its policies other than `tenant_isolation`. A policy is (role, command,
    condition, condition for written rows).
    """

    app: str = ""
    log: str = ""
    search: str = ""
    policies: tuple[tuple[str, str, str | None, str | None], ...] = ()


READS = ("responsa_search", "SELECT", "true", None)
LOG = ("responsa_log", "ALL", "true", "true")
READS_LOG = ("responsa_log", "SELECT", "true", None)
# Two functions read the open turns of all tenants: one counts them, and the other prevents the pruning of their logs.
OPEN = (
    "responsa_owner",
    "SELECT",
    "(state = ANY (ARRAY['queued'::text, 'pending'::text, 'running'::text]))",
    None,
)

# The function that erases a tenant runs as the owner. Every table of tenants has this policy, except for the audit log,
# whose addresses are blanked.
ERASES = ("responsa_owner", "ALL", OWN, None)
# The function that deletes old audit events runs as the owner.
OLD_EVENTS = "(create_time < (now() - '30 days'::interval))"

# All tables of tenants force row-level security and have the policy `tenant_isolation` for responsa_app. These have
# other rights than `rights` gives by default.
_OTHER_RIGHTS: Mapping[str, Table] = {
    "api_key": Table(app=ALL, search="SELECT", policies=(READS,)),
    "app_user": Table(
        app="SELECT INSERT DELETE UPDATE(disable_time,display_name,email,last_sign_in_time,owner,revision,role,subject,update_time)",
        search="SELECT",
        policies=(READS,),
    ),
    "asked_program": Table(
        app="SELECT UPDATE DELETE", search=ALL, policies=(("responsa_search", "ALL", "true", None),)
    ),
    "audit_event": Table(
        app="SELECT INSERT",
        policies=(
            ("responsa_owner", "SELECT", OLD_EVENTS, None),
            ("responsa_owner", "DELETE", OLD_EVENTS, None),
            ("responsa_owner", "SELECT", OWN, None),
            ("responsa_owner", "UPDATE", OWN, None),
        ),
    ),
    "citation": Table(app="SELECT INSERT DELETE"),
    "collection": Table(
        app=ALL, search="SELECT(conversation_id,id,owner_id,slug,tenant_id)", policies=(READS,)
    ),
    "collection_reader": Table(
        app=ALL, search="SELECT(collection_id,group_id,role,tenant_id,user_id)", policies=(READS,)
    ),
    "collection_stat": Table(app=ALL, search="SELECT(collection_id,passages,tenant_id)", policies=(READS,)),
    "conversation": Table(
        app="SELECT INSERT DELETE UPDATE(archived,labels,pinned,revision,title,titled,turn_bytes,update_time)"
    ),
    "deleted_document": Table(app="SELECT INSERT DELETE UPDATE(subject)", search="SELECT", policies=(READS,)),
    "document": Table(app=ALL, search="SELECT(collection_id,id,subject,tenant_id)", policies=(READS,)),
    "email_confirmation": Table(
        app="SELECT INSERT DELETE", search="SELECT(code_sha256,tenant_id)", policies=(READS,)
    ),
    "erased_document": Table(app="SELECT INSERT DELETE"),
    "erasure": Table(app="SELECT INSERT UPDATE(end_time,receipt,sweep_time)"),
    "group_member": Table(app="SELECT INSERT DELETE", search="SELECT", policies=(READS,)),
    "generation_vector": Table(app=ALL, search="SELECT", policies=(READS,)),
    "invitation": Table(
        app="SELECT INSERT DELETE UPDATE(groups)", search="SELECT(code_sha256,tenant_id)", policies=(READS,)
    ),
    "last_reader": Table(app="SELECT INSERT DELETE", search="SELECT", policies=(READS,)),
    "mail": Table(app="SELECT INSERT DELETE"),
    "message": Table(app="SELECT INSERT UPDATE(content,refusal)"),
    "message_count": Table(app="SELECT INSERT DELETE"),
    "oidc_state": Table(app="SELECT INSERT DELETE"),
    "passage": Table(app=ALL, search="SELECT", policies=(READS,)),
    "passage_vector": Table(app=ALL, search="SELECT", policies=(READS,)),
    "refresh_token": Table(
        app="SELECT INSERT DELETE UPDATE(kid,request_id,successor_sha256,use_time)",
        search="SELECT(tenant_id,token_sha256)",
        policies=(READS,),
    ),
    "reset_code": Table(
        app="SELECT INSERT DELETE", search="SELECT(code_sha256,tenant_id)", policies=(READS,)
    ),
    "session": Table(
        app="SELECT INSERT DELETE UPDATE(expire_time,last_use_time,token_sha256)",
        search="SELECT",
        policies=(READS,),
    ),
    "session_code": Table(
        app="SELECT INSERT DELETE",
        search="SELECT DELETE",
        policies=(("responsa_search", "ALL", "true", None),),
    ),
    "share": Table(app="SELECT INSERT DELETE UPDATE(expire_time)"),
    "subject_stat": Table(
        app=ALL, search="SELECT(collection_id,passages,subject,tenant_id)", policies=(READS,)
    ),
    "service_grant": Table(app="SELECT INSERT DELETE", search="SELECT", policies=(READS,)),
    "tenant": Table(
        app="SELECT INSERT UPDATE(budget_micros,display_name,end_time,erase_time,erased,question_texts,suspend_time)",
        log="SELECT(erase_time,id,question_texts,suspend_time)",
        search="SELECT",
        policies=(READS, READS_LOG, ("responsa_owner", "SELECT", "(id = responsa.current_tenant())", None)),
    ),
    "turn": Table(
        app=(
            "SELECT INSERT DELETE "
            "UPDATE(cost_micros,embedding_tokens,end_time,epoch,input_tokens,last_seq,lease_until,"
            "output_tokens,read_documents,read_versions,reserved_micros,reserved_tokens,short_of_micros,"
            "short_of_tokens,state,terminal,unpriced_tokens)"
        ),
        log=(
            "SELECT "
            "UPDATE(alone,attempt,begin_time,epoch,first_words_time,last_seq,lease_until,losses,owner,"
            "read_documents,read_versions,state)"
        ),
        policies=(LOG, OPEN),
    ),
    "turn_checkpoint": Table(
        app="SELECT(cost_micros,embedding_tokens,input_tokens,output_tokens,state,tenant_id,turn_id,unpriced_tokens) DELETE",
        log="SELECT INSERT UPDATE DELETE",
        policies=(LOG,),
    ),
    "turn_event": Table(app="SELECT INSERT DELETE", log="SELECT INSERT", policies=(LOG,)),
    "turn_follower": Table(app="SELECT DELETE", log="SELECT INSERT DELETE UPDATE(until)", policies=(LOG,)),
    "turn_spent": Table(
        app="SELECT INSERT DELETE",
        log="INSERT",
        policies=(("responsa_log", "INSERT", None, "true"),),
    ),
    "pattern_loss": Table(app="SELECT INSERT DELETE", log="SELECT(tenant_id)", policies=(READS_LOG,)),
    "quality_day": Table(app="SELECT", log="SELECT INSERT UPDATE", policies=(LOG,)),
    "quality_hour": Table(app="SELECT", log="SELECT INSERT UPDATE", policies=(LOG,)),
    "question_event": Table(
        app="SELECT DELETE UPDATE(turn_id,user_id)", log="SELECT INSERT", policies=(LOG,)
    ),
    "question_pattern": Table(app=ALL, log="SELECT(tenant_id,title,title_time,turns)", policies=(READS_LOG,)),
    "usage_event": Table(
        app="SELECT INSERT UPDATE(turn_id,user_id)", log="SELECT INSERT DELETE", policies=(LOG,)
    ),
    "usage_day": Table(app="SELECT DELETE", log="SELECT INSERT UPDATE", policies=(LOG,)),
    "usage_hour": Table(app="SELECT DELETE", log="SELECT INSERT UPDATE", policies=(LOG,)),
    "user_identity": Table(app="SELECT INSERT DELETE UPDATE(sign_in_time)"),
    "user_limit": Table(app="SELECT INSERT DELETE UPDATE(value)"),
    "turn_tool": Table(
        app="SELECT(call_id,sources,tenant_id,tool,turn_id) DELETE",
        log="SELECT INSERT DELETE UPDATE(content,data,end_time,fault,outcome,sources)",
        policies=(LOG,),
    ),
}


def rights(table: str) -> Table:
    """The rights on a table with tenants' data: by default, the server writes and reads the tenant's rows, and nobody else reaches them."""
    return _OTHER_RIGHTS.get(table, Table(app=ALL))


# These tables hold no tenant's data: attempts are counted under digests of names that may not exist. Agents, the
# default model, what was learned of models, a pause and the last backup belong to the installation. Jobs contain ids
# and no payloads, and only the log role uses the queue.
OTHER_TABLES: Mapping[str, Table] = {
    "responsa.sign_in_attempt": Table(app=ALL),
    "responsa.signing_key": Table(app="SELECT INSERT DELETE"),
    "responsa.default_model": Table(app="SELECT INSERT UPDATE"),
    "responsa.learned_model": Table(app=ALL),
    "responsa.agent_version": Table(app="SELECT INSERT", log="SELECT"),
    "responsa.agent_publication": Table(app="SELECT INSERT DELETE"),
    "responsa.agent_listing": Table(app=ALL),
    "responsa.experiment": Table(app="SELECT INSERT UPDATE(stop_time,stopped_by)"),
    "responsa.experiment_turn": Table(
        app="SELECT INSERT UPDATE(rating)", log="SELECT UPDATE(cost_micros,milliseconds,state,unsupported)"
    ),
    "responsa.migration": Table(app="SELECT", log="SELECT"),
    "responsa.last_backup": Table(log="SELECT"),
    "responsa.pause": Table(app="SELECT", log="SELECT DELETE UPDATE(turns)"),
    "procrastinate.procrastinate_events": Table(app="INSERT", log=ALL),
    "procrastinate.procrastinate_jobs": Table(app="INSERT SELECT(id)", log=ALL),
    "procrastinate.procrastinate_periodic_defers": Table(log=ALL),
    "procrastinate.procrastinate_workers": Table(log=ALL),
}
# The SECURITY DEFINER functions, each with its owner and the roles that may call it.
FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "unreadable_documents": ("responsa_search", "responsa_app,responsa_log"),
    "role_of": ("responsa_search", "responsa_app,responsa_log"),
    "find_caller_of_key": ("responsa_search", "responsa_app"),
    "unread_by_widget": ("responsa_search", "responsa_app"),
    "find_signed_in": ("responsa_search", "responsa_app"),
    "find_signed_in_as": ("responsa_search", "responsa_app"),
    "tenant_of_secret": ("responsa_search", "responsa_app"),
    "take_sign_in_code": ("responsa_search", "responsa_app"),
    "ask_for_redirects": ("responsa_search", "responsa_app"),
    "allowed_redirects": ("responsa_search", "responsa_app"),
    "ended_credentials": ("responsa_search", "responsa_app"),
    "readable_collections": ("responsa_search", "responsa_app"),
    "readable_subjects": ("responsa_search", "responsa_app"),
    "few_readable": ("responsa_search", ""),
    "few_of_many": ("responsa_search", ""),
    "hides_subjects": ("responsa_search", "responsa_app"),
    "search_lexical_within": ("responsa_search", "responsa_app"),
    "search_words": ("responsa_search", "responsa_app"),
    "search_nearest_within": ("responsa_search", "responsa_app"),
    "search_generations": ("responsa_search", "responsa_app"),
    "make_turn_event_partitions": ("responsa_owner", "responsa_log"),
    "detach_turn_events": ("responsa_owner", "responsa_log"),
    "drop_turn_events": ("responsa_owner", "responsa_log"),
    "prune_audit_events": ("responsa_owner", "responsa_log"),
    "pending_turns": ("responsa_owner", "responsa_app"),
    "hasten_job": ("responsa_owner", "responsa_app"),
    "standing": ("responsa_search", "responsa_app"),
    "standing_of": ("responsa_search", "responsa_app"),
    "changed_callers": ("responsa_search", "responsa_app"),
    "granted": ("responsa_search", "responsa_app"),
    "all_tenants": ("responsa_search", "responsa_app"),
    "suspended_tenants": ("responsa_search", "responsa_log"),
    "erase_tenant_rows": ("responsa_owner", "responsa_app"),
    "erase_audit_addresses": ("responsa_owner", "responsa_app"),
    "erase_addresses_of_user": ("responsa_owner", "responsa_app"),
}

_TABLES = """
    SELECT n.nspname, c.relname, c.relrowsecurity AND c.relforcerowsecurity, c.relispartition, c.oid
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('responsa', 'procrastinate', 'public') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    ORDER BY 1, 2
"""
_GRANTS = """
    SELECT CASE WHEN g.grantee = 0 THEN 'public' ELSE g.grantee::regrole::text END, g.privilege_type, g.name
    FROM (
        SELECT a.grantee, a.privilege_type, '' AS name FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = %(table)s
        UNION ALL
        SELECT a.grantee, a.privilege_type, t.attname
        FROM pg_attribute AS t, aclexplode(t.attacl) AS a WHERE t.attrelid = %(table)s
    ) AS g
    WHERE g.grantee <> 'responsa_owner'::regrole
"""
_POLICIES = """
    SELECT policyname, array_to_string(roles, ','), cmd, qual, with_check FROM pg_policies
    WHERE schemaname = %s AND tablename = %s AND permissive = 'PERMISSIVE' ORDER BY 1
"""


_RESTRICTIVE = """
    SELECT tablename, policyname, array_to_string(roles, ','), cmd, qual, with_check FROM pg_policies WHERE permissive = 'RESTRICTIVE'
"""


@pytest.fixture
def owner(database_urls: DatabaseUrls) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_urls.superuser) as connection:
        yield connection


def tenant_tables(connection: psycopg.Connection) -> list[str]:
    """The tables with tenants' data: those with the column `tenant_id`, and that of the tenants. Partitions are left out."""
    rows = connection.execute(
        """SELECT c.relname FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            AND NOT a.attisdropped
        WHERE c.relnamespace = 'responsa'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND (a.attname IS NOT NULL OR c.relname = 'tenant')
        ORDER BY 1"""
    )
    return [name for (name,) in rows]


def grants(connection: psycopg.Connection, table: int) -> Table:
    """The grants of the three roles on a table, as a `Table`. Fails if any other role has a grant."""
    granted: dict[str, set[str]] = {"responsa_app": set(), "responsa_log": set(), "responsa_search": set()}
    columns: dict[tuple[str, str], list[str]] = {}
    for role, privilege, column in connection.execute(_GRANTS, {"table": table}):
        assert role in granted, f"a grant to {role}"
        if column:
            columns.setdefault((role, privilege), []).append(column)
        else:
            granted[role].add(privilege)
    for (role, privilege), names in columns.items():
        granted[role].add(f"{privilege}({','.join(sorted(names))})")
    order = ("SELECT", "INSERT", "UPDATE", "DELETE")
    written = {
        role: " ".join(sorted(held, key=lambda one: (order.index(one) if one in order else 9, one)))
        for role, held in granted.items()
    }
    return Table(written["responsa_app"], written["responsa_log"], written["responsa_search"])


def test_every_table_has_the_policies_and_grants_that_are_listed(owner: psycopg.Connection) -> None:
    tenants = set(tenant_tables(owner))
    expected = {f"responsa.{name}": rights(name) for name in tenants} | dict(OTHER_TABLES)
    seen: set[str] = set()
    for schema, name, forced, partition, oid in owner.execute(_TABLES).fetchall():
        policies = owner.execute(_POLICIES, (schema, name)).fetchall()
        held = grants(owner, oid)
        if partition:  # a partition can be reached only through its parent
            assert forced, name
            assert (policies, held) == ([], Table()), name
            continue
        table = expected[f"{schema}.{name}"]
        seen.add(f"{schema}.{name}")
        ordered = [
            " ".join(sorted(one.split(), key=lambda word: (_rank(word), word)))
            for one in (table.app, table.log, table.search)
        ]
        assert [held.app, held.log, held.search] == ordered, name
        if schema != "responsa" or name not in tenants:
            assert policies == [], name
            continue
        assert forced, name
        own = OWN if name != "tenant" else "(id = responsa.current_tenant())"
        erases = [] if name in ("tenant", "audit_event") else [ERASES]
        wanted = [("responsa_app", "ALL", own, own), *erases, *table.policies]
        assert sorted(policies_of(policies), key=str) == sorted(wanted, key=str), name
        isolation = [policy for policy in policies if policy[0] == "tenant_isolation"]
        assert len(isolation) == 1, name
    assert seen == set(expected)
    assert _OTHER_RIGHTS.keys() <= tenants


def test_every_table_of_documents_asks_who_reads(owner: psycopg.Connection) -> None:
    found: dict[str, str] = {}
    for table, policy, roles, command, using, check in owner.execute(_RESTRICTIVE).fetchall():
        assert (policy, roles, command, check) == ("access", "responsa_app", "ALL", None), table
        found[table] = " ".join(using.split()).replace("::text[]", "")
    assert found == {
        name: condition.replace("::text[]", "") for name, condition in (*ACCESS.items(), *WIDGETS.items())
    }


def _rank(word: str) -> int:
    order = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return order.index(word) if word in order else 9


def policies_of(rows: list[Any]) -> list[tuple[str, str, str | None, str | None]]:
    return [(roles, command, using, check) for _, roles, command, using, check in rows]


def test_every_function_with_its_owners_rights_is_listed_and_not_everybodys(
    owner: psycopg.Connection,
) -> None:
    rows: list[tuple[str, str, list[str] | None, list[str]]] = owner.execute(
        """SELECT p.proname, p.proowner::regrole::text, p.proconfig,
            ARRAY(SELECT CASE WHEN a.grantee = 0 THEN 'public' ELSE a.grantee::regrole::text END
                FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee <> p.proowner)
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
    ).fetchall()
    assert {name: (owner_, ",".join(callers)) for name, owner_, _, callers in rows} == FUNCTIONS
    # A caller cannot replace the objects that such a function uses: callers cannot create objects in the schemas of the
    # function's search path, and pg_temp comes last.
    for name, _, config, _ in rows:
        (path,) = [one.removeprefix("search_path=") for one in config or [] if one.startswith("search_path=")]
        first, *between, last = [one.strip() for one in path.split(",")]
        assert (first, last) == ("pg_catalog", "pg_temp"), name
        for schema in between:
            creators = owner.execute(
                (
                    "SELECT rolname FROM pg_roles WHERE rolname IN ('responsa_app', 'responsa_log') AND "
                    "has_schema_privilege(rolname, %s, 'CREATE')"
                ),
                (schema,),
            ).fetchall()
            assert creators == [], (name, schema)


_SHADOW = """CREATE FUNCTION pg_temp.as_owner(given text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> session_user AND current_user <> 'responsa_log' THEN
        RAISE EXCEPTION 'ran as %', current_user;
    END IF;
    RETURN true;
END $$;
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.as_owner(VALUE::pg_catalog.text));
CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (pg_temp.as_owner(VALUE::pg_catalog.text));"""


def test_a_type_in_the_temporary_schema_runs_nothing_as_the_owner(
    owner: psycopg.Connection, database_urls: DatabaseUrls
) -> None:
    (name,) = owner.execute("SELECT current_database()").fetchone() or ("",)
    database_urls.ask(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)))
    for call in (
        "make_turn_event_partitions('21 days')",
        "detach_turn_events('30 days')",
        "drop_turn_events()",
    ):
        with psycopg.connect(database_urls.log, autocommit=True) as log:
            for statement in _SHADOW.split(";\nCREATE"):
                log.execute((statement if statement.startswith("CREATE") else f"CREATE{statement}").encode())
            log.execute(f"SELECT responsa.{call}".encode())


def test_nobody_but_the_owner_makes_temporary_tables_in_a_migrated_database(
    postgres: EmbeddedPostgres,
) -> None:
    name = "migrated_here"
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0".encode())
        try:
            urls = urls_of(postgres, name)
            urls.ask("CREATE EXTENSION vector")
            asyncio.run(migrate(urls.owner))
            for url in (urls.app, urls.log):
                with (
                    psycopg.connect(url, autocommit=True) as caller,
                    pytest.raises(psycopg.errors.InsufficientPrivilege, match="temporary tables"),
                ):
                    caller.execute("CREATE TEMPORARY TABLE mine ()")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_no_role_of_the_server_is_above_the_policies(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb, rolcanlogin FROM pg_roles WHERE rolname LIKE 'responsa%'"
    ).fetchall()
    found = {name: (above, login) for name, above, login in rows}
    # A dump of another database of this cluster makes a role that reads all rows, and nobody can log in with it.
    assert found.pop("responsa_backup", (True, False)) == (True, False)
    assert found == {
        "responsa_owner": (False, True),
        "responsa_app": (False, True),
        "responsa_log": (False, True),
        "responsa_search": (False, False),
    }
    members = owner.execute(
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members WHERE member::regrole::text LIKE 'responsa%'"
    ).fetchall()
    assert members == [("responsa_search", "responsa_owner")]


_SAMPLES: Mapping[str, str] = {
    "text": "'x'",
    "uuid": "gen_random_uuid()",
    "bytea": "decode(md5(random()::text) || md5(random()::text), 'hex')",
    "timestamp with time zone": "now()",
    "date": "current_date",
    "jsonb": "'{}'",
    "json": "'{}'",
    "boolean": "false",
    "tsvector": "''",
    "interval": "'1 s'",
}


@pytest.fixture
def two_tenants(owner: psycopg.Connection) -> list[str]:
    """Write a row for each of two tenants into every table with tenants' data. Constraints are removed first, so that the rows can have
    arbitrary values. Returns the names of the tables.
    """
    constraints = owner.execute(
        """SELECT c.conname, c.conrelid::regclass::text FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid
        WHERE c.connamespace = 'responsa'::regnamespace AND c.contype IN ('c', 'f') AND c.coninhcount = 0
            AND c.conparentid = 0 AND NOT t.relispartition"""
    ).fetchall()
    for name, table in constraints:
        owner.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
    tables = tenant_tables(owner)
    for table in tables:
        columns = owner.execute(
            """SELECT attname, format_type(atttypid, NULL), format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''""",
            (f"responsa.{table}",),
        ).fetchall()
        for tenant in ("acme", "rival"):
            values = {name: _sample(table, name, kind, whole, tenant) for name, kind, whole in columns}
            statement = (
                f"INSERT INTO responsa.{table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
            )
            owner.execute(statement.encode())
    owner.commit()
    return tables


def _sample(table: str, column: str, kind: str, whole: str, tenant: str) -> str:
    if column == ("id" if table == "tenant" else "tenant_id"):
        return f"'{tenant}'"
    if (table, column) == ("turn_event", "turn_id"):
        return "uuidv7()"
    if kind.endswith("[]"):
        return f"'{{}}'::{kind}"
    if kind.split(".")[-1] in ("halfvec", "vector"):
        # A column without a fixed length holds vectors of one dimension here, as its column `dimensions` says.
        length = whole.partition("(")[2].rstrip(")") or "1"
        return f"array_fill(1::real, ARRAY[{length}])::{whole}"
    return _SAMPLES.get(kind, "1")


def test_without_any_where_clause_a_tenant_reads_and_changes_its_own_rows_alone(
    two_tenants: list[str], owner: psycopg.Connection, database_urls: DatabaseUrls
) -> None:
    with psycopg.connect(database_urls.app) as app:
        for table in two_tenants:
            name = sql.Identifier("responsa", table)
            key = sql.Identifier("id" if table == "tenant" else "tenant_id")
            for tenant in ("acme", "rival"):
                app.execute("SELECT set_config('responsa.tenant_id', %s, true)", (tenant,))
                if table in ACCESS:
                    # A transaction that names no caller reads nothing.
                    assert app.execute(sql.SQL("SELECT FROM {}").format(name)).rowcount == 0, table
                app.execute("SELECT set_config('responsa.role', 'system', true)")
                assert app.execute(sql.SQL("SELECT {} FROM {}").format(key, name)).fetchall() == [
                    (tenant,)
                ], table
                granted = rights(table).app
                if "UPDATE" in granted:
                    column = (
                        granted.partition("UPDATE(")[2].partition(",")[0].partition(")")[0] or "tenant_id"
                    )
                    changed = app.execute(
                        sql.SQL("UPDATE {} SET {} = {}").format(name, *[sql.Identifier(column)] * 2)
                    )
                    assert changed.rowcount == 1, table
                if "DELETE" in granted:
                    assert app.execute(sql.SQL("DELETE FROM {}").format(name)).rowcount == 1, table
                app.rollback()
            assert app.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone() == (0,), table
            app.rollback()


def test_a_tenant_cannot_write_rows_of_another(
    two_tenants: list[str], owner: psycopg.Connection, database_urls: DatabaseUrls
) -> None:
    with psycopg.connect(database_urls.app) as app:
        for table in two_tenants:
            if "INSERT" not in rights(table).app:
                continue
            columns = owner.execute(
                """SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''""",
                (f"responsa.{table}",),
            ).fetchone()
            assert columns is not None
            listed = sql.SQL(columns[0])
            key = "id" if table == "tenant" else "tenant_id"
            # Copy the row for the other tenant. All columns except the tenant stay the same.
            taken = sql.SQL(
                columns[0].replace(key, "'rival'")
                if table == "tenant"
                else columns[0].replace("tenant_id", "'rival'")
            )
            app.execute(
                "SELECT set_config('responsa.tenant_id', 'acme', true), set_config('responsa.role', 'system', true)"
            )
            statement = sql.SQL("INSERT INTO {table} ({listed}) SELECT {taken} FROM {table}").format(
                table=sql.Identifier("responsa", table), listed=listed, taken=taken
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                app.execute(statement)
            app.rollback()


def test_the_owner_without_a_tenant_reads_what_its_functions_read_and_changes_few_tables(
    two_tenants: list[str], database_urls: DatabaseUrls
) -> None:
    """The owner is a member of responsa_search, so it has the policies of that role as well."""
    with psycopg.connect(database_urls.owner) as connection:
        for table in two_tenants:
            of_search = [policy for policy in rights(table).policies if policy[0] == "responsa_search"]
            name = sql.Identifier("responsa", table)
            count = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
            assert count == (2 if of_search else 0,), table
            gone = connection.execute(sql.SQL("DELETE FROM {}").format(name)).rowcount
            assert gone == (2 if table in ("session_code", "asked_program") else 0), table
            connection.rollback()


def test_the_log_role_reaches_the_log_of_all_tenants_and_nothing_else(
    two_tenants: list[str], database_urls: DatabaseUrls
) -> None:
    with psycopg.connect(database_urls.log) as log:
        for table in two_tenants:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("responsa", table))
            if "SELECT" in rights(table).log:
                assert log.execute(count).fetchone() == (2,), table
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    log.execute(count)
                log.rollback()
