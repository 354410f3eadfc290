.PHONY: findings
findings: ## run every script of findings/: is what others' software did still so?
	@failed=; for f in findings/*.sh; do echo "== $$f"; bash $$f || failed="$$failed $$f"; done; \
	  if [ -n "$$failed" ]; then echo "no longer so, or not to be had:$$failed" >&2; exit 1; fi
