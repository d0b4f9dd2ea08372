#!/usr/bin/env bash
# What the client's start brings in: every library costs each command time, and some cost more than all the rest. And the
# agent, which is sent to every container: it needs nothing that an image would have to hold, and is less than 1 MiB.
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
if readelf -lW "$1/atp-agent" | grep -q INTERP || readelf -dW "$1/atp-agent" | grep -q NEEDED; then
    echo "atp-agent needs an interpreter or a library" >&2
    bad=1
fi
size=$(stat -c %s "$1/atp-agent")
[ "$size" -lt 1048576 ] || { echo "atp-agent has $size bytes" >&2; bad=1; }
exit $bad
