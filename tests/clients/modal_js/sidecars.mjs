// Sidecars as a user of the SDK sees them: several containers in one sandbox, with names, results and execs of their own.
import assert from "node:assert/strict";
import { test, after } from "node:test";
import { ModalClient, NotFoundError, AlreadyExistsError, InvalidError } from "modal";

const modal = new ModalClient();
const registry = process.env.REGISTRY;
const app = await modal.apps.fromName("clients-modal-js", { createIfMissing: true });
const image = await modal.images.fromRegistry(`${registry}/plain:1`).build(app);
const started = [];
const create = async (params) => {
  const sandbox = await modal.sandboxes.create(app, image, { command: ["sleep", "600"], ...params });
  started.push(sandbox);
  return sandbox;
};
const said = async (where, script) => {
  const process = await where.exec(["sh", "-c", script]);
  const text = await process.stdout.readText();
  assert.equal(await process.wait(), 0, script);
  return text;
};

after(async () => {
  for (const sandbox of started) await sandbox.terminate().catch(() => {});
  modal.close();
});

test("the life of a sidecar", async () => {
  const sandbox = await create();
  const sidecars = sandbox.experimentalSidecars;
  const web = await sidecars.create("web", image, { command: ["sleep", "600"] });
  assert.match(web.containerId, /^ctr-[0-9A-Z]{26}$/);
  assert.equal(web.containerName, "web");
  assert.equal(await web.poll(), null);
  await assert.rejects(sidecars.create("web", image), AlreadyExistsError);
  await assert.rejects(sidecars.create("main", image), InvalidError);
  assert.equal((await sidecars.get("web")).containerId, web.containerId);
  assert.deepEqual((await sidecars.list()).map((c) => c.containerName), ["web"]);
  assert.equal(await web.terminate({ wait: true }), 137);
  await assert.rejects(sidecars.get("web"), NotFoundError);
  assert.equal((await sidecars.get("web", { includeTerminated: true })).containerId, web.containerId);
  const quick = await sidecars.create("web", image, { command: ["sh", "-c", "exit 3"] });
  assert.notEqual(quick.containerId, web.containerId);
  assert.equal(await quick.wait(), 3);
  assert.equal(await quick.poll(), 3);
  assert.deepEqual(await sidecars.list(), []);
  assert.equal((await sidecars.list({ includeTerminated: true })).length, 2);
});

test("execs, files and variables are a sidecar's own", async () => {
  const sandbox = await create();
  const secret = await modal.secrets.fromObject({ HIDDEN: "value with spaces" });
  const web = await sandbox.experimentalSidecars.create("web", image, {
    command: ["sleep", "600"],
    env: { MINE: "yes" },
    secrets: [secret],
    workdir: "/tmp",
  });
  assert.equal(await said(web, 'echo "$MINE $HIDDEN $PWD" | tee /own'), "yes value with spaces /tmp\n");
  assert.equal(await said(sandbox, "ls /own 2>/dev/null || echo none"), "none\n");
});

test("containers of a sandbox find each other by name", async (t) => {
  const sandbox = await create({ outboundCidrAllowlist: [] });
  if ((await said(sandbox, "ip -4 -o addr show dev eth0 | wc -l")) === "0\n") {
    t.skip("containers have loopback only here");
    return;
  }
  const web = await sandbox.experimentalSidecars.create("web", image, {
    command: ["sh", "-c", "while :; do echo from web | nc -l -p 8000; done"],
  });
  const ask = (name, port) => `for i in $(seq 30); do nc -w 3 ${name} ${port} </dev/null && exit 0; sleep 0.2; done; exit 1`;
  assert.equal(await said(sandbox, ask("web", 8000)), "from web\n");
  await sandbox.exec(["sh", "-c", "while :; do echo from main | nc -l -p 8001; done"]);
  assert.equal(await said(web, ask("main", 8001)), "from main\n");
});

test("sidecars end with their sandbox", async () => {
  const sandbox = await create();
  await sandbox.experimentalSidecars.create("web", image, { command: ["sleep", "600"] });
  assert.equal(await sandbox.terminate({ wait: true }), 137);
});
