// Whether the AsyncAPI initiative's own parser takes the document: argument 1; its packages are below argument 2.
// It holds the examples to their schemas, too.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [, , file, packages] = process.argv;
const { Parser } = createRequire(`${packages}/`)('@asyncapi/parser');
const { document, diagnostics } = await new Parser().parse(readFileSync(file, 'utf8'));
// 3.0.0 says all that is needed, and more tools read it.
const faults = diagnostics.filter(({ code }) => code !== 'asyncapi-latest-version');
for (const { message, path } of faults) console.error(`${file}: ${path.join('.')}: ${message}`);
if (!document || faults.length > 0) process.exit(1);
const unnamed = document.allMessages().all().filter((message) => !message.name() || !message.title());
if (unnamed.length > 0) {
  console.error(`${file}: messages without a name or a title: ${unnamed.map((message) => message.id())}`);
  process.exit(1);
}
const { length } = document.allMessages().all();
console.log(`${file}: ${length} messages, ${document.allOperations().all().length} operations`);
