const fs = require("fs");
const { left } = require("left");
fs.mkdirSync("dist/public", { recursive: true });
const source = fs.readFileSync("src/server.js", "utf8");
fs.writeFileSync("dist/server.js", source.replace("__WIDTH__", left("8", 1)));
fs.writeFileSync("dist/public/index.html", "<!doctype html><title>shop</title>\n");
