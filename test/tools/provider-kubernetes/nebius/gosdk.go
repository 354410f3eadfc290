// Package gosdk takes the place of github.com/nebius/gosdk in the build of
// provider-kubernetes. The provider uses it for one thing, to log in to clusters
// of the Nebius cloud; the suite's tests never do, and the real module brings a
// large tree of dependencies that not every module proxy serves. It has exactly
// the names the provider needs to compile, and every use of it is refused.
package gosdk

import (
	"context"
	"errors"

	"github.com/nebius/gosdk/auth"
)

var errLeftOut = errors.New("cannot log in to Nebius: its SDK is left out of this build of provider-kubernetes")

// An SDK cannot be made.
type SDK struct{}

// An Option has no effect.
type Option struct{}

// Credentials are ignored.
type Credentials struct{}

// New refuses.
func New(context.Context, ...Option) (*SDK, error) { return nil, errLeftOut }

// WithCredentials has no effect.
func WithCredentials(Credentials) Option { return Option{} }

// ServiceAccountReader ignores the key.
func ServiceAccountReader(auth.PrivateKeyParser) Credentials { return Credentials{} }

// BearerToken refuses.
func (*SDK) BearerToken(context.Context) (auth.BearerToken, error) {
	return auth.BearerToken{}, errLeftOut
}
