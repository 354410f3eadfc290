// The page of one agent. Everything that a model wrote arrives as HTML that the
// server rendered and cleaned; whatever else is shown goes in as text.

const $ = (id) => document.getElementById(id);
const policy = window.trustedTypes?.createPolicy('server', { createHTML: (s) => s });
const html = (element, s) => { element.innerHTML = policy ? policy.createHTML(s) : s; };
const make = (tag, props = {}, ...children) => {
  const e = document.createElement(tag);
  Object.assign(e, props);
  e.append(...children);
  return e;
};
const icon = (name, cls = '') => {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  const use = document.createElementNS(ns, 'use');
  use.setAttribute('href', `#i-${name}`);
  if (cls) svg.setAttribute('class', cls);
  svg.append(use);
  return svg;
};
const coarse = matchMedia('(pointer: coarse)'); // a finger: Enter is for new lines, and no keyboard pops up unasked

// ---------------------------------------------------------------- the server

class Refusal extends Error {
  constructor(problem) { super(problem.message); this.problem = problem; }
}

async function call(method, path, body) {
  let rsp;
  try {
    rsp = await fetch(path, {
      method, redirect: 'manual', credentials: 'same-origin',
      headers: body ? { 'Content-Type': 'application/json', Accept: 'application/json' } : { Accept: 'application/json' },
      body: body && JSON.stringify(body),
    });
  } catch {
    throw new Refusal({ code: 0, down: 'network', message: 'The page’s server can’t be reached.', detail: 'Check your connection. What you typed is kept.' });
  }
  const json = rsp.headers.get('Content-Type')?.startsWith('application/json');
  if (rsp.type === 'opaqueredirect' || rsp.status === 401) {
    const p = json ? await rsp.json() : {};
    throw new Refusal({ code: 401, down: 'sign-in', message: p.message || 'You have been signed out.', detail: 'Reload the page to sign in again. What you typed is kept.' });
  }
  if (rsp.status === 204) return null;
  if (!json) throw new Refusal({ code: rsp.status, down: 'page', message: `Something between here and the page’s server answered ${rsp.status}.`, detail: 'Try again in a moment. What you typed is kept.' });
  const data = await rsp.json();
  if (!rsp.ok) throw new Refusal(data);
  return data;
}

// ---------------------------------------------------------------- money

const dollars = (n) => {
  const small = n > 0 && n < 0.1;
  return new Intl.NumberFormat(undefined, { style: 'currency', currency: 'USD', minimumFractionDigits: small ? 4 : 2, maximumFractionDigits: small ? 4 : 2 }).format(n);
};
const periods = { lifetime: 'in all', daily: 'today', weekly: 'this week', monthly: 'this month' };

function showMoney(m) {
  $('money').hidden = !m;
  if (!m) return;
  const text = $('money-text');
  if (m.spentUsd == null) {
    text.replaceChildren('Budget ', make('b', { textContent: dollars(m.budgetUsd) }), make('span', { className: 'long', textContent: ', nothing measured yet' }));
  } else {
    text.replaceChildren(
      make('b', { textContent: dollars(m.leftUsd) }), ' left',
      make('span', { className: 'mid', textContent: ` of ${dollars(m.budgetUsd)}` }),
      make('span', { className: 'long', textContent: ` · ${dollars(m.spentUsd)} spent ${periods[m.period] || ''}` }),
    );
  }
  let title = m.asOf ? `Counted up to ${new Date(m.asOf).toLocaleString()}.` : 'Spending is measured every few minutes.';
  if (!m.enforced) title += ' It is measured only: the agent is not stopped.';
  if (m.stale) title += ' Measuring fails at the moment, so it may be more.';
  $('money').title = title;
  $('money').className = 'money' + (m.exhausted ? ' out' : m.ratio >= 0.8 ? ' low' : '');
  $('money-bar').style.width = `${Math.round(m.ratio * 100)}%`;
}

function spentText(m) {
  const spent = m.spentUsd == null ? 'not known yet' : dollars(m.spentUsd);
  return `${spent} of ${dollars(m.budgetUsd)} ${periods[m.period] || ''}`.trim();
}

function backText(m) {
  if (!m.resumes) return 'Not by itself: this budget is for the agent’s whole life. It goes on as soon as somebody raises it.';
  return `${new Date(m.resumes).toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'short' })} (your time), when the next ${{ daily: 'day', weekly: 'week', monthly: 'month' }[m.period]} begins; sooner if somebody raises it.`;
}

// ---------------------------------------------------------------- what is closed

let problem = null; // why no question can be asked
let lookAgain = 0;

function close(p) {
  problem = p;
  $('closed').hidden = !p;
  clearTimeout(lookAgain);
  buttons();
  if (!p) return;
  const m = p.money;
  $('closed-icon').setAttribute('href', m ? '#i-coin' : '#i-alert');
  $('closed-title').textContent = p.message;
  $('closed-detail').textContent = p.detail || '';
  $('closed-detail').hidden = !p.detail;
  $('closed-facts').hidden = !m;
  if (m) {
    $('fact-spent').textContent = spentText(m);
    $('fact-back').textContent = backText(m);
    $('fact-raise').textContent = m.raise;
    showMoney(m);
  }
  // A page that nobody looks at asks nothing; the others don't ask all at once.
  const wait = (m ? 60 : 10) * (0.75 + Math.random() / 2);
  lookAgain = setTimeout(() => document.hidden || refresh(), wait * 1000);
}

// ---------------------------------------------------------------- conversations

let here = null; // id of the conversation that is shown; null: a new one
let turns = []; // those on the page

async function refresh() {
  try {
    const s = await call('GET', '/api/state');
    showMoney(s.money);
    close(s.problem || null);
    list(s.conversations);
    return s;
  } catch (e) {
    close(e.problem || { message: String(e) });
    return null;
  }
}

function list(conversations) {
  $('list').replaceChildren(...conversations.map((c) => {
    const a = make('a', { href: `/c/${c.id}`, textContent: c.title, title: c.title });
    if (c.id === here) a.setAttribute('aria-current', 'page');
    a.onclick = (e) => {
      if (e.metaKey || e.ctrlKey || e.shiftKey) return;
      e.preventDefault();
      go(c.id);
    };
    const drop = make('button', { type: 'button', className: 'icon', title: 'Delete this conversation' }, icon('trash'), make('span', { className: 'sr', textContent: `Delete ${c.title}` }));
    drop.onclick = async () => {
      if (!confirm(`Delete “${c.title}”?`)) return;
      try { await call('DELETE', `/api/conversations/${c.id}`); } catch { /* it is gone anyway */ }
      if (c.id === here) go(null);
      refresh();
    };
    return make('li', { className: [c.id === here && 'here', c.running && 'running'].filter(Boolean).join(' ') }, a, drop);
  }));
}

function go(id, push = true) {
  menu(false);
  if (push) history.pushState(null, '', id ? `/c/${id}` : '/');
  open(id).then(refresh);
  $('question').focus({ preventScroll: true });
}

let opening = 0;
async function open(id) {
  const mine = ++opening;
  for (const t of turns) t.leave();
  turns = [];
  here = id;
  $('log').replaceChildren();
  $('hello').hidden = Boolean(id);
  buttons();
  if (!id) return;
  try {
    const c = await call('GET', `/api/conversations/${id}`);
    if (mine !== opening) return;
    document.title = `${c.title} · ${document.querySelector('.who h1').textContent}`;
    for (const v of c.turns) add(v);
    bottom(true);
  } catch (e) {
    if (mine !== opening) return;
    if (e.problem?.code !== 404) { close(e.problem); return; }
    here = null;
    history.replaceState(null, '', '/');
    $('hello').hidden = false;
    say(`${e.problem.message} ${e.problem.detail || ''}`);
    $('log').replaceChildren(make('p', { className: 'notice', textContent: `${e.problem.message} ${e.problem.detail || ''}` }));
  }
}

function add(view) {
  const t = new Turn(view);
  turns.push(t);
  $('log').append(t.element);
  $('hello').hidden = true;
  return t;
}

// ---------------------------------------------------------------- one question and its answer

const kinds = {
  analyst: ['analyst', 'Asked the analyst', 'Asking the analyst'],
  python: ['code', 'Ran code', 'Running code'],
  dataset: ['table', 'Looked at the dataset', 'Looking at the dataset'],
  tool: ['tool', 'Used a tool', 'Using a tool'],
  remark: ['note', '', 'Thinking'],
  answered: ['note', 'Asked you', 'Asked you'],
};

class Turn {
  constructor(view) {
    this.id = view.id;
    this.conversation = here;
    this.question = view.question;
    this.element = $('t-turn').content.firstElementChild.cloneNode(true);
    this.part = (c) => this.element.querySelector(c);
    this.part('.said p').textContent = view.question;
    this.blocks = [];
    this.steps = new Map();
    this.started = performance.now();
    this.part('.copy').onclick = () => copy(this.part('.copy'), this.markdown || this.part('.answer > .prose').innerText);
    this.part('.retry').onclick = () => ask(this.question);
    this.show({ ...view, elapsedMs: view.ended ? new Date(view.ended) - new Date(view.started) : 0, from: 0, order: view.steps.length });
    if (view.state === 'working') this.watch();
  }

  path(rest) { return `/api/conversations/${this.conversation}/turns/${this.id}/${rest}`; }

  // watch follows the answer. The server sends all of it first, so that coming back is
  // the same as coming.
  watch() {
    this.source?.close();
    const source = new EventSource(this.path('events'));
    this.source = source;
    source.onmessage = (e) => {
      this.lost = 0;
      const follow = nearBottom();
      this.show(JSON.parse(e.data));
      if (follow) bottom();
    };
    source.addEventListener('end', () => source.close());
    source.onerror = () => {
      if (this.state !== 'working') { source.close(); return; }
      this.part('.doing').textContent = 'Connection lost, reconnecting';
      if (source.readyState !== EventSource.CLOSED) return;
      // The server refused, so the browser does not try again by itself: find out why.
      this.lost = (this.lost || 0) + 1;
      this.timer = setTimeout(() => this.again(), Math.min(1000 * 2 ** this.lost, 15000));
    };
  }

  async again() {
    try {
      const c = await call('GET', `/api/conversations/${this.conversation}`);
      if (!c.turns.some((t) => t.id === this.id)) throw new Refusal({ code: 404, message: 'This question is not here any more.' });
      this.watch();
    } catch (e) {
      if (e.problem?.code === 404) {
        this.show({ state: 'failed', from: this.blocks.length, blocks: [], steps: [], order: this.steps.size, problem: { message: 'The page’s server was restarted while the agent answered. Ask again.' } });
      } else {
        this.lost = (this.lost || 0) + 1;
        this.timer = setTimeout(() => this.again(), Math.min(1000 * 2 ** this.lost, 15000));
      }
    }
  }

  leave() {
    this.source?.close();
    clearTimeout(this.timer);
    clearInterval(this.clock);
  }

  show(p) {
    const was = this.state;
    this.state = p.state;
    if (p.markdown) this.markdown = p.markdown;
    const prose = this.part('.answer > .prose');
    this.blocks.length = p.from;
    while (prose.children.length > p.from) prose.lastElementChild.remove();
    for (const b of p.blocks) {
      this.blocks.push(b);
      const e = make('div', { className: 'block' });
      html(e, b);
      furnish(e);
      prose.append(e);
    }
    for (const s of p.steps) this.step(s);

    const working = p.state === 'working';
    this.part('.working').hidden = !working;
    const running = [...this.steps.values()].reverse().find((s) => !s.data.done);
    this.part('.doing').textContent = p.notice && working ? p.notice : running ? kinds[running.data.kind]?.[2] || 'Working' : this.blocks.length ? 'Writing' : 'Thinking';
    this.elapsed(p.elapsedMs || 0, working);
    const notice = this.part('.notice');
    notice.hidden = working || !p.notice;
    notice.textContent = p.notice || '';
    this.fail(p.problem);
    this.asks(p.ask);
    this.part('.actions').hidden = working || p.state === 'asking';
    this.part('.copy').hidden = !this.blocks.length;
    if (was === 'working' && !working) this.done(p);
    if (was !== p.state) buttons();
  }

  elapsed(ms, working) {
    this.started = performance.now() - ms;
    const text = () => {
      const s = Math.round((performance.now() - this.started) / 1000);
      return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
    };
    const time = this.part('.working time');
    if (working) {
      time.textContent = text();
      this.clock ??= setInterval(() => { time.textContent = text(); }, 1000);
      return;
    }
    clearInterval(this.clock);
    this.clock = null;
    this.part('.took').textContent = ms ? (ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : text()) : '';
  }

  done(p) {
    if (p.state === 'done') say(`Answer: ${this.part('.answer > .prose').innerText.slice(0, 600)}`);
    else if (p.state === 'asking') say('The agent asks you something.');
    else say(p.problem?.message || p.notice || 'Stopped.');
    if (p.problem?.code === 402) close(p.problem);
    refresh();
  }

  fail(problem) {
    const e = this.part('.problem');
    e.hidden = !problem;
    if (!problem) return;
    e.classList.toggle('budget', problem.code === 402);
    e.querySelector('use').setAttribute('href', problem.code === 402 ? '#i-coin' : '#i-alert');
    e.querySelector('b').textContent = problem.message;
    e.querySelector('p').textContent = problem.detail || '';
  }

  step(s) {
    let e = this.steps.get(s.id);
    if (!e) {
      e = { element: $('t-step').content.firstElementChild.cloneNode(true) };
      this.steps.set(s.id, e);
      this.part('.steps').append(e.element);
    }
    e.data = s;
    const [pic, past, now] = kinds[s.kind] || kinds.tool;
    e.element.className = `step ${s.kind}${s.failed ? ' failed' : ''}${s.done ? '' : ' running'}`;
    e.element.querySelector('.kind use').setAttribute('href', `#i-${pic}`);
    const what = e.element.querySelector('.what');
    const label = s.kind === 'tool' ? `${s.done ? 'Used' : 'Using'} ${s.tool}` : s.done ? past : now;
    what.replaceChildren(make('b', { textContent: label }));
    const hint = s.kind === 'remark' ? strip(s.html) : s.request || '';
    if (hint) what.append(`${label ? ' · ' : ''}${hint.replace(/\s+/g, ' ').slice(0, 200)}`);
    if (s.failed) what.append(' · failed');
    const inside = e.element.querySelector('.inside');
    inside.replaceChildren();
    if (s.request) inside.append(make('h3', { textContent: s.kind === 'answered' ? 'Question and answer' : 'Request' }), make('p', { className: 'request', textContent: s.request }));
    if (s.code) {
      const block = make('div', { className: 'prose' }, make('pre', {}, make('code', { textContent: s.code })));
      furnish(block);
      inside.append(make('h3', { textContent: 'Code that was run' }), block);
    }
    if (s.html) {
      const block = make('div', { className: 'prose' });
      html(block, s.html);
      furnish(block);
      if (s.kind !== 'remark') inside.append(make('h3', { textContent: s.failed ? 'What went wrong' : 'Result' }));
      inside.append(block);
    }
    if (!inside.childElementCount) inside.append(make('p', { className: 'request', textContent: s.done ? 'Nothing came back.' : 'No result yet.' }));
  }

  asks(ask) {
    const form = this.part('.asks');
    if (!ask) { form.hidden = true; form.replaceChildren(); return; }
    if (!form.hidden) return;
    form.hidden = false;
    const read = [];
    if (ask.approve && !ask.questions?.length) {
      form.append(make('p', { textContent: 'The agent wants your consent for:' }), make('p', {}, make('code', { textContent: ask.approve })));
      const yes = make('button', { type: 'submit', className: 'solid', textContent: 'Allow' });
      const no = make('button', { type: 'button', className: 'quiet', textContent: 'Refuse' });
      no.onclick = () => this.reply({ approve: false });
      form.append(make('div', { className: 'row' }, yes, no));
    } else {
      ask.questions.forEach((q, i) => {
        const set = make('fieldset', {}, make('legend', { textContent: q.text }));
        const chips = (q.choices || []).map((c) => make('label', {}, make('input', { type: q.multiple ? 'checkbox' : 'radio', name: `${this.id}-${i}`, value: c }), c));
        if (chips.length) set.append(make('div', { className: 'choices' }, ...chips));
        const text = make('input', { type: 'text', placeholder: chips.length ? 'Or something else…' : 'Your answer', maxLength: 4000 });
        text.setAttribute('aria-label', `Answer: ${q.text}`);
        set.append(text);
        form.append(set);
        read.push(() => [...set.querySelectorAll(':checked')].map((c) => c.value).concat(text.value.trim() || []));
      });
      form.append(make('button', { type: 'submit', className: 'solid', textContent: 'Answer' }));
    }
    form.onsubmit = (e) => {
      e.preventDefault();
      const answers = read.map((r) => r());
      if (read.length && answers.every((a) => !a.length)) { form.querySelector('input')?.focus(); return; }
      this.reply({ answers, approve: true });
    };
    if (document.activeElement === document.body || document.activeElement === $('question')) form.querySelector('input, button')?.focus();
  }

  async reply(body) {
    const form = this.part('.asks');
    for (const e of form.elements) e.disabled = true;
    try {
      await call('POST', this.path('answer'), body);
      this.watch();
      $('question').focus({ preventScroll: true });
    } catch (e) {
      for (const x of form.elements) x.disabled = false;
      refused(e);
    }
  }

  async stop() {
    $('stop').disabled = true;
    try { await call('POST', this.path('stop'), {}); } catch (e) { refused(e); } finally { $('stop').disabled = false; }
  }
}

const strip = (s) => {
  const e = make('template');
  html(e, s);
  return e.content.textContent.trim();
};

// furnish gives code and tables what a hand wants of them.
function furnish(root) {
  for (const pre of root.querySelectorAll('pre')) {
    const box = make('div', { className: 'code' });
    pre.replaceWith(box);
    pre.tabIndex = 0;
    const b = make('button', { type: 'button', textContent: 'Copy' });
    b.onclick = () => copy(b, pre.innerText);
    box.append(pre, b);
  }
  for (const table of root.querySelectorAll('table')) {
    numbers(table);
    const wide = make('div', { className: 'wide', tabIndex: 0 });
    wide.setAttribute('role', 'region');
    wide.setAttribute('aria-label', 'Table');
    const box = make('div', { className: 'table' });
    table.replaceWith(box);
    const b = make('button', { type: 'button', textContent: 'Copy as CSV' });
    b.onclick = () => copy(b, csv(table));
    wide.append(table);
    box.append(wide, b);
  }
  for (const img of root.querySelectorAll('img')) {
    img.tabIndex = 0;
    img.setAttribute('role', 'button');
    img.alt ||= 'Chart';
    img.title = 'Enlarge';
    img.onload = () => { if (nearBottom(img.height + 200)) bottom(); };
    img.onerror = () => {
      const p = make('span', { className: 'missing', textContent: `The chart “${img.alt}” could not be loaded. Ask for it again.` });
      img.replaceWith(p);
    };
    img.onclick = () => enlarge(img);
    img.onkeydown = (e) => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); enlarge(img); } };
  }
}

// numbers sets columns of figures flush right.
function numbers(table) {
  const rows = [...table.tBodies].flatMap((b) => [...b.rows]);
  const figure = /^[\s$€£¥%+−–-]*[\d.,\u202f\u00a0 ]*\d[\d.,\u202f\u00a0 ]*\s*(%|[A-Za-z]{0,3}\$?)$/;
  const columns = table.tHead?.rows[0]?.cells.length || 0;
  for (let i = 0; i < columns; i++) {
    const cells = rows.map((r) => r.cells[i]).filter(Boolean);
    if (!cells.length || table.tHead.rows[0].cells[i].align) continue;
    const said = cells.filter((c) => c.textContent.trim());
    if (said.length && said.every((c) => figure.test(c.textContent.trim()))) {
      for (const c of [table.tHead.rows[0].cells[i], ...cells]) c.classList.add('num');
    }
  }
}

const csv = (table) => [...table.rows].map((r) => [...r.cells].map((c) => {
  const s = c.textContent.trim();
  return /[",\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
}).join(',')).join('\n');

function enlarge(img) {
  $('viewer-img').src = img.src;
  $('viewer-img').alt = img.alt;
  $('viewer-save').href = img.src;
  $('viewer').showModal();
}

async function copy(button, text) {
  const label = button.querySelector('span') || button;
  const was = label.dataset.was ??= label.textContent;
  let ok = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // without https there is no clipboard: the old way
    const t = make('textarea', { value: text, className: 'sr' });
    document.body.append(t);
    t.select();
    ok = document.execCommand('copy');
    t.remove();
    button.focus();
  }
  label.textContent = ok ? 'Copied' : 'Could not copy';
  say(label.textContent);
  setTimeout(() => { label.textContent = was; }, 1600);
}

const say = (s) => { $('status').textContent = ''; requestAnimationFrame(() => { $('status').textContent = s; }); };

// ---------------------------------------------------------------- asking

const running = () => turns.find((t) => t.state === 'working');
let sending = false;

async function ask(question) {
  if (sending || running() || problem) return false;
  sending = true;
  buttons();
  try {
    const r = await call('POST', `/api/conversations/${here || 'new'}/turns`, { question });
    if (!here) {
      here = r.conversation;
      history.replaceState(null, '', `/c/${here}`);
      $('log').replaceChildren();
    }
    add(r.turn);
    say('The agent is answering.');
    bottom(true);
    refresh();
    return true;
  } catch (e) {
    refused(e);
    return false;
  } finally {
    sending = false;
    buttons();
  }
}

function refused(e) {
  const p = e.problem || { message: String(e) };
  if (p.code === 404 && here) { open(here); return; }
  if (p.code === 409 && here) { open(here); say(p.message); return; } // another tab was faster
  close(p);
}

function buttons() {
  const t = running();
  $('stop').hidden = !t;
  $('send').hidden = Boolean(t);
  $('send').disabled = sending || Boolean(problem) || !$('question').value.trim();
  for (const b of document.querySelectorAll('.retry, #starters button')) b.disabled = Boolean(t) || sending || Boolean(problem);
}

const box = $('question');
const draft = 'draft';
function resize() {
  if (!CSS.supports('field-sizing', 'content')) {
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }
}
box.oninput = () => { resize(); buttons(); try { sessionStorage.setItem(draft, box.value); } catch { /* private mode */ } };
box.onkeydown = (e) => {
  if (e.key === 'Enter' && !e.shiftKey && !e.isComposing && !coarse.matches) { e.preventDefault(); $('composer').requestSubmit(); }
};
$('composer').onsubmit = async (e) => {
  e.preventDefault();
  const q = box.value.trim();
  if (!q) return;
  if (await ask(q)) {
    if (box.value.trim() === q) box.value = '';
    box.oninput();
  }
};
$('stop').onclick = () => running()?.stop();
document.addEventListener('keydown', (e) => {
  if (e.key !== 'Escape' || $('viewer').open) return;
  if ($('side').classList.contains('open')) { menu(false); $('menu').focus(); } else running()?.stop();
});
for (const b of document.querySelectorAll('#starters button')) b.onclick = () => ask(b.textContent);
$('again').onclick = async () => { const s = await refresh(); if (s && !s.problem) $('question').focus(); };
$('new').onclick = () => go(null);

function menu(open) {
  $('side').classList.toggle('open', open);
  $('veil').hidden = !open;
  $('menu').setAttribute('aria-expanded', String(open));
  if (open) $('new').focus();
}
$('menu').onclick = () => menu(!$('side').classList.contains('open'));
$('veil').onclick = () => menu(false);

// ---------------------------------------------------------------- scrolling

const area = $('scroll');
const nearBottom = (slack = 120) => area.scrollHeight - area.scrollTop - area.clientHeight < slack;
const bottom = (always) => { if (always || !holding) area.scrollTop = area.scrollHeight; };
let holding = false; // the reader has scrolled up
area.onscroll = () => {
  holding = !nearBottom();
  $('jump').hidden = !holding;
};
$('jump').onclick = () => { holding = false; bottom(true); };

// ---------------------------------------------------------------- coming and going

const place = () => /^\/c\/([\w-]{16,64})$/.exec(location.pathname)?.[1] || null;
onpopstate = () => go(place(), false);
// What happened in another tab is seen when this one is looked at again.
document.addEventListener('visibilitychange', async () => {
  if (document.hidden) return;
  refresh();
  if (!here) return;
  try {
    const c = await call('GET', `/api/conversations/${here}`);
    if (c.id !== here) return;
    for (const v of c.turns) {
      const t = turns.find((x) => x.id === v.id);
      if (!t) add(v);
      else if (v.state === 'working' && t.state !== 'working') t.watch();
      else if (v.state !== t.state) t.show({ ...v, from: 0, order: v.steps.length, elapsedMs: v.ended ? new Date(v.ended) - new Date(v.started) : 0 });
    }
  } catch { /* the next action says it */ }
});

try { box.value = sessionStorage.getItem(draft) || ''; } catch { /* private mode */ }
resize();
buttons();
open(place()).then(refresh);
if (!coarse.matches) box.focus({ preventScroll: true });
