// Readiness, tunnels and a changed network policy, as a user of the SDK sees them.
import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import { test, after } from "node:test";
import { ModalClient, Probe } from "modal";

const modal = new ModalClient();
const registry = process.env.REGISTRY;
const app = await modal.apps.fromName("clients-modal-js", { createIfMissing: true });
const image = modal.images.fromRegistry(`${registry}/plain:1`);
const started = [];
const create = async (params) => {
  const sandbox = await modal.sandboxes.create(app, image, params);
  started.push(sandbox);
  return sandbox;
};
const serving = ["sh", "-c", "sleep 0.5; while :; do echo served | nc -l -p 8000; done"];
const answer = (socket) =>
  new Promise((resolve, reject) => {
    let text = "";
    socket.on("data", (bytes) => (text += bytes));
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.setTimeout(10000, () => reject(new Error("no answer in 10 s")));
  });

after(async () => {
  for (const sandbox of started) await sandbox.terminate().catch(() => {});
  modal.close();
});

test("a sandbox is ready when its probe says so", async () => {
  const sandbox = await create({ command: ["sleep", "600"], readinessProbe: Probe.withExec(["test", "-e", "/ready"]) });
  const early = await Promise.race([sandbox.waitUntilReady(60000).then(() => "ready"), new Promise((r) => setTimeout(r, 1000, "not yet"))]);
  assert.equal(early, "not yet");
  await (await sandbox.exec(["touch", "/ready"])).wait();
  await sandbox.waitUntilReady(10000);
});

test("encrypted and unencrypted tunnels", async (t) => {
  const sandbox = await create({ command: serving, encryptedPorts: [8001], unencryptedPorts: [8000] });
  const tunnels = await sandbox.tunnels();
  assert.deepEqual(Object.keys(tunnels), ["8000", "8001"]);
  const up = await sandbox.exec(["sh", "-c", "ip -4 -o addr show dev eth0 | wc -l"]);
  if ((await up.stdout.readText()) === "0\n") {
    t.skip("containers have loopback only here");
    return;
  }
  const ask = async (connect) => {
    for (let i = 0; ; i++) {
      const text = await answer(connect()).catch((error) => {
        if (i === 30) throw error;
        return "";
      });
      if (text || i === 30) return text;
      await new Promise((r) => setTimeout(r, 200));
    }
  };
  const [host, port] = tunnels[8000].tcpSocket;
  assert.equal(await ask(() => net.connect(port, host)), "served\n");
  const [secureHost, securePort] = tunnels[8000].tlsSocket;
  assert.equal(await ask(() => tls.connect({ host: secureHost, port: securePort, rejectUnauthorized: false })), "served\n");
  assert.match(tunnels[8001].url, /^https:\/\/127\.0\.0\.1:\d+$/);
});

test("a network policy can change", async () => {
  const sandbox = await create({ command: ["sleep", "600"] });
  const up = await sandbox.exec(["sh", "-c", "ip -4 -o addr show dev eth0 | wc -l"]);
  if ((await up.stdout.readText()) === "0\n") return;
  await sandbox.updateNetworkPolicy({ outboundCidrAllowlist: ["192.0.2.0/24"], outboundDomainAllowlist: [] });
  await sandbox.updateNetworkPolicy({ outboundCidrAllowlist: [], outboundDomainAllowlist: [] });
});
