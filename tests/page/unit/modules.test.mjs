// What `start.js` has fetched at once is what the page imports, no more and no less.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { web } from './browser.mjs';

/** The modules that a module imports before it runs, and those that they import. */
async function closure(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  const source = await readFile(new URL(path, web), 'utf8');
  for (const [, name] of source.matchAll(/^(?:import|export) .*?from\s*["'](\.[^"']+)["']|^import\s*\{[^}]*\}\s*from\s*["'](\.[^"']+)["']/gm)) {
    await closure(new URL(name ?? '', new URL(path, web)).href.slice(web.href.length), found);
  }
  for (const [, name] of source.matchAll(/import\{[^}]*\}from"(\.[^"]+)"/g)) {
    await closure(new URL(name, new URL(path, web)).href.slice(web.href.length), found);
  }
  return found;
}

test('the list of modules to fetch at once is complete', async () => {
  const source = await readFile(new URL('start.js', web), 'utf8');
  const listed = (/** @type {RegExp} */ names) => (names.exec(source)?.[1] ?? '').split(' ').map((name) => `${name}.js`);
  const form = await closure('main.js');
  const page = new Set([...(await closure('app.js')), ...(await closure('live.js'))]);
  assert.deepEqual(listed(/fetched\('(app [^']+)'\)/).sort(), [...page].filter((path) => !form.has(path)).sort());
  assert.deepEqual(['main.js', ...listed(/fetched\('(talk[^']*)'/)].sort(), [...form].sort());
});
