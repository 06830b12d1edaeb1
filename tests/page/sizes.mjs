// What the page weighs, compressed as the gateway serves it; exit 1 where that is too much.

import { readdirSync, readFileSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const web = new URL('../../web/', import.meta.url);
/** Bytes of everything, and of what is fetched before the sign-in form works. */
const ALL = 60_000;
const FORM = 30_000;
const FIRST = /^(index\.html|style\.css|icon\.svg|(start|main|api|words|legacy)\.js|texts\/en\.js)$/;

const names = readdirSync(web, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.replace(web.pathname, '').replace(/^\//, ''))
  .filter((name) => !/\.d\.ts$|\.lock$|tsconfig\.json$|LICENSE/.test(name))
  .sort();
let [all, form, brotli] = [0, 0, 0];
for (const name of names) {
  const content = readFileSync(new URL(name, web));
  const size = gzipSync(content, { level: 9 }).length;
  all += size;
  brotli += brotliCompressSync(content).length;
  if (FIRST.test(name)) form += size;
  if (process.argv.includes('--each')) console.log(`${String(size).padStart(6)} ${name}`);
}
console.log(`all of the page: ${all} bytes by gzip, ${brotli} by brotli; before the sign-in form works: ${form}`);
if (all > ALL || form > FORM) {
  console.error(`too much: it may be ${ALL}, and ${FORM}`);
  process.exitCode = 1;
}
