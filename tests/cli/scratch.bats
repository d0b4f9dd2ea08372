# Images with nothing in them but one static program, and those without a shell: everything that Docker does with a container
# works, for none of it needs the image's help.
bats_require_minimum_version 1.5.0
load common

setup_file() {
    suite_start
    make_program "$SUITE/prog"
    mkdir "$SUITE/context"
    cp "$SUITE/prog" "$SUITE/context/prog"
    printf 'FROM scratch\nCOPY prog /prog\nENTRYPOINT ["/prog"]\nCMD ["say", "nothing"]\n' >"$SUITE/context/Dockerfile"
    docker build -q -t bare "$SUITE/context" 3>&-
    # As Debian- or Nix-made images without a shell are: certificates, a user, a home of its own, and the program.
    push_image distroless:1 '{"Env":["PATH=/app","SSL_CERT_FILE=/etc/ssl/cert.pem"],"User":"nonroot","WorkingDir":"/home/nonroot","Entrypoint":["prog"]}' '
        rm -rf "$tree"/bin "$tree"/usr "$tree"/root "$tree"/var
        mkdir -p "$tree"/app "$tree"/etc/ssl "$tree"/home/nonroot
        cp "$SUITE/prog" "$tree/app/prog"
        echo cert >"$tree/etc/ssl/cert.pem"
        printf "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n" >"$tree/etc/passwd"
        printf "root:x:0:\nnonroot:x:65532:\n" >"$tree/etc/group"
        chown 65532:65532 "$tree/home/nonroot"'
}

teardown_file() {
    suite_stop
}

setup() {
    WORK=$(mktemp -d "$SUITE/work-XXXXXX")
    cd "$WORK"
}

teardown() {
    docker rm -f box >/dev/null 2>&1 || true
}

# A static program: "say WORD..." prints, "as" its user and folder, "env NAME", "read FILE", "write FILE WORD", "exit N", "serve"
# says so and ends with 42 at SIGTERM.
make_program() {
    cat >"$1.c" <<'EOF'
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ended(int signal) { (void)signal; _exit(42); }

int main(int argc, char **argv)
{
    char line[512];
    const char *word = argc > 1 ? argv[1] : "";
    FILE *file;

    if (!strcmp(word, "say"))
        for (int i = 2; i < argc; i++)
            printf("%s%s", argv[i], i + 1 < argc ? " " : "\n");
    else if (!strcmp(word, "as"))
        printf("%d:%d %s\n", (int)getuid(), (int)getgid(), getcwd(line, sizeof(line)) ? line : "?");
    else if (!strcmp(word, "env") && argc > 2)
        printf("%s\n", getenv(argv[2]) ? getenv(argv[2]) : "unset");
    else if (!strcmp(word, "read") && argc > 2 && (file = fopen(argv[2], "r")))
        while (fgets(line, sizeof(line), file))
            fputs(line, stdout);
    else if (!strcmp(word, "write") && argc > 3 && (file = fopen(argv[2], "w")))
        return fprintf(file, "%s\n", argv[3]) < 0 || fclose(file);
    else if (!strcmp(word, "copy"))
        while (fgets(line, sizeof(line), stdin))
            fputs(line, stdout);
    else if (!strcmp(word, "exit") && argc > 2)
        return (int)strtol(argv[2], NULL, 10);
    else if (!strcmp(word, "serve")) {
        signal(SIGTERM, ended);
        printf("serving\n");
        fflush(stdout);
        for (;;)
            pause();
    } else
        return 9;
    return 0;
}
EOF
    gcc -static -O1 -o "$1" "$1.c"
}

# Until the container has said that it serves.
serving() {
    for _ in $(seq 600); do
        [[ $(docker logs box 2>/dev/null) != serving ]] || return 0
        sleep 0.05
    done
    docker logs box
    return 1
}

@test "scratch: runs with the arguments of CMD, or others, and its exit code" {
    [ "$(docker run --rm bare)" = nothing ]
    [ "$(docker run --rm bare say one "two  three")" = "one two  three" ]
    [ "$(docker run --rm bare as)" = "0:0 /" ]
    [ "$(docker run --rm -u 12:34 -w /made/here bare as)" = "12:34 /made/here" ]
    [ "$(docker run --rm -e A=b bare env A)" = b ]
    [ "$(docker run --rm bare env PATH)" = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ]
    [ "$(printf 'in\nput\n' | docker run -i --rm bare copy)" = $'in\nput' ]
    run -7 docker run --rm bare exit 7
    run -127 docker run --rm --entrypoint /bin/sh bare -c true
    [[ $output == *"/bin/sh"*[Nn]"o such file or directory"* ]] || { echo "$output"; false; }
}

@test "scratch: exec, logs, top, cp and stop" {
    docker run -d --name box bare serve
    serving
    [ "$(docker exec box /prog say from exec)" = "from exec" ]
    [ "$(docker exec -u 5 -w /etc -e X=y box /prog env X)" = y ]
    [ "$(echo piped | docker exec -i box /prog copy)" = piped ]
    run -127 docker exec box sh
    echo "from the host" >in.txt
    docker cp in.txt box:/deep.txt
    [ "$(docker exec box /prog read /deep.txt)" = "from the host" ]
    docker exec box /prog write /made "in the container"
    docker cp box:/made out.txt
    [ "$(cat out.txt)" = "in the container" ]
    docker cp box:/prog prog
    cmp prog "$SUITE/prog"
    docker top box | grep '/prog serve'
    [ "$(docker logs box)" = serving ]
    docker stop box
    [ "$(docker inspect -f '{{.State.ExitCode}}' box)" = 42 ]
    docker cp box:/made again.txt
    cmp out.txt again.txt
    docker start box
    serving || docker logs box
    [ "$(docker exec box /prog read /made)" = "in the container" ]
}

@test "scratch: a folder of the host, and a volume" {
    mkdir data
    echo given >data/in
    [ "$(docker run --rm -v "$PWD/data:/data" bare read /data/in)" = given ]
    docker run --rm -v "$PWD/data:/data" bare write /data/out taken
    [ "$(cat data/out)" = taken ]
}

@test "without a shell: runs as its user, in its folder, found by its PATH" {
    local image=$REGISTRY/distroless:1

    [ "$(docker run --rm "$image" as)" = "65532:65532 /home/nonroot" ]
    [ "$(docker run --rm "$image" env SSL_CERT_FILE)" = /etc/ssl/cert.pem ]
    [ "$(docker run --rm "$image" env HOME)" = /home/nonroot ]
    run -127 docker run --rm --entrypoint sh "$image"
    docker run -d --name box "$image" serve
    serving
    [ "$(docker exec box prog as)" = "65532:65532 /home/nonroot" ]
    [ "$(docker exec -u root box prog as)" = "0:0 /home/nonroot" ]
    docker exec box prog write mine "own file"
    docker cp box:/home/nonroot/mine .
    [ "$(cat mine)" = "own file" ]
    run -127 docker exec box /bin/sh -c true
    docker stop box
    [ "$(docker wait box)" = 42 ]
}

@test "without a shell: what stands on it is built without one" {
    printf 'FROM %s/distroless:1\nCOPY in.txt /etc/in.txt\nWORKDIR /srv\nHEALTHCHECK --interval=30s CMD ["prog", "exit", "0"]\nRUN ["prog", "write", "/home/nonroot/made", "by RUN"]\n' \
        "$REGISTRY" >Dockerfile
    echo built >in.txt
    docker build -q -t child .
    [ "$(docker run --rm child read /etc/in.txt)" = built ]
    [ "$(docker run --rm child read /home/nonroot/made)" = "by RUN" ]
    [ "$(docker run --rm child as)" = "65532:65532 /srv" ]
    [ "$(docker image inspect -f '{{json .Config.Healthcheck.Test}}' child)" = '["CMD","prog","exit","0"]' ]
    printf 'FROM %s/distroless:1\nRUN true\n' "$REGISTRY" >Dockerfile
    run docker build -t none .
    [ "$status" = 1 ]
    [[ $output == *"/bin/sh"*[Nn]"o such file or directory"* ]] || { echo "$output"; false; }
}
