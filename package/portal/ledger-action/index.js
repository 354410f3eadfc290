'use strict';
// The scaffolder action whisperops:ledger. It runs the binary `ledger` (LEDGER, or in
// the PATH), which finds Gitea, Backstage and the cluster through its environment, and
// shows what that says in the task's log. See package/portal/README.md.
const { spawn } = require('node:child_process');
const path = require('node:path');
const { createBackendModule } = require('@backstage/backend-plugin-api');
const { createTemplateAction, scaffolderActionsExtensionPoint } = require('@backstage/plugin-scaffolder-node');

const COMMANDS = ['check', 'deliver', 'edit', 'retire'];

// args returns the command line. Values are arguments of their own, never parts of a
// shell's line.
function args(input, workspace) {
  // The picker of agents gives the name of the entity; the order form the agent's own.
  const agent = input.agent.replace(/^agent-/, '');
  const out = [input.command, `--agent=${['check', 'deliver'].includes(input.command) ? input.agent : agent}`];
  const chosen = Object.entries(input.set ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== '');
  for (const [field, value] of chosen) out.push(`--set=${field}=${value}`);
  if (input.command === 'check') {
    const order = path.resolve(workspace, input.order);
    if (!order.startsWith(path.resolve(workspace) + path.sep)) throw new Error('order must be a file of the workspace');
    out.push(`--order=${order}`);
  }
  if (input.command === 'retire') out.push('--yes');
  return out;
}

function run(argv, log, signal) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.env.LEDGER ?? 'ledger', argv, { stdio: ['ignore', 'pipe', 'pipe'], signal });
    let out = '';
    let err = '';
    child.stdout.on('data', d => { out += d; String(d).trimEnd().split('\n').forEach(l => log.info(l)); });
    child.stderr.on('data', d => { err += d; });
    child.on('error', reject);
    child.on('close', code => (code === 0 ? resolve(out) : reject(new Error(err.trim() || `ledger ended with ${code}`))));
  });
}

const ledger = () =>
  createTemplateAction({
    id: 'whisperops:ledger',
    description: 'Checks, delivers, edits or retires the order of an agent in Git',
    supportsDryRun: true,
    schema: {
      input: {
        command: z => z.enum(COMMANDS),
        agent: z => z.string(),
        order: z => z.string().optional(),
        set: z => z.record(z.string(), z.union([z.string(), z.number(), z.null()]).optional()).optional(),
      },
      output: { repositoryExists: z => z.boolean().optional() },
    },
    async handler(ctx) {
      const argv = args(ctx.input, ctx.workspacePath);
      if (ctx.isDryRun) {
        ctx.logger.info(`would run ledger ${argv.join(' ')}`);
        ctx.output('repositoryExists', false);
        return;
      }
      const out = await run(argv, ctx.logger, ctx.signal);
      if (ctx.input.command === 'check') ctx.output('repositoryExists', JSON.parse(out).repositoryExists);
    },
  });

module.exports = {
  args,
  default: createBackendModule({
    pluginId: 'scaffolder',
    moduleId: 'whisperops-ledger',
    register(env) {
      env.registerInit({
        deps: { actions: scaffolderActionsExtensionPoint },
        async init({ actions }) { actions.addActions(ledger()); },
      });
    },
  }),
};
