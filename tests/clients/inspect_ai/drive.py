"""Evaluations with inspect_ai's own docker sandbox, as its users write them; the model is inspect's mock.

Usage: drive.py DEBIAN_IMAGE BUSYBOX_IMAGE DIR. Prints a line of JSON for each thing that was seen:
["check", image, user, name, null or why it failed], ["two services", ...], ["parallel", ...].
"""
import inspect
import json
import pathlib
import sys
import traceback

from inspect_ai import Task, eval as run_eval
from inspect_ai.dataset import Sample
from inspect_ai.solver import solver
from inspect_ai.util import sandbox
from inspect_ai.util._sandbox import self_check

debian, busybox, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])


def say(*words):
    print(json.dumps(words), flush=True)


CHECKS = [
    (name, function)
    for name, function in inspect.getmembers(self_check, inspect.iscoroutinefunction)
    if name.startswith("test_")
]


@solver
def all_checks(image, user):
    async def solve(state, generate):
        for name, function in CHECKS:
            try:
                await function(sandbox())
                say("check", image, user, name, None)
            except BaseException as error:  # pytest's own outcomes are none of these
                say("check", image, user, name, "".join(traceback.format_exception_only(error))[:500])
        return state

    return solve


@solver
def ask_the_neighbour():
    async def solve(state, generate):
        got = await sandbox().exec(["wget", "-q", "-O", "-", "http://server:8080/hello"], timeout=20)
        name = await sandbox("server").exec(["hostname"], timeout=20)
        say("two services", got.returncode, got.stdout, name.returncode)
        return state

    return solve


@solver
def own_file():
    async def solve(state, generate):
        await sandbox().write_file("mine", state.input_text)
        text = await sandbox().read_file("mine")
        listing = await sandbox().exec(["sh", "-c", "ls | wc -l"])
        say("parallel", state.input_text, text, listing.stdout.strip())
        return state

    return solve


def compose(name, text):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "compose.yaml").write_text(text)
    return str(path / "compose.yaml")


def run(samples, solvers, config):
    logs = run_eval(
        Task(dataset=samples, solver=solvers, sandbox=("docker", config)),
        model="mockllm/model", log_dir=str(folder / "logs"), display="plain", max_samples=len(samples),
    )
    for log in logs:
        if log.status != "success":
            say("failed", config, str(log.error.message if log.error else log.status)[:2000])


def checks_of(label, image, user, home):
    # Debian's image has no such user: one is built on it.
    service = {"debian": f"build: {{context: ., dockerfile_inline: \"FROM {image}\\nRUN useradd -m user\\n\"}}"}.get(
        label, f"image: {image}")
    config = compose(f"{label}-{user}", f"""
services:
  default:
    {service}
    command: tail -f /dev/null
    init: true
    user: {user}
    working_dir: {home}
    network_mode: none
    stop_grace_period: 1s
    x-local: true
""")
    run([Sample(input="checks")], [all_checks(label, user)], config)


for label, image in ("debian", debian), ("busybox", busybox):
    checks_of(label, image, "root", "/root")
    checks_of(label, image, "user", "/home/user")

run([Sample(input="neighbour")], [ask_the_neighbour()], compose("two", f"""
services:
  default:
    image: {busybox}
    command: tail -f /dev/null
    x-local: true
    depends_on:
      server: {{condition: service_healthy}}
  server:
    image: {busybox}
    command: sh -c 'mkdir /www && echo hello >/www/hello && exec httpd -f -p 8080 -h /www'
    x-local: true
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1:8080/hello
      interval: 1s
      timeout: 5s
      retries: 30
"""))

run([Sample(input=f"sample {n}") for n in range(3)], [own_file()], compose("three", f"""
services:
  default:
    image: {busybox}
    command: tail -f /dev/null
    working_dir: /home/user
    init: true
    x-local: true
    network_mode: none
"""))
