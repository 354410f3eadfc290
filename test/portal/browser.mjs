// Opens the order form in a real Chromium, as a person would, and writes what it saw as
// JSON: node browser.mjs <address> <user> <password> looks at the form with one dataset and
// orders nothing; with <agent> <dataset> <description> behind, it orders that agent. Chromium is driven
// through a pipe (its DevTools protocol), so that nothing is to be installed. SCREENSHOTS
// names a folder for pictures of what it saw.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const [address, user, password, agent, dataset, description] = process.argv.slice(2);
const profile = mkdtempSync(path.join(tmpdir(), 'portal-browser-'));
const chromium = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--remote-debugging-pipe', `--user-data-dir=${profile}`,
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], detached: true }); // a group of its own, to end with all its children
const [, , , to, from] = chromium.stdio;

const waiting = new Map();
const complaints = [];
let id = 0;
let rest = '';
from.on('data', data => {
  const messages = (rest + data).split('\0');
  rest = messages.pop();
  for (const m of messages.map(x => JSON.parse(x))) {
    if (m.method === 'Runtime.exceptionThrown') complaints.push(m.params.exceptionDetails.exception?.description ?? m.params.exceptionDetails.text);
    waiting.get(m.id)?.(m);
    waiting.delete(m.id);
  }
});
let sessionId;
const send = (method, params = {}) => new Promise((resolve, reject) => {
  waiting.set(++id, m => (m.error ? reject(new Error(`${method}: ${m.error.message}`)) : resolve(m.result)));
  to.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
});

async function look(expression) {
  const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
  if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.text}`);
  return result.value;
}

async function until(expression, seconds = 300) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise(r => setTimeout(r, 200))) {
    const value = await look(expression);
    if (value) return value;
  }
  throw new Error(`gave up waiting for ${expression}; the page says: ${await look('document.body.innerText')}`);
}

const click = text => until(`(() => { const b = [...document.querySelectorAll('button')].find(b => b.innerText.trim().toLowerCase() === ${JSON.stringify(text)} && !b.disabled); b?.click(); return !!b })()`);

async function type(field, text) {
  await until(`!!document.getElementById(${JSON.stringify(field)})`);
  await look(`(() => { const e = document.getElementById(${JSON.stringify(field)}); e.focus(); e.select() })()`);
  await send('Input.insertText', { text });
}

async function picture(name) {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  const { data } = await send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
  writeFileSync(path.join(process.env.SCREENSHOTS, `${name}.png`), Buffer.from(data, 'base64'));
}

const button = text => `[...document.querySelectorAll('button')].some(b => b.innerText.trim().toLowerCase() === ${JSON.stringify(text)})`;

// look at all that a form with one dataset shows, and at what it refuses.
async function visit() {
  saw.dataset = await until(`document.getElementById('root_dataset')?.value`);
  saw.picker = await look(`document.getElementById('root_dataset').disabled ? 'decided' : 'open'`);
  await picture('form');
  await type('root_agent_name', 'Housing Bot');
  await click('review');
  saw.refusal = await until(`[...document.querySelectorAll('p, li, span, div')].map(e => e.innerText).find(t => t?.startsWith('Use lower-case letters'))`);
  await picture('refusal');
  await type('root_agent_name', 'housing-bot');
  await click('review');
  saw.review = await until(`document.body.innerText.includes('housing-bot') && ${button('create')} && document.body.innerText`);
  await picture('review');
}

// order an agent for one of several datasets, and say which task that became.
async function order() {
  await type('root_agent_name', agent);
  await type('root_description', description);
  // The list shows titles ("Pass Coffee"), and narrows down by what is typed.
  await type('root_dataset', dataset.split('-')[0]);
  const named = `[...document.querySelectorAll('[role=option]')].find(o => o.innerText.toLowerCase().replace(/[^a-z0-9]+/g, '-').includes(${JSON.stringify(dataset)}))`;
  await until(`(() => { const o = ${named}; o?.click(); return !!o })()`);
  saw.dataset = await look(`document.getElementById('root_dataset').value`);
  await picture('order');
  await click('review');
  saw.review = await until(`document.body.innerText.includes(${JSON.stringify(agent)}) && ${button('create')} && document.body.innerText`);
  await click('create');
  saw.task = await until(`location.pathname.match(/tasks\\/([^/]+)/)?.[1]`);
  await until(`document.body.innerText.includes('Write the order')`);
  await picture('task');
}

const saw = {};
try {
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  ({ sessionId } = await send('Target.attachToTarget', { targetId, flatten: true }));
  for (const domain of ['Page', 'Runtime', 'Network']) await send(`${domain}.enable`);
  await send('Network.setExtraHTTPHeaders', { headers: { Authorization: `Basic ${btoa(`${user}:${password}`)}` } });
  await send('Page.navigate', { url: `${address}/create/templates/default/dataset-whisperer` });
  await until(`!!document.getElementById('root_agent_name')`);
  saw.budget = await look(`document.getElementById('root_budget_usd').value`);
  saw.hidden = await look(`document.body.innerText.includes('Base domain')`);
  await (agent ? order() : visit());
} catch (e) {
  saw.error = e.message;
  await picture('error').catch(() => {});
} finally {
  saw.complaints = complaints;
  process.stdout.write(JSON.stringify(saw));
  chromium.on('exit', () => {
    // Children that are ending still write into the profile.
    rmSync(profile, { recursive: true, force: true, maxRetries: 30, retryDelay: 100 });
    process.exit(0);
  });
  process.kill(-chromium.pid, 'SIGKILL');
}
