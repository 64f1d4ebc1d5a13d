#!/bin/sh
# Makes the passwords of compose.yaml, in .env beside it, which only this user may read. Those that are there stay.
set -eu
umask 077
file=$(dirname "$0")/.env
if [ -L "$file" ]; then
    echo "$file is a link: remove it" >&2
    exit 1
fi
touch "$file"
chmod 600 "$file"
for name in SUPERUSER OWNER ENGINE AUDITOR RABBITMQ; do
    if ! grep -q "^FOLDBOOK_${name}_PASSWORD=." "$file"; then
        echo "FOLDBOOK_${name}_PASSWORD=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >>"$file"
    fi
done
