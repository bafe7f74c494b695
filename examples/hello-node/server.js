'use strict';
const http = require('http');
const greet = require('greet');

const app = JSON.parse(process.env.VCAP_APPLICATION || '{}');
const port = process.env.PORT || 8080;

const server = http.createServer((req, res) => {
  res.setHeader('Content-Type', 'text/plain; charset=utf-8');
  if (req.url === '/healthz') {
    res.end('ok\n');
    return;
  }
  res.end(`${greet(app.application_name || 'hello-node')}, instance ${process.env.CF_INSTANCE_INDEX || 0}\n`);
});
server.keepAliveTimeout = 120_000; // longer than a router keeps connections
server.listen(port, () => console.log(`listening at port ${port}`));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
