"""An agent's day with mini-swe-agent's own Docker environment: what it gets back goes to stdout, one JSON line a step.

The program that it finds as `docker` is whatever stands first on the PATH. Usage: drive.py IMAGE
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from minisweagent.environments.docker import DockerEnvironment
from minisweagent.exceptions import Submitted

image = sys.argv[1]


def say(step, value):
    print(json.dumps([step, value], sort_keys=True), flush=True)


def run(env, command, **words):
    result = env.execute({"command": command}, **words)
    result.get("extra", {}).pop("exception", None)
    result["exception_info"] = bool(result["exception_info"])
    return result


def gone(container):
    for _ in range(150):
        if subprocess.run(["docker", "inspect", container], capture_output=True).returncode:
            return True
        time.sleep(0.1)
    return False


env = DockerEnvironment(image=image, cwd="/testbed", env={"PAGER": "cat", "WITH SPACE": "a  b"}, forward_env=["FORWARDED", "NOT_SET"])
say("id is 64 hex digits", len(env.container_id) == 64 and int(env.container_id, 16) >= 0)
say("hello", run(env, "echo hello; pwd; echo $PAGER $FORWARDED $HOME"))
say("exit code", run(env, "exit 42"))
say("signal", run(env, "kill -KILL $$"))
say("both streams in order", run(env, "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done"))
say("state stays", [run(env, "cd /tmp; echo kept >f; (sleep 60 >/dev/null 2>&1 &)"), run(env, "cat /tmp/f; ps | grep -c '[s]leep 60'")])
say("other folder", run(env, "pwd", cwd="/tmp"))
say("folder that is not there", {k: v for k, v in run(env, "pwd", cwd="/nowhere").items() if k != "output"})
say("not UTF-8", run(env, r"printf 'a\377b\360\237\246\206'"))
say("a megabyte", len(run(env, "head -c 1000000 /dev/zero | tr '\\0' x")["output"]))
say("a long command", run(env, "echo " + "x" * 100000 + " | wc -c"))
say("no input", run(env, "cat; echo end"))
say("time over, with what came before", run(env, "echo early; sleep 30", timeout=3))
say("alive after it", run(env, "echo alive"))
with ThreadPoolExecutor(8) as pool:
    say("eight at once", sorted(r["output"] for r in pool.map(lambda n: run(env, f"sleep 0.1; echo {n}"), range(16))))
try:
    run(env, "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo answer")
except Submitted as e:
    say("submitted", e.messages[0]["content"] if hasattr(e, "messages") else str(e.args[0]["content"]))
several = [DockerEnvironment(image=image, run_args=["--rm", "-e", f"N={n}", "--label", "several=yes"], interpreter=["sh", "-c"]) for n in range(4)]
say("several containers", [run(e, "echo $N")["output"] for e in several])
listed = subprocess.run(["docker", "ps", "-q", "--filter", "label=several=yes"], capture_output=True, text=True)
say("listed by label", len(listed.stdout.split()))
for e in [env, *several]:
    e.cleanup()
say("gone after the clean-up", [gone(e.container_id) for e in [env, *several]])
for e in [env, *several]:
    e.container_id = None
