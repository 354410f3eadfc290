// Package errors is the standard library's, with the wrapping that error texts of this
// codebase are written with. Programs are small because of it: the package of Crossplane's
// runtime that does the same brings Kubernetes' clients along.
package errors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// New returns an error that says text.
func New(text string) error { return errors.New(text) }

// Errorf returns an error as fmt.Errorf does.
func Errorf(format string, a ...any) error { return fmt.Errorf(format, a...) }

// Is says whether an error of err's tree is target.
func Is(err, target error) bool { return errors.Is(err, target) }

// As finds the first error of err's tree that fits target, and sets target to it.
func As(err error, target any) bool { return errors.As(err, target) }

// Wrap puts message before what err says. It returns nil for nil.
func Wrap(err error, message string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", message, err)
}

// Wrapf is Wrap with a format.
func Wrapf(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return Wrap(err, fmt.Sprintf(format, a...))
}

// Join returns an error that says what all of errs say, each once: "[a, b]". It returns nil
// when all are nil, and one that stands alone as it is.
func Join(errs ...error) error {
	all := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return joined(all)
}

// joined errors are one line: a condition's message and an event have no others.
type joined []error

// Error says each once.
func (j joined) Error() string {
	var says []string
	for _, err := range j {
		if text := err.Error(); !slices.Contains(says, text) {
			says = append(says, text)
		}
	}
	if len(says) == 1 {
		return says[0]
	}
	return "[" + strings.Join(says, ", ") + "]"
}

// Unwrap lets Is and As look into each.
func (j joined) Unwrap() []error { return j }
