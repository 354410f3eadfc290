// Package tokenmeter runs the providers' own Go clients against the token meter,
// and measures what the meter costs (bench/).
package tokenmeter
