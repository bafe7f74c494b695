// Prints what the build needs to know of package.json as shell assignments.
// Arguments: the app's directory, the directory of npm.
'use strict';
const fs = require('fs');
const path = require('path');
const [app, npm] = process.argv.slice(2);

const read = (name) => {
  try {
    return fs.readFileSync(path.join(app, name), 'utf8');
  } catch {
    return '';
  }
};
const print = (name, value) => console.log(`${name}='${String(value ?? '').replace(/'/g, `'\\''`)}'`);

let pkg;
try {
  pkg = JSON.parse(read('package.json').replace(/^\ufeff/, ''));
  if (pkg === null || typeof pkg !== 'object' || Array.isArray(pkg)) throw new Error('it is not an object');
} catch (e) {
  print('broken', `package.json cannot be read: ${e.message}`);
  process.exit(0);
}
print('broken', '');

// The version of Node: NODE_VERSION, package.json, then the files of the
// version managers.
const tool = /^nodejs\s+(\S+)/m.exec(read('.tool-versions'));
const wanted = [
  ['NODE_VERSION', process.env.NODE_VERSION],
  ['engines.node of package.json', pkg.engines?.node],
  ['.nvmrc', read('.nvmrc').trim()],
  ['.node-version', read('.node-version').trim()],
  ['.tool-versions', tool?.[1]],
].find(([, range]) => range) ?? ['', ''];
const named = /^(lts\/\S*|node|latest|current|stable|system)$/.test(wanted[1]);
const range = named ? '*' : wanted[1];
let fits = true;
try {
  const semver = require(path.join(npm, 'node_modules', 'semver'));
  fits = range === '' || semver.validRange(range) === null || semver.satisfies(process.version, range);
} catch {
  const major = /^[v^~]?(\d+)/.exec(range)?.[1]; // npm keeps its library elsewhere
  fits = !major || process.version.startsWith(`v${major}.`);
}
print('node_wanted', range);
print('node_wanted_by', wanted[0]);
print('node_fits', fits ? 'yes' : 'no');

const scripts = pkg.scripts ?? {};
const dependencies = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']
  .reduce((n, k) => n + Object.keys(pkg[k] ?? {}).length, 0);
print('dependencies', dependencies);
print('workspaces', pkg.workspaces ? 'yes' : '');
print('manager', pkg.packageManager);
print('install_scripts', ['preinstall', 'install', 'postinstall', 'preprepare', 'prepare', 'postprepare'].filter((s) => scripts[s]).join(' '));
print('prebuild', scripts['heroku-prebuild'] ? 'heroku-prebuild' : '');
print('build', scripts['heroku-postbuild'] ? 'heroku-postbuild' : scripts.build ? 'build' : '');

// What runs: a plain "node file" is run as it stands, which saves starting
// npm and lets signals reach the app; anything else goes through npm.
const start = (scripts.start ?? '').trim();
const plain = /^node( +[\w./=:@,-]+)+$/.test(start) && !scripts.prestart && !scripts.poststart;
const file = [pkg.main, 'server.js', 'index.js', 'app.js', 'main.js', 'src/index.js']
  .find((f) => f && /^[\w./@-]+$/.test(f) && fs.existsSync(path.join(app, f)));
print('start', plain ? `exec ${start}` : start ? 'npm start' : file ? `exec node ${file}` : '');
