// Renders the skeleton for each element of a JSON list on standard input, and writes
// the orders as a JSON list. The test in Go reads them as the API server would.
import { readFileSync } from 'node:fs';
import { createTemplateRenderer } from 'nunjitsu';

const file = new URL('../../package/portal/dataset-whisperer/skeleton/manifests/xdatasetagent.yaml', import.meta.url);
const skeleton = readFileSync(file, 'utf8');
const renderer = createTemplateRenderer();
const all = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(all.map(values => renderer.render(skeleton, { values }))));
