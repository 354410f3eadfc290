// Package docs keeps the pages true that are generated from the code.
package docs
