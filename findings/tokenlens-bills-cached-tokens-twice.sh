#!/usr/bin/env bash
# A library that turns tokens into dollars bills what came from a cache twice: once as
# input, at the full price, and once as cached.
#
# Seen with npm's tokenlens 1.3.1: it adds input at its price and cached tokens at theirs. That is right of
# Anthropic's usage, whose input_tokens leaves cached ones out, and wrong of OpenAI's, whose prompt_tokens has them
# in it, though tokenlens reads both. Of 1,000 prompt tokens of which 900 came from the cache, on openai/gpt-5, it makes
# 0.0013625 USD; @pydantic/genai-prices 0.1.8, to which input is always the whole, makes 0.0002375.
#
# So: know of each source of usage whether its input has cached tokens in it, subtract them before, and test
# the case in which most is cached, which is every agent's.
# Needs: node, npm. Takes some seconds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix . tokenlens@1.3.1 @pydantic/genai-prices@0.1.8 >/dev/null
cat >price.mjs <<'J'
import { getUsage } from 'tokenlens';
import { calcPrice } from '@pydantic/genai-prices';
const near = (a, b) => Math.abs(a - b) < 1e-9;
const usage = { prompt_tokens: 1000, completion_tokens: 0, total_tokens: 1000, prompt_tokens_details: { cached_tokens: 900 } };
const lens = getUsage({ modelId: 'openai/gpt-5', usage }).costUSD;
const prices = calcPrice({ input_tokens: 1000, cache_read_tokens: 900, output_tokens: 0 }, 'gpt-5', { providerId: 'openai' });
console.log('openai/gpt-5', JSON.stringify(usage));
console.log('tokenlens:   ', lens.totalUSD, 'USD, of these', lens.inputUSD, 'for input and', lens.cacheReadUSD, 'for cached');
console.log('genai-prices:', prices.total_price, 'USD');
const same = near(lens.totalUSD, 0.0013625) && near(prices.total_price, 0.0002375);
if (!same) { console.log('CHANGED: it is not as this finding says'); process.exit(1); }
J
node price.mjs
echo "seen again: tokenlens 1.3.1, genai-prices 0.1.8"
