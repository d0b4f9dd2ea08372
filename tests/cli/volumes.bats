# Named and anonymous volumes of plain containers, on the embedded engine.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    cat >"$BATS_FILE_TMPDIR/Dockerfile" <<END
FROM $REGISTRY/busybox:1
RUN mkdir /seed && echo seed >/seed/file && chown 12:34 /seed/file && chmod 640 /seed/file && chmod 750 /seed
VOLUME /declared
END
    docker build -q -t seeded "$BATS_FILE_TMPDIR" >/dev/null
}

teardown_file() {
    suite_stop
}

teardown() {
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f -v >/dev/null
    docker volume ls -q | xargs -r "$ATP_BIN/atp-docker" volume rm >/dev/null
}

box() {
    docker run --rm "$@"
}

@test "what a container wrote is there for the next one, with owners, modes, links and times" {
    docker volume create data
    box -v data:/data "$IMAGE" sh -c 'cd /data; echo x >f; chown 12:34 f; chmod 4751 f; mkdir -p d/e; chmod 1770 d
        ln -s f link; ln f other; mkfifo p; touch -d "2001-02-03 04:05:06" d/e; touch "sp ace" "$(printf "new\nline")"
        truncate -s 5M sparse; printf end >>sparse'
    run -0 box -v data:/elsewhere "$IMAGE" sh -c 'cd /elsewhere; cat f; stat -c "%a %u:%g %h" f; stat -c "%a" d
        readlink link; stat -c %F p; stat -c %y d/e; find . -mindepth 1 -maxdepth 1 -print0 | tr -cd "\\0" | wc -c; stat -c %s sparse; tail -c 3 sparse; du -k sparse | cut -f1'
    [ "${lines[0]}" = x ]
    [ "${lines[1]}" = "4751 12:34 2" ]
    [ "${lines[2]}" = 1770 ]
    [ "${lines[3]}" = f ]
    [ "${lines[4]}" = fifo ]
    [[ ${lines[5]} == "2001-02-03 04:05:06"* ]]
    [ "${lines[6]}" -eq 8 ]
    [ "${lines[7]}" = 5242883 ]
    [ "${lines[8]%%[0-9]*}" = end ]
}

@test "a new volume gets what the image has there, once; nocopy leaves it out" {
    run -0 box -v data:/seed seeded sh -c 'cat /seed/file; stat -c "%a %u:%g" /seed/file /seed; echo mine >/seed/file'
    [ "${lines[0]}" = seed ]
    [ "${lines[1]}" = "640 12:34" ]
    [ "${lines[2]}" = "750 0:0" ]
    run -0 box -v data:/seed seeded cat /seed/file
    [ "$output" = mine ]
    run -0 box -v other:/seed:nocopy seeded ls -A /seed
    [ -z "$output" ]
}

@test "what is removed stays removed, and a read-only mount is not saved" {
    box -v data:/d "$IMAGE" sh -c 'mkdir /d/a; echo 1 >/d/a/1; echo 2 >/d/2'
    box -v data:/d "$IMAGE" rm -r /d/a
    box -v data:/d:ro "$IMAGE" sh -c 'echo 3 >/d/3'
    run -0 box -v data:/d "$IMAGE" ls /d
    [ "$output" = 2 ]
}

@test "stop and start keep it, and restart sees it" {
    docker run -d --name c1 -v data:/d "$IMAGE" sh -c 'echo start >>/d/log; exec sleep 1000' >/dev/null
    docker stop -t 0 c1
    docker start c1
    docker restart -t 0 c1
    run -0 docker exec c1 cat /d/log
    [ "${#lines[@]}" -eq 3 ]
    docker rm -f c1
    run -0 box -v data:/d "$IMAGE" cat /d/log
    [ "${#lines[@]}" -eq 3 ]
}

@test "one container at a time writes to it; another reads what was saved last" {
    box -v data:/d "$IMAGE" sh -c 'echo saved >/d/f'
    docker run -d --name c1 -v data:/d "$IMAGE" sleep 1000 >/dev/null
    run -125 box -v data:/d "$IMAGE" true
    [[ $output == *"volume data is in use by the running container"*"(c1)"* ]]
    docker exec c1 sh -c 'echo not saved yet >/d/f'
    run -0 box -v data:/d:ro "$IMAGE" cat /d/f
    [ "$output" = saved ]
    docker stop -t 0 c1
    run -0 box -v data:/d "$IMAGE" cat /d/f
    [ "$output" = "not saved yet" ]
}

@test "kill -9 of the sandbox leaves what was saved last" {
    docker run -d --name c1 --label modal.volume.save=1 -v data:/d "$IMAGE" sh -c 'echo old >/d/f; exec sleep 1000' >/dev/null
    for _ in $(seq 300); do
        docker exec c1 sh -c 'test -e /.atp/volumes/data/generations/*1' && break
        sleep 0.1
    done
    sleep 6 # the server commits every five seconds
    kill -9 "$(engine_pid)"
    for _ in $(seq 300); do
        [ -n "$(engine_pid)" ] || break
        sleep 0.1
    done
    run -0 box -v data:/d "$IMAGE" cat /d/f
    [ "$output" = old ]
}

@test "five thousand files, and of a second save only what changed" {
    box -v data:/d "$IMAGE" sh -c 'cd /d; for i in $(seq 50); do mkdir $i; for j in $(seq 100); do echo $i.$j >$i/$j; done; done'
    run -0 box -v data:/d "$IMAGE" sh -c 'find /d -type f | wc -l; cat /d/37/73; echo new >/d/37/73'
    [ "${lines[0]}" -eq 5000 ]
    [ "${lines[1]}" = 37.73 ]
    run -0 box -v data:/d:ro "$IMAGE" sh -c 'cat /d/37/73; ls /.atp/volumes/data/packs | wc -l; ls -S -l /.atp/volumes/data/packs | tail -1'
    [ "${lines[0]}" = new ]
    [ "${lines[1]}" -eq 2 ]
    [[ ${lines[2]} == *" 4 "* ]]
}

@test "anonymous volumes: shown, and gone with --rm and rm -v only" {
    docker create --name c1 -v /anon seeded >/dev/null
    run -0 docker inspect -f '{{range .Mounts}}{{.Type}} {{len .Name}} {{.Destination}};{{end}}' c1
    [ "$output" = "volume 64 /anon;volume 64 /declared;" ]
    [ "$(docker volume ls -q | wc -l)" -eq 2 ]
    docker rm c1
    [ "$(docker volume ls -q -f dangling=true | wc -l)" -eq 2 ]
    run -0 docker volume prune -f
    [ "${lines[0]}" = "Deleted Volumes:" ]
    [ "${#lines[@]}" -eq 4 ]
    docker run --name c2 seeded sh -c 'echo kept >/declared/f'
    docker rm -v c2
    box seeded true
    [ -z "$(docker volume ls -q)" ]
}

@test "an anonymous volume keeps what is in it over a stop" {
    docker run -d --name c1 seeded sh -c 'echo x >>/declared/f; exec sleep 1000' >/dev/null
    docker stop -t 0 c1
    docker start c1
    run -0 docker exec c1 cat /declared/f
    [ "${#lines[@]}" -eq 2 ]
}

@test "docker volume: create, ls, inspect, rm, and their errors" {
    run -0 docker volume create --label a=b data
    [ "$output" = data ]
    run -0 docker volume create data
    [ "$output" = data ]
    run -0 docker volume create
    [ "${#output}" -eq 64 ]
    run -0 docker volume ls --filter label=a
    [ "${lines[0]}" = "DRIVER    VOLUME NAME" ]
    [ "${lines[1]}" = "local     data" ]
    run -0 docker volume ls --format '{{.Name}} {{.Driver}} {{.Label "a"}} {{.Mountpoint}}' -f name=dat
    [ "$output" = "data local b /var/lib/docker/volumes/data/_data" ]
    run -0 docker volume inspect -f '{{.Name}} {{.Labels.a}} {{.Scope}}' data
    [ "$output" = "data b local" ]
    run -1 docker volume inspect nothing
    [[ $output == *"get nothing: no such volume"* ]]
    run -1 docker volume rm nothing
    [ "$output" = "Error response from daemon: get nothing: no such volume" ]
    id=$(docker create -v data:/d "$IMAGE")
    run -1 docker volume rm data
    [ "$output" = "Error response from daemon: remove data: volume is in use - [$id]" ]
    docker rm "$id"
    run -0 docker volume rm data
    [ "$output" = data ]
    run -0 docker volume rm -f data
    run -1 docker volume create --driver nfs x1
    [[ $output == *'plugin "nfs" not found' ]]
    run -1 docker volume create -o type=nfs x2
    [[ $output == *"mean nothing"* ]]
    run -1 docker volume create 'a/b'
    [[ $output == *"includes invalid characters for a local volume name"* ]]
}

@test "volume prune asks, and takes named ones with -a alone" {
    docker volume create data
    docker volume create used
    docker create -v used:/d "$IMAGE" >/dev/null
    run -0 docker volume prune -f
    [ "$output" = "Total reclaimed space: 0B" ]
    run -0 docker volume prune -a -f
    [ "${lines[1]}" = data ]
    [ "$(docker volume ls -q)" = used ]
}

@test "a deleted state folder does not lose a named volume" {
    box -v data:/d "$IMAGE" sh -c 'echo still >/d/f'
    rm -f "$XDG_STATE_HOME"/atp-docker/state.db*
    run -0 box -v data:/d "$IMAGE" cat /d/f
    [[ $output == *still ]]
}

@test "a volume inside a volume, and a host folder in one" {
    mkdir "$BATS_TEST_TMPDIR/host"
    echo host >"$BATS_TEST_TMPDIR/host/f"
    box -v outer:/d -v inner:/d/in -v "$BATS_TEST_TMPDIR/host:/d/host" "$IMAGE" sh -c 'echo o >/d/o; echo i >/d/in/i'
    run -0 box -v outer:/d "$IMAGE" sh -c 'cd /d; find . -type f | sort'
    [ "$output" = ./o ]
    run -0 box -v inner:/d "$IMAGE" cat /d/i
    [ "$output" = i ]
    run -0 box -v outer:/d -v inner:/d/in "$IMAGE" cat /d/in/i /d/o
    [ "$output" = $'i\no' ]
}

@test "the process's input waits for the volume" {
    box -v data:/d "$IMAGE" sh -c 'dd if=/dev/urandom of=/d/big bs=1M count=40 2>/dev/null'
    run -0 bash -c 'echo typed | "$ATP_BIN/atp-docker" run --rm -i -v data:/d "$0" cat' "$IMAGE"
    [ "$output" = typed ]
}

@test "native: the server's volume itself" {
    box --label modal.volumes=native -v data:/d "$IMAGE" sh -c 'echo n >/d/f'
    run -0 box --label modal.volumes=native -v data:/d "$IMAGE" cat /d/f
    [ "$output" = n ]
    run -1 box --label modal.volumes=native -v data:/d:ro "$IMAGE" sh -c 'echo x >/d/g'
    [[ $output == *"Read-only file system"* ]]
}

@test "cp into the volume of a container that does not run is refused" {
    docker create --name c1 -v data:/d "$IMAGE" true >/dev/null
    run -1 docker cp "$BATS_TEST_FILENAME" c1:/d/x
    [[ $output == *"is not running is not carried out"* ]]
}

@test "tmpfs: fresh at each start, never saved, not among the mounts of inspect" {
    docker run -d --name c1 --tmpfs /scratch:size=1m,mode=700 --mount type=tmpfs,dst=/other -v data:/d "$IMAGE" \
        sh -c 'ls -A /scratch /other; echo x >/scratch/x; exec sleep 1000' >/dev/null
    run -0 docker exec c1 stat -c %a /scratch /other
    [ "$output" = $'700\n1777' ]
    docker stop -t 0 c1
    docker start c1
    run -0 docker logs c1
    [[ $output != *x* ]]
    run -0 docker inspect -f '{{json .HostConfig.Tmpfs}} {{len .Mounts}}' c1
    [ "$output" = '{"/scratch":"size=1m,mode=700"} 2' ]
    run -125 docker run --rm --tmpfs /x:nonsense "$IMAGE" true
    [[ $output == *'Invalid tmpfs option ["nonsense"]'* ]]
}

@test "a database that syncs each write is whole after kill -9" {
    docker run -d --name c1 --label modal.volume.save=1 -v data:/d "$IMAGE" sh -c '
        i=0; while :; do i=$((i + 1)); echo $i >/d/next; sync /d/next; mv /d/next /d/last; dd if=/dev/zero of=/d/log bs=512 \
            seek=$i count=1 conv=notrunc 2>/dev/null; done' >/dev/null
    sleep 7
    docker exec c1 cat /d/last
    kill -9 "$(engine_pid)"
    for _ in $(seq 300); do
        [ -n "$(engine_pid)" ] || break
        sleep 0.1
    done
    run -0 docker run --rm -v data:/d "$IMAGE" sh -c 'test "$(cat /d/last)" -gt 0 && test "$(stat -c %s /d/log)" -gt 512'
}
