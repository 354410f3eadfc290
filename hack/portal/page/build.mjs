// Bundles the page: node build.mjs <folder to write>.
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const to = process.argv[2];
const data = ['svg', 'png', 'gif', 'jpg', 'woff', 'woff2', 'ttf', 'eot', 'md'];
await build({
  entryPoints: ['index.jsx'], outfile: path.join(to, 'assets', 'index.js'), bundle: true, minify: true, format: 'iife', target: 'es2022', jsx: 'automatic', logLevel: 'error',
  alias: { stream: './node.js', buffer: './node.js' },
  loader: Object.fromEntries(data.map(e => [`.${e}`, 'dataurl'])),
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'globalThis', process: 'undefined' },
});
copyFileSync('index.html', path.join(to, 'index.html'));
