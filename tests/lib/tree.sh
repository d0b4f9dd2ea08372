# This source tree, without what was built in it; sourced. copy_source FROM TO: what git knows and does not ignore, or, without
# git, everything but build folders.
copy_source() {
    if git -C "$1" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$1" ls-files -z --cached --others --exclude-standard
    else
        (cd "$1" && find . -path './build*' -prune -o -type f -print0)
    fi | tar -C "$1" --null --ignore-failed-read -T - -cf - | tar -C "$2" -xf -
}
