.PHONY: e2e e2e-short test-node
E2E = cd test/e2e && GOWORK=off $(VET) . && GOWORK=off go test -count=1 -v

e2e: tools up-build ## run the suite on a real Crossplane and break it on purpose; one scenario: RUN=TestSuite/KeyLost
	$(E2E) -timeout 60m $(if $(RUN),-run '$(RUN)') .

e2e-short: tools up-build ## the quick and most telling scenarios of make e2e
	$(E2E) -timeout 20m -short $(if $(RUN),-run '$(RUN)') .

test-node: tools up-build up-node ## run an order's pods in containers on a real kubelet, and try its promises with packets, memory and money; needs root and Debian's containerd, runc, containernetworking-plugins, iptables, ipset
	cd test/e2e && export GOWORK=off NODE=real SANDBOX_ROOTFS=$(abspath $(SANDBOX_ROOTFS)) && go test -count=1 -v -timeout 30m -run '$(or $(RUN),TestRealNode)' .
