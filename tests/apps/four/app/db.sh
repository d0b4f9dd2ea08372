#!/bin/sh
# PostgreSQL as its own user on a folder that is made when it is empty.
set -e
data=/var/lib/postgresql/data
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir -p "$data"
chown postgres "$data"
chmod 700 "$data"
if [ ! -s "$data/PG_VERSION" ]; then
    runuser -u postgres -- "$bin/initdb" -D "$data" -A trust -U app --no-locale -E UTF8 >/dev/null
    echo "host all all all trust" >>"$data/pg_hba.conf"
    echo "create database app;" | runuser -u postgres -- "$bin/postgres" --single -D "$data" postgres >/dev/null
    echo "create table done (id serial primary key, what text, at timestamptz default now());" |
        runuser -u postgres -- "$bin/postgres" --single -D "$data" app >/dev/null
fi
exec runuser -u postgres -- "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
