-- The database and its logins, none of them a superuser. The image of PostgreSQL runs this once, as the superuser.
\set ON_ERROR_STOP on
\getenv owner_password FOLDBOOK_OWNER_PASSWORD
\getenv engine_password FOLDBOOK_ENGINE_PASSWORD
\getenv auditor_password FOLDBOOK_AUDITOR_PASSWORD
\getenv prepare_server FOLDBOOK_PREPARE_SERVER
create role foldbook login password :'owner_password';
create role foldbook_engine login password :'engine_password';
create role foldbook_auditor login password :'auditor_password';
create database foldbook owner foldbook;
revoke connect on database foldbook from public;
grant connect on database foldbook to foldbook_engine, foldbook_auditor;
\connect foldbook
\i :prepare_server
