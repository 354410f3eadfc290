#!/usr/bin/env bash
# What a model costs depends on whether its provider is set before it with a colon or
# with a slash, and one of the two is 0 dollars.
#
# Seen with npm's tokenlens 1.3.1, whose documentation names both forms, and the catalog that it brings: 'openai:gpt-4o' costs
# 2.50 USD a million input tokens, 'openai/gpt-4o' 0, in numbers, with its context window right beside it. gpt-4.1 and
# gpt-5 cost the same in both forms. Of a model that it doesn't know it says nothing at all
# ({}), so that 0 reads as a price.
#
# So: a price of 0 with tokens above 0 is a price that is missing, and to be reported as one; test an estimate for
# each model that you offer, spelled as you spell it.
# Needs: node, npm. Takes some seconds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix . tokenlens@1.3.1 >/dev/null
cat >price.mjs <<'J'
import { getUsage } from 'tokenlens';
const want = {
  'openai:gpt-4o': 2.5, 'openai/gpt-4o': 0, 'openai:o3': 2, 'openai/o3': 0,
  'openai:gpt-4.1': 2, 'openai/gpt-4.1': 2, 'openai:gpt-5': 1.25, 'openai/gpt-5': 1.25, 'openai/no-such-model': undefined,
};
let same = true;
for (const [modelId, usd] of Object.entries(want)) {
  const { costUSD, context } = getUsage({ modelId, usage: { input_tokens: 1e6, output_tokens: 0 } });
  console.log(modelId.padEnd(22), 'a million input tokens:', costUSD.totalUSD, 'USD; context', context.totalMax);
  same = same && costUSD.totalUSD === usd;
}
if (!same) { console.log('CHANGED: it is not as this finding says'); process.exit(1); }
J
node price.mjs
echo "seen again: tokenlens 1.3.1"
