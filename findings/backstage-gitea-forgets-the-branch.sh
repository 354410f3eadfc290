#!/usr/bin/env bash
# Links of a catalog file that lies in Gitea lose their branch in Backstage in two ways that work
# with files in GitHub, GitLab and Bitbucket.
#
# Seen with npm's @backstage/integration 2.2.0. A target that begins with a slash means the repository's
# root: /a.yaml, named in a file of branch main, resolves to .../src/branch/a.yaml, so that a.yaml is the branch, and nothing the
# file. And an address that ends in a line number is asked for as
# .../contents/a.yaml#L3?ref=main, where the branch stands behind the # and is never sent: what
# comes is the file of the default branch.
#
# So: write targets relative to the file (../../a.yaml) where Gitea is the host, and take
# the # off before an address is registered.
# Needs: node, npm. Takes a minute.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix . @backstage/integration@2.2.0 @backstage/config@1.3.11 >/dev/null
cat >resolve.mjs <<'J'
import { ScmIntegrations, getGiteaFileContentsUrl } from '@backstage/integration';
import { ConfigReader } from '@backstage/config';

const host = 'gitea.example.org';
const scm = ScmIntegrations.fromConfig(new ConfigReader({ integrations: { gitea: [{ host }] } }));
let same = true;
const check = (got, want) => { console.log('  ' + got); same = same && got === want; };

console.log('/a.yaml, named in d/c.yaml of branch main:');
for (const [base, want] of [
  ['https://github.com/o/r/blob/main/d/c.yaml', 'https://github.com/o/r/tree/main/a.yaml'],
  ['https://gitlab.com/o/r/-/blob/main/d/c.yaml', 'https://gitlab.com/o/r/-/blob/main/a.yaml'],
  ['https://bitbucket.org/o/r/src/main/d/c.yaml', 'https://bitbucket.org/o/r/src/main/a.yaml'],
  [`https://${host}/o/r/src/branch/main/d/c.yaml`, `https://${host}/o/r/src/branch/a.yaml`],
]) check(scm.resolveUrl({ url: '/a.yaml', base }), want);

const { config } = scm.gitea.byHost(host);
const asked = getGiteaFileContentsUrl(config, `https://${host}/o/r/src/branch/next/a.yaml#L3`);
console.log('a.yaml#L3 of branch next is asked for as:');
check(asked, `https://${host}/api/v1/repos/o/r/contents/a.yaml#L3?ref=next`);
console.log('of which the server is sent:');
const { pathname, search } = new URL(asked);
check(pathname + search, '/api/v1/repos/o/r/contents/a.yaml');
if (!same) { console.log('CHANGED: it is not as this finding says'); process.exit(1); }
J
node resolve.mjs
echo "seen again: @backstage/integration 2.2.0"
