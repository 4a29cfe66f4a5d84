#!/bin/bash
# Sends the site what it asked of this machine: the end of the project's log, its database, its media files, or what a
# management command prints.
# Before it come a block of values (EC_…), the library of steps and the program that does it.

case $EC_KIND in
  log | database | media | command) ;;
  *)
    echo "There is no \"$EC_KIND\" to send." >&2
    exit 64
    ;;
esac
cd /
install -d -m 700 /var/lib/ec-deployer
# Another fetch may unpack the same program at this moment.
exec 9>/var/lib/ec-deployer/fetch.lock
flock 9
unpack
exec 9>&-
# The token and the command go through a pipe: a command line is everybody's to read.
printf '%s\n' "$EC_TOKEN" "$EC_COMMAND" |
  timeout -k 10 3600 python3 -IS "$EC_LIB/fetch.py" send "$EC_KIND" "$EC_CALLBACK_URL/fetches/$EC_FETCH"
