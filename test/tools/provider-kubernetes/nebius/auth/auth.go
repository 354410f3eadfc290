// Package auth takes the place of github.com/nebius/gosdk/auth; see package gosdk.
package auth

// A BearerToken is never issued.
type BearerToken struct{ Token string }

// A PrivateKeyParser parses nothing.
type PrivateKeyParser struct{}

// NewPrivateKeyParser ignores the key.
func NewPrivateKeyParser([]byte, string, string) PrivateKeyParser { return PrivateKeyParser{} }
