#!/usr/bin/env bash
# What the client's start brings in: every library costs each command time, and some cost more than all the rest.
# Usage: loads.sh BIN_DIR
set -eu
loaded=$(ldd "$1/atp-docker" | sed -n 's/^[[:space:]]*\(lib[^ ]*\) =>.*/\1/p')
[ -n "$loaded" ] || { echo "ldd says nothing of $1/atp-docker" >&2; exit 1; }
bad=0
for library in $loaded; do
    case $library in
    libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | libasan.so.* | libubsan.so.*) ;;
    libjansson.so.* | libsqlite3.so.* | libnghttp2.so.* | libprotobuf-c.so.* | libfyaml.so.* | libzstd.so.*) ;;
    *)
        echo "atp-docker loads $library when it starts: use it through compat/lib" >&2
        bad=1
        ;;
    esac
done
exit $bad
