# Bind mounts: what the command left is on the host when it returns, what the host had is seen when it starts.
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}
# Everything that a tree is: names, types, modes, owners, exact times, links, contents.
tree_of() {
    (cd "$1" && find . -printf '%p|%y|%m|%U:%G|%T@|%l|%n\n' | sort && find . -type f -print0 | sort -z | xargs -0 -r sha256sum)
}

@test "a file travels both ways" {
    echo host >a
    docker run --rm -v "$PWD:/work" -w /work "$IMAGE" sh -c 'cat a; echo container >b'
    [ "$(cat b)" = container ]
}

@test "an untouched tree comes back untouched, to the nanosecond" {
    mkdir -p d/e empty && echo x >d/f && ln -s ../nowhere d/link && ln d/f hard && chmod 755 d/f && chmod 700 d/e
    touch -d '2001-02-03 04:05:06.123456789' d/f d
    printf 'x' >"$(printf 'new\nline')"
    printf 'y' >"$(printf 'not\xffutf8')"
    tree_of . >"$SUITE/before.tree"
    docker run --rm -v "$PWD:/work" "$IMAGE" true
    tree_of . >"$SUITE/after.tree"
    diff "$SUITE/before.tree" "$SUITE/after.tree"
}

@test "deletions, modes, links, empty folders and times come back" {
    mkdir gone && touch gone/a stays
    docker run --rm -v "$PWD:/work" -w /work "$IMAGE" sh -c '
        rm -r gone; mkdir -p new/empty; echo hi >new/f; chmod 750 new/f; ln -s f new/l; ln new/f new/h
        touch -d "2003-04-05 06:07:08" new/f'
    [ ! -e gone ]
    [ -d new/empty ]
    [ "$(stat -c %a new/f)" = 750 ]
    [ "$(readlink new/l)" = f ]
    [ "$(stat -c %i new/f)" = "$(stat -c %i new/h)" ]
    [ "$(stat -c %y new/f | cut -c1-19)" = "2003-04-05 06:07:08" ]
}

@test ":ro is never pulled" {
    echo host >a
    docker run --rm -v "$PWD:/work:ro" "$IMAGE" sh -c 'echo changed >/work/a; echo new >/work/b; true' || true
    [ "$(cat a)" = host ]
    [ ! -e b ]
}

@test "a single file, written in place" {
    echo one >conf
    inode=$(stat -c %i conf)
    docker run --rm -v "$PWD/conf:/etc/conf" "$IMAGE" sh -c 'cat /etc/conf; echo two >/etc/conf'
    [ "$(cat conf)" = two ]
    [ "$(stat -c %i conf)" = "$inode" ]
}

@test "a failing command's files are pulled too" {
    run docker run --rm -v "$PWD:/work" "$IMAGE" sh -c 'echo x >/work/left; exit 3'
    [ "$status" -eq 3 ]
    [ "$(cat left)" = x ]
}

@test "a missing source is made by -v and refused by --mount" {
    docker run --rm -v "$PWD/made:/m" "$IMAGE" touch /m/x
    [ -e made/x ]
    run docker run --rm --mount "type=bind,source=$PWD/nope,target=/m" "$IMAGE" true
    [ "$status" -eq 125 ]
    [[ "$output" == *"bind source path does not exist: $PWD/nope"* ]]
}

@test "bad -v texts" {
    for spec in ':/x' 'a:/b:c:d' '/a:rel' '/a:/b:bogus' '/a:/'; do
        run docker run --rm -v "$spec" "$IMAGE" true
        [ "$status" -eq 125 ] || { echo "$spec: $status $output"; false; }
    done
    run docker run --rm -v /:/host "$IMAGE" true
    [ "$status" -eq 125 ]
}

@test "a conflict keeps both versions" {
    echo base >f
    mkfifo "$SUITE/tube"
    docker run --rm -i -v "$PWD:/work" "$IMAGE" sh -c 'echo container >/work/f; echo written; cat' <"$SUITE/tube" >"$SUITE/said" 2>"$SUITE/notes" 3>&- &
    pid=$!
    exec 4>"$SUITE/tube"
    for _ in $(seq 600); do ! grep -q written "$SUITE/said" || break; sleep 0.1; done
    echo host >f
    exec 4>&- # it ends
    wait $pid
    [ "$(cat f)" = host ]
    grep -q 'f' "$SUITE/notes"
    grep -rqx container "$XDG_STATE_HOME/atp-docker"
}

@test "what the image had at the target is hidden" {
    docker run --rm -v "$PWD:/etc" "$IMAGE" sh -c 'ls /etc' >out || true
    if grep -q passwd out; then return 1; fi
}

@test "a 2 GiB sparse file costs little and arrives whole" {
    truncate -s 2G big && printf end | dd of=big bs=1 seek=2147483645 conv=notrunc 2>/dev/null
    [ "$(docker run --rm -v "$PWD:/work:ro" "$IMAGE" sh -c 'stat -c %s /work/big; tail -c 3 /work/big')" = $'2147483648\nend' ]
}

@test "a lifetime that ends stops the command, and its changes still come back" {
    run docker run --rm --label modal.timeout=2 -v "$PWD:/work" "$IMAGE" sh -c 'echo kept >/work/f; sleep 100'
    [ "$status" -eq 124 ]
    [[ "$output" == *"its time is over (label modal.timeout)"* ]]
    [ "$(cat f)" = kept ]
}
