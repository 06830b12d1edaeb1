// What the page weighs, compressed; exit 1 where too much has to come before the sign-in form works.

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
const told = (bytes, limit) => `${bytes} bytes${bytes > limit ? `, which is MORE than ${limit}` : ` (at most ${limit})`}`;
console.log(`all of the page by gzip: ${told(all, ALL)}; by brotli: ${told(brotli, ALL)}`);
console.log(`before the sign-in form works, by gzip: ${told(form, FORM)}`);
if (form > FORM) process.exitCode = 1;
