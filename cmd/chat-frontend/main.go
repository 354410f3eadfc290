// Command chat-frontend serves the page on which people talk to one agent.
package main

import "whisperops.io/functions/internal/chatfrontend"

func main() { chatfrontend.Main() }
