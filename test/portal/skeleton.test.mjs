// Every value that a person types must arrive in the order byte for byte, whatever it
// looks like to YAML. The engine is the one that Backstage's scaffolder runs; YAML is
// read as Kubernetes reads it (1.1) and as Backstage does (1.2).
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { createTemplateRenderer } from 'nunjitsu';
import { parseAllDocuments } from 'yaml';

const skeleton = new URL('../../package/portal/dataset-whisperer/skeleton/', import.meta.url);
const render = (file, values) => createTemplateRenderer().render(readFileSync(new URL(file, skeleton), 'utf8'), { values });

function parse(text, version) {
  return parseAllDocuments(text, { version, merge: false }).map(d => {
    assert.deepEqual(d.errors, [], text);
    return d.toJS({ maxAliasCount: 0 });
  });
}

const usual = {
  agentName: 'housing-bot', dataset: 'california-housing', budgetUsd: 5, description: 'Answers questions',
  baseDomain: '34.61.7.12.sslip.io', projectId: 'acme-data', owner: 'user:default/ann',
};

// What people type, what copy and paste brings, and what somebody tries. The same go
// through the whole scaffolder in form_test.go.
const { descriptions, names, domains } = JSON.parse(readFileSync(new URL('nasty.json', import.meta.url), 'utf8'));
const budgets = [0, 5, 12.5, 0.01, 10000, 1e-7, 1.10];

for (const version of ['1.1', '1.2']) {
  test(`the order holds what was typed, YAML ${version}`, () => {
    const all = [
      ...descriptions.map(description => ({ ...usual, description })),
      ...names.map(agentName => ({ ...usual, agentName })),
      ...names.map(dataset => ({ ...usual, dataset })),
      ...domains.map(baseDomain => ({ ...usual, baseDomain })),
      ...budgets.map(budgetUsd => ({ ...usual, budgetUsd })),
    ];
    for (const v of all) {
      assert.deepEqual(parse(render('manifests/xdatasetagent.yaml', v), version), [{
        apiVersion: 'whisperops.io/v1alpha1', kind: 'XDatasetAgent', metadata: { name: v.agentName },
        spec: { agentName: v.agentName, datasetRef: { name: v.dataset }, budgetUsd: v.budgetUsd, description: v.description, baseDomain: v.baseDomain, projectId: v.projectId },
      }]);
      const [component, system] = parse(render('catalog-info.yaml', v), version);
      assert.equal(component.metadata.name, `agent-${v.agentName}`);
      assert.equal(component.metadata.description, v.description || 'An agent that answers questions about a dataset');
      assert.equal(component.metadata.links[0].url, `https://agent-${v.agentName}.${v.baseDomain}/`);
      assert.deepEqual(component.spec.dependsOn, [`resource:default/${v.dataset}`]);
      assert.equal(component.spec.system, system.metadata.name);
    }
  });
}

test('a field that was left out becomes nothing that the XRD refuses', () => {
  const { description, owner, ...rest } = usual;
  const [order] = parse(render('manifests/xdatasetagent.yaml', rest), '1.1');
  assert.equal(order.spec.description, '');
  const [component] = parse(render('catalog-info.yaml', rest), '1.1');
  assert.equal(component.spec.owner, 'group:default/platform');
});

// The garage of examples/ is where many begin: its form must not have the traps either.
const garage = new URL('../../examples/garage/backstage/skeleton/', import.meta.url);

for (const version of ['1.1', '1.2']) {
  test(`the garage's order holds what was typed, YAML ${version}`, () => {
    const [name] = readdirSync(garage);
    const text = readFileSync(new URL(encodeURIComponent(name), garage), 'utf8');
    for (const teamName of [...names, 'ae86', '1e3', 'x"\n  stage: stage3']) {
      const values = { teamName, stage: 'stage1' };
      assert.deepEqual(parse(createTemplateRenderer().render(text, { values }), version), [{
        apiVersion: 'blog.opsbogus.dev/v1alpha1', kind: 'XGarage', metadata: { name: teamName }, spec: { teamName, stage: 'stage1' },
      }]);
      assert.equal(createTemplateRenderer().render(name, { values: { teamName: 'ae86' } }), 'ae86.yaml');
    }
  });
}
