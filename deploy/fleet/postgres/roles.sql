-- The database of a fleet and its two roles. See docs/fleet.md. As a superuser of
-- the server, or whoever may create databases and roles there:
--
--   psql --no-psqlrc --set ON_ERROR_STOP=1 --file roles.sql
--   psql --command '\password mintmark_owner' --command '\password mintmark'
--
-- mintmark_owner owns the tables: init, upgrades and moves connect as it.
-- mintmark is what nodes are while they run: it reads and writes rows, listens and
-- notifies, and can neither make, change nor drop a table.
--
-- A second run changes nothing.

SELECT 'CREATE ROLE mintmark_owner LOGIN NOINHERIT'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mintmark_owner') \gexec
SELECT 'CREATE ROLE mintmark LOGIN NOINHERIT'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mintmark') \gexec

-- A managed server's administrator is no superuser and must belong to the role
-- that it makes an owner.
GRANT mintmark_owner TO CURRENT_USER;

SELECT 'CREATE DATABASE mintmark OWNER mintmark_owner ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'mintmark') \gexec

REVOKE ALL ON DATABASE mintmark FROM PUBLIC;
GRANT CONNECT ON DATABASE mintmark TO mintmark;

-- A commit that was answered is on a disk.
ALTER ROLE mintmark_owner IN DATABASE mintmark SET synchronous_commit = 'on';
ALTER ROLE mintmark IN DATABASE mintmark SET synchronous_commit = 'on';
-- Three nodes with room for the one that comes while another goes.
ALTER ROLE mintmark CONNECTION LIMIT 60;

\connect mintmark

-- Nobody but the owner makes anything in it.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO mintmark_owner;
GRANT USAGE ON SCHEMA public TO mintmark;

-- What the owner has made, and what it will make.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO mintmark;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO mintmark;
ALTER DEFAULT PRIVILEGES FOR ROLE mintmark_owner IN SCHEMA public
	GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO mintmark;
ALTER DEFAULT PRIVILEGES FOR ROLE mintmark_owner IN SCHEMA public
	GRANT USAGE, SELECT ON SEQUENCES TO mintmark;
