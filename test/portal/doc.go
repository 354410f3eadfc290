// Package portal tests the portal with real programs: its form on Backstage and in a
// browser, and one pass from an upload to nothing left.
package portal
