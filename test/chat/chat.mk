CHAT_BIN := $(OUTPUT)/bin/chat-frontend
CHROMIUM ?= /usr/bin/chromium

.PHONY: test-chat
test-chat: build-chat ## the chat page in a real Chromium; CHAT_SCREENSHOTS=<folder> keeps pictures
	@cd test/chat && GOWORK=off $(VET) ./... && \
	  CHAT_FRONTEND=$(CHAT_BIN) CHROMIUM=$(CHROMIUM) GOWORK=off go test -count=1 -timeout 15m -parallel 3 $(CHAT_FLAGS) ./...

.PHONY: demo-chat
demo-chat: build-chat ## serve a chat page whose agent plays a story
	@cd test/chat && CHAT_FRONTEND=$(CHAT_BIN) GOWORK=off go run ./demo

.PHONY: build-chat
build-chat:
	@mkdir -p $(OUTPUT)/bin
	@go build -ldflags '-s -w' -o $(CHAT_BIN) ./cmd/chat-frontend
