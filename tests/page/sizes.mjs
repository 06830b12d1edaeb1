// What the page weighs, compressed as the gateway serves it. Exit 1 where all of it by brotli, or by gzip what has to come
// before the sign-in form works, is too much.
//
// node tests/page/sizes.mjs [--each]

import { readdirSync, readFileSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const web = new URL('../../web/', import.meta.url);
/** Bytes of everything, and of what is fetched before the sign-in form works. */
const ALL = 60_000;
const FORM = 30_000;
const FIRST = /^(index\.html|style\.css|(start|main|talk|texts)\.js)$/;

const names = readdirSync(web, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.replace(web.pathname, '').replace(/^\//, ''))
  .filter((name) => !/\.d\.ts$|\.lock$|tsconfig\.json$|LICENSE/.test(name))
  .sort();
const sizes = names.map((name) => {
  const content = readFileSync(new URL(name, web));
  return { name, brotli: brotliCompressSync(content).length, gzip: gzipSync(content, { level: 9 }).length };
});
if (process.argv.includes('--each')) {
  for (const { name, brotli, gzip } of sizes) console.log(`${String(brotli).padStart(6)} ${String(gzip).padStart(6)} ${name}`);
}
const sum = (rows, by) => rows.reduce((total, row) => total + row[by], 0);
const say = (what, bytes, limit, more) => {
  console.log(`${what}: ${bytes} bytes${bytes > limit ? `, which is MORE than ${limit}` : ` (at most ${limit})`}${more}`);
  if (bytes > limit) process.exitCode = 1;
};
const form = sizes.filter(({ name }) => FIRST.test(name));
say('all of the page, by brotli', sum(sizes, 'brotli'), ALL, `; by gzip ${sum(sizes, 'gzip')}`);
say('before the sign-in form works, by gzip', sum(form, 'gzip'), FORM, `; by brotli ${sum(form, 'brotli')}`);
