#!/bin/sh
# PostgreSQL on the volume at /data, made there if there is none yet. Clients come with the password of $PGPASSWORD.
# A start that was cut short leaves no half-made database: it gets its name when it is whole.
set -eu
if [ ! -d /data/pg ]; then
  rm -rf /data/pg.new
  umask 077
  printf '%s\n' "$PGPASSWORD" >/tmp/password
  initdb --pgdata=/data/pg.new --username=postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
    --no-locale --encoding=UTF8 --data-checksums --set=unix_socket_directories=/tmp
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>/data/pg.new/pg_hba.conf
  sync -f /data/pg.new
  mv /data/pg.new /data/pg
fi
# the defaults, said aloud: a COMMIT is answered when it is on disk
exec postgres -D /data/pg -c listen_addresses='*' -c fsync=on -c synchronous_commit=on -c shared_buffers=32MB "$@"
