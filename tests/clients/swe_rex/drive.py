"""SWE-ReX's docker deployment through its life. Usage: drive.py IMAGE DIR. Prints a line of JSON for each answer."""
import asyncio
import json
import pathlib
import sys

from swerex.deployment.docker import DockerDeployment
from swerex.runtime.abstract import (
    BashAction, Command, CreateBashSessionRequest, ReadFileRequest, UploadRequest, WriteFileRequest,
)

image, folder = sys.argv[1], pathlib.Path(sys.argv[2])


def say(*words):
    print(json.dumps(words), flush=True)


async def main():
    deployment = DockerDeployment(image=image, pull="missing", startup_timeout=90)
    await deployment.start()
    runtime = deployment.runtime
    say("alive", (await deployment.is_alive()).is_alive)
    await runtime.create_session(CreateBashSessionRequest())
    said = await runtime.run_in_session(BashAction(command="cd /tmp && export X=kept && echo one"))
    say("session", said.output.strip(), said.exit_code)
    said = await runtime.run_in_session(BashAction(command="echo $X; pwd"))
    say("the session's state", said.output.split(), said.exit_code)
    said = await runtime.run_in_session(BashAction(command="sh -c 'exit 7'", check="silent"))
    say("exit code", said.exit_code)
    said = await runtime.execute(Command(command=["sh", "-c", "echo out; echo err >&2; exit 3"]))
    say("execute", said.stdout, said.stderr, said.exit_code)
    text = "ünïcode\n" * 200000
    await runtime.write_file(WriteFileRequest(path="/tmp/big", content=text))
    got = await runtime.read_file(ReadFileRequest(path="/tmp/big"))
    say("a file there and back", got.content == text, len(text))
    tree = folder / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "f").write_text("uploaded\n")
    await runtime.upload(UploadRequest(source_path=str(tree), target_path="/tmp/tree"))
    said = await runtime.execute(Command(command="cat /tmp/tree/sub/f", shell=True))
    say("upload", said.stdout, said.exit_code)
    many = await asyncio.gather(*(runtime.execute(Command(command=f"sleep 0.2; echo {n}", shell=True)) for n in range(20)))
    say("twenty at once", [int(answer.stdout) for answer in many] == list(range(20)))
    await deployment.stop()
    say("stopped")


asyncio.run(main())
