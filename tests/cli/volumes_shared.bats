# Volumes that several running containers of a network have: kept in step by their agents, through the hub.
bats_require_minimum_version 1.5.0
load common

setup_file() { suite_start; }
teardown_file() { suite_stop; }
setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
    export COMPOSE_PROJECT_NAME=shared COMPOSE_PROGRESS=plain
    docker network create both >/dev/null
}
teardown() {
    [ ! -e compose.yaml ] || docker compose --progress quiet down -v -t 0 --remove-orphans 2>/dev/null
    docker ps -aq | xargs -r "$ATP_BIN/atp-docker" rm -f -v >/dev/null
    docker network prune -f >/dev/null
    docker volume ls -q | xargs -r "$ATP_BIN/atp-docker" volume rm >/dev/null
}

dc() { docker compose "$@"; }
# member NAME [OPTION...]: a container that only waits
member() { docker run -d --name "$1" --network both "${@:2}" "$IMAGE" sleep 100000 >/dev/null; }
in_it() { docker exec "$1" sh -c "$2"; }

@test "what one writes another sees: at the next exec, and live; owners, modes, links, deletions" {
    member one -v data:/d
    in_it one 'echo before >/d/before'
    member two -v data:/elsewhere
    [ "$(in_it two 'cat /elsewhere/before')" = before ]
    in_it one 'cd /d; echo x >f; chown 12:34 f; chmod 4751 f; mkdir -p dir/e; chmod 1770 dir; ln -s f link; ln f other
        mkfifo p; touch -d "2001-02-03 04:05:06" f; truncate -s 5M sparse; printf end >>sparse; rm before'
    run -0 in_it two 'cd /elsewhere; cat other; stat -c "%a %u:%g %h" f; stat -c %a dir; readlink link; stat -c %F p
        stat -c %y f; stat -c %s sparse; tail -c 3 sparse; test "$(du -k sparse | cut -f1)" -lt 1000; echo; ls -d before'\
' 2>&1 || true'
    [ "${lines[0]}" = x ]
    [ "${lines[1]}" = "4751 12:34 2" ]
    [ "${lines[2]}" = 1770 ]
    [ "${lines[3]}" = f ]
    [ "${lines[4]}" = fifo ]
    [[ ${lines[5]} == "2001-02-03 04:05:06"* ]]
    [ "${lines[6]}" = 5242883 ]
    [ "${lines[7]}" = end ]
    [[ ${lines[8]} == *"No such file"* ]]
    in_it two 'mv /elsewhere/dir /elsewhere/moved; echo two >/elsewhere/f'
    run -0 in_it one 'cd /d; ls; cat other'
    [ "$output" = $'f\nlink\nmoved\nother\np\nsparse\ntwo' ]
    # no exec begins or ends here
    docker exec -d one sh -c 'sleep 0.3; echo live >/d/new; mv /d/new /d/live'
    run -0 timeout 60 "$ATP_BIN/atp-docker" exec two sh -c 'until test -s /elsewhere/live; do sleep 0.05; done
        cat /elsewhere/live'
    [ "$output" = live ]
    run -0 in_it two 'ls -A /elsewhere'
    [[ $output != *.atp* ]]
}

@test "a web server reads what a worker writes, live, and writes nothing back" {
    cat >compose.yaml <<YAML
services:
  web:
    image: $IMAGE
    command: httpd -f -p 80 -h /www
    stop_grace_period: 0s
    volumes: ["site:/www:ro"]
  worker:
    image: $IMAGE
    command: sh -c 'i=0; while :; do i=\$\$((i+1)); echo page \$\$i end >/out/next; mv /out/next /out/index.html; sleep 0.2; done'
    stop_grace_period: 0s
    volumes: ["site:/out"]
volumes: {site: {}}
YAML
    dc up -d
    page() { dc exec -T worker wget -qO- http://web/; }
    until_true 60 page
    first=$(page)
    [[ $first =~ ^page\ [0-9]+\ end$ ]]
    newer() { [ "$(page)" != "$first" ]; }
    until_true 60 newer
    dc exec -T web sh -c 'echo web >/www/mine || true'
    run -1 dc exec -T worker cat /out/mine
}

@test "an init service fills a volume that a server then has; again after down and up" {
    cat >compose.yaml <<YAML
services:
  init:
    image: $IMAGE
    command: sh -c 'for i in \$\$(seq 300); do echo \$\$i >/data/\$\$i; done; echo run >>/data/runs'
    volumes: ["data:/data"]
  other:
    image: $IMAGE
    command: sleep 100000
    stop_grace_period: 0s
    volumes: ["data:/data"]
  server:
    image: $IMAGE
    command: sh -c 'ls /srv | wc -l; wc -l </srv/runs; exec sleep 100000'
    stop_grace_period: 0s
    volumes: ["data:/srv", "data2:/data2"]
    depends_on: {init: {condition: service_completed_successfully}}
volumes: {data: {}, data2: {}}
YAML
    dc up -d
    said() { [ "$(dc logs --no-log-prefix server | wc -l)" -ge 2 ]; }
    until_true 30 said
    [ "$(dc logs --no-log-prefix server)" = $'301\n1' ]
    dc down -t 0
    dc up -d
    until_true 30 said
    [ "$(dc logs --no-log-prefix server)" = $'301\n2' ]
}

@test "replicas of one service share its volume, and all of it is kept" {
    cat >compose.yaml <<YAML
services:
  app:
    image: $IMAGE
    command: sh -c 'x=\$\$(cat /proc/sys/kernel/random/uuid); echo \$\$x >/data/\$\$x; exec sleep 100000'
    stop_grace_period: 0s
    volumes: ["data:/data"]
volumes: {data: {}}
YAML
    dc up -d --scale app=3
    three() { [ "$(dc exec -T --index "$1" app ls /data | wc -l)" -eq 3 ]; }
    for i in 1 2 3; do
        until_true 60 three "$i"
    done
    dc stop -t 0
    [ "$(docker run --rm -v shared_data:/d "$IMAGE" ls /d | wc -l)" -eq 3 ]
}

@test "two write the same files all the time: never half of one, and all end with the same" {
    member one -v data:/d
    member two -v data:/d
    hammer='for i in $(seq 60); do for f in a b c; do
        { echo BEGIN '"%s"' $i; head -c 200000 /dev/zero | tr "\0" %s; echo; echo END '"%s"' $i; } >/d/.$f.%s; mv /d/.$f.%s /d/$f; done; done'
    docker exec -d one sh -c "${hammer//%s/1}; touch /d/done.1"
    docker exec -d two sh -c "${hammer//%s/2}; touch /d/done.2"
    run -0 timeout 200 "$ATP_BIN/atp-docker" exec one sh -c 'torn=0; n=0
        until test -e /d/done.1 -a -e /d/done.2; do
            for f in a b c; do test -e /d/$f || continue
                cp /d/$f /tmp/copy && n=$((n + 1))
                test "$(head -n 1 /tmp/copy | cut -c7-)" = "$(tail -n 1 /tmp/copy | cut -c5-)" || torn=$((torn + 1))
            done
        done; echo $torn; test $n -gt 0'
    [ "$output" = 0 ]
    same() { [ "$(in_it one 'cd /d; sha256sum a b c')" = "$(in_it two 'cd /d; sha256sum a b c')" ]; }
    until_true 60 same
}

@test "kill -9 of who keeps it in step: it is there again, and nothing is lost" {
    member one -v data:/d
    member two -v data:/d
    in_it one 'echo a >/d/a'
    mates() { in_it one 'ps -o pid,args' | awk '$1 != 1 && $3 == "init" {print $1}'; }
    pid=$(mates)
    [ "$(wc -w <<<"$pid")" -eq 1 ]
    docker exec one kill -9 "$pid"
    in_it one 'echo alone >/d/alone'
    in_it two 'echo b >/d/b'
    has() { [ "$(in_it "$1" 'cat /d/a /d/alone /d/b')" = $'a\nalone\nb' ]; }
    until_true 60 has one
    until_true 60 has two
    docker stop -t 0 one two >/dev/null
    run -0 docker run --rm -v data:/d "$IMAGE" cat /d/a /d/alone /d/b
    [ "$output" = $'a\nalone\nb' ]
}

@test "kill -9 of all of it leaves what was saved last, whoever saved" {
    member one -v data:/d --label modal.volume.save=1
    member two -v data:/d --label modal.volume.save=1
    in_it one 'echo one >/d/one'
    in_it two 'echo two >/d/two'
    docker stop -t 0 one >/dev/null # two saves from now on
    in_it two 'echo later >/d/later'
    in_it two 'echo last >/d/last'
    committed() { [ "$(docker run --rm -v data:/d:ro "$IMAGE" cat /d/last)" = last ]; }
    until_true 60 committed # what others are shown is what the server has
    pid=$(engine_pid)
    kill -9 "$pid"
    until_true 30 engine_gone
    run -0 --separate-stderr docker run --rm -v data:/d "$IMAGE" sh -c 'cat /d/one /d/two /d/later /d/last'
    [ "$output" = $'one\ntwo\nlater\nlast' ]
}
engine_gone() { [ -z "$(engine_pid)" ]; }

@test "a database's volume in a pod that nobody else has costs no second copy" {
    member one -v data:/d
    in_it one 'dd if=/dev/urandom of=/d/big bs=1M count=8 2>/dev/null; sync'
    docker stop -t 0 one
    docker start one
    docker stop -t 0 one
    run -0 docker run --rm -v data:/d:ro "$IMAGE" sh -c 'ls /.atp/volumes/data/packs | wc -l'
    [ "$output" -eq 1 ]
}

@test "volumes-from: named and anonymous ones, in step; :ro; what is mounted there wins" {
    member one -v data:/d -v /anon -v other:/taken
    in_it one 'echo d >/d/f; echo a >/anon/f; echo t >/taken/f'
    member two --volumes-from one -v /taken
    [ "$(in_it two 'cat /d/f /anon/f; ls /taken')" = $'d\na' ]
    in_it two 'echo two >/anon/f'
    [ "$(in_it one 'cat /anon/f')" = two ]
    member three --volumes-from two:ro
    run -0 docker inspect -f '{{range .Mounts}}{{.Destination}} {{.RW}};{{end}}{{.HostConfig.Binds}}' three
    [ "$(tr ';' '\n' <<<"$output" | sort)" = $'/anon false\n/d false\n/taken false\n[]' ]
    run -125 docker run --rm --volumes-from nobody "$IMAGE" true
    [[ $output == *"No such container: nobody"* ]]
    run -125 docker run --rm --volumes-from one:rx "$IMAGE" true
    [[ $output == *"invalid mode: rx"* ]]
    cat >compose.yaml <<YAML
services:
  first: {image: $IMAGE, command: "sh -c 'echo first >/v/f; exec sleep 100000'", volumes: [/v], stop_grace_period: 0s}
  second: {image: $IMAGE, command: sleep 100000, volumes_from: ["first:ro"], stop_grace_period: 0s}
YAML
    dc up -d
    has() { [ "$(dc exec -T second cat /v/f)" = first ]; }
    until_true 60 has
}

@test "containers that share no network: one writer at a time, as it is said" {
    docker network create other >/dev/null
    member one -v data:/d
    run -125 docker run --rm --network other -v data:/d "$IMAGE" true
    [[ $output == *"volume data is in use by the running container"*"(one)"*"one network"* ]]
    run -125 docker run --rm -v data:/d "$IMAGE" true
    run -0 docker run --rm -v data:/d:ro "$IMAGE" true
    docker network rm other
}
