// What a user of the SDK does with sandboxes: create, exec, stdin, list, names, tags, time-outs, errors, terminate.
import assert from "node:assert/strict";
import { test, after } from "node:test";
import { ModalClient, NotFoundError, AlreadyExistsError } from "modal";

const v2 = process.env.MODAL_SANDBOX_V2 === "true";
const modal = new ModalClient();
const registry = process.env.REGISTRY;
const image = (name) => modal.images.fromRegistry(`${registry}/${name}:1`);
const app = await modal.apps.fromName("clients-modal-js", { createIfMissing: true });
const started = [];
const create = async (name, params) => {
  const sandbox = await modal.sandboxes.create(app, image(name), params);
  started.push(sandbox);
  return sandbox;
};

after(async () => {
  for (const sandbox of started) await sandbox.terminate().catch(() => {});
  modal.close();
});

test("an app that nobody made is not found", async () => {
  await assert.rejects(modal.apps.fromName("clients-no-such-app"), NotFoundError);
});

test("ids have the shape of the form that was asked for", async () => {
  const sandbox = await create("plain", { command: ["sleep", "60"] });
  assert.equal(/^sb-[0-9A-Za-z]{22}$/.test(sandbox.sandboxId), !v2);
});

test("the entrypoint's input and output", async () => {
  const sandbox = await create("plain", { command: ["cat"] });
  if (v2) {
    // text, as the SDK gives it
    await sandbox.stdin.writeText("through cat\n");
  } else {
    await sandbox.stdin.writeText("through ");
    await sandbox.stdin.writeText("cat\n");
  }
  await sandbox.stdin.close();
  assert.equal(await sandbox.wait(), 0);
  assert.equal(await sandbox.stdout.readText(), "through cat\n");
  assert.equal(await sandbox.stderr.readText(), "");
});

test("the entrypoint's exit code", async () => {
  const sandbox = await create("plain", { command: ["sh", "-c", "exit 42"] });
  assert.equal(await sandbox.wait(), 42);
  assert.equal(await sandbox.poll(), 42);
});

test("an image with ENTRYPOINT /bin/false fails with a command, as on Modal", async () => {
  const sandbox = await create("false", { command: ["echo", "never"] });
  assert.equal(await sandbox.wait(), 1);
});

test("an image without any command sleeps, with its environment and working directory", async () => {
  const sandbox = await create("nothing");
  const process = await sandbox.exec(["sh", "-c", 'echo "$GREETING in $PWD"']);
  assert.equal(await process.stdout.readText(), "from the image in /tmp\n");
  assert.equal(await process.wait(), 0);
  assert.equal(await sandbox.poll(), null);
});

test("exec: stdin, both outputs, exit code, variables, working directory", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"], env: { ONE: "1", TWO: "old" } });
  const process = await sandbox.exec(["sh", "-c", 'cat; echo "$ONE $TWO $PWD" >&2; exit 7'], {
    env: { TWO: "2" },
    workdir: "/tmp",
  });
  await process.stdin.writeText("line one\n");
  await process.stdin.writeText("line two");
  await process.stdin.close();
  assert.equal(await process.stdout.readText(), "line one\nline two");
  assert.equal(await process.stderr.readText(), "1 2 /tmp\n");
  assert.equal(await process.wait(), 7);
});

test("exec: bytes are bytes, and a megabyte that nobody reads blocks nobody", async (t) => {
  const sandbox = await create("plain", { command: ["sleep", "600"] });
  const every = await sandbox.exec(["sh", "-c", "cat"], { mode: "binary" });
  const bytes = Uint8Array.from({ length: 70000 }, (_, i) => i & 255);
  await every.stdin.writeBytes(bytes);
  await every.stdin.close();
  assert.deepEqual(await every.stdout.readBytes(), bytes);
  assert.equal(await every.wait(), 0);
  const unread = await sandbox.exec(["sh", "-c", "head -c 1000000 /dev/zero"]);
  assert.equal(await unread.wait(), 0);
  if (typeof ReadableStream.from !== "function") {
    t.diagnostic("the SDK cannot ignore an output under a Node.js older than 20.6, as Debian 12's is");
    return;
  }
  const ignored = await sandbox.exec(["sh", "-c", "head -c 1000000 /dev/zero"], { stdout: "ignore" });
  assert.equal(await ignored.wait(), 0);
});

test("exec: signals and time-outs", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"] });
  const killed = await sandbox.exec(["sh", "-c", "kill -9 $$"]);
  assert.equal(await killed.wait(), 137);
  const late = await sandbox.exec(["sleep", "60"], { timeoutMs: 1000 });
  assert.equal(await late.wait(), 137);
  // The SDK puts the same deadline on its stream, so either of the two may come first, as in its own tests.
  const talking = await sandbox.exec(["sh", "-c", "echo hi; sleep 61"], { timeoutMs: 1000 });
  const text = await talking.stdout.readText().catch((error) => String(error));
  assert.match(text, /^hi\n$|Deadline exceeded/);
  const gone = await sandbox.exec(["sh", "-c", "sleep 0.2; ps | grep -c '[s]leep 61'"]);
  assert.equal(await gone.stdout.readText(), "0\n");
});

test("exec: many at once", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"] });
  const codes = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const process = await sandbox.exec(["sh", "-c", `echo ${i}; exit ${i}`]);
      assert.equal(await process.stdout.readText(), `${i}\n`);
      return process.wait();
    }),
  );
  assert.deepEqual(codes, Array.from({ length: 20 }, (_, i) => i));
});

test("exec: with a terminal", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"] });
  const process = await sandbox.exec(["sh", "-c", "[ -t 0 ] && [ -t 1 ] && stty size && echo $TERM"], { pty: true });
  assert.equal(await process.stdout.readText(), "24 80\r\nxterm-256color\r\n");
  assert.equal(await process.wait(), 0);
});

test("secrets reach the sandbox", async () => {
  const secret = await modal.secrets.fromObject({ HIDDEN: "value with spaces" });
  const sandbox = await create("plain", { command: ["sleep", "600"], secrets: [secret] });
  const process = await sandbox.exec(["sh", "-c", 'echo "$HIDDEN"']);
  assert.equal(await process.stdout.readText(), "value with spaces\n");
});

test("list, tags and names", async () => {
  const name = `named-${v2 ? "two" : "one"}`;
  const sandbox = await create("plain", { command: ["sleep", "600"], name, tags: { color: "red" } });
  await assert.rejects(create("plain", { command: ["sleep", "600"], name }), AlreadyExistsError);
  const again = await modal.sandboxes.fromName("clients-modal-js", name);
  assert.equal(again.sandboxId, sandbox.sandboxId);
  await assert.rejects(modal.sandboxes.fromName("clients-modal-js", "no-such-name"), NotFoundError);

  const listed = async (tags) => {
    const ids = [];
    for await (const s of modal.sandboxes.list({ appId: app.appId, tags })) ids.push(s.sandboxId);
    return ids;
  };
  assert.ok((await listed()).includes(sandbox.sandboxId));
  assert.deepEqual(await listed({ color: "red" }), [sandbox.sandboxId]);
  assert.deepEqual(await listed({ color: "blue" }), []);
  await sandbox.setTags({ color: "blue", size: "XL" });
  assert.deepEqual(await sandbox.getTags(), { color: "blue", size: "XL" });
  assert.deepEqual(await listed({ color: "blue", size: "XL" }), [sandbox.sandboxId]);

  assert.equal(await sandbox.terminate({ wait: true }), 137);
  assert.deepEqual(await listed({ color: "blue" }), []);
  await assert.rejects(modal.sandboxes.fromName("clients-modal-js", name), NotFoundError);
});

test("more sandboxes than one page are all listed, each once", async () => {
  const many = await Promise.all(
    Array.from({ length: 12 }, () => create("plain", { command: ["sleep", "600"], tags: { batch: "page" } })),
  );
  const ids = [];
  for await (const s of modal.sandboxes.list({ appId: app.appId, tags: { batch: "page" } })) ids.push(s.sandboxId);
  assert.deepEqual(ids.sort(), many.map((s) => s.sandboxId).sort());
});

test("a lifetime ends a sandbox, and its exit code says so", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"], timeoutMs: 1000 });
  assert.equal(await sandbox.wait(), 124);
});

test("idle time ends a sandbox, but not while it works", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"], idleTimeoutMs: 1000 });
  const process = await sandbox.exec(["sleep", "2"]);
  assert.equal(await process.wait(), 0);
  assert.equal(await sandbox.poll(), null);
  assert.notEqual(await sandbox.wait(), 0);
});

test("what is not there is refused, not ignored", async () => {
  const refused = (params, text) =>
    assert.rejects(create("plain", { command: ["true"], ...params }), (error) => {
      assert.match(String(error), text);
      return true;
    });
  await refused({ cloud: "invalid-cloud" }, /Invalid cloud/);
  await refused({ regions: ["invalid-region"] }, /Invalid region/);
  await refused({ outboundCidrAllowlist: ["not-an-ip/8"] }, /Invalid CIDR: not-an-ip\/8/);
  if (!v2) await refused({ gpu: "T4" }, /GPU/);
  const sandbox = await create("plain", { command: ["true"], cloud: "aws", regions: ["us-east-1", "us-west-2"] });
  assert.equal(await sandbox.wait(), 0);
});

test("an image that is not in the registry", async () => {
  await assert.rejects(create("no-such-image", { command: ["true"] }), /no-such-image|manifest|not found/i);
});

test("a snapshot of the filesystem is an image, with the image's settings, and can be deleted", async () => {
  const sandbox = await create("nothing");
  const shell = async (where, script) => {
    const process = await where.exec(["sh", "-c", script]);
    const text = await process.stdout.readText();
    assert.equal(await process.wait(), 0);
    return text;
  };
  await shell(sandbox, "echo kept > /tmp/file; rm /etc/group; (while :; do echo x >> /tmp/growing; done) >/dev/null 2>&1 & sleep 0.2");
  const image = await sandbox.snapshotFilesystem();
  await shell(sandbox, "rm /tmp/file");
  const second = await modal.sandboxes.create(app, image);
  started.push(second);
  assert.equal(await shell(second, 'cat file; ls /etc/group 2>/dev/null; echo "$GREETING in $PWD"'), "kept\nfrom the image in /tmp\n");
  await shell(second, "echo more >> file");
  const third = await modal.sandboxes.create(app, await second.snapshotFilesystem({ ttlMs: null }));
  started.push(third);
  assert.equal(await shell(third, "cat file"), "kept\nmore\n");
  await modal.images.delete(image.imageId);
  await assert.rejects(modal.sandboxes.create(app, image), /not found/i);
  assert.equal(await shell(second, "cat file"), "kept\nmore\n");
  await second.terminate({ wait: true });
  await assert.rejects(second.snapshotFilesystem(), /finished|not found|terminated/i);
});

test("terminating twice, and using what is gone", async () => {
  const sandbox = await create("plain", { command: ["sleep", "600"] });
  const id = sandbox.sandboxId;
  await sandbox.terminate();
  const again = await modal.sandboxes.fromId(id);
  assert.equal(await again.wait(), 137);
  await again.terminate();
  const unknown = await modal.sandboxes.fromId(v2 ? "sb-01JUNKJUNKJUNKJUNKJUNKJUNK" : "sb-JunkJunkJunkJunkJunkJu");
  await assert.rejects(unknown.poll(), /not found/i);
});
