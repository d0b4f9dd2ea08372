const { left } = require("left");
console.log(left(process.env.NODE_ENV, __WIDTH__ + 4), process.getuid(), process.cwd());
